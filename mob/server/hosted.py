"""One mob that a server runs: opened, stopped, resumed and ended by whoever may, and alive in the server's own nursery.

Theory. The states, and what moves it:

    stopped ──start──> running ──stop──> stopped
                       running ──ends by itself──> failed ──start──> running
    any ──end──> ended, for good

A mob that is started again goes on with its run: same log, same histories, next generations. What a run raises ends
that mob and no other.

The task that runs a mob is the only one that stops it. Whoever wants it stopped tells that task why, and may give up
waiting: the mob is stopped all the same. It is stopped, too, when somebody who holds the `Mob` itself has stopped that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

import trio
from attrs import define, field

from mob.definition.model import MobDefinition
from mob.errors import MemberNotRunning, MobError, MobUnknown, SessionIdle
from mob.ids import session_id_of
from mob.server.rooms import Rooms
from mob.team.handles import MemberHandle
from mob.team.running import Mob

_log = logging.getLogger(__name__)

HostedState = Literal["stopped", "running", "failed", "ended"]
Open = Callable[["HostedMob"], AbstractAsyncContextManager[Mob]]


@define(eq=False, slots=True, repr=False)
class HostedMob:
    """A mob of this server. `hidden`: it holds one stand-alone session and is in no list of mobs.

    `created_at` is unix seconds. `document` is the JSON it was created from, if it was; `labels` are its creator's own.
    """

    mob_id: str
    run_id: str
    definition: MobDefinition
    created_at: float
    _open: Open
    _nursery: trio.Nursery
    hidden: bool = False
    document: Mapping[str, object] | None = None
    labels: Mapping[str, str] = field(factory=dict)
    rooms: Rooms = field(factory=Rooms)
    """What doors keep about this mob and, by their identities, about its members."""
    began: bool = False
    """Whether its run is in the store already, so that starting it goes on with it."""
    tried: bool = False
    """Whether starting it was tried and failed."""
    state: HostedState = "stopped"
    reason: str = ""
    _mob: Mob | None = None
    _leave: trio.Event = field(factory=trio.Event)
    _drain: bool = True
    _gone: trio.Event = field(factory=trio.Event)
    _changing: trio.Lock = field(factory=trio.Lock)
    _news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    @property
    def mob(self) -> Mob:
        """The running mob. SessionIdle, MemberNotRunning, MobUnknown say why there is none."""
        if self._mob is not None:
            return self._mob
        if self.state == "ended":
            raise MobUnknown(f"the mob {self.mob_id} was destroyed")
        if not self.began:
            raise SessionIdle(
                f"{self.mob_id} was created and never started: start a turn on it first, or start the mob"
            )
        raise MemberNotRunning(f"the mob {self.mob_id} is {self.state}; resume it first")

    @property
    def running(self) -> bool:
        """Whether there is a running mob."""
        return self._mob is not None

    def begin_anew(self, run_id: str) -> None:
        """Have another run from its next start on, and nothing left of this one. It must not run. MobUnknown."""
        if self.running:
            raise RuntimeError(f"{self.mob_id} runs; stop it before it begins anew")
        if self.state == "ended":
            raise MobUnknown(f"the mob {self.mob_id} was destroyed")
        self.run_id, self.began, self.tried, self.reason = run_id, False, False, ""
        self.state = "stopped"
        self.rooms.clear()

    def respecify(self, definition: MobDefinition, document: Mapping[str, object]) -> None:
        """Be made from this from its next start on."""
        self.definition, self.document = definition, document

    def session_id(self, identity: str) -> str:
        """The id of this member's session."""
        return session_id_of(self.run_id, identity)

    def member(self, identity: str) -> MemberHandle:
        """The member's handle of now; as `mob`, and MemberUnknown."""
        return self.mob.member(identity)

    async def start(self) -> Mob:
        """Run it, again if it was stopped; nothing happens when it runs. One that is being stopped is waited for.

        Raises what opening it raises.
        """
        async with self._changing:
            if self._mob is not None and (self._leave.is_set() or self._mob.state != "running"):
                await self._gone.wait()
            if self._mob is None:
                if self.state == "ended":
                    raise MobUnknown(f"the mob {self.mob_id} was destroyed")
                self._leave, self._gone = trio.Event(), trio.Event()
                await self._nursery.start(self._run)
            return self.mob

    async def retire(self, identity: str) -> None:
        """As `Mob.retire`, and nothing is left of what doors kept about the member. Done though the caller goes."""
        with trio.CancelScope(shield=True):
            await self.mob.retire(identity)
            self.rooms.leave(identity)

    async def wait_running(self) -> Mob:
        """The running mob, as soon as there is one. MobUnknown when it has ended for good."""
        while self._mob is None:
            if self.state == "ended":
                raise MobUnknown(f"the mob {self.mob_id} was destroyed")
            await self._news.park()
        return self._mob

    async def wait_gone(self, mob: Mob) -> None:
        """Return when this running mob is it no more."""
        while self._mob is mob:
            await self._news.park()

    async def stop(self, reason: str = "stopped", *, drain: bool = True) -> None:
        """Stop it within its own bounds, with this reason in its log; nothing happens when it does not run.

        `drain` False: what it does is not finished first. Once begun, stopping goes on though the caller is cancelled.
        """
        async with self._changing:
            if self._mob is not None:
                if not self._leave.is_set():
                    self.reason, self._drain = reason, drain
                    self._leave.set()
                await self._gone.wait()

    async def end(self, reason: str = "destroyed") -> None:
        """Stop it for good."""
        await self.stop(reason)
        self.state = "ended"
        self._news.unpark_all()

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        started = False
        try:
            async with self._open(self) as mob:
                self._mob, self.state, self.began, started = mob, "running", True, True
                self._news.unpark_all()
                task_status.started()
                await self._until_left(mob)
                await mob.stop(self.reason, drain=self._drain)
        except MobError as error:
            if not started:
                raise
            self._failed(error)
        except Exception as error:  # whatever it is, it is this mob's alone
            if not started:
                raise
            self._failed(error)
        finally:
            self.tried = True
            self._mob = None
            if self.state == "running":
                self.state = "stopped"
            self._gone.set()
            self._news.unpark_all()

    async def _until_left(self, mob: Mob) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_with, mob)
            await self._leave.wait()
            nursery.cancel_scope.cancel()

    async def _leave_with(self, mob: Mob) -> None:
        await mob.wait_until(lambda: mob.state == "stopped")
        self._leave.set()

    def _failed(self, error: Exception) -> None:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        self.state, self.reason = "failed", f"{type(cause).__name__}: {cause}"
        _log.error("the mob %s ended by itself", self.mob_id, exc_info=error)
