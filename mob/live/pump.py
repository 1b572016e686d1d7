"""The pump: performs what the channel machine wants done, and tells it what happens. It decides nothing.

The tasks of a channel, all in one nursery that lives as long as `run`:

    timer        sleeps until the machine's `wake_at`
    commits      makes turns and transcripts durable, in order, so that audio never waits for the store
    link         one per connection: dials, reads, and within it the connection's writer
    tool         one per running call (law 14)
    admission    one per turn that waits for the session

The reader hands each event to the machine and performs the effects inline; an audio event takes the short way, from the
frame to the client's buffer without a task switch. The user's audio goes from the caller straight to the transport.
When the channel ends, however it ends, the turns that can be committed are, within `close_timeout_s`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
from attrs import define, field

from mob.errors import LiveClosed, LiveRejected, MobError, ProviderError, ProviderUnreachable
from mob.history.items import Turn
from mob.live import effects, inputs
from mob.live.buffer import ClientBuffer
from mob.live.connection import Connection, Connector, unsendable
from mob.live.events import AudioDelta, Disconnected, LiveEvent, TurnCommitted
from mob.live.machine import ChannelMachine
from mob.live.ports import SessionPort
from mob.providers.events import AgentAudio


@define(slots=True, eq=False)
class Waiter:
    """Somebody waits for a turn: its commit, or the error instead."""

    done: trio.Event = field(factory=trio.Event)
    turn: Turn | None = None
    error: MobError | None = None

    def settle(self, turn: Turn | None, error: MobError | None) -> None:
        """The turn is committed, or it will not be."""
        self.turn, self.error = turn, error
        self.done.set()


Job = effects.CommitTurn | effects.FillTranscript | effects.Finish


class Pump:
    """Drives one machine for the whole life of its channel."""

    def __init__(
        self,
        machine: ChannelMachine,
        port: SessionPort,
        connector: Connector,
        buffer: ClientBuffer,
        wall: Callable[[], float],
    ) -> None:
        self.machine = machine
        self.buffer = buffer
        self.ended = trio.Event()
        self.ended_at = float("inf")
        self.waiters: dict[str, Waiter] = {}
        self._port = port
        self._connector = connector
        self._wall = wall
        self._inbox: deque[inputs.Input] = deque()
        self._feeding = False
        self._nursery: trio.Nursery | None = None
        self._timer_scope: trio.CancelScope | None = None
        self._links: dict[int, trio.CancelScope] = {}
        self._connections: dict[int, Connection] = {}
        self._tools: dict[str, trio.CancelScope] = {}
        self._jobs: deque[Job] = deque()
        self._job_came = trio.Event()
        self._opened = trio.Event()
        self._closed = trio.Event()
        self._finished = trio.Event()
        self._told_end = False
        self._commit_scope = trio.CancelScope(shield=True)
        self._perform_table = self._table()

    # -- the life of the channel -----------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Open, be open, close. Raises what kept it from opening; once it was ready it ends without an error."""
        machine = self.machine
        machine.context.wall_offset = self._wall() - trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for task in (self._run_timer, self._run_jobs):
                    nursery.start_soon(task)
                try:
                    await self._live(task_status)
                finally:
                    self._commit_scope.deadline = trio.current_time() + machine.context.limits.close_timeout_s
                    self.feed(inputs.Close("cancelled"))
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            await self._wind_down()
        if not machine.context.counts["opened"]:
            raise machine.links.failure or ProviderUnreachable("the channel was closed before it was ready")

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        self._perform_all(self.machine.start(trio.current_time()))
        self._set_timer()
        await self._opened.wait()
        if self.machine.context.counts["opened"]:
            task_status.started()
        await self._closed.wait()
        with trio.move_on_after(self.machine.context.limits.close_timeout_s):
            await self._finished.wait()

    async def _wind_down(self) -> None:
        """The tasks are gone. Commit what can be committed, tell the client, and wait no longer than allowed."""
        machine, limit = self.machine, self.machine.context.limits.close_timeout_s
        with trio.CancelScope(shield=True, deadline=trio.current_time() + limit):
            await self._run_jobs_now()
            if machine.state != "closed":
                # Nobody is left who could bring what the machine waits for: its time is up.
                self._perform_all(machine.handle(inputs.Tick(), machine.links.entered + limit))
            await self._run_jobs_now()
        self._tell_end(machine.links.close_reason or "cancelled")
        for waiter in self.waiters.values():
            waiter.settle(None, LiveClosed("the channel ended before this turn did", reason="closed"))
        self.waiters.clear()
        self.ended_at = trio.current_time()
        self.ended.set()

    # -- in --------------------------------------------------------------------------------------------------------

    def feed(self, what: inputs.Input) -> None:
        """Something happened. What the client asked for may be refused: LiveRejected, LiveClosed, ReopenRequired."""
        self._inbox.append(what)
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._inbox:
                self._perform_all(self.machine.handle(self._inbox.popleft(), trio.current_time()))
        finally:
            self._feeding = False
            self._set_timer()

    def played(self, item_id: str, ms: int) -> None:
        """A receipt, by the short way where nothing can follow from it."""
        if self._feeding or not self.machine.receipt(item_id, ms, trio.current_time()):
            self.feed(inputs.Played(item_id, ms))

    def send_audio(self, pcm: bytes) -> None:
        """The user's audio, straight to the transport. LiveRejected, LiveClosed."""
        if self.machine.append_audio(pcm):
            connection = self.connection
            if connection is not None:
                connection.send_audio_nowait(pcm)

    # -- out -------------------------------------------------------------------------------------------------------

    def _perform_all(self, todo: list[effects.Effect]) -> None:
        for effect in todo:
            self._perform_table[type(effect)](effect)

    def _table(self) -> dict[type, Callable[..., None]]:
        return {
            effects.Dial: self._dial,
            effects.HangUp: self._hang_up,
            effects.NeedSeed: self._seed,
            effects.Send: self._send,
            effects.RequestResponse: self._request,
            effects.Spent: lambda effect: self._port.spent(effect.usage),
            effects.Publish: lambda effect: self.publish(effect.event),
            effects.DiscardAudio: lambda effect: self.buffer.discard(effect.item_ids),
            effects.Admit: lambda effect: self._start(self._admit, effect),
            effects.CommitTurn: self._enqueue,
            effects.FillTranscript: self._enqueue,
            effects.Finish: self._finish,
            effects.DropTurn: lambda effect: self._settle(effect.turn_id, None, effect.error),
            effects.AbandonTurn: lambda _: self._port.abandon_turn(),
            effects.StartTool: self._start_tool,
            effects.CancelTool: self._cancel_tool,
        }

    def _start(self, task: Callable[..., object], effect: effects.Effect) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(task, effect)  # type: ignore[arg-type]

    def publish(self, event: LiveEvent) -> None:
        """Tell the session and the client, in this order."""
        if isinstance(event, AudioDelta):
            self._publish_audio(event)
            return
        self._port.observe(event)
        if not self.buffer.put(event) and self.machine.links.open:
            self.feed(inputs.Fail("client_too_slow", "too many events wait for the client; read the channel faster"))
        if self.machine.context.counts["opened"] or not self.machine.links.open:
            self._opened.set()

    def _publish_audio(self, delta: AudioDelta) -> None:
        dropped = self.buffer.put_audio(delta)
        if dropped:
            self.feed(inputs.AudioLost(dropped))

    def _seed(self, effect: effects.NeedSeed) -> None:
        try:
            seed = self._port.seed(effect.max_chars)
        except MobError as error:
            self.feed(inputs.Fail(error.code, error.message))
            return
        self.feed(inputs.SeedReady(effect.epoch, seed))

    def _send(self, effect: effects.Send) -> None:
        connection = self._connections.get(effect.epoch)
        if connection is None:
            return
        try:
            connection.send_nowait(effect.command)
        except LiveRejected as error:
            self.feed(inputs.Wire(effect.epoch, unsendable(effect.command, error)))

    def _request(self, effect: effects.RequestResponse) -> None:
        try:
            self._port.admit_request()
        except MobError as error:
            self.feed(inputs.RequestRefused(effect.ref, error))
            return
        if effect.command is not None:
            self._send(effects.Send(effect.epoch, effect.command))

    # -- connections -----------------------------------------------------------------------------------------------

    def _dial(self, effect: effects.Dial) -> None:
        scope = self._links[effect.epoch] = trio.CancelScope()
        if self._nursery is not None:
            self._nursery.start_soon(self._run_link, effect.epoch, scope)

    def _hang_up(self, effect: effects.HangUp) -> None:
        scope = self._links.pop(effect.epoch, None)
        if scope is not None:
            scope.cancel()

    async def _run_link(self, epoch: int, scope: trio.CancelScope) -> None:
        """One connection, from the dialling to the closing."""
        with scope:
            connection = await self._connect(epoch)
            if connection is None:
                return
            try:
                self._connections[epoch] = connection
                self.feed(inputs.ConnectionOpened(epoch))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.run)
                    lost = await self._read(epoch, connection)
                    self.feed(inputs.ConnectionLost(epoch, lost))
                    nursery.cancel_scope.cancel()
            finally:
                self._connections.pop(epoch, None)
                with trio.CancelScope(shield=True):
                    await connection.aclose(self.machine.links.close_reason or "")

    async def _connect(self, epoch: int) -> Connection | None:
        """Dial; the machine is told why when there is no connection."""
        limit = self.machine.context.limits.connect_timeout_s
        lost: ProviderError
        try:
            with trio.fail_after(limit):
                return await self._connector.connect()
        except trio.TooSlowError:
            lost = ProviderUnreachable(f"no connection to the provider within {limit:g} s", recovery="reopen")
        except ProviderError as error:
            lost = error
        except MobError as error:
            lost = ProviderUnreachable(error.message, recovery="fatal", provider_code=error.code)
        self.feed(inputs.ConnectionLost(epoch, lost))
        return None

    async def _read(self, epoch: int, connection: Connection) -> ProviderError:
        """Hand everything to the machine, until the connection ends."""
        machine = self.machine
        while True:
            try:
                events = await connection.receive()
            except ProviderError as error:
                return error
            now = trio.current_time()
            for event in events:
                if type(event) is AgentAudio:
                    delta = machine.audio(epoch, event, now)
                    if delta is not None:
                        self._publish_audio(delta)
                        continue
                self.feed(inputs.Wire(epoch, event))

    # -- turns -----------------------------------------------------------------------------------------------------

    async def _admit(self, effect: effects.Admit) -> None:
        try:
            await self._port.admit_turn(effect.cause)
        except MobError as error:
            self.feed(inputs.TurnRefused(effect.turn_id, error))
        else:
            self.feed(inputs.TurnAdmitted(effect.turn_id))

    def _enqueue(self, job: Job) -> None:
        self._jobs.append(job)
        self._job_came.set()

    async def _run_jobs(self) -> None:
        while True:
            await self._run_jobs_now()
            self._job_came = trio.Event()
            await self._job_came.wait()

    async def _run_jobs_now(self) -> None:
        while self._jobs:
            await self._run_job(self._jobs.popleft())

    async def _run_job(self, job: Job) -> None:
        match job:
            case effects.CommitTurn(turn=turn):
                await self._commit(turn)
            case effects.FillTranscript(item_id=item_id, text=text, failed=failed):
                try:
                    await self._port.fill_transcript(item_id, text, failed=failed)
                except MobError as error:
                    self.feed(inputs.Fail(error.code, error.message))
            case effects.Finish(reason=reason):
                self._tell_end(reason)
                self._finished.set()

    def _finish(self, effect: effects.Finish) -> None:
        self._enqueue(effect)
        self._closed.set()

    async def _commit(self, turn: Turn) -> None:
        """Not cancelled with the channel, but only as long as closing may take: a turn that has ended is kept."""
        durable: Turn | None = None
        try:
            with self._commit_scope:
                durable = await self._port.commit(turn)
            self._commit_scope = self._next_commit_scope()
            if durable is None:
                self._settle(turn.id, None, LiveClosed("the log did not take this turn in time", reason="closed"))
                return
        except MobError as error:
            self._commit_scope = self._next_commit_scope()
            self._settle(turn.id, None, error)
            self.feed(inputs.Fail(error.code, error.message))
        else:
            context = self.machine.context
            self.publish(
                TurnCommitted(channel_id=context.channel_id, epoch=context.epoch, t=trio.current_time(), turn=durable)
            )
            self._settle(turn.id, durable, None)
        self.feed(inputs.TurnDurable(turn.id))

    def _next_commit_scope(self) -> trio.CancelScope:
        return trio.CancelScope(shield=True, deadline=self._commit_scope.deadline)

    def _settle(self, turn_id: str, turn: Turn | None, error: MobError | None) -> None:
        waiter = self.waiters.pop(turn_id, None)
        if waiter is not None:
            waiter.settle(turn, error)

    def _tell_end(self, reason: str) -> None:
        """The last event, once."""
        if self._told_end:
            return
        self._told_end = True
        context = self.machine.context
        last = Disconnected(
            channel_id=context.channel_id, epoch=context.epoch, t=trio.current_time(), reason=reason, final=True
        )
        self._port.observe(last)
        self.buffer.put(last)
        self.buffer.close()
        self._opened.set()

    # -- tools -----------------------------------------------------------------------------------------------------

    def _start_tool(self, effect: effects.StartTool) -> None:
        scope = self._tools[effect.call.call_id] = trio.CancelScope()
        if self._nursery is None:
            self.feed(inputs.ToolOutcome(effect.call.call_id, None))
        else:
            self._nursery.start_soon(self._run_tool, effect, scope)

    def _cancel_tool(self, effect: effects.CancelTool) -> None:
        scope = self._tools.get(effect.call_id)
        if scope is not None:
            scope.cancel()
        else:
            self.feed(inputs.ToolOutcome(effect.call_id, None))

    async def _run_tool(self, effect: effects.StartTool, scope: trio.CancelScope) -> None:
        call, result = effect.call, None
        try:
            with scope:
                result = await self._port.run_tool(
                    call, turn_id=effect.turn_id, response_id=effect.response_id, cause=effect.cause
                )
        finally:
            self._tools.pop(call.call_id, None)
            self.feed(inputs.ToolOutcome(call.call_id, result))

    # -- time ------------------------------------------------------------------------------------------------------

    async def _run_timer(self) -> None:
        while True:
            with trio.CancelScope(deadline=self.machine.wake_at) as self._timer_scope:
                await trio.sleep_forever()
            self.feed(inputs.Tick())

    def _set_timer(self) -> None:
        scope = self._timer_scope
        if scope is not None and scope.deadline != self.machine.wake_at:
            scope.deadline = self.machine.wake_at

    # -- looking in ------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        """The connection in use."""
        return self._connections.get(self.machine.context.epoch)

    @property
    def jobs_waiting(self) -> int:
        """How many turns and transcripts wait to become durable."""
        return len(self._jobs)
