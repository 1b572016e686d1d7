"""LiveChannel: one open realtime conversation with a member, as its client holds it.

The client speaks by `send_*`, listens with `async for`, and reports what was played with `played`. Nothing that the
client does, cancelling a call included, harms the channel: a command is done, or refused and has changed nothing.
What the states, the cut and the commit mean is told in `mob.live.machine` and the modules it names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import overload

import trio
from attrs import frozen

from mob.definition.model import ModelCapabilities
from mob.errors import LiveClosed, UsageError
from mob.history.items import Item, Turn
from mob.ids import Ids
from mob.live import inputs
from mob.live.buffer import BufferStatistics, ClientBuffer
from mob.live.connection import ConnectionStatistics, Connector, WebSocketConnector
from mob.live.events import AudioDelta, LiveEvent
from mob.live.machine import ChannelMachine, MachineStatistics
from mob.live.network import Endpoint, Network
from mob.live.overrides import misfit
from mob.live.ports import ChannelLimits, ChannelOptions, Prompt, SessionPort
from mob.live.pump import Pump, Waiter
from mob.live.watchdog import Watchdog
from mob.values import Continuity, Image, Modality, ToolSchema, TurnDetection


@frozen(slots=True)
class ChannelStatistics:
    """The machine's state and counts, what waits for whom, and what the connection has carried."""

    machine: MachineStatistics
    buffer: BufferStatistics
    connection: ConnectionStatistics | None
    commits_waiting: int


class LiveChannel:
    """One live channel. Made by a session; `run` is its whole life."""

    def __init__(
        self,
        port: SessionPort,
        *,
        endpoint: Endpoint,
        network: Network,
        model: ModelCapabilities,
        ids: Ids,
        options: ChannelOptions,
        wall: Callable[[], float],
        watchdog: Watchdog,
        connector: Connector | None = None,
    ) -> None:
        """A channel to `model` at `endpoint`, not open yet. `connector` replaces the WebSocket (tests do).

        `watchdog` runs elsewhere, one for all channels.

        NotRealtime when the model's wire is not one of ours; UsageError when it cannot do what the options ask for.
        """
        limits = options.limits or ChannelLimits()
        wrong = misfit(model, voice=options.voice, output=options.output, turn_detection=options.turn_detection)
        if wrong is not None:
            raise UsageError(f"the channel cannot be opened so: {wrong}")
        self._port = port
        self._ids = ids
        self._keep_closed_s = limits.keep_closed_s
        self._machine = ChannelMachine(channel_id=ids.new("live"), ids=ids, model=model, tools=port, options=options)
        self._pump = Pump(
            self._machine,
            port,
            connector or WebSocketConnector(endpoint, network, model, limits, watchdog),
            ClientBuffer(max_control=limits.max_client_events, max_audio_bytes=limits.max_client_audio_bytes),
            wall,
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The channel's life: started when it is ready, returns when it has ended.

        ProviderUnreachable, ProviderRefused when it could not be opened. Cancelled, it closes within
        `close_timeout_s`: turns that can be committed are.
        """
        await self._pump.run(task_status)

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The session that this channel delivers."""
        return self._port.session_id

    @property
    def channel_id(self) -> str:
        """The channel's own id; it stays the same when the connection is replaced."""
        return self._machine.context.channel_id

    @property
    def epoch(self) -> int:
        """The generation of the connection: it rises by one with each new connection to the provider."""
        return self._machine.context.epoch

    @property
    def connected(self) -> bool:
        """Whether the channel is ready now; False while it reopens, and for good once it has ended."""
        return self._machine.state == "ready"

    @property
    def capabilities(self) -> ModelCapabilities:
        """What the catalogue says of the model."""
        return self._machine.context.model

    @property
    def continuity(self) -> Continuity:
        """What the provider was told of the past when the connection was last opened."""
        return self._machine.links.continuity

    @property
    def expires_at(self) -> float | None:
        """When the provider will end this connection, unix seconds; mob replaces it before. None: it names no limit."""
        return self._machine.links.expires_at

    @property
    def input_rate(self) -> int:
        """What `send_audio` takes: PCM16 little-endian mono at this many Hz."""
        return self._machine.context.config.input_rate

    @property
    def output_rate(self) -> int:
        """What `AudioDelta` brings: PCM16 little-endian mono at this many Hz."""
        return self._machine.context.config.output_rate

    def statistics(self) -> ChannelStatistics:
        """As of now."""
        connection = self._pump.connection
        return ChannelStatistics(
            machine=self._machine.statistics(),
            buffer=self._pump.buffer.statistics(),
            connection=None if connection is None else connection.statistics(),
            commits_waiting=self._pump.jobs_waiting,
        )

    # -- speaking --------------------------------------------------------------------------------------------------

    async def send_audio(self, pcm: bytes) -> None:
        """The user's speech: PCM16 little-endian mono at `input_rate` Hz, in pieces of any size (20 ms is good).

        Does not wait. While the channel reopens it is kept, within bounds, and sent when the channel is ready again.
        LiveRejected (wrong_format, too_large, unsupported, not_ready), LiveClosed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if pcm:
            self._pump.send_audio(bytes(pcm))

    async def send_text(self, text: str, output: Modality | None = None, *, item_id: str | None = None) -> None:
        """A typed user turn: it interrupts a spoken answer and is answered at once.

        `output` is what it is answered with (None: as configured). Without `auto_respond` it interrupts nothing and
        waits for `respond`. `item_id` names the item in the history and to the provider: 1 to 32 printable ASCII
        characters, new on this channel.
        LiveRejected (empty_text, bad_item_id, duplicate_item, not_ready), LiveClosed.
        """
        await self._tell(inputs.SendText(text, output, item_id))

    async def respond(self, output: Modality | None = None, instructions: str | None = None) -> None:
        """Ask for an answer to what the user has said so far; with nothing to answer, to the conversation as it is.

        For channels opened with `auto_respond` False. It waits its place in line. `output` None: as the turn's
        `commit` or the channel has it. `instructions` stand in the place of the session's, for this turn only.
        LiveRejected (not_ready), LiveClosed.
        """
        await self._tell(inputs.Respond(output, instructions))

    async def send_image(self, image: Image, *, item_id: str | None = None) -> None:
        """A picture (PNG or JPEG) that goes with the user's next turn; `item_id` as for `send_text`.

        LiveRejected (unsupported, bad_item_id, duplicate_item, not_ready), LiveClosed.
        """
        await self._tell(inputs.SendImage(image, item_id))

    async def commit(self, output: Modality | None = None) -> None:
        """The user's turn is over (manual turns only); it is answered with `output` (None: as configured).

        LiveRejected (wrong_mode, empty_commit), LiveClosed.
        """
        await self._tell(inputs.CommitInputAudio(output))

    async def clear(self) -> None:
        """Forget the audio sent since the last turn. LiveClosed."""
        await self._tell(inputs.ClearInputAudio())

    async def interrupt(self, reason: str = "client") -> None:
        """Stop the answer, spoken or written; what was heard of it is settled. Nothing when there is none."""
        await self._tell(inputs.Interrupt(reason))

    async def truncate(self, item_id: str, ms: int) -> None:
        """Playing of this item stopped at `ms`: the answer ends there.

        LiveRejected (nothing_to_truncate, beyond_received).
        """
        await self._tell(inputs.Truncate(item_id, ms))

    async def send_tool_result(self, call_id: str, output: str) -> None:
        """Answer a `ToolCall` whose `external` is True, once. LiveRejected (unknown_call)."""
        await self._tell(inputs.GiveToolResult(call_id, output))

    async def refresh(
        self,
        *,
        instructions: str | None = None,
        tools: Sequence[ToolSchema] | None = None,
        voice: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        turn_detection: TurnDetection | None = None,
        output: Modality | None = None,
        extra_instructions: str | None = None,
        auto_respond: bool | None = None,
        barge_in: bool | None = None,
    ) -> None:
        """Change these on the open channel (None: leave it); they hold from the next answer on, and after reopening.

        `extra_instructions` stand in the place of the options' `instructions`, below the member's own. What waits for
        `respond` when `auto_respond` comes on is answered with what the user says next.
        ReopenRequired, naming the fields, for another model or provider, and for another voice once it has spoken.
        LiveRejected (unsupported) for what the model cannot do. LiveClosed.
        """
        await self._tell(
            inputs.Refresh(
                instructions,
                None if tools is None else tuple(tools),
                voice,
                model,
                provider,
                turn_detection,
                output,
                extra_instructions,
                auto_respond,
                barge_in,
            )
        )

    @overload
    def played(self, event: AudioDelta, /) -> None: ...
    @overload
    def played(self, item_id: str, ms: int, /) -> None: ...
    def played(self, what: AudioDelta | str, ms: int | None = None, /) -> None:
        """The receipt: this piece, or this item up to `ms`, was played to the human. Never waits, never fails.

        Receipts only move forward, and never beyond what was received.
        """
        if isinstance(what, AudioDelta):
            duration = len(what.pcm) * 500 / self.output_rate
            item_id, position = what.item_id, -int(-(what.start_ms + duration) // 1)
        elif ms is None:
            raise UsageError("played() takes an AudioDelta, or an item id and the milliseconds of it that were played")
        else:
            item_id, position = what, ms
        if not self._pump.ended.is_set():
            self._pump.played(item_id, position)

    def expect_receipts(self, *, expected: bool) -> None:
        """Another client listens from now on, for whoever holds the channel for clients that come and go.

        True: it promises receipts, and what it does not report was not heard. False: the clock alone counts.
        """
        if not self._pump.ended.is_set():
            self._pump.feed(inputs.ExpectReceipts(expected))

    def audio_lost(self, item_ids: Iterable[str]) -> None:
        """Audio of these items was thrown away after it was taken from here, before the client had it."""
        if not self._pump.ended.is_set():
            self._pump.feed(inputs.AudioLost(tuple(item_ids)))

    def stop_playing(self) -> None:
        """The client has stopped playing, and will say where with `truncate`; otherwise the clock's word of now stands.

        For clients that send no receipts, and only for so long as it takes them to say it: `interrupt` ends the answer.
        """
        if not self._pump.ended.is_set():
            self._pump.feed(inputs.StopPlaying())

    def played_through(self) -> None:
        """An answer that has been received whole is played to its end: what is asked next need not wait for that."""
        if not self._pump.ended.is_set():
            self._pump.feed(inputs.PlayedThrough())

    async def _tell(self, what: inputs.Input) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._pump.feed(what)

    async def prompt(self, prompt: Prompt) -> Turn:
        """Put a turn to the member and wait until it is committed. For the session.

        Its place among the turns is the session's to give (`admit_turn`). When the caller is cancelled the turn is
        withdrawn. LiveRejected, LiveClosed (`unanswered`: the channel closed before it was answered, and nothing of it
        is in the log), and what the session raises when it does not admit the turn.
        """
        turn_id, waiter = self._ids.new("turn"), Waiter()
        self._pump.waiters[turn_id] = waiter
        try:
            try:
                await self._tell(inputs.PutPrompt(turn_id, prompt))
            except LiveClosed as closed:
                raise LiveClosed(closed.message, reason="unanswered") from closed
            await waiter.done.wait()
        except trio.Cancelled:
            if not self._pump.ended.is_set():
                self._pump.feed(inputs.Withdraw(turn_id))
            raise
        finally:
            self._pump.waiters.pop(turn_id, None)
        if waiter.error is not None:
            raise waiter.error
        if waiter.turn is None:
            raise LiveClosed("the channel ended before this turn did", reason="closed")
        return waiter.turn

    def add_context(self, item: Item) -> None:
        """The log has this item now, which nobody is to answer: the provider is told it, too. For the session."""
        if not self._pump.ended.is_set():
            self._pump.feed(inputs.AddContext(item))

    # -- listening -------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[LiveEvent]:
        return self

    async def __anext__(self) -> LiveEvent:
        """The next event. After the end, the events that were not read yet, for `keep_closed_s`; then it stops."""
        if trio.current_time() > self._pump.ended_at + self._keep_closed_s:
            self._pump.buffer.clear()
        event = await self._pump.buffer.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def take_audio(self, sink: Callable[[AudioDelta], bool] | None) -> None:
        """Give speech to `sink` where the reader of the events waits anyway, in the task that brings it, with no hop.

        It must not wait and not raise. What it does not take (False), and what comes while the reader is behind, is
        read as always; so nothing overtakes anything. None: no more.
        """
        self._pump.buffer.sink = sink

    async def close(self, reason: str = "client_closed") -> None:
        """End the channel and wait until it has. May be called again, by anybody, at any time.

        What was heard of an answer in progress is committed; running calls are cancelled. Takes no longer than
        twice `close_timeout_s`.
        """
        if not self._pump.ended.is_set():
            self._pump.feed(inputs.Close(reason))
        await self._pump.ended.wait()
