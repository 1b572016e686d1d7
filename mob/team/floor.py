"""Who may have the floor next: the rules by which it moves (law 21).

Theory. The log says who has the floor: the fold of its FloorMoved rows (mob.history.floor). This machine writes those
rows. It has one holder, or none, and each row it gives names the holder before as its `origin`, so the rows of a run
are one chain:

    what happens                                the row
    ------------------------------------------  ----------------------------------------------------------------
    the run starts, nobody has the floor        nobody -> entry
    the holder calls hand_off_to_X              none yet: the move is pending, and the call has its result
    the holder's turn is committed, pending X   holder -> X, in the transaction of the turn
      … and X does not run any more             holder -> holder: it keeps the floor, is told so, and speaks
    a turn that the user began with an earlier  holder -> holder: the holder is told what the user said
      holder is committed late
    the new holder does not speak in time       new -> previous one (else entry, else it stays)
    the holder crashes or is retired            holder -> entry (else nobody)
    the entry member runs, nobody has the floor nobody -> entry
    the user picks X                            holder -> X

Each row names the committed user turns that its `to` has not seen: those since it last had the floor, up to
MAX_NAMED. The first hand-off of a turn wins; whoever does not have the floor cannot hand it off; a pending hand-off
dies with its member. The machine moves when it gives a row, the fold when the row is durable: rows are appended in the
order in which they were given, so both go the same way. Pure: the caller appends the rows and keeps the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from mob.errors import HopLimitReached, MemberNotRunning, RouteRefused
from mob.history.items import Note, ToolCall, Turn, UserMessage
from mob.history.rows import FloorMoved, Stored, TurnRow

MAX_NAMED = 32
"""How many of the latest unseen user turns a move names at most."""

_MAX_QUOTE = 2000


@frozen(slots=True)
class HandOff:
    """A move that waits for its turn to be committed."""

    origin: str
    to: str
    reason: str
    hops: int


@frozen(slots=True)
class Landing:
    """`holder` got the floor, has to speak, and has not yet. `previous` takes the floor back if it never does.

    `hops`: how far the request has travelled with this move; the holder's turn begins with it.
    """

    move: FloorMoved
    holder: str
    previous: str | None
    hops: int = 0


class FloorMachine:
    """Gives the FloorMoved rows of a run. `runs(identity)` says whether a member could speak now."""

    def __init__(
        self,
        *,
        entry: str,
        max_hops: int,
        runs: Callable[[str], bool],
        on_line: Callable[[str], bool] = lambda _identity: False,
    ) -> None:
        self._entry = entry
        self._max_hops = max_hops
        self._runs = runs
        self._on_line = on_line
        self._holder: str | None = None
        self._pending: HandOff | None = None
        self._landing: Landing | None = None
        self._user_turns: list[str] = []
        self._left_at: dict[str, int] = {}

    @property
    def holder(self) -> str | None:
        """Who has the floor once every row given so far is durable."""
        return self._holder

    @property
    def pending(self) -> HandOff | None:
        """The hand-off that the commit of the holder's turn will carry out."""
        return self._pending

    @property
    def landing(self) -> Landing | None:
        """The move whose new holder has to speak."""
        return self._landing

    def replay(self, stored: Stored) -> None:
        """Take a row that is in the log already (resuming); in order, before anything else is done."""
        match stored.row:
            case FloorMoved() as row:
                if row.origin == row.to:
                    self._user_turns.extend(row.turns)
                self._moved(row, previous=row.origin, must_speak=bool(row.turns))
            case TurnRow(member=member, turn=turn):
                if member == self._holder:
                    self._heard_of(turn)
                    if _from_the_user(turn):
                        self._user_turns.append(turn.id)

    def start(self) -> FloorMoved | None:
        """The run starts, or goes on: a holder that runs keeps the floor, else the entry member gets it."""
        if self._holder is not None and self._runs(self._holder):
            return None
        return self._to_entry("the run starts" if self._holder is None else f"{self._holder} does not run any more")

    def request(self, member: str, to: str, reason: str, *, hops: int) -> None:
        """`member` calls hand_off_to_`to`; `hops` is how far the request has travelled with this move.

        RouteRefused: it does not have the floor, has handed it off in this turn already, or hands it to itself.
        MemberNotRunning: `to` cannot speak. HopLimitReached: the floor was passed on too often without the user.
        """
        if member != self._holder:
            raise RouteRefused(f"{member} does not have the floor and cannot hand it off; {self._holder} has it")
        if self._pending is not None:
            raise RouteRefused(f"the floor goes to {self._pending.to} when this turn ends; the first hand-off counts")
        if to == member:
            raise RouteRefused(f"{member} has the floor already; speak")
        if not self._runs(to):
            raise MemberNotRunning(f"{to} is not running and cannot take the floor; go on yourself")
        if hops > self._max_hops:
            raise HopLimitReached(
                f"the floor was passed on {hops - 1} times since the user last spoke, the limit is {self._max_hops}; "
                "answer the user yourself"
            )
        self._pending = HandOff(member, to, reason, hops)

    def committing(self, member: str, turn: Turn) -> FloorMoved | None:
        """The row that goes with this turn of `member` into the log, in one transaction."""
        from_the_user = _from_the_user(turn)
        if member != self._holder:
            if from_the_user and turn.cause.kind == "speech" and self._on_line(member) and self._holder is not None:
                self._user_turns.append(turn.id)
                return self._tell_holder(f"the user said something to {member} while the floor moved", (turn.id,))
            return None
        self._heard_of(turn)
        if from_the_user:
            self._user_turns.append(turn.id)
        pending, self._pending = self._pending, None
        if pending is None:
            return None
        if not self._runs(pending.to):
            return self._tell_holder(f"{pending.to} is not running any more and cannot take the floor", ())
        return self._move(pending.to, pending.reason, previous=member, hops=pending.hops, must_speak=True)

    def spoke(self, member: str) -> None:
        """The member said something or used a tool: if it had to, it has."""
        if self._landing is not None and self._landing.holder == member:
            self._landing = None

    def give_back(self, landing: Landing, reason: str) -> FloorMoved | None:
        """The new holder did not speak. None when it has by now, or when the floor has moved on."""
        if self._landing is not landing:
            return None
        self._landing = None
        to = landing.previous
        if to is not None and not self._runs(to):
            to = self._entry if self._runs(self._entry) else None
        if to is None or to == self._holder:
            return None
        return self._move(to, reason, previous=None, hops=landing.hops, must_speak=True)

    def ended(self, member: str, reason: str) -> FloorMoved | None:
        """The member crashed, failed or was retired."""
        if member != self._holder:
            return None
        return self._to_entry(reason)

    def running(self, member: str) -> FloorMoved | None:
        """The member runs (again)."""
        if self._holder is None and member == self._entry:
            return self._to_entry(f"{member} runs")
        return None

    def picked(self, to: str, reason: str) -> FloorMoved | None:
        """The user picks who to talk with. None when it has the floor already. MemberNotRunning."""
        if not self._runs(to):
            raise MemberNotRunning(f"{to} is not running and cannot take the floor; `/members` says who is")
        if to == self._holder:
            return None
        return self._move(to, reason, previous=self._holder)

    def lost(self, holder: str | None) -> None:
        """A row could not be written: go back to the holder that the log has."""
        self._holder = holder
        self._landing = None

    def _heard_of(self, turn: Turn) -> None:
        """A turn of the holder ends its landing when it said something, used a tool, or was cut off by the user."""
        if turn.status == "interrupted" or turn.agent_text or any(isinstance(i, ToolCall) for i in turn.items):
            self._landing = None

    def _to_entry(self, reason: str) -> FloorMoved | None:
        to = self._entry if self._entry != self._holder and self._runs(self._entry) else None
        if to == self._holder:
            return None
        return self._move(to, reason)

    def _tell_holder(self, reason: str, turns: tuple[str, ...]) -> FloorMoved:
        row = FloorMoved(None, self._holder, self._holder, reason, turns)
        self._moved(row, previous=None, must_speak=True)
        return row

    def _move(
        self, to: str | None, reason: str, *, previous: str | None = None, hops: int = 0, must_speak: bool = False
    ) -> FloorMoved:
        unseen = self._user_turns[self._left_at.get(to, 0) :] if to is not None else []
        row = FloorMoved(None, self._holder, to, reason, tuple(unseen[-MAX_NAMED:]))
        self._moved(row, previous=previous, hops=hops, must_speak=must_speak or bool(row.turns))
        return row

    def _moved(self, row: FloorMoved, *, previous: str | None, must_speak: bool, hops: int = 0) -> None:
        if row.origin is not None and row.origin != row.to:
            self._left_at[row.origin] = len(self._user_turns)
        self._holder = row.to
        self._pending = None
        self._landing = Landing(row, row.to, previous, hops) if row.to is not None and must_speak else None


def hand_over_note(item_id: str, move: FloorMoved, turns: Sequence[tuple[str, Turn]]) -> Note:
    """What the new holder is told: why, and what the user said to whom. `turns` are those that the move names."""
    passed_on = move.origin is not None and move.origin != move.to
    lines = [f"{move.origin} gives you the floor." if passed_on else "You have the floor."]
    for member, turn in turns:
        lines.append(f"The user said to {member}: {_quote(turn.user_text)}")
        if turn.agent_text:
            lines.append(f"{member} answered: {_quote(turn.agent_text)}")
    lines.append("You talk with the user now; go on from here.")
    lines.append(f"Reason: {move.reason}")
    return Note(item_id, "\n".join(lines), kind="hand_over")


def _quote(text: str) -> str:
    words = " ".join(text.split()) or "(not understood)"
    return words if len(words) <= _MAX_QUOTE else words[:_MAX_QUOTE] + "…"


def _from_the_user(turn: Turn) -> bool:
    return turn.cause.origin is None and any(isinstance(item, UserMessage) for item in turn.items)
