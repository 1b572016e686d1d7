"""What one server has: its mobs, the sessions in them, its live channels, its store and its configuration.

Every door asks the realm and keeps nothing of its own, so that what one door does is seen by all. A *session* is one
member's conversation; a stand-alone one (`create_session`) is the only member, `agent`, of a hidden mob.

    open_realm
    ├─ hosted mobs          one task each (mob.server.hosted), started and stopped on their own
    ├─ live channels        one task each (mob.server.channels.held)
    └─ the doors            served in the caller's nursery, which ends first
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import frozen

from mob._compose import open_mob
from mob.clock import wall_clock
from mob.definition.model import MobDefinition
from mob.errors import DoorFull, MemberUnknown, MobError, MobExists, MobUnknown, RunUnknown, SessionUnknown
from mob.history.items import Turn
from mob.ids import Ids
from mob.rehearsal.faults import Fault
from mob.server.channels.book import ChannelBook
from mob.server.channels.tokens import TokenBook
from mob.server.hosted import HostedMob
from mob.server.limits import DoorLimits
from mob.server.realm.config import RealmConfig
from mob.server.realm.documents import definition_of
from mob.server.realm.past import PastHistories
from mob.server.realm.records import MobRecord, RealmFiles
from mob.server.realm.standalone import AGENT, spec_of
from mob.store.port import Store
from mob.team.handles import MemberHandle
from mob.team.running import Mob

__all__ = ["AGENT", "Realm", "RealmSettings", "SessionRef", "members_of", "open_realm"]

_log = logging.getLogger(__name__)


@frozen(slots=True)
class RealmSettings:
    """How a realm runs its mobs. `rehearse`, `seed`, `faults`, `environ` as for `mob.open_mob`.

    `instance` names this process to its clients.
    """

    name: str
    rehearse: bool | None = None
    seed: int | None = None
    faults: tuple[Fault, ...] = ()
    environ: Mapping[str, str] | None = None
    instance: str | None = None


@frozen(slots=True)
class SessionRef:
    """A session of the realm: the mob it belongs to, and which member of it."""

    session_id: str
    hosted: HostedMob
    identity: str

    @property
    def stand_alone(self) -> bool:
        """Whether it is a session of its own, rather than a mob's member."""
        return self.hosted.hidden

    @property
    def member(self) -> MemberHandle:
        """The member's handle of now. SessionIdle, MemberNotRunning."""
        return self.hosted.member(self.identity)


class Realm:
    """Made by `open_realm`."""

    def __init__(
        self, settings: RealmSettings, *, files: RealmFiles, store: Store, limits: DoorLimits, nursery: trio.Nursery
    ) -> None:
        self.settings = settings
        self.files = files
        self.store = store
        self.limits = limits
        self.tokens = TokenBook(max_tokens=limits.max_tokens)
        self.channels = ChannelBook(limits, self.tokens, nursery)
        self.wall = wall_clock()
        self._nursery = nursery
        self._ids = Ids()
        self._mobs: dict[str, HostedMob] = {}
        self._past = PastHistories(store, most=limits.max_past_histories)
        self._found: dict[str, SessionRef] = {}

    @property
    def config(self) -> RealmConfig:
        """What a request gets that does not say otherwise."""
        return self.files.config

    # -- mobs ------------------------------------------------------------------------------------------------------

    def add_mob(
        self,
        definition: MobDefinition,
        *,
        mob_id: str | None = None,
        run_id: str | None = None,
        began: bool = False,
        hidden: bool = False,
        document: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
        created_at: float | None = None,
    ) -> HostedMob:
        """A mob of this realm, not started. `began`: it goes on with run `run_id` of the store. MobExists, DoorFull."""
        new = mob_id or definition.id
        if new in self._mobs:
            raise MobExists(f"there is a mob {new!r} here already; destroy it first, or take another id")
        same_kind = sum(hosted.hidden == hidden for hosted in self._mobs.values())
        most = self.limits.max_sessions if hidden else self.limits.max_mobs
        if same_kind >= most:
            raise DoorFull(f"this server has {most} {'sessions' if hidden else 'mobs'}, which is all it takes")
        hosted = HostedMob(
            mob_id=new,
            run_id=run_id or self._ids.new("run"),
            definition=definition,
            created_at=self.wall() if created_at is None else created_at,
            open=self._open,
            nursery=self._nursery,
            hidden=hidden,
            document=document,
            labels=labels or {},
            began=began,
        )
        self._mobs[new] = hosted
        return hosted

    async def add_team(self, definition: MobDefinition, *, run_id: str | None = None, anew: bool = False) -> HostedMob:
        """The mob of a team file, not started: it goes on with the run that an earlier server of this realm began.

        `run_id`: with this run of the store instead. `anew`: with none. MobExists, DoorFull, RunUnknown, StoreError.
        """
        before = self.files.records.get(definition.id)
        if before is not None and (before.document is not None or anew or run_id not in (None, before.run_id)):
            before = None  # what was kept is about another run, or another mob
        begun = {run.run_id for run in await self.store.runs()}
        if run_id is not None and run_id not in begun:
            raise RunUnknown(f"there is no run {run_id!r} to resume; `mob history` lists those that are")
        run_id = run_id if before is None else before.run_id
        created_at = None if before is None else before.created_at
        hosted = self.add_mob(definition, run_id=run_id, began=run_id in begun, created_at=created_at)
        if before is None:
            await self.files.forget(hosted.mob_id)
        await self.keep(hosted)
        return hosted

    def mob(self, mob_id: str) -> HostedMob:
        """The mob of this id. MobUnknown names those that there are."""
        hosted = self._mobs.get(mob_id)
        if hosted is None or hosted.hidden:
            known = ", ".join(hosted.mob_id for hosted in self.mobs) or "none"
            raise MobUnknown(f"this server has no mob {mob_id!r}; it has {known}")
        return hosted

    @property
    def mobs(self) -> tuple[HostedMob, ...]:
        """The mobs, in the order in which they came; without the hidden ones of stand-alone sessions."""
        return tuple(hosted for hosted in self._mobs.values() if not hosted.hidden)

    def mob_is_here(self, hosted: HostedMob) -> bool:
        """Whether this very mob is one of the realm's, and was not ended."""
        return self._mobs.get(hosted.mob_id) is hosted

    async def end_mob(self, hosted: HostedMob, reason: str = "destroyed") -> None:
        """Stop it for good and forget it; its log stays in the store. Once begun, it is done though the caller goes."""
        with trio.CancelScope(shield=True):
            await hosted.end(reason)
            if self.mob_is_here(hosted):
                del self._mobs[hosted.mob_id]
                self._found.clear()
                await self.files.forget(hosted.mob_id)

    async def keep(self, hosted: HostedMob, **kept: dict[str, Any] | None) -> None:
        """Let the next server of this realm find it again, as it is made now. StoreError.

        `kept`: what a door wants back with it (`kept_of`), instead of what it kept under that name; None: nothing. What
        they say is the door's own, and read with care: files can be damaged.
        """
        whole = {**self.kept_of(hosted), **kept}
        record = MobRecord(
            mob_id=hosted.mob_id,
            run_id=hosted.run_id,
            created_at=hosted.created_at,
            hidden=hosted.hidden,
            document=None if hosted.document is None else dict(hosted.document),
            labels=dict(hosted.labels),
            kept={name: dict(value) for name, value in whole.items() if value is not None},
        )
        await self.files.put(record)

    def kept_of(self, hosted: HostedMob) -> Mapping[str, Mapping[str, Any]]:
        """What doors kept with it."""
        record = self.files.records.get(hosted.mob_id)
        return {} if record is None else record.kept

    # -- sessions --------------------------------------------------------------------------------------------------

    def sessions(self) -> Iterator[SessionRef]:
        """Every session there is, those of members included."""
        for hosted in tuple(self._mobs.values()):
            for identity in members_of(hosted):
                yield SessionRef(hosted.session_id(identity), hosted, identity)

    def session(self, session_id: str) -> SessionRef:
        """The session of this id. SessionUnknown."""
        for again in (False, True):
            if again:  # it has come since, or its mob began anew
                self._found = {ref.session_id: ref for ref in self.sessions()}
            ref = self._found.get(session_id)
            if ref is not None and _is_there(ref):
                return ref
        raise SessionUnknown(f"this server has no session {session_id!r}; session/list names those it has")

    def session_of(self, hosted: HostedMob, identity: str) -> SessionRef:
        """The session of a mob's member. MemberUnknown, when the mob runs."""
        if hosted.running:
            hosted.member(identity)
        return SessionRef(hosted.session_id(identity), hosted, identity)

    def add_session(
        self,
        definition: MobDefinition,
        *,
        document: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> SessionRef:
        """A stand-alone session, not started: `definition` has the one member `agent`. DoorFull."""
        run_id = self._ids.new("run")
        hosted = self.add_mob(
            definition, mob_id=f"session:{run_id}", run_id=run_id, hidden=True, document=document, labels=labels
        )
        return SessionRef(hosted.session_id(AGENT), hosted, AGENT)

    async def history(self, ref: SessionRef) -> tuple[Turn, ...]:
        """The session's committed turns, oldest first: also when it does not run. StoreError."""
        if ref.hosted.running and ref.identity in ref.hosted.mob.members:
            return ref.member.history()
        if not ref.hosted.began:
            return ()
        return tuple((await self._past.fold(ref.hosted.run_id, ref.identity)).turns)

    # -- its parts -------------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up what an earlier server of this realm kept, not started. What cannot be made again is logged."""
        if not self.files.records:
            return
        begun = {run.run_id for run in await self.store.runs()}
        for record in tuple(self.files.records.values()):
            if record.document is None or record.mob_id in self._mobs:
                continue
            try:
                self.add_mob(
                    spec_of(record.document).definition if record.hidden else definition_of(record.document),
                    mob_id=record.mob_id,
                    run_id=record.run_id,
                    began=record.run_id in begun,
                    hidden=record.hidden,
                    document=record.document,
                    labels=record.labels,
                    created_at=record.created_at,
                )
            except MobError as error:
                _log.error("%s is kept in this realm and cannot be made again: %s", record.mob_id, error.message)

    async def close(self) -> None:
        """Close every channel and stop every mob, all at once, each within its own bounds."""
        await self.channels.close_all("server_stopped")
        async with trio.open_nursery() as nursery:
            for hosted in self._mobs.values():
                nursery.start_soon(hosted.stop, "server stopped")

    @asynccontextmanager
    async def _open(self, hosted: HostedMob) -> AsyncIterator[Mob]:
        settings = self.settings
        async with open_mob(
            hosted.definition,
            rehearse=settings.rehearse,
            store=self.store,
            run_id=hosted.run_id,
            resume=hosted.began or await self._is_in_store(hosted),
            seed=settings.seed,
            faults=settings.faults,
            environ=os.environ if settings.environ is None else settings.environ,
        ) as mob:
            yield mob

    async def _is_in_store(self, hosted: HostedMob) -> bool:
        """Whether an earlier start that failed has left a beginning of this run: then that is gone on with."""
        return hosted.tried and any(run.run_id == hosted.run_id for run in await self.store.runs())


def _is_there(ref: SessionRef) -> bool:
    """Whether this is still the session of a member that its mob has; whether the mob is here is not looked at."""
    hosted, identity = ref.hosted, ref.identity
    if hosted.session_id(identity) != ref.session_id:
        return False
    if not hosted.running:
        return identity in hosted.definition.members
    try:
        hosted.member(identity)
    except MemberUnknown:
        return False
    return True


def members_of(hosted: HostedMob) -> Sequence[str]:
    """Who is in this mob: those of its running team, else those that it was made of."""
    return tuple(hosted.mob.members) if hosted.running else tuple(hosted.definition.members)


@asynccontextmanager
async def open_realm(
    settings: RealmSettings,
    *,
    files: RealmFiles | None = None,
    store: Store | None = None,
    limits: DoorLimits | None = None,
) -> AsyncIterator[Realm]:
    """A realm, until the block is left: then every mob is drained and stopped. What the block raises comes out bare.

    `files`: what it is kept in; None: in memory. `store`: another log than that of the files. StoreError.
    """
    files = files or RealmFiles(settings.name, "memory", None)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        realm = Realm(
            settings, files=files, store=store or files.store(), limits=limits or DoorLimits(), nursery=nursery
        )
        try:
            await realm.restore()
            yield realm
        except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
            failure = error
        finally:
            with trio.CancelScope(shield=True):
                await realm.close()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
