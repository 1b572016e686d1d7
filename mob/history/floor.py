"""Who has the floor, as a fold of the log: one holder, or none, at every position (law 21).

The floor is a value, not a set, so two holders cannot be. A member that ends takes no row of its own here: whoever
writes the log writes the FloorMoved that follows from it, and this fold believes the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from mob.history.rows import FloorMoved, Stored


class Floor:
    """The fold of a run's FloorMoved rows. Idempotent: a row at or below the last one applied changes nothing."""

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._moves: list[FloorMoved] = []
        self._last_seq = 0

    @classmethod
    def of(cls, rows: Iterable[Stored]) -> Floor:
        """The fold of these rows."""
        floor = cls()
        for stored in rows:
            floor.apply(stored)
        return floor

    @property
    def holder(self) -> str | None:
        """Who has the floor now."""
        return self._moves[-1].to if self._moves else None

    def holder_at(self, seq: int) -> str | None:
        """Who had the floor once row `seq` was in the log."""
        before = bisect_right(self._seqs, seq)
        return self._moves[before - 1].to if before else None

    def apply(self, stored: Stored) -> bool:
        """Take one more row, of whatever kind. False when it was a replay."""
        if stored.seq <= self._last_seq:
            return False
        self._last_seq = stored.seq
        if isinstance(stored.row, FloorMoved):
            self._seqs.append(stored.seq)
            self._moves.append(stored.row)
        return True
