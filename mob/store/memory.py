"""A store in memory, for tests and for runs that nobody will want to read again. It keeps every rule of the port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from attrs import define, field, frozen

from mob.clock import wall_clock
from mob.errors import RunUnknown, StoreError, StoreLocked
from mob.history.rows import Row, RunStarted, RunStopped, Stored, TurnRow, member_of
from mob.store.port import RunInfo
from mob.store.reader import RowReader


@frozen(slots=True)
class MemoryStoreStatistics:
    """Runs kept, runs open for writing, rows of all runs."""

    runs: int
    open_runs: int
    rows: int


@define(slots=True)
class _Run:
    run_id: str
    started_at: float
    rows: list[Stored] = field(factory=list)
    mob: str = ""
    turns: int = 0
    stopped: bool = False
    open: bool = False

    def add(self, at: float, rows: Sequence[Row]) -> tuple[Stored, ...]:
        first = len(self.rows) + 1
        stored = tuple(Stored(seq, at, row) for seq, row in enumerate(rows, first))
        self.rows.extend(stored)
        for row in rows:
            match row:
                case TurnRow():
                    self.turns += 1
                case RunStarted(mob=mob):
                    self.mob, self.stopped = mob, False
                case RunStopped():
                    self.stopped = True
        return stored


class MemoryStore:
    """Runs in this process's memory. `wall` gives unix seconds for the rows; by default the run's own clock does."""

    def __init__(self, *, wall: Callable[[], float] | None = None) -> None:
        self._wall = wall
        self._runs: dict[str, _Run] = {}

    @asynccontextmanager
    async def open_run(self, run_id: str, *, create: bool) -> AsyncIterator[MemoryLog]:
        """Open a run for writing, a new one if it is not there and `create`. RunUnknown, StoreLocked."""
        await trio.lowlevel.checkpoint()
        wall = self._wall or wall_clock()
        if create and run_id not in self._runs:
            self._runs[run_id] = _Run(run_id, started_at=wall())
        run = self._known(run_id)
        if run.open:
            raise StoreLocked(f"run {run_id!r} is being written already; close it there first")
        run.open = True
        log = MemoryLog(run, wall)
        try:
            yield log
        finally:
            log.close()

    async def runs(self) -> tuple[RunInfo, ...]:
        """All runs, oldest first."""
        await trio.lowlevel.checkpoint()
        return tuple(
            RunInfo(run.run_id, run.mob, run.started_at, len(run.rows), run.turns, run.stopped)
            for run in self._runs.values()
        )

    def read_run(
        self, run_id: str, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()
    ) -> AsyncIterator[Stored]:
        """The run's rows as of the first, in order. RunUnknown, when the first is asked for."""
        return _reader(lambda: self._known(run_id), member=member, after=after, kinds=kinds)

    def _known(self, run_id: str) -> _Run:
        try:
            return self._runs[run_id]
        except KeyError:
            raise RunUnknown(
                f"there is no run {run_id!r} in memory; nothing of a run in memory outlives its process"
            ) from None

    def statistics(self) -> MemoryStoreStatistics:
        """Counts, as of now."""
        runs = self._runs.values()
        return MemoryStoreStatistics(len(runs), sum(run.open for run in runs), sum(len(run.rows) for run in runs))


class MemoryLog:
    """One run, open for writing."""

    def __init__(self, run: _Run, wall: Callable[[], float]) -> None:
        self._run = run
        self._wall = wall
        self._closed = False

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def last_seq(self) -> int:
        """The sequence number of the last row, 0 for an empty log."""
        return len(self._run.rows)

    async def append(self, *rows: Row) -> tuple[Stored, ...]:
        """Write these rows together; see the port. Cancelled means that nothing was written."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StoreError(f"the log of run {self.run_id!r} is closed; open the run again to write to it")
        stored = self._run.add(self._wall(), rows)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return stored

    def read(self, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()) -> AsyncIterator[Stored]:
        """The rows after `after`, as of the first that is read, in order."""
        return _reader(lambda: self._run, member=member, after=after, kinds=kinds)

    def close(self) -> None:
        """Give the run free. Happens when the block of `open_run` is left."""
        self._closed = True
        self._run.open = False


def _reader(find: Callable[[], _Run], *, member: str | None, after: int, kinds: Sequence[str]) -> RowReader:
    done = False

    async def fetch() -> Sequence[Stored] | None:
        nonlocal done
        await trio.lowlevel.checkpoint()
        if done:
            return None
        done = True
        return [
            stored
            for stored in find().rows[max(after, 0) :]
            if (member is None or member_of(stored.row) == member) and (not kinds or stored.row.kind in kinds)
        ]

    return RowReader(fetch)
