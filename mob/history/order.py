"""The order in which a conversation's items stand, from who names whom as predecessor.

Theory. A provider announces each item with the id of the item before it (`previous_item_id`, OpenAI Realtime
reference). Announcements come late, twice, and out of order, so arrival says nothing; the names do. The items form a
forest: an item hangs below the predecessor it names, and is a root when it names none, or one that is not here. The
order is the forest read from the top, each item before those that hang below it.

- A root is appended: roots stand in the order of their arrival, nothing is lost for want of a predecessor.
- When a predecessor comes after those who named it, they move below it; if it is a root itself it takes the place of
  the first of them, where it would have stood had it come in time.
- Items that name the same predecessor stand in the order of their ids. That is arbitrary, and the same whatever
  order they arrive in.
- A removed item leaves those below it where they are. Its id stays known, so that an announcement which overtook
  (or repeats) cannot bring it back; an item that names it later is appended.
- An item that would become its own ancestor names nobody: a hostile provider gets an order, not a loop.

An item that never becomes part of a history (the provider's own, an empty one) is added like any other: it holds its
place in the chain, and the reader of `ordered()` passes over it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator


class CausalOrder:
    """The causal order of the items announced so far. Adding at the end of a chain is O(1), reading is O(n)."""

    def __init__(self) -> None:
        self._parent: dict[str, str | None] = {}
        self._below: dict[str, list[str]] = {}
        self._roots: dict[str, int] = {}  # id -> rank
        self._orphans: dict[str, list[str]] = {}  # a predecessor that is not here -> the roots that named it
        self._named: dict[str, str] = {}  # such a root -> the predecessor it named
        self._removed: set[str] = set()
        self._next_rank = 0

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._parent

    def __len__(self) -> int:
        return len(self._parent)

    def add(self, item_id: str, previous_id: str | None = None) -> bool:
        """Take an announcement. False when it changes nothing: the item is here already, or was removed."""
        if item_id in self._parent or item_id in self._removed:
            return False
        waiting = self._orphans.pop(item_id, [])
        parent = previous_id
        if parent not in self._parent or self._hangs_below(parent, waiting):
            parent = None
        self._parent[item_id] = parent
        if parent is not None:
            insort(self._below.setdefault(parent, []), item_id)
        else:
            self._add_root(item_id, previous_id, waiting)
        for child in waiting:
            del self._roots[child]
            del self._named[child]
            self._parent[child] = item_id
            insort(self._below.setdefault(item_id, []), child)
        return True

    def remove(self, item_id: str) -> bool:
        """Take an item out for good. False when it was not here (its announcement, should it come, is ignored)."""
        self._removed.add(item_id)
        if item_id not in self._parent:
            return False
        parent = self._parent.pop(item_id)
        below = self._below.pop(item_id, [])
        if parent is None:
            self._replace_root(item_id, below)
        else:
            siblings = self._below[parent]
            at = bisect_left(siblings, item_id)
            siblings[at : at + 1] = below
            siblings.sort()
        for child in below:
            self._parent[child] = parent
        return True

    def ordered(self) -> tuple[str, ...]:
        """The ids in causal order."""
        return tuple(self._walk())

    def _walk(self) -> Iterator[str]:
        stack = sorted(self._roots, key=self._roots.__getitem__)
        stack.reverse()
        while stack:
            item_id = stack.pop()
            yield item_id
            stack.extend(reversed(self._below.get(item_id, ())))

    def _hangs_below(self, item_id: str | None, roots: list[str]) -> bool:
        """Whether `item_id` hangs below one of these roots. Walks only when there is one to find."""
        if not roots:
            return False
        while item_id is not None:
            if item_id in roots:
                return True
            item_id = self._parent[item_id]
        return False

    def _add_root(self, item_id: str, previous_id: str | None, waiting: list[str]) -> None:
        if waiting:
            self._roots[item_id] = min(self._roots[child] for child in waiting)
        else:
            self._roots[item_id] = self._next_rank
            self._next_rank += 1
        if previous_id is not None and previous_id not in self._parent and previous_id not in self._removed:
            self._orphans.setdefault(previous_id, []).append(item_id)
            self._named[item_id] = previous_id

    def _replace_root(self, item_id: str, below: list[str]) -> None:
        """The items below a removed root become roots in its place, in their order."""
        rank = self._roots.pop(item_id)
        named = self._named.pop(item_id, None)
        if named is not None:
            self._orphans[named].remove(item_id)
        for child in below:
            self._roots[child] = rank
