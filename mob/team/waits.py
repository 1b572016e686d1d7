"""Who waits for whom: the graph that keeps asks free of deadlock (law 20).

Theory. A member runs one turn at a time, and a turn that asks another member does not end before the answer. So while
A waits for B, nothing new begins at A; and B's answer waits behind whatever B does now. Members and "waits for" make a
graph, and as long as it has no cycle, some member waits for nobody, goes on, and lets those before it go on. An ask
that would close a cycle could never be answered; it is refused when it is made, and its cycle is named.

One member may wait for several (parallel tool calls), and twice for the same one: each ask is an edge of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from mob.errors import AskCycle


class WaitGraph:
    """The asks that wait for their answers now. Never holds a cycle."""

    def __init__(self) -> None:
        self._edges: dict[str, tuple[str, str]] = {}

    @property
    def edges(self) -> Mapping[str, tuple[str, str]]:
        """Each waiting ask's message id with (who waits, for whom). A live view."""
        return self._edges

    def begin(self, message_id: str, asker: str, target: str) -> None:
        """`asker` begins to wait for `target`. AskCycle, and nothing changed, when `target` waits for `asker`."""
        path = self.path(target, asker)
        if path is not None:
            cycle = (asker, *path)
            raise AskCycle(
                f"{asker} cannot ask {target}: that would close the circle {' -> '.join(cycle)}, in which each waits "
                "for the next; answer with what you know, or ask somebody else",
                cycle=cycle,
            )
        self._edges[message_id] = (asker, target)

    def end(self, message_id: str) -> None:
        """The ask has its answer, or gave up. Ending it again changes nothing."""
        self._edges.pop(message_id, None)

    def path(self, start: str, goal: str) -> tuple[str, ...] | None:
        """A chain of waiting members from `start` to `goal`, both included; None when there is none."""
        waits_for: dict[str, list[str]] = {}
        for asker, target in self._edges.values():
            waits_for.setdefault(asker, []).append(target)
        came_from: dict[str, str | None] = {start: None}
        frontier = [start]
        while frontier and goal not in came_from:
            member = frontier.pop()
            for target in waits_for.get(member, ()):
                if target not in came_from:
                    came_from[target] = member
                    frontier.append(target)
        if goal not in came_from:
            return None
        back: list[str] = []
        at: str | None = goal
        while at is not None:
            back.append(at)
            at = came_from[at]
        return tuple(reversed(back))
