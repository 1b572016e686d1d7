"""The SQLite file: its shape, how it is opened, and what its errors mean. Everything here is synchronous.

    runs   one line per run, with the counts that `mob history` shows, kept up to date by each append
    log    all rows of all runs; `place` is the run's number and the row's sequence number in one integer, so that
           the table's own tree is the only index: an append goes to the end of its run, and a range of a run is a
           range of the table

The file carries mob's application id and a format number; anything else is refused before a byte is changed. It is
made readable by its owner only, and is in WAL mode: readers never wait for the writer, and an append is a piece of the
write-ahead log that either ends in a commit frame or does not count (law 6).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from attrs import frozen

from mob.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked

Durability = Literal["full", "normal"]

BUSY_TIMEOUT_S = 2.0
"""How long to wait for another process's transaction before StoreLocked."""

_APPLICATION_ID = 0x6D6F6221  # "mob!"
_FORMAT = 1
_SEQ_BITS = 40
_WAL_KEPT_BYTES = 16 * 1024 * 1024
_SCHEMA = (
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, mob TEXT NOT NULL,"
    " started_at REAL NOT NULL, rows INTEGER NOT NULL, turns INTEGER NOT NULL, stopped INTEGER NOT NULL)",
    "CREATE TABLE log (place INTEGER PRIMARY KEY, at REAL NOT NULL, member TEXT, kind TEXT NOT NULL,"
    " body BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)


def place(run_number: int, seq: int) -> int:
    """The key of a row in the table `log`."""
    return (run_number << _SEQ_BITS) + seq


def seq_at(place: int) -> int:
    """The sequence number in such a key."""
    return place & ((1 << _SEQ_BITS) - 1)


@frozen(slots=True)
class RunLine:
    """A run's line in the table `runs`, which agrees with its log."""

    number: int
    run_id: str
    mob: str
    started_at: float
    rows: int
    turns: int
    stopped: bool


def list_runs(connection: sqlite3.Connection, path: Path) -> tuple[RunLine, ...]:
    """All runs, oldest first. StoreCorrupt."""
    return tuple(
        _run_line(columns, path) for columns in connection.execute(f"{_SELECT_RUN} ORDER BY started_at, number")
    )


def find_run(connection: sqlite3.Connection, path: Path, run_id: str) -> RunLine | None:
    """The run of this id. StoreCorrupt."""
    columns = connection.execute(f"{_SELECT_RUN} WHERE run_id = ?", (run_id,)).fetchone()
    return None if columns is None else _run_line(columns, path)


def _run_line(columns: tuple[Any, ...], path: Path) -> RunLine:
    number, run_id, mob, started_at, rows, turns, stopped, last = columns
    if tuple(map(type, columns[:-1])) != (int, str, str, float, int, int, int):
        raise StoreCorrupt(f"{path}: the line of run {run_id!r} holds something else than a run; bring back a copy")
    if last != (place(number, rows) if rows else None):
        raise StoreCorrupt(f"{path}: run {run_id!r} counts {rows} rows, and its log ends elsewhere; bring back a copy")
    return RunLine(number, run_id, mob, started_at, rows, turns, bool(stopped))


_SELECT_RUN = (
    "SELECT number, run_id, mob, started_at, rows, turns, stopped, (SELECT max(place) FROM log"
    f" WHERE place >= number << {_SEQ_BITS} AND place < (number + 1) << {_SEQ_BITS}) FROM runs"
)


def open_for_writing(path: Path, durability: Durability) -> sqlite3.Connection:
    """A connection that may write; the file is made when it is not there. Usable from any one thread at a time.

    StoreError, StoreLocked, StoreCorrupt, StoreFull.
    """
    with told_as_store_errors(path):
        _create_file(path)
        connection = _connect(path, "rw", BUSY_TIMEOUT_S)
        try:
            if _is_empty(connection, path):
                _initialise(connection, path)
            _set_modes(connection, path, durability)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def open_for_reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that only reads, for one short query; None when there is no log. It does not wait: StoreLocked."""
    if not path.exists():
        yield None
        return
    with told_as_store_errors(path), closing(_connect(path, "ro", 0)) as connection:
        yield None if _is_empty(connection, path) else connection


@contextmanager
def told_as_store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into the store's errors, with what to do about it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    except UnicodeDecodeError as error:
        raise StoreCorrupt(f"{path}: text that is not UTF-8 ({error}); bring back a copy") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; check the directory and its permissions") from error


def _translate(error: sqlite3.Error, path: Path) -> StoreError:
    extended = getattr(error, "sqlite_errorcode", 0)
    match extended & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"{path}: no room to write ({error}); free some, nothing that was committed is lost")
        case sqlite3.SQLITE_IOERR if extended in _REFUSED_WRITES:
            return StoreFull(
                f"{path}: the system refused a write ({error}): the disk, a quota or a file size limit; "
                "make room, nothing that was committed is lost"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"{path}: another process holds the file ({error}); try again when it is done")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(f"{path}: not a whole SQLite file ({error}); bring back a copy, or name another file")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreError(f"{path}: cannot be opened ({error}); check the directory and its permissions")
        case _:
            return StoreError(f"{path}: {error}")


_REFUSED_WRITES = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_TRUNCATE)


def _create_file(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"{path} is a directory; name a file in it")
    if not path.parent.is_dir():
        raise StoreError(f"the directory {path.parent} does not exist; make it, or name another file")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


def _connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _is_empty(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file holds nothing yet. StoreCorrupt when it holds something else than a log of ours."""
    application_id = _pragma(connection, "application_id")
    if application_id == _APPLICATION_ID:
        written = _pragma(connection, "user_version")
        if written != _FORMAT:
            raise StoreCorrupt(
                f"{path} is a mob log of format {written}, and this mob reads format {_FORMAT}; "
                "read it with the mob that wrote it, or update this one"
            )
        return False
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id or tables:
        raise StoreCorrupt(f"{path} is an SQLite file of another program, not a mob log; name another file")
    return True


def _initialise(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection):
        if _is_empty(connection, path):  # nobody else did it while we waited for the lock
            for statement in _SCHEMA:
                connection.execute(statement)


def _set_modes(connection: sqlite3.Connection, path: Path, durability: Durability) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path}: this file system cannot keep a write-ahead log; put the file on a local disk")
    connection.execute(f"PRAGMA synchronous = {durability}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
