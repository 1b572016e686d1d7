"""A live channel of a member that runs elsewhere, as its client holds it: what a LiveChannel is here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, overload

import trio
from attrs import frozen

from mob.definition.model import ModelCapabilities
from mob.errors import LiveRejected, MobError, UsageError
from mob.live.buffer import BufferStatistics, ClientBuffer
from mob.live.events import AudioDelta, LiveEvent
from mob.protocol import frames
from mob.remote.live_socket import LiveSocket, SocketStatistics
from mob.remote.replica import codec_read
from mob.values import Continuity, Image, Modality, ToolSchema, TurnDetection

JSON = dict[str, Any]


@frozen(slots=True)
class RemoteLiveStatistics:
    """What waits to be read here, and what the socket has seen."""

    buffer: BufferStatistics
    socket: SocketStatistics


class RemoteLive:
    """One live channel at a server. Get one with `member.open_live()`.

    It has what a LiveChannel has, with these differences: a command returns when the server has done or refused it; a
    lost connection is made again within the server's window, and what was told meanwhile comes in order, or a
    ChannelError `gap` or `audio_lost` says what is missing; a refusal of speech comes as a ChannelError, since speech
    is not waited for.
    """

    def __init__(self, socket: LiveSocket, buffer: ClientBuffer, opened: JSON) -> None:
        self._socket = socket
        self._buffer = buffer
        self._model: ModelCapabilities = codec_read(opened.get("model"), ModelCapabilities, "model")
        self._pictures = 0
        self._session_id = str(opened.get("session_id"))
        self._input_rate: int = codec_read(opened.get("input_rate"), int, "input_rate")
        self._output_rate: int = codec_read(opened.get("output_rate"), int, "output_rate")

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The session that this channel delivers."""
        return self._session_id

    @property
    def channel_id(self) -> str:
        """The channel's own id; it stays the same when a connection is replaced."""
        return self._socket.channel_id

    @property
    def epoch(self) -> int:
        """The generation of the server's connection to the provider."""
        return self._socket.epoch

    @property
    def connected(self) -> bool:
        """Whether the channel is ready, as far as was told."""
        return self._socket.connected

    @property
    def capabilities(self) -> ModelCapabilities:
        """What the catalogue says of the model."""
        return self._model

    @property
    def continuity(self) -> Continuity:
        """What the provider was told of the past when it was last connected to."""
        return self._socket.continuity

    @property
    def expires_at(self) -> float | None:
        """When the provider will end its connection, unix seconds; None: it names no limit."""
        return self._socket.expires_at

    @property
    def input_rate(self) -> int:
        """What `send_audio` takes: PCM16 little-endian mono at this many Hz."""
        return self._input_rate

    @property
    def output_rate(self) -> int:
        """What `AudioDelta` brings: PCM16 little-endian mono at this many Hz."""
        return self._output_rate

    def statistics(self) -> RemoteLiveStatistics:
        """Counts of this side, as of now."""
        return RemoteLiveStatistics(self._buffer.statistics(), self._socket.statistics())

    # -- speaking --------------------------------------------------------------------------------------------------

    async def send_audio(self, pcm: bytes) -> None:
        """The user's speech; does not wait. See LiveChannel.send_audio. LiveRejected (wrong_format), LiveClosed."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(pcm) % 2:
            raise LiveRejected(
                f"audio of {len(pcm)} bytes is not PCM16: send whole samples of two bytes, little-endian, mono",
                reason="wrong_format",
            )
        self._socket.send_audio(bytes(pcm))

    async def send_text(self, text: str, output: Modality | None = None, *, item_id: str | None = None) -> None:
        """A typed user turn. See LiveChannel.send_text."""
        await self._socket.command(frames.TextChunk(text, output, item_id))

    async def send_image(self, image: Image, *, item_id: str | None = None) -> None:
        """A picture (PNG or JPEG) that goes with the user's next turn. See LiveChannel.send_image."""
        self._pictures += 1
        key = f"{self.channel_id}-{self._pictures}"
        await self._socket.command(frames.ImageChunk(key, image.mime, image.data, item_id))

    async def respond(self, output: Modality | None = None, instructions: str | None = None) -> None:
        """Ask for an answer to what the user has said so far. See LiveChannel.respond."""
        await self._socket.command(frames.Respond(output, instructions))

    async def commit(self, output: Modality | None = None) -> None:
        """The user's turn is over (manual turns only). See LiveChannel.commit."""
        await self._socket.command(frames.Commit(output))

    async def clear(self) -> None:
        """Forget the audio sent since the last turn."""
        await self._socket.command(frames.Clear())

    async def interrupt(self, reason: str = "client") -> None:
        """Stop the answer; what was heard of it is settled. Nothing when there is none."""
        await self._socket.command(frames.Interrupt(reason))

    async def truncate(self, item_id: str, ms: int) -> None:
        """Playing of this item stopped at `ms`: the answer ends there. See LiveChannel.truncate."""
        await self._socket.command(frames.Truncate(item_id, ms))

    async def send_tool_result(self, call_id: str, output: str) -> None:
        """Answer a `ToolCall` whose `external` is True, once. LiveRejected (unknown_call)."""
        await self._socket.command(frames.ToolOutput(call_id, output))

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
        """Change these on the open channel (None: leave it). See LiveChannel.refresh.

        With nothing given, the session's own settings are put in force as they are now.
        """
        await self._socket.command(
            frames.Refresh(
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
        """The receipt: this piece, or this item up to `ms`, was played to the human. Never waits, never fails."""
        if isinstance(what, AudioDelta):
            duration = len(what.pcm) * 500 / self.output_rate
            item_id, position = what.item_id, -int(-(what.start_ms + duration) // 1)
        elif ms is None:
            raise UsageError("played() takes an AudioDelta, or an item id and the milliseconds of it that were played")
        else:
            item_id, position = what, ms
        self._socket.played(item_id, position)

    # -- listening -------------------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[LiveEvent]:
        return self

    async def __anext__(self) -> LiveEvent:
        """The next event; after the end, those that were not read yet, and then it stops."""
        event = await self._buffer.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def close(self, reason: str = "client_closed") -> None:
        """End the channel and wait until it has. May be called again, by anybody, at any time."""
        if not self._socket.ended.is_set():
            with suppress(MobError):  # it ends by itself, or the connection was lost: then its window ends it
                await self._socket.command(frames.Close(reason))
            await self._socket.ended.wait()
