"""What a realm keeps beside its log, so that a server that starts again finds its mobs and sessions.

    STATE-ROOT/realms/NAME/
    ├─ realm.json      which store it has (pinned for good), and one record per mob and session
    ├─ config.json     the realm's own configuration, with its generation
    ├─ state.sqlite    the log
    └─ realm.lock      held by whoever changes a file, for as long as that takes

A realm without a name has none of this: it is kept in memory and gone with the process. Files are small, and written
whole beside the old one, which they replace in one step: a reader sees one or the other, and a crash leaves either.
Several servers may have one realm at a time: each changes its own records in the file as it is then, and nothing else.
A record holds what a mob is made of, never what was said: that is in the log, and whether a run has begun is asked
of the log too.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import trio
from attrs import asdict, field, frozen

from mob.clock import is_virtual_time
from mob.errors import RequestInvalid, StoreCorrupt, StoreError, UsageError
from mob.history import codec
from mob.ids import Ids
from mob.jsontext import read_json
from mob.server.realm.config import Layer, Overtaken, RealmConfig, check_head
from mob.store.memory import MemoryStore
from mob.store.port import Store
from mob.store.sqlite import SqliteStore

JSON = dict[str, Any]
Backend = Literal["sqlite", "memory"]
BACKENDS: Final[tuple[Backend, ...]] = ("sqlite", "memory")

_REALM_FILE = "realm.json"
_CONFIG_FILE = "config.json"
_STORE_FILE = "state.sqlite"
_LOCK_FILE = "realm.lock"
_FORMAT = 1
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_MAX_NAME = 100


@frozen(slots=True)
class MobRecord:
    """What a mob is made of: `document`, as JSON; None when it is of a team file, which its starter gives again.

    `hidden`: it is a stand-alone session. `kept` is what doors want back with it. `created_at` is unix seconds.
    """

    mob_id: str
    run_id: str
    created_at: float
    hidden: bool = False
    document: JSON | None = None
    labels: dict[str, str] = field(factory=dict)
    kept: dict[str, JSON] = field(factory=dict)


class RealmFiles:
    """The files of one realm, or none of them (`directory` None). Made by `find_realm`."""

    def __init__(self, name: str, backend: Backend, directory: Path | None, layers: tuple[Layer, ...] = ()) -> None:
        self.name = name
        self.backend = backend
        self.directory = directory
        self.records: dict[str, MobRecord] = {}
        self._writing = trio.Lock()
        head, generation = self._read_config()
        self.config = RealmConfig(layers, head=head, generation=generation, save=self._save_config)
        self._read_records()

    def store(self) -> Store:
        """The realm's log."""
        if self.directory is None or self.backend == "memory":
            return MemoryStore()
        return SqliteStore(self.directory / _STORE_FILE)

    async def put(self, record: MobRecord) -> None:
        """Keep this record, instead of the one of the same mob. StoreError."""
        before = self.records.get(record.mob_id)
        self.records[record.mob_id] = record
        try:
            await self._save(record.mob_id)
        except StoreError:
            if before is None:
                self.records.pop(record.mob_id, None)
            else:
                self.records[record.mob_id] = before
            raise

    async def forget(self, mob_id: str) -> None:
        """Keep it no longer; its log stays. StoreError."""
        if self.records.pop(mob_id, None) is not None:
            await self._save(mob_id)

    # -- files -----------------------------------------------------------------------------------------------------

    async def _save(self, mob_id: str) -> None:
        """Let the record of this mob be in the file as it is here."""
        directory = self.directory
        if directory is None or self.backend == "memory":
            await trio.lowlevel.checkpoint()
            return

        def change() -> None:
            path = directory / _REALM_FILE
            kept = {each["mob_id"]: each for each in _records_in(_read(path), path)}
            record = self.records.get(mob_id)
            if record is None:
                kept.pop(mob_id, None)
            else:
                kept[mob_id] = _shown(record)
            _write(path, _realm_body(self.backend, kept.values()))

        async with self._writing:
            await _locked(directory, change)

    async def _save_config(self, before: JSON, head: JSON, generation: int) -> None:
        directory = self.directory
        if directory is None:
            await trio.lowlevel.checkpoint()
            return

        def change() -> None:
            is_kept = self._read_config()
            if is_kept != (before, generation - 1):
                raise Overtaken(*is_kept)
            _write(directory / _CONFIG_FILE, {"format": _FORMAT, "generation": generation, "config": head})

        async with self._writing:
            await _locked(directory, change)

    def _read_config(self) -> tuple[JSON, int]:
        body = None if self.directory is None else _read(self.directory / _CONFIG_FILE)
        if body is None:
            return {}, 0
        head, generation = body.get("config"), body.get("generation")
        if not isinstance(head, dict) or type(generation) is not int or generation < 0:
            raise StoreCorrupt(
                f"{self.directory}/{_CONFIG_FILE} is not what mob wrote: `config` or `generation` is wrong"
            )
        try:
            check_head(head)
        except RequestInvalid as error:
            raise StoreCorrupt(f"{self.directory}/{_CONFIG_FILE} is not what mob wrote: {error.message}") from None
        return head, generation

    def _read_records(self) -> None:
        if self.directory is None:
            return
        path = self.directory / _REALM_FILE
        records = codec.from_json(_records_in(_read(path), path), tuple[MobRecord, ...], where="records")
        self.records = {record.mob_id: record for record in records}


def find_realm(
    name: str | None, *, root: Path, backend: str | None = None, layers: tuple[Layer, ...] = ()
) -> RealmFiles:
    """The realm of this name under `root`, made when it is not there; None: a fresh one that is kept in memory.

    UsageError for a name that cannot be a directory's, and for another backend than the one it was made with.
    StoreCorrupt, StoreError.
    """
    if backend is not None and backend not in BACKENDS:
        raise UsageError(f"there is no realm backend {backend!r}; there is {' and '.join(BACKENDS)}")
    if name is None:
        if backend == "sqlite":
            raise UsageError("a realm without a name is kept in memory; name it with --realm to have it on disk")
        return RealmFiles(Ids().new("realm"), "memory", None, layers)
    if not name or len(name) > _MAX_NAME or not set(name) <= _NAME_CHARACTERS or name.startswith("."):
        raise UsageError(
            f"{name!r:.60} cannot name a realm: use letters, digits, `.`, `_` and `-`, {_MAX_NAME} at most"
        )
    directory = root / "realms" / name
    body = _read(directory / _REALM_FILE)
    pinned = None if body is None else body.get("backend")
    if pinned is not None and pinned not in BACKENDS:
        raise StoreCorrupt(f"{directory / _REALM_FILE}: {pinned!r} is no backend that this mob knows")
    if None not in (pinned, backend) and pinned != backend:
        raise UsageError(f"the realm {name} was made with the backend {pinned}, and cannot be opened with {backend}")
    chosen: Backend = pinned or ("memory" if backend == "memory" else "sqlite")
    files = RealmFiles(name, chosen, directory, layers)
    if body is None:
        _locked_now(directory, lambda: _begin(directory / _REALM_FILE, chosen))
    return files


def _begin(path: Path, backend: Backend) -> None:
    if _read(path) is None:  # another server may have been faster
        _write(path, _realm_body(backend, ()))


def _realm_body(backend: Backend, records: Iterable[JSON]) -> JSON:
    return {"format": _FORMAT, "backend": backend, "records": list(records)}


def _records_in(body: JSON | None, path: Path) -> list[JSON]:
    """The records of a realm's file, each as it can be read. StoreCorrupt."""
    records: list[JSON] = (body or {}).get("records", [])
    try:
        codec.from_json(records, tuple[MobRecord, ...], where="records")
    except ValueError as error:
        raise StoreCorrupt(f"{path} is not what mob wrote: {error}") from None
    return records


def _shown(record: MobRecord) -> JSON:
    return {name: value for name, value in asdict(record).items() if value is not None}


def _read(path: Path) -> JSON | None:
    try:
        body = read_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StoreCorrupt(f"{path} is not JSON ({error}); it was damaged, or is not mob's") from error
    if not isinstance(body, dict) or body.get("format") != _FORMAT:
        raise StoreCorrupt(f"{path} is not of a format that this mob knows")
    return body


async def _locked(directory: Path, change: Callable[[], None]) -> None:
    """In a thread; in the loop under a virtual clock, where a thread would count as idle. Not cancelled half-way."""
    with trio.CancelScope(shield=True):
        if is_virtual_time():
            await trio.lowlevel.checkpoint()
            _locked_now(directory, change)
        else:
            await trio.to_thread.run_sync(_locked_now, directory, change)


def _locked_now(directory: Path, change: Callable[[], None]) -> None:
    """Change a file of the realm while no other server does. The system gives the lock back when a holder dies."""
    path = directory / _LOCK_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        change()
    finally:
        os.close(file)


def _write(path: Path, body: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            beside.chmod(0o600)
            json.dump(body, file, ensure_ascii=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
