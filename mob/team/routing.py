"""Who may reach whom, and the tools by which a model does it.

The routes are the team file's, with the Wired rows of the log laid over them in their order: each row adds ways to a
route or takes them away. `[topology]` stands above the routes: where its mode is strict, the last rule that matches
the two roles decides, and a message against it is refused though a route exists; where it is advisory, the message
goes and the breach is told. A pair of members that no rule matches is allowed.

Pure: no clock, no log, no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from mob.definition.model import MobDefinition, Route, Topology
from mob.definition.names import route_tool as tool_name
from mob.errors import RouteRefused
from mob.history.rows import Wired
from mob.values import ToolSchema, Via

_ALL: tuple[Via, ...] = ("ask", "tell", "hand_off")


class RouteTable:
    """The routes in force now. `roles` maps each identity to its profile's name and may grow while the mob runs."""

    def __init__(self, definition: MobDefinition, roles: Mapping[str, str]) -> None:
        self._topology: Topology | None = definition.topology
        self._roles = roles
        self._ways: dict[tuple[str, str], dict[Via, None]] = {}
        self._reached: dict[str, dict[str, None]] = {}
        self._in_force: tuple[object, tuple[Route, ...]] | None = None
        for route in definition.routes:
            self.restore(route.origin, route.to, (*self.ways(route.origin, route.to), *route.via))

    def apply(self, row: Wired) -> None:
        """Lay a Wired row over the routes. A removal without `via` takes the whole route away."""
        ways = dict.fromkeys(self.ways(row.origin, row.to))
        for via in row.via or _ALL:
            if row.removed:
                ways.pop(via, None)
            else:
                ways[via] = None
        self.restore(row.origin, row.to, ways)

    def restore(self, origin: str, to: str, ways: Iterable[Via]) -> None:
        """Make exactly these the ways from `origin` to `to`."""
        kept = dict.fromkeys(ways)
        self._in_force = None
        reached = self._reached.setdefault(origin, {})
        if kept:
            self._ways[origin, to] = kept
            reached[to] = None
        else:
            self._ways.pop((origin, to), None)
            reached.pop(to, None)

    def ways(self, origin: str, to: str) -> tuple[Via, ...]:
        """In which ways `origin` may reach `to` by its routes."""
        return tuple(self._ways.get((origin, to), ()))

    def __iter__(self) -> Iterator[Route]:
        """The routes that topology does not forbid, in their order."""
        for (origin, to), ways in tuple(self._ways.items()):
            if self._allows(origin, to):
                yield Route(origin, to, tuple(ways))

    @property
    def in_force(self) -> tuple[Route, ...]:
        """All of these, the same object each time until one of them changes: who looks often need not compare them."""
        roles = None if self._topology is None else tuple(self._roles.items())
        if self._in_force is None or self._in_force[0] != roles:
            self._in_force = roles, tuple(self)
        return self._in_force[1]

    def reached_from(self, origin: str) -> dict[str, tuple[Via, ...]]:
        """Everybody `origin` has a route to that topology does not forbid, in the order of the routes."""
        return {to: self.ways(origin, to) for to in self._reached.get(origin, ()) if self._allows(origin, to)}

    def check(self, origin: str, to: str, via: Via) -> str | None:
        """RouteRefused when `origin` may not `via` `to`; else None, or the breach of an advisory rule as a sentence."""
        if via not in self._ways.get((origin, to), ()):
            others = [name for name, ways in self.reached_from(origin).items() if via in ways]
            known = f"it may {via} {', '.join(others)}" if others else f"it may {via} nobody"
            raise RouteRefused(f"{origin} has no route to {via} {to}; {known}")
        if not self._against_topology(origin, to):
            return None
        breach = f"the topology does not allow {self._role(origin)} to reach {self._role(to)} ({origin} to {to})"
        if self._strict:
            raise RouteRefused(f"{breach}; change [topology] in the team file")
        return breach

    @property
    def _strict(self) -> bool:
        return self._topology is not None and self._topology.mode == "strict"

    def _allows(self, origin: str, to: str) -> bool:
        """Whether topology lets this route be."""
        return not (self._against_topology(origin, to) and self._strict)

    def _role(self, identity: str) -> str:
        return self._roles.get(identity, identity)

    def _against_topology(self, origin: str, to: str) -> bool:
        return self._topology is not None and not self._topology.allows(self._role(origin), self._role(to))


@frozen(slots=True)
class RouteTool:
    """One way to one member, as a tool: what the model sees, and what calling it means."""

    schema: ToolSchema
    via: Via
    to: str

    @property
    def argument(self) -> str:
        """The name of its one argument."""
        return _TOOLS[self.via].argument


@frozen(slots=True)
class _ToolText:
    summary: str
    argument: str
    argument_text: str


_TOOLS: dict[Via, _ToolText] = {
    "ask": _ToolText(
        "Ask {to} and wait for the answer.",
        "question",
        "The question, with all that is needed to answer it: the other member does not hear this conversation.",
    ),
    "tell": _ToolText(
        "Tell {to} something. There is no answer.",
        "message",
        "The message, with all that is needed to understand it: the other member does not hear this conversation.",
    ),
    "hand_off": _ToolText(
        "Let {to} go on with the conversation from here; your turn ends with this.",
        "reason",
        "Why, and what is to be done next, for the member that goes on.",
    ),
}


def route_tool(via: Via, to: str, peer_description: str) -> RouteTool:
    """The tool that reaches `to` in this way; the peer's own description tells the model what it is good for."""
    text = _TOOLS[via]
    about = " ".join(peer_description.split())
    description = text.summary.format(to=to) + (f" {to}: {about}" if about else "")
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {text.argument: {"type": "string", "description": text.argument_text}},
        "required": [text.argument],
        "additionalProperties": False,
    }
    return RouteTool(ToolSchema(tool_name(via, to), description, parameters), via, to)


def route_tools(
    table: RouteTable, origin: str, reachable: Iterable[str], descriptions: Mapping[str, str]
) -> tuple[RouteTool, ...]:
    """The tools that `origin`'s model is given: one for each way to each member that is `reachable` now."""
    there = frozenset(reachable)
    return tuple(
        route_tool(via, to, descriptions.get(to, ""))
        for to, ways in table.reached_from(origin).items()
        if to in there
        for via in ways
    )
