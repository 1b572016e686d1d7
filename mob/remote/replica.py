"""What a client knows of a mob without asking: a copy that the server's `team/event` notifications keep up to date.

Theory. The server tells all there is, then each difference, in order (`mob.server.rpc.team.feed`). A copy only ever
takes what it is told, so it is what the mob was at some moment, and no older than the last answer that was given. Turns
that are too large to be told are named; they are missing until they were fetched, and a history ends before the first
that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import trio
from attrs import frozen

from mob.definition.model import ModelCapabilities, Route
from mob.errors import ServerGone, WireError
from mob.history import codec
from mob.history.items import Turn
from mob.protocol.shapes import event_of, turn_of, usage_of
from mob.remote.events import EventMirror, Fetch
from mob.values import NO_USAGE, Usage

MobState = Literal["running", "draining", "cancelling", "stopped"]
Place = tuple[str, int]


@frozen(slots=True)
class MemberFacts:
    """What there is to know about a member, its history apart. As `mob.server.facts` tells it."""

    generation: int
    state: str
    session_id: str
    profile: str
    model: ModelCapabilities
    usage: Usage = NO_USAGE


class Replica:
    """One mob's. `missing` are turns to be fetched."""

    def __init__(self, fetch: Fetch) -> None:
        self.mob_id = self.run_id = self.description = ""
        self.stream = ""
        self.state: MobState = "running"
        self.floor: str | None = None
        self.usage: Usage = NO_USAGE
        self.routes: tuple[Route, ...] = ()
        self.members: dict[str, MemberFacts] = {}
        self.missing: set[Place] = set()
        self.events = EventMirror(fetch)
        self.ready = trio.Event()
        self._turns: dict[str, list[Turn | None]] = {}
        self._histories: dict[str, tuple[Turn, ...]] = {}

    def opened(self, answer: Any) -> None:
        """The answer to `team/events_open`. WireError."""
        try:
            self.stream = str(answer["stream"])
            self.mob_id, self.run_id = str(answer["mob"]), str(answer["run"])
            self.description = str(answer["description"])
            self.events.start = int(answer["after"])
        except (KeyError, TypeError, ValueError) as error:
            raise WireError(f"a stream was opened without its {error}", field="team/events_open") from None

    def apply(self, told: Mapping[str, Any]) -> None:
        """One notification. WireError."""
        if "mob" in told:
            self._apply_mob(told["mob"])
        for identity, facts in _object(told, "members").items():
            self.members[identity] = codec_read(facts, MemberFacts, f"members.{identity}")
        for entry in _list(told, "turns"):
            self._apply_turn(entry)
        if "event" in told:
            event = event_of(told["event"])
            if event is not None:
                self.events.add(event)
        if told.get("ready") is True:
            self.ready.set()
        if told.get("ended") is True:
            self.end()

    def end(self, gone: ServerGone | None = None) -> None:
        """Nothing more will be told: the mob has stopped, or is stopped with its server; or the server has gone."""
        if gone is None:
            self.state = "stopped"
        self.events.end(gone)
        self.ready.set()

    def history(self, identity: str) -> tuple[Turn, ...]:
        """The member's turns, as far as they are known without a gap."""
        known = self._histories.get(identity)
        if known is None:
            turns = self._turns.get(identity, [])
            gap = next((index for index, turn in enumerate(turns) if turn is None), len(turns))
            known = self._histories[identity] = cast("tuple[Turn, ...]", tuple(turns[:gap]))
        return known

    def put_turn(self, place: Place, turn: Turn | None) -> None:
        """The turn at this place of a member's history; None: it must be fetched."""
        identity, index = place
        turns = self._turns.setdefault(identity, [])
        if index > len(turns):
            raise WireError(f"turn {index} of {identity} was told before the one in front of it", field="turns")
        turns[index : index + 1] = [turn]
        self._histories.pop(identity, None)
        (self.missing.discard if turn is not None else self.missing.add)(place)

    def _apply_turn(self, entry: object) -> None:
        match entry:
            case [str(identity), int(index), body]:
                self.put_turn((identity, index), None if body is None else turn_of(body))
            case _:
                raise WireError(f"a turn is [member, index, turn], not {entry!r:.60}", field="turns")

    def _apply_mob(self, facts: object) -> None:
        if not isinstance(facts, dict):
            raise WireError(f"mob: an object is expected, not {facts!r:.60}", field="mob")
        self.state = codec_read(facts.get("state"), MobState, "mob.state")
        floor = facts.get("floor")
        self.floor = floor if isinstance(floor, str) else None
        self.usage = usage_of(facts.get("usage"))
        self.routes = tuple(codec_read(_route(route), Route, "mob.routes") for route in _list(facts, "routes"))


def _route(route: object) -> object:
    """A route by the names of our fields: `from` is none that Python has."""
    return {**route, "origin": route.get("from")} if isinstance(route, dict) else route


def codec_read(value: object, cls: Any, where: str) -> Any:
    """The value of this class. WireError, which names the field."""
    try:
        return codec.from_json(value, cls, where=where)
    except ValueError as error:
        raise WireError(str(error), field=where) from None


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise WireError(f"{name}: an object is expected, not {value!r:.60}", field=name)
    return value


def _list(body: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = body.get(name, [])
    if not isinstance(value, list):
        raise WireError(f"{name}: a list is expected, not {value!r:.60}", field=name)
    return value
