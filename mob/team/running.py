"""A running team, as its user holds it.

It is stopped in three stages, each visible as `state`:

    draining    nothing new is taken; what runs is finished and played to its end, for a third of `shutdown_timeout_s`
    cancelling  what still runs is cancelled: a turn that had begun is committed as such, its calls end as cancelled
    stopped     RunStopped is in the log, the event stream has ended
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import trio
from attrs import frozen

from mob.clock import wall_clock
from mob.definition.member_overrides import plain_overrides
from mob.definition.model import MobDefinition, Route
from mob.errors import AlreadyOpen, MemberNotRunning, StoreError
from mob.history.items import Cause, Note, Turn
from mob.history.rows import FloorMoved, RunStopped, Stored, Wired
from mob.ids import session_id_of
from mob.live.channel import LiveChannel
from mob.live.network import Dialler
from mob.live.watchdog import Watchdog, WatchdogStatistics
from mob.sessions.budget import BudgetMeter
from mob.sessions.events import (
    AgentTranscribed,
    AgentWriting,
    AgentWrote,
    ErrorOccurred,
    FloorChanged,
    MemberChanged,
    MobStarted,
    MobStopped,
    RunEvent,
    ToolCalled,
)
from mob.sessions.mailbox import Answer
from mob.team.bus import BusStatistics, EventBus, Subscription
from mob.team.changes import Changes
from mob.team.crew import Crew
from mob.team.floor import FloorMachine
from mob.team.handles import MemberHandle
from mob.team.handover import HandOver
from mob.team.host import MemberHost
from mob.team.line import Line
from mob.team.opening import OpenRun
from mob.team.post import Post, PostStatistics
from mob.team.routetools import RouteTools
from mob.team.state import find_turn
from mob.team.teamlog import TeamLog, TeamLogStatistics
from mob.team.tree import Tree
from mob.values import Image, Usage, Via

MobState = Literal["running", "draining", "cancelling", "stopped"]

_SPEECH = (AgentTranscribed, AgentWriting, AgentWrote, ToolCalled)
_SPEAKING = ("speaking", "tool")
_QUIET_S = 0.1
"""For so long nothing may happen before a mob counts as quiet: what was just sent must have time to arrive."""
_DRAIN_SHARE, _WRITE_SHARE, _LAST_SHARE = 0.3, 0.2, 0.1
"""Of the time to stop in. Channels close within half of it, while the last rows are written."""


@frozen(slots=True)
class MobStatistics:
    """What each part of the mob counts. `members` gives each identity's state."""

    state: MobState
    members: dict[str, str]
    log: TeamLogStatistics
    post: PostStatistics
    events: BusStatistics
    watchdog: WatchdogStatistics


class Mob:
    """A running team. Made by `open_supervisor`; any task of the run may call any public method."""

    def __init__(
        self,
        definition: MobDefinition,
        run: OpenRun,
        machine: FloorMachine,
        hosts: dict[str, MemberHost],
        on_line: set[str],
        *,
        dialler: Dialler,
        tree: Tree,
    ) -> None:
        self.state: MobState = "running"
        self._limits = definition.limits
        self._run = run
        self._past = run.state
        self._machine = machine
        self._on_line = on_line
        self._tree = tree
        began = trio.current_time()
        self._bus = EventBus(lambda: trio.current_time() - began)
        self._changes = Changes()
        self._watchdog = Watchdog()
        self._stopped = trio.Event()
        self._line: Line | None = None
        self._budget = BudgetMeter(definition.id, definition.budget)
        self._log = TeamLog(run.log, machine, run.state.floor, self._watch)
        ids = run.ids_of("team")
        self._post = Post(
            self._log,
            run.state.routes,
            limits=definition.limits,
            ids=ids,
            reach=self._reach,
            publish=self._publish,
            nursery=tree.team.nursery,
        )
        self._crew = Crew(
            definition,
            hosts,
            state=run.state,
            machine=machine,
            log=self._log,
            dialler=dialler,
            ids_of=run.ids_of,
            budget=self._budget,
            make_tool=RouteTools(self._post, machine, self._publish).make,
            publish=self._publish,
            wall=wall_clock(),
            watchdog=self._watchdog,
            nursery=tree.members.nursery,
        )
        self._hand_over = HandOver(
            machine,
            self._log,
            timeout_s=definition.limits.hand_off_timeout_s,
            ids=ids,
            speak=self._speak,
            seen=self._seen,
            publish=self._publish,
        )

    # What it is.

    @property
    def run_id(self) -> str:
        """The run's id: what `--resume` and `mob history` take."""
        return self._log.run_id

    @property
    def definition(self) -> MobDefinition:
        """The team file's definition, with the members that were spawned since."""
        return self._crew.definition

    @property
    def floor(self) -> str | None:
        """Whom the human talks with: what the log says."""
        return self._past.floor.holder

    @property
    def members(self) -> Mapping[str, MemberHandle]:
        """A handle of each member's generation of now, retired and failed ones included."""
        return {host.identity: self._handle(host) for host in self._crew}

    @property
    def routes(self) -> tuple[Route, ...]:
        """Who may reach whom in which ways now: the team file's routes with what was wired and unwired since."""
        return self._past.routes.in_force

    @property
    def usage(self) -> Usage:
        """What all members used, over all generations: the sum of theirs."""
        return self._budget.usage

    def member(self, identity: str, generation: int | None = None) -> MemberHandle:
        """A handle of the member's generation of now, or of this one, which may be over. MemberUnknown."""
        return self._handle(self._crew.host(identity), generation)

    def events(self, *, after: int = 0) -> Subscription:
        """The run's events behind number `after`, from the first that is kept; ends when the mob has stopped."""
        return self._bus.subscribe(after=after)

    def statistics(self) -> MobStatistics:
        """Counts, as of now."""
        return MobStatistics(
            state=self.state,
            members={identity: handle.state for identity, handle in self.members.items()},
            log=self._log.statistics(),
            post=self._post.statistics(),
            events=self._bus.statistics(),
            watchdog=self._watchdog.statistics(),
        )

    # Talking with it.

    async def ask(self, text: str, *, timeout: float | None = None, images: Sequence[Image] = ()) -> Answer:
        """Say something to whoever has the floor and wait for the answer. See MemberHandle.ask."""
        return await self.member(self._holder()).ask(text, timeout=timeout, images=images)

    def tell(self, text: str, *, images: Sequence[Image] = ()) -> None:
        """Say something to whoever has the floor and go on. See MemberHandle.tell."""
        self.member(self._holder()).tell(text, images=images)

    async def hand_off(self, to: str) -> None:
        """The human talks with `to` from now on; what the holder says now is cut off.

        MemberUnknown, MemberNotRunning, MemberFailed, StoreError.
        """
        self._take_nothing_new()
        host = self._reach(to)
        holder = self._machine.holder
        if holder is not None and holder != host.identity:
            await self._crew.host(holder).hush(self._changes)
            self._take_nothing_new()
        move = self._machine.picked(to, f"the user asked for {to}")
        if move is not None:
            await self._log.append(move)

    @asynccontextmanager
    async def open_line(self, *, open_channels: bool = True) -> AsyncIterator[Line]:
        """The human's line to whoever has the floor, until the block is left. AlreadyOpen: there is one human.

        `open_channels`: open the live channels of all realtime members at once, so that nobody waits at a hand-over;
        otherwise each when it is first needed.
        """
        self._take_nothing_new()
        if self._line is not None:
            raise AlreadyOpen(f"the line to {self.definition.id} is open already; close that one first")
        line = self._line = Line(
            self._crew.hosts,
            machine=self._machine,
            events=self._bus.subscribe(after=self._bus.statistics().published),
            hand_off=self.hand_off,
            seen=self._seen,
            changes=self._changes,
            check_open=self._take_nothing_new,
            on_line=self._on_line,
            limits=self._limits,
        )
        try:
            await self._tree.team.nursery.start(line.run, open_channels)
            yield line
        finally:
            await line.aclose()
            self._line = None

    @asynccontextmanager
    async def open_channels(self) -> AsyncIterator[Mapping[str, LiveChannel]]:
        """A live channel of each realtime member that runs, by identity, until the block is left. See open_live."""
        async with AsyncExitStack() as stack:
            channels = {
                host.identity: await stack.enter_async_context(host.session.open_live())
                for host in self._crew
                if host.model.realtime and host.state == "running"
            }
            yield channels

    # Changing it.

    async def spawn(self, identity: str, *, profile: str, overrides: Mapping[str, Any] | None = None) -> MemberHandle:
        """Bring in a member of this profile, wired as its role is; a retired one comes back with its history.

        `overrides` are profile keys for this member alone, as a `[members.X]` table has them (texts, numbers, lists,
        tables; no file); they hold for its next generations and for a resumed run.
        UsageError names the key that is wrong. CredentialMissing, StoreError.
        """
        self._take_nothing_new()
        return self._handle(await self._crew.spawn(identity, profile, plain_overrides(overrides or {})))

    async def retire(self, identity: str) -> None:
        """Let a member finish what it does, and go; its history stays. MemberUnknown, MemberNotRunning, StoreError."""
        self._take_nothing_new()
        await self._crew.retire(identity)

    async def respawn(self, identity: str) -> MemberHandle:
        """Begin a member's next generation, with its history; handles of the old one are stale. MemberUnknown, …"""
        self._take_nothing_new()
        return self._handle(await self._crew.respawn(identity))

    async def wire(self, origin: str, to: str, *via: Via) -> None:
        """Let `origin` reach `to` in these ways (ask, when none is named). MemberUnknown, StoreError."""
        await self._rewire(Wired(None, origin, to, via or ("ask",)))

    async def unwire(self, origin: str, to: str, *via: Via) -> None:
        """Take these ways from `origin` to `to` away, or all of them. Messages under way are not affected."""
        await self._rewire(Wired(None, origin, to, via, removed=True))

    async def _rewire(self, row: Wired) -> None:
        self._take_nothing_new()
        self._crew.host(row.origin)
        self._crew.host(row.to)
        await self._post.rewire(row)
        self._crew.update_tools()

    # Its life.

    async def start(self) -> None:
        """Start the members and give somebody the floor; called once, by the supervisor."""
        run, crew = self._run, self._crew
        wanted = run.members(self.definition)
        prepared = [await crew.prepare(each.identity, each.profile, each.overrides) for each in wanted]
        hosts = [host for host, _ in prepared]
        await self._log.append(*run.first_rows(self.definition), *(host.spawned for host in hosts))
        self._restore_budgets()
        facts = {host.identity: reach.as_facts() for host, reach in prepared}
        self._publish(MobStarted(mob=self.definition.id, run=self.run_id, members=facts))
        self._tree.team.nursery.start_soon(self._watchdog.run)
        self._tree.team.nursery.start_soon(self._hand_over.run)
        self._tree.team.nursery.start_soon(crew.keep_tools)
        await crew.start(hosts)
        await self._start_floor()

    async def _start_floor(self) -> None:
        kept, landing = self.floor, self._machine.landing
        self._crew.has_floor = True
        move = self._machine.start()
        if move is not None:
            await self._log.append(move)
        elif kept is not None and self._run.resumed:
            self._publish(FloorChanged(origin=None, to=kept))
            if landing is not None:
                self._hand_over.moved(landing.move)
        await self._changes.until(lambda: not self._hand_over.untold)

    def _restore_budgets(self) -> None:
        """What was spent before this process counts, also of members that do not run any more."""
        for identity, history in self._past.past.items():
            self._budget.child(identity).restore(history.usage, history.turns_begun)

    async def wait_quiet(self) -> None:
        """Return when nobody has anything left to do: no turn, no message, no hand-over, nothing said and not heard."""
        while True:
            await self._changes.until(lambda: not self._busy())
            with trio.move_on_after(_QUIET_S) as patience:
                await self._changes.until(self._busy)
            if patience.cancelled_caught:
                return

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when this holds; it is looked at whenever something has happened. Bound it with a cancel scope."""
        await self._changes.until(condition)

    def _busy(self) -> bool:
        return (
            any(host.busy for host in self._crew)
            or self._post.under_way > 0
            or self._hand_over.busy
            or self._machine.pending is not None
            or (self._line is not None and self._line.busy)
        )

    async def stop(self, reason: str = "done", *, drain: bool = True) -> None:
        """Stop the mob, from any state, within `limits.shutdown_timeout_s`; `drain` False leaves out the first stage.

        Called again, it waits for the first call. Once begun, stopping goes on though the caller is cancelled. What is
        left undone is in the log as such.
        """
        if self.state == "running":
            self.state = "draining"
            self._tree.root.start_soon(self._stop, reason, drain)
        await self._stopped.wait()

    async def _stop(self, reason: str, drain: bool) -> None:  # noqa: FBT001 - start_soon
        bound = self._limits.shutdown_timeout_s
        with trio.CancelScope(shield=True):
            with trio.move_on_after(bound * _DRAIN_SHARE if drain else 0):
                await self.wait_quiet()
            self.state = "cancelling"
            await self._crew.close()
            for host in self._crew:
                host.cancel(within_s=bound * _WRITE_SHARE)
            await self._tree.members.cancel()
            await self._tree.team.cancel()
            with trio.move_on_after(bound * _LAST_SHARE):
                await self._write_stop(reason)
            self.state = "stopped"
            self._publish(MobStopped(reason=reason, turns=self._past.turns, usage=self.usage))
            self._bus.close()
            self._stopped.set()

    async def _write_stop(self, reason: str) -> None:
        try:
            await self._log.append(RunStopped(reason))
        except StoreError as error:
            self._publish(ErrorOccurred(error_class=error.code, message=error.message, recovery="fatal"))

    # What its parts ask of it.

    def _handle(self, host: MemberHost, generation: int | None = None) -> MemberHandle:
        identity = host.identity
        return MemberHandle(
            identity,
            host.generation if generation is None else generation,
            session_id=session_id_of(self.run_id, identity),
            current=lambda: self._crew.host(identity),
            check_open=self._take_nothing_new,
        )

    def _holder(self) -> str:
        self._take_nothing_new()
        holder = self._machine.holder
        if holder is None:
            raise MemberNotRunning("nobody has the floor; hand it to a member that runs, or talk with one directly")
        return holder

    def _take_nothing_new(self) -> None:
        if self.state != "running":
            raise MemberNotRunning(f"the mob {self.definition.id} is {self.state} and takes nothing new")

    def _reach(self, identity: str) -> MemberHost:
        self._take_nothing_new()
        return self._crew.reach(identity)

    async def _speak(self, member: str, note: Note, cause: Cause) -> Answer:
        return await self._reach(member).ask("", cause=cause, context=(note,))

    def _seen(self, turn_id: str) -> tuple[str, Turn] | None:
        member = self._past.said_to(turn_id)
        if member is None:
            return None
        host = self._crew.hosts.get(member)
        session = None if host is None else host.last_session
        history = self._past.past.get(member) if session is None else session.folded
        turn = None if history is None else find_turn(history, turn_id)
        return None if turn is None else (member, turn)

    def _publish(self, event: RunEvent) -> RunEvent:
        stamped = self._bus.publish(event)
        landing = self._machine.landing
        if (
            landing is not None
            and event.member == landing.holder
            and _is_speech(event)
            and self._crew.host(landing.holder).talks_with_the_user
        ):
            self._machine.spoke(landing.holder)
            self._hand_over.check()
        self._changes.happened()
        return stamped

    def _watch(self, stored: Stored) -> None:
        self._past.watch(stored)
        if isinstance(stored.row, FloorMoved):
            self._hand_over.moved(stored.row)
        self._hand_over.check()
        self._changes.happened()


def _is_speech(event: RunEvent) -> bool:
    return isinstance(event, _SPEECH) or (isinstance(event, MemberChanged) and event.state in _SPEAKING)
