"""What one client of the live socket says: raw speech, chunks and verbs, done one after the other as they come.

A client that asked for `control=1` gets an answer for each frame that has an `id`, and a refusal for each that is
refused; the channel lives on (laws 12 and 26). Another client cannot be told apart from one that is confused: as
Meerkat's clients expect, a frame that cannot be read ends its channel, with the reason first. What can be read and may
not be done is refused to both alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import fields

from mob.errors import LiveRejected, MobError
from mob.protocol import frames
from mob.protocol.frames import Command, FrameId, FrameRefused, decode_frame
from mob.protocol.refusals import refusal_code
from mob.protocol.shapes import error_json
from mob.server.channels.held import HeldChannel
from mob.server.channels.inputs import InputRefused
from mob.server.livesocket.terms import Terms, format_of
from mob.values import Image


class Confused(FrameRefused):
    """A client without `control=1` sent what cannot be read: its channel ends."""


class Listener:
    """Does what one client asks of one channel. `say` sends it a frame."""

    def __init__(self, held: HeldChannel, terms: Terms, say: Callable[[dict[str, Any]], None]) -> None:
        self.refused = 0
        self._held = held
        self._terms = terms
        self._say = say
        self._verbs: dict[type[Any], Callable[[Any], Awaitable[object]]] = self._table()

    async def hear(self, message: str | bytes) -> None:
        """One message of the client. Confused, TransportClosed."""
        frame_id: FrameId | None = None
        try:
            if isinstance(message, bytes):
                await self._sound(message)
                return
            frame = decode_frame(message, control=self._terms.control)
            frame_id = frame.id
            await self._do(frame.command)
        except FrameRefused as error:
            self._confused(error)
            self._reject(error, error.id)
        except MobError as error:
            self._reject(error, frame_id)
        else:
            if frame_id is not None:
                pong = isinstance(frame.command, frames.Ping)
                self._say({"observation": "pong" if pong else "command_accepted", "id": frame_id})

    async def _sound(self, pcm: bytes) -> None:
        if self._terms.format is None:
            wanted = format_of(self._held.live.input_rate)
            self._confused(FrameRefused(f"a binary frame is raw speech; name its format in the URL (format={wanted})"))
            raise LiveRejected("the format of raw speech was not named in the URL", reason="wrong_format")
        await self._held.live.send_audio(pcm)

    def _confused(self, error: FrameRefused) -> None:
        if not self._terms.control:
            raise Confused(error.message, field=error.field, reason=error.reason) from None

    def _reject(self, error: MobError, frame_id: FrameId | None) -> None:
        self.refused += 1
        frame: dict[str, Any] = {
            "observation": "command_rejected",
            "code": refusal_code(error),
            "message": error.message,
        }
        if self._terms.control:
            frame["error"] = error_json(error)
            if frame_id is not None:
                frame["id"] = frame_id
        self._say(frame)

    async def _do(self, command: Command) -> None:
        await self._verbs[type(command)](command)

    def _table(self) -> dict[type[Any], Callable[[Any], Awaitable[object]]]:
        held, live = self._held, self._held.live
        return {
            frames.AudioChunk: lambda what: held.send_audio(what.data, what.sample_rate_hz, what.channels),
            frames.TextChunk: lambda what: held.send_text(what.text, what.output, item_id=what.item_id),
            frames.ImageChunk: self._show,
            frames.Commit: lambda what: held.commit(what.output),
            frames.Respond: lambda what: live.respond(what.output, what.instructions),
            frames.Interrupt: lambda what: live.interrupt(what.reason),
            frames.Truncate: lambda what: live.truncate(what.item_id, what.audio_played_ms),
            frames.Clear: lambda _: live.clear(),
            frames.Refresh: self._refresh,
            frames.Played: self._played,
            frames.PlaybackComplete: self._played_whole,
            frames.ToolOutput: lambda what: live.send_tool_result(what.call_id, what.output),
            frames.Ping: _nothing,
            frames.Close: lambda what: held.close(what.reason),
        }

    async def _show(self, what: frames.ImageChunk) -> None:
        if not self._terms.control:
            raise InputRefused(
                "pictures are sent with live/send_input, or on a socket with control=1",
                reason="image_input_transport_unsupported",
                details={"transport": "websocket"},
            )
        await self._held.send_image(what.idempotency_key, Image(what.mime, what.data), item_id=what.item_id)

    async def _refresh(self, what: frames.Refresh) -> None:
        given = {field.name: getattr(what, field.name) for field in fields(frames.Refresh)}
        await self._held.refresh(**{name: value for name, value in given.items() if value is not None})

    async def _played(self, what: frames.Played) -> None:
        self._promised()
        self._held.live.played(what.item_id, what.audio_played_ms)

    async def _played_whole(self, what: frames.PlaybackComplete) -> None:
        self._promised()
        if not self._held.playback_complete(what.item_id):
            raise LiveRejected(f"no speech of {what.item_id!r:.100} was sent lately", reason="unknown_item")

    def _promised(self) -> None:
        if not self._terms.receipts:
            raise LiveRejected(
                "receipts count from clients that promised them: open the socket with receipts=1", reason="wrong_mode"
            )


async def _nothing(_: object) -> None:
    """There is nothing to do but to answer."""
