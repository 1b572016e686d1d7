"""The histories of sessions that do not run, as they were folded last: a page of one costs no reading of the whole.

Theory. A log is append-only, and a fold goes on from any prefix of it (law 1). So a fold that was kept is never wrong,
only late: the rows that came behind it are read, none for most, and it is as one that was made anew. At most so many
are kept; the one that nobody read for longest goes first.
"""

from __future__ import annotations

from mob.history.fold import History
from mob.store.port import Store


class PastHistories:
    """Folds of one store's runs, at most `most` of them at a time."""

    def __init__(self, store: Store, *, most: int) -> None:
        self._store = store
        self._most = most
        self._folds: dict[tuple[str, str], History] = {}

    async def fold(self, run_id: str, identity: str) -> History:
        """The member's history as its log has it now. A live view; do not change it. RunUnknown, StoreError."""
        key = (run_id, identity)
        history = self._folds.pop(key, None) or History(identity)
        async for stored in self._store.read_run(run_id, member=identity, after=history.last_seq):
            history.apply(stored)
        self._folds[key] = history
        while len(self._folds) > self._most:
            del self._folds[next(iter(self._folds))]
        return history

    def __len__(self) -> int:
        return len(self._folds)
