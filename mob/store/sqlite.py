"""Runs in one SQLite file: the store of `mob run`, durable against a power cut unless told otherwise.

Writing a run takes its lease (one writer per run, across processes) and a writer thread; see `writer.py`. Reading needs
neither: it asks for a few rows at a time over a connection of its own that is closed before the next row is handed out,
so an abandoned reader leaves nothing open and no reader holds the write-ahead log back.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio
from attrs import define, frozen

from mob.clock import is_virtual_time, wall_clock
from mob.errors import RunUnknown, StoreCorrupt, StoreError, StoreLocked, UsageError
from mob.history.codec import decode
from mob.history.rows import Row, Stored
from mob.store.committer import Committer
from mob.store.database import BUSY_TIMEOUT_S, Durability, find_run, list_runs, open_for_reading, place, seq_at
from mob.store.port import RunInfo
from mob.store.reader import RowReader
from mob.store.writer import LoopWriter, ThreadWriter, Writer, WriterStatistics

_T = TypeVar("_T")

_ROWS_AT_ONCE = 64
_RETRY_S = 0.02
_MAX_RUN_ID = 200


@frozen(slots=True)
class SqliteStoreStatistics:
    """`open_runs`: runs this store has open for writing. `queries`: how often it read from the file."""

    open_runs: int
    queries: int


class SqliteStore:
    """Runs in the SQLite file at `path`, which is made (readable by its owner only) when the first run is opened.

    `durability`: "full" survives a power cut; "normal" survives the end of the process, and may lose the last turns to
    a power cut. `in_loop` commits without a thread; None: exactly when trio's clock is virtual. `wall` gives unix
    seconds for the rows; by default wall time at opening plus the time elapsed on trio's clock.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        in_loop: bool | None = None,
        wall: Callable[[], float] | None = None,
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self._durability = durability
        self._in_loop = in_loop
        self._wall = wall
        self._open_runs = 0
        self._queries = 0

    @asynccontextmanager
    async def open_run(self, run_id: str, *, create: bool) -> AsyncIterator[SqliteLog]:
        """Open a run for writing, a new one if it is not there and `create`.

        RunUnknown, StoreLocked (another writer has the run, or another program the file), StoreCorrupt (not a mob log,
        or one of a newer format), StoreFull, StoreError, UsageError for an id that cannot be one. Leaving the block
        writes what still waits, and leaves no thread, no lease and no open file.
        """
        _check_run_id(run_id)
        wall = self._wall or wall_clock()
        open_committer = partial(
            Committer, self.path, run_id, create=create, created_at=wall(), durability=self._durability
        )

        writer: Writer
        if is_virtual_time() if self._in_loop is None else self._in_loop:
            writer = LoopWriter(open_committer)
        else:
            writer = ThreadWriter(open_committer, name=f"mob store: {run_id}")
        await writer.start()
        log = SqliteLog(self, run_id, writer, wall)
        self._open_runs += 1
        try:
            yield log
        finally:
            self._open_runs -= 1
            await log.aclose()

    async def runs(self) -> tuple[RunInfo, ...]:
        """All runs, oldest first; none when there is no file. StoreError, StoreCorrupt, StoreLocked."""
        lines = await self.ask(partial(list_runs, path=self.path)) or ()
        return tuple(
            RunInfo(line.run_id, line.mob, line.started_at, line.rows, line.turns, line.stopped) for line in lines
        )

    def read_run(
        self, run_id: str, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()
    ) -> AsyncIterator[Stored]:
        """The run's rows after `after`, in order; of one member, of some kinds, or all.

        RunUnknown; StoreCorrupt names the row that cannot be read.
        """
        _check_run_id(run_id)
        return RowReader(_Reading(self, run_id, member, kinds, after).fetch)

    def statistics(self) -> SqliteStoreStatistics:
        """Counts, as of now."""
        return SqliteStoreStatistics(self._open_runs, self._queries)

    async def ask(self, query: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Run a short query; None when there is no log. Waits (without blocking the loop) while the file is held."""
        self._queries += 1
        deadline = trio.current_time() + BUSY_TIMEOUT_S
        await trio.lowlevel.checkpoint()
        while True:
            try:
                with open_for_reading(self.path) as connection:
                    return None if connection is None else query(connection)
            except StoreLocked:
                if trio.current_time() >= deadline:
                    raise
            await trio.sleep(_RETRY_S)


class SqliteLog:
    """One run, open for writing."""

    def __init__(self, store: SqliteStore, run_id: str, writer: Writer, wall: Callable[[], float]) -> None:
        self._store = store
        self._run_id = run_id
        self._writer = writer
        self._wall = wall
        self._closed = False

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run_id

    @property
    def last_seq(self) -> int:
        """The sequence number of the last durable row, 0 for an empty log."""
        return self._writer.last_seq

    async def append(self, *rows: Row) -> tuple[Stored, ...]:
        """Write these rows as one transaction; durable when it returns. StoreFull, StoreLocked, StoreError.

        After an error the log is as it was, and can be appended to. Cancelled means that nothing was written.
        """
        if self._closed:
            raise StoreError(f"the log of run {self._run_id!r} is closed; open the run again to write to it")
        if not rows:
            await trio.lowlevel.checkpoint()
            return ()
        return await self._writer.write(self._wall(), rows)

    def read(self, *, member: str | None = None, after: int = 0, kinds: Sequence[str] = ()) -> AsyncIterator[Stored]:
        """The durable rows after `after`, in order, as of the first read; of one member, of some kinds, or all."""
        return self._store.read_run(self._run_id, member=member, after=after, kinds=kinds)

    def statistics(self) -> WriterStatistics:
        """What was written since the run was opened."""
        return self._writer.statistics()

    async def aclose(self) -> None:
        """Write what waits and give the run free. Happens when the block of `open_run` is left."""
        self._closed = True
        await self._writer.aclose()


@define(slots=True)
class _Reading:
    """Where one reader stands. `last` is the end of the log when it began, None before that."""

    store: SqliteStore
    run_id: str
    member: str | None
    kinds: Sequence[str]
    after: int
    number: int = 0
    last: int | None = None

    async def fetch(self) -> Sequence[Stored] | None:
        """The rows among the next few that are wanted; None at the end."""
        if self.last is None:
            found = await self.store.ask(partial(find_run, path=self.store.path, run_id=self.run_id))
            if found is None:
                raise RunUnknown(
                    f"there is no run {self.run_id!r} in {self.store.path}; `mob history` lists those that are"
                )
            self.number, self.last = found.number, found.rows
            self.after = max(self.after, 0)
        if self.after >= self.last:
            return None
        until = min(self.after + _ROWS_AT_ONCE, self.last)
        span = (place(self.number, self.after + 1), place(self.number, until))
        rows = await self.store.ask(partial(_select_rows, span=span, member=self.member, kinds=self.kinds)) or []
        if self.member is None and not self.kinds and len(rows) != until - self.after:
            raise StoreCorrupt(
                f"{self.store.path}: run {self.run_id!r} lacks rows between {self.after} and {until + 1}"
            )
        self.after = until
        return [self._decode(seq_at(key), at, body) for key, at, body in rows]

    def _decode(self, seq: int, at: object, body: object) -> Stored:
        where = f"{self.store.path}: run {self.run_id!r}, row {seq}"
        if not isinstance(body, bytes) or not isinstance(at, float):
            raise StoreCorrupt(f"{where}: the columns `at` and `body` hold something else than a time and bytes")
        return Stored(seq, at, decode(body, where=where))


def _check_run_id(run_id: str) -> None:
    if not run_id or len(run_id) > _MAX_RUN_ID or not run_id.isprintable():
        raise UsageError(f"{run_id!r:.60} cannot name a run: 1 to {_MAX_RUN_ID} printable characters")


def _select_rows(
    connection: sqlite3.Connection, span: tuple[int, int], member: str | None, kinds: Sequence[str]
) -> list[tuple[int, object, object]]:
    query = "SELECT place, at, body FROM log WHERE place BETWEEN ? AND ?"
    values: list[object] = [*span]
    if member is not None:
        query += " AND member = ?"
        values.append(member)
    if kinds:
        query += f" AND kind IN ({', '.join('?' * len(kinds))})"
        values.extend(kinds)
    return connection.execute(query + " ORDER BY place", values).fetchall()
