"""One member's place in the mob: its session of the moment, and what happens when that ends (law 22).

Theory. The states of a host, and what moves it:

    starting ──session runs──> running ──crash──> restarting ──after the back-off, generation + 1──> running
                               running ──crash, once too often──> failed
    starting, running, restarting ──retire──> retired
    any ──the mob stops──> stopped

Each generation runs in a scope of its own inside this host's task. What it raises ends that generation and nothing
else: it is written as MemberEnded, together with the move of the floor if it had it, and the policy says what is next.
A new generation has a new session, made from the member's rows as the log has them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import trio

from mob.definition.model import ModelCapabilities, Profile
from mob.errors import MemberFailed, MemberNotRunning, MobError, StoreError
from mob.history.items import Cause, Note, Turn
from mob.history.rows import MemberEnded, MemberSpawned
from mob.sessions.events import ErrorOccurred, MemberChanged, RunEvent
from mob.sessions.mailbox import Answer, Letter
from mob.sessions.session import Session
from mob.team.changes import Changes
from mob.team.restart import RestartPolicy
from mob.values import Image

_HUSH_S = 2.0

_log = logging.getLogger(__name__)

HostState = Literal["starting", "running", "restarting", "failed", "retired", "stopped"]

WriteEnd = Callable[[MemberEnded], Awaitable[None]]
WriteStart = Callable[[MemberSpawned], Awaitable[None]]
MakeSession = Callable[["MemberHost"], Awaitable[Session]]


class MemberHost:
    """Keeps one identity alive. `make` builds the session of the host's generation; `began` and `ended` write rows.

    `changed` is called after every change of `state`. `overrides` are the keys it was spawned with, for the log.
    """

    def __init__(
        self,
        identity: str,
        *,
        profile_name: str,
        overrides: Mapping[str, Any],
        profile: Profile,
        model: ModelCapabilities,
        generation: int,
        policy: RestartPolicy,
        make: MakeSession,
        began: WriteStart,
        ended: WriteEnd,
        changed: Callable[[MemberHost], None],
        publish: Callable[[RunEvent], object],
    ) -> None:
        self.identity = identity
        self.profile_name = profile_name
        self.overrides = dict(overrides)
        self.profile = profile
        self.model = model
        self.generation = generation
        self.state: HostState = "starting"
        self.last_session: Session | None = None
        self._policy = policy
        self._make = make
        self._began = began
        self._ended = ended
        self._changed = changed
        self._publish = publish
        self._scope = trio.CancelScope()
        self._gone = trio.Event()
        self._talking = 0
        self._letters: list[Letter] = []

    @property
    def spawned(self) -> MemberSpawned:
        """The row that begins the host's generation."""
        return MemberSpawned(self.identity, self.generation, self.profile_name, self.model.id, self.overrides)

    @property
    def session(self) -> Session:
        """The running session. MemberNotRunning says what became of it."""
        if self.state == "running" and self.last_session is not None and self.last_session.running:
            return self.last_session
        if self.state == "failed":
            raise MemberFailed(f"{self.identity} failed and is not restarted; respawn it to have it back")
        raise MemberNotRunning(f"{self.identity} is {self.state} and takes no messages")

    @property
    def busy(self) -> bool:
        """Whether it has something to do: a turn, a message, a start."""
        if self._talking or self.state in ("starting", "restarting"):
            return True
        if any(not letter.ended for letter in self._letters):
            return True
        session = self.last_session
        if self.state != "running" or session is None:
            return False
        counts = session.statistics()
        return bool(counts.desk.running or counts.desk.waiting or counts.mailbox.waiting)

    @property
    def talks_with_the_user(self) -> bool:
        """Whether the turn that runs now is the human's, or one by which the human was handed over."""
        cause = self.last_session.turn_cause if self.last_session is not None else None
        return cause is not None and cause.kind not in ("ask", "tell", "context")

    # Talking with it: mob.team.post.Recipient, and what the team itself says.

    def check_room(self) -> None:
        """MailboxFull, MemberNotRunning, MemberFailed: when it could not take a message now."""
        self.session.check_room()

    async def answer(self, text: str, *, cause: Cause, timeout_s: float) -> str:
        """Run one turn on this text; its words."""
        return (await self.ask(text, cause=cause, timeout=timeout_s)).text

    async def ask(
        self,
        text: str,
        *,
        cause: Cause,
        timeout: float | None = None,
        context: Sequence[Note] = (),
        images: Sequence[Image] = (),
    ) -> Answer:
        """Run one turn on this text, or on the notes alone when the text is empty. See Session.ask."""
        session = self.session
        self._talking += 1
        try:
            return await session.ask(text, cause=cause, timeout=timeout, context=context, images=images)
        finally:
            self._talking -= 1

    async def inject(self, text: str, *, kind: str) -> Turn:
        """Tell it something and ask nothing. See Session.inject."""
        session = self.session
        self._talking += 1
        try:
            return await session.inject(text, kind=kind)
        finally:
            self._talking -= 1

    def tell(self, text: str, *, cause: Cause, images: Sequence[Image] = ()) -> Letter:
        """Say something and go on; the letter says how it ended. See Session.tell_nowait."""
        letter = self.session.tell_nowait(text, cause=cause, images=images)
        self._letters = [each for each in self._letters if not each.ended]
        self._letters.append(letter)
        return letter

    def rebind(self, profile: Profile, model: ModelCapabilities) -> None:
        """Be this from the next turn on, in the generations to come as well. See Session.rebind."""
        self.session.rebind(profile, model)
        self.profile, self.model = profile, model

    async def hush(self, changes: Changes) -> None:
        """Cut what it says to the human, if it does, and wait until that turn is in the log; bounded."""
        if not self.talks_with_the_user:
            return
        with suppress(MobError):  # it ends by itself just now, or it stops
            await self.session.interrupt()
        with trio.move_on_after(_HUSH_S):
            await changes.until(lambda: not self.talks_with_the_user)

    # Its life.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until retired or stopped, or until it fails for good. Started when it runs, or has failed to."""
        try:
            with self._scope:
                await self._live(task_status)
        finally:
            if self.state not in ("failed", "retired"):
                self._show("stopped")
            self._gone.set()

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        started = task_status
        while True:
            crash = await self._run_generation(started)
            started = trio.TASK_STATUS_IGNORED
            if crash is None:
                return
            delay = self._policy.crashed(trio.current_time())
            self._show("failed" if delay is None else "restarting")
            _log.error("%s, generation %d, crashed", self.identity, self.generation, exc_info=crash)
            recovery: Literal["fatal", "retry"] = "fatal" if delay is None else "retry"
            self._tell("member_crashed", f"{self.identity} crashed: {_words(crash)}", recovery)
            reason = "failed" if delay is None else "crashed"
            await self._written(self._ended(MemberEnded(self.identity, self.generation, reason, _words(crash))))
            if delay is None:
                return
            await trio.sleep(delay)
            self.generation += 1
            if not await self._written(self._began(self.spawned)):
                self._show("failed")
                return

    async def _run_generation(self, started: trio.TaskStatus[None]) -> Exception | BaseExceptionGroup[Exception] | None:
        """Run a session to its end. None: it ended as it should; else what it raised."""
        try:
            session = self.last_session = await self._make(self)
            async with trio.open_nursery() as nursery:
                await nursery.start(session.run)
                self._show("running")
                started.started()
        except Exception as crash:  # whatever it is, it is this member's alone
            if started is not trio.TASK_STATUS_IGNORED and self.state == "starting":
                started.started()
            return crash
        return None

    async def _written(self, row: Awaitable[None]) -> bool:
        """Whether the row could be written; a store that cannot is told of, and ends nobody else."""
        try:
            await row
        except StoreError as error:
            self._tell(error.code, f"{self.identity}: {error.message}", "fatal")
            return False
        return True

    async def retire(self) -> None:
        """Finish what it does within its shutdown time, then end. Returns when nothing of it is left."""
        session = self.last_session
        if self.state == "running" and session is not None:
            self._show("retired")
            await session.stop()
        self._show("retired")
        self._scope.cancel()
        await self._gone.wait()

    def cancel(self, *, within_s: float) -> None:
        """End it now; what is still to be written is written within this time, or not at all."""
        if self.last_session is not None:
            self.last_session.cancel(within_s=within_s)
        self._scope.cancel()

    def _show(self, state: HostState) -> None:
        if state == self.state:
            return
        self.state = state
        if state != "stopped":
            shown = "idle" if state == "running" else state
            self._publish(MemberChanged(member=self.identity, state=shown, generation=self.generation))
        self._changed(self)

    def _tell(self, code: str, message: str, recovery: Literal["fatal", "retry"]) -> None:
        self._publish(ErrorOccurred(member=self.identity, error_class=code, message=message, recovery=recovery))


def _words(crash: BaseException) -> str:
    """The first thing that went wrong, in one line, without a traceback."""
    while isinstance(crash, BaseExceptionGroup):
        crash = crash.exceptions[0]
    text = crash.message if isinstance(crash, MobError) else str(crash)
    return f"{type(crash).__name__}: {text}"[:500]
