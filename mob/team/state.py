"""What the log says about a run as a whole: who there is, who reaches whom, who has the floor, what was said.

One fold, used twice: over the past when a run is opened (`replay`), and over each row as it becomes durable (`watch`).
Everything the team knows beyond what is going on this second is here, so a run that is resumed knows the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from mob.definition.model import MobDefinition, Route
from mob.definition.routes import Wiring, merged
from mob.history.floor import Floor
from mob.history.fold import History
from mob.history.items import Turn
from mob.history.rows import MemberEnded, MessageEnded, Row, RunStarted, Stored, TurnRow, Wired, member_of
from mob.team.floor import FloorMachine
from mob.team.roster import Roster
from mob.team.routing import RouteTable


class TeamState:
    """The fold of a run's log. `machine` is told of the past only; it writes the future."""

    def __init__(self, definition: MobDefinition) -> None:
        self.roster = Roster()
        self.routes = RouteTable(definition, self.roster.roles)
        self.floor = Floor()
        self.seed: int | None = None
        self.mob: str | None = None
        self.turns = 0
        self._said_to: dict[str, str] = {}
        self._histories: dict[str, History] = {}

    def replay(self, stored: Stored, machine: FloorMachine) -> None:
        """Take a row of the past, in order."""
        self.watch(stored)
        self.floor.apply(stored)
        machine.replay(stored)
        match stored.row:
            case RunStarted(mob=mob, seed=seed) if self.seed is None:
                self.mob, self.seed = mob, seed
            case Wired() as row:
                self.routes.apply(row)
        member = member_of(stored.row)
        if member is not None:
            self._histories.setdefault(member, History(member)).apply(stored)

    def watch(self, stored: Stored) -> None:
        """Take a row that has just become durable. Routes and floor move when their rows are given, not here."""
        self.roster.apply(stored)
        if isinstance(stored.row, TurnRow):
            self.turns += 1
            self._said_to[stored.row.turn.id] = stored.row.member

    def said_to(self, turn_id: str) -> str | None:
        """Which member's turn this is."""
        return self._said_to.get(turn_id)

    @property
    def past(self) -> Mapping[str, History]:
        """Each member's history as it was when the run was opened."""
        return self._histories

    def loose_ends(self) -> tuple[Row, ...]:
        """Rows that end what the last process left open: messages, and generations that still seem to live.

        A message was delivered at most once and stays so. Open tool calls are closed by the sessions themselves.
        """
        rows: list[Row] = [
            MessageEnded(member, message_id, "cancelled")
            for member, history in self._histories.items()
            for message_id in history.open_messages
        ]
        rows += [
            MemberEnded(seat.identity, seat.generation, "crashed", "the program stopped")
            for seat in self.roster
            if seat.ended is None
        ]
        return tuple(rows)


def find_turn(history: History, turn_id: str) -> Turn | None:
    """The turn of this id, looked for from the newest back."""
    return next((turn for turn in reversed(history.turns) if turn.id == turn_id), None)


def wiring_of(definition: MobDefinition, newcomer: str) -> tuple[Wired, ...]:
    """The Wired rows that a member which was just put into `definition.members` brings along.

    `auto_wire_orchestrator` and role wiring hold for it as for those that the team file names.
    """
    wiring = Wiring(definition.orchestrator, definition.auto_wire_orchestrator, definition.role_wiring)
    routes: tuple[Route, ...] = merged(route for route, _path in wiring.sources(definition.members))
    return tuple(
        Wired(None, route.origin, route.to, route.via) for route in routes if newcomer in (route.origin, route.to)
    )
