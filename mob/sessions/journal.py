"""The one writer of a member's rows: durable first, then folded, then told.

Theory. The store orders rows; the fold must see them in that order, and whoever is told of a row must find it in the
fold. So the writes of one member pass through one lock, and inside it the append is shielded: it is wholly done and
folded, or it was not begun. The shield is bounded, more tightly once the member stops (`hurry`). When the store does
not answer within the bound, nobody knows whether the rows are there, and before the next write the fold catches up
from the log itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from mob.errors import StoreError
from mob.history.fold import History
from mob.history.rows import Row, Stored, member_of
from mob.store.port import RunLog


class Journal:
    """Writes rows to the run's log and lays them over the member's history. `timeout_s` bounds one append."""

    def __init__(self, log: RunLog, history: History, *, timeout_s: float) -> None:
        self.history = history
        self._log = log
        self._timeout_s = timeout_s
        self._latest = float("inf")
        self._patience: trio.CancelScope | None = None
        self._lock = trio.Lock()
        self._behind = False

    async def write(self, *rows: Row) -> tuple[Stored, ...]:
        """Write these rows as one transaction; durable and folded when it returns. StoreError.

        Cancelled means that nothing was written.
        """
        async with self._lock:
            deadline = min(trio.current_time() + self._timeout_s, self._latest)
            with trio.CancelScope(shield=True, deadline=deadline) as self._patience:
                if self._behind:
                    await self._catch_up()
                self._behind = True
                stored = await self._log.append(*rows)
                self._fold(stored)
                self._behind = False
                return stored
        raise StoreError(
            f"the store did not take {len(rows)} rows of {self.history.member} within {self._timeout_s:g} s; "
            "see whether its disk is full or slow"
        )

    def hurry(self, deadline: float) -> None:
        """From now on no write goes on after this moment, on trio's clock; one that is under way neither."""
        self._latest = deadline
        if self._patience is not None:
            self._patience.deadline = min(self._patience.deadline, deadline)

    def _fold(self, stored: Sequence[Stored]) -> None:
        for each in stored:
            self.history.apply(each)

    async def _catch_up(self) -> None:
        member = self.history.member
        missed = [each async for each in self._log.read(member=member, after=self.history.last_seq)]
        self._fold([each for each in missed if member_of(each.row) == member])
