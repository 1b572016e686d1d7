"""What `read` and `read_run` hand out: an iterator that holds nothing open between two rows.

A class and not an async generator, since trio cannot tell a generator that was left early from one that was forgotten
and warns of both. Here there is nothing to forget: each batch is fetched whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from mob.history.rows import Stored


class RowReader(AsyncIterator[Stored]):
    """Rows in order. `fetch` gives the next rows, perhaps none of them wanted; None after the last."""

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[Stored] | None]]) -> None:
        self._fetch = fetch
        self._rows: deque[Stored] = deque()

    async def __anext__(self) -> Stored:
        while not self._rows:
            rows = await self._fetch()
            if rows is None:
                raise StopAsyncIteration
            self._rows.extend(rows)
        return self._rows.popleft()
