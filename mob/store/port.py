"""The port of the log: what every store can do. `memory.py` and `sqlite.py` are the two that ship.

Rules any implementation keeps (they are the conformance suite of `tests/store/`):
- `append` is one transaction: all of its rows, in order, or none; when it returns they are durable;
- sequence numbers count 1, 2, 3, … within a run, without gaps;
- one writer per run: `open_run` refuses a run that is open elsewhere with StoreLocked;
- what `append` costs does not depend on how long the log is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from attrs import frozen

from mob.history.rows import Row, Stored


@frozen(slots=True)
class RunInfo:
    """One line of `mob history`: unix seconds, counts."""

    run_id: str
    mob: str
    started_at: float
    rows: int
    turns: int
    stopped: bool


class RunLog(Protocol):
    """The log of one run, open for writing by this process alone."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def last_seq(self) -> int:
        """The sequence number of the last durable row, 0 for an empty log."""
        ...

    async def append(self, *rows: Row) -> tuple[Stored, ...]:
        """Write these rows as one transaction; durable when it returns. StoreFull, StoreError.

        Cancelling a waiting append leaves it either wholly written or not at all.
        """
        ...

    def read(self, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()) -> AsyncIterator[Stored]:
        """The durable rows after `after`, in order; of one member, of some kinds, or all."""
        ...


class Store(Protocol):
    """Where runs are kept."""

    def open_run(self, run_id: str, *, create: bool) -> AbstractAsyncContextManager[RunLog]:
        """Open a run for writing. RunUnknown when it is not there and `create` is False; StoreLocked."""
        ...

    async def runs(self) -> tuple[RunInfo, ...]:
        """All runs, oldest first. Needs no lock."""
        ...

    def read_run(
        self, run_id: str, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()
    ) -> AsyncIterator[Stored]:
        """Read a run without opening it for writing; see RunLog.read. RunUnknown."""
        ...
