"""The one who writes a run: holds its lease and its connection, and commits appends.

Synchronous; used by one thread at a time, whichever that is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from attrs import define, evolve

from mob.errors import RunUnknown
from mob.history.codec import encode
from mob.history.rows import Row, RunStarted, RunStopped, Stored, TurnRow, member_of
from mob.store.database import Durability, find_run, open_for_writing, place, told_as_store_errors, transaction
from mob.store.lease import Lease

_CREATE = "INSERT INTO runs (run_id, mob, started_at, rows, turns, stopped) VALUES (?, '', ?, 0, 0, 0)"
_INSERT = "INSERT INTO log (place, at, member, kind, body) VALUES (?, ?, ?, ?, ?)"
_UPDATE = "UPDATE runs SET mob = ?, rows = ?, turns = ?, stopped = ? WHERE number = ?"


@define(slots=True, eq=False)
class Append:
    """Rows that are written together, encoded already. `stored` is the outcome when there was no error."""

    at: float
    rows: Sequence[Row]
    bodies: Sequence[bytes]
    stored: tuple[Stored, ...] = ()
    error: Exception | None = None

    @classmethod
    def of(cls, at: float, rows: Sequence[Row]) -> Append:
        """Encode the rows; this is where a row that cannot be written fails."""
        return cls(at, rows, [encode(row) for row in rows])


@define(slots=True)
class _Counts:
    """The run's line in the table `runs`, as the next commit leaves it."""

    mob: str
    rows: int
    turns: int
    stopped: bool

    def add(self, rows: Sequence[Row]) -> None:
        self.rows += len(rows)
        for row in rows:
            match row:
                case TurnRow():
                    self.turns += 1
                case RunStarted(mob=mob):
                    self.mob, self.stopped = mob, False
                case RunStopped():
                    self.stopped = True


class Committer:
    """A run of a file, leased for writing until `close`.

    Opening raises RunUnknown when the run is not there and `create` is False, and StoreLocked, StoreCorrupt, StoreFull
    or StoreError. `created_at` is unix seconds, for a run that is made.
    """

    def __init__(self, path: Path, run_id: str, *, create: bool, created_at: float, durability: Durability) -> None:
        if not create and not path.exists():
            raise RunUnknown(f"there is no run {run_id!r}: {path} does not exist")
        self._path = path
        with ExitStack() as stack:
            stack.enter_context(told_as_store_errors(path))
            self._connection = stack.enter_context(closing(open_for_writing(path, durability)))
            self._number = self._find_or_create(run_id, create=create, created_at=created_at)
            self._lease = Lease(path, self._number, run_id)
            stack.callback(self._lease.release)
            self._counts = self._read_counts(run_id)
            self._on_close = stack.pop_all()

    @property
    def last_seq(self) -> int:
        """The sequence number of the last durable row."""
        return self._counts.rows

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes."""
        return self._connection

    def commit(self, appends: Sequence[Append]) -> None:
        """Write these appends in one transaction, each one's rows in a row. All are durable then, or none is."""
        counts = evolve(self._counts)
        stored: list[tuple[Stored, ...]] = []
        with told_as_store_errors(self._path), transaction(self._connection):
            for append in appends:
                stored.append(
                    tuple(Stored(seq, append.at, row) for seq, row in enumerate(append.rows, counts.rows + 1))
                )
                self._insert(append, counts.rows + 1)
                counts.add(append.rows)
            self._connection.execute(_UPDATE, (counts.mob, counts.rows, counts.turns, counts.stopped, self._number))
        self._counts = counts
        for append, rows in zip(appends, stored, strict=True):
            append.stored = rows

    def close(self) -> None:
        """Close the file and give up the lease."""
        self._on_close.close()

    def _insert(self, append: Append, first_seq: int) -> None:
        self._connection.executemany(
            _INSERT,
            [
                (place(self._number, seq), append.at, member_of(row), row.kind, body)
                for seq, (row, body) in enumerate(zip(append.rows, append.bodies, strict=True), first_seq)
            ],
        )

    def _find_or_create(self, run_id: str, *, create: bool, created_at: float) -> int:
        """The run's number; a run that is not there is made, if it may be."""
        with transaction(self._connection):
            found = find_run(self._connection, self._path, run_id)
            if found is not None:
                return found.number
            if not create:
                raise RunUnknown(f"there is no run {run_id!r} in {self._path}; `mob history` lists those that are")
            cursor = self._connection.execute(_CREATE, (run_id, created_at))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def _read_counts(self, run_id: str) -> _Counts:
        """The run's line as it is now that nobody else can write it."""
        line = find_run(self._connection, self._path, run_id)
        assert line is not None, "a run is never taken away"
        return _Counts(line.mob, line.rows, line.turns, line.stopped)
