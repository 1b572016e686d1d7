"""The wiring worked out: who may reach whom, and in which ways.

Three sources, in this order: `auto_wire_orchestrator` (each member of the orchestrator's profile with every other
member), `role_wiring` (every member of one profile with every member of another) and `routes`. The first two give ask
and tell, both ways; a route goes one way. Two entries for the same pair are one route with the ways of both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import frozen

from mob.definition.model import Member, RoleWiring, Route
from mob.values import Via

BOTH_WAYS: tuple[Via, ...] = ("ask", "tell")
DEFAULT_VIA: tuple[Via, ...] = ("ask",)


@frozen(slots=True)
class Wiring:
    """`[wiring]` as written, with the orchestrator's profile."""

    orchestrator: str | None = None
    auto_wire_orchestrator: bool = False
    role_wiring: tuple[RoleWiring, ...] = ()
    routes: tuple[Route, ...] = ()

    def sources(self, members: Mapping[str, Member]) -> Iterator[tuple[Route, tuple[str | int, ...]]]:
        """Every route with the key path it comes from; pairs may come more than once."""
        if self.auto_wire_orchestrator and self.orchestrator is not None:
            leads = [name for name, member in members.items() if member.profile == self.orchestrator]
            for pair in _pairs(leads, list(members)):
                yield Route(*pair, BOTH_WAYS), ("wiring", "auto_wire_orchestrator")
        for index, role in enumerate(self.role_wiring):
            first = [name for name, member in members.items() if member.profile == role.a]
            second = [name for name, member in members.items() if member.profile == role.b]
            for pair in _pairs(first, second):
                yield Route(*pair, BOTH_WAYS), ("wiring", "role_wiring", index)
        for index, route in enumerate(self.routes):
            yield route, ("wiring", "routes", index)


def _pairs(first: Sequence[str], second: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of `first` with each of `second`, both ways, nobody with themselves."""
    for one in first:
        for other in second:
            if one != other:
                yield one, other
                yield other, one


def merged(routes: Iterable[Route]) -> tuple[Route, ...]:
    """One route for each pair, with the ways of all, in the order they first come."""
    ways: dict[tuple[str, str], dict[Via, None]] = {}
    for route in routes:
        ways.setdefault((route.origin, route.to), {}).update(dict.fromkeys(route.via))
    return tuple(Route(origin, to, tuple(via)) for (origin, to), via in ways.items())


Graph = Mapping[str, Sequence[str]]


def graph_of(routes: Iterable[Route], *ways: Via) -> dict[str, list[str]]:
    """Who reaches whom directly by any of these ways."""
    graph: dict[str, list[str]] = {}
    for route in routes:
        if any(way in route.via for way in ways):
            graph.setdefault(route.origin, []).append(route.to)
    return graph


def path_between(graph: Graph, start: str, goal: str) -> list[str] | None:
    """A shortest path from `start` to `goal`, both included; None when there is none."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for there in graph.get(here, ()):
            if there == goal:
                path = [goal, here]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if there not in came_from and there != start:
                came_from[there] = here
                waiting.append(there)
    return None


def reached_from(graph: Graph, start: str) -> set[str]:
    """Everybody that can be come to from `start`, itself included."""
    seen, waiting = {start}, [start]
    while waiting:
        for there in graph.get(waiting.pop(), ()):
            if there not in seen:
                seen.add(there)
                waiting.append(there)
    return seen
