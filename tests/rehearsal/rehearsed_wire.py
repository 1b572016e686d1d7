"""A plain client of the rehearsed realtime wire, on memory streams: it sends JSON and keeps everything that comes."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing
import trio_websocket

from mob.rehearsal.serve import Rehearsal, open_rehearsal
from mob.rehearsal.voice import speak

MS = 48  # bytes of PCM16 at 24 kHz
MANUAL = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}


class Wire:
    """One connection. `events` is everything that came, in order."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.socket = socket
        self.events: list[dict] = []
        self.closed: tuple[int, str] | None = None

    async def send(self, kind: str, **fields: object) -> None:
        await self.socket.send_message(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict:
        try:
            event = json.loads(await self.socket.get_message())
        except trio_websocket.ConnectionClosed as closed:
            if closed.reason is not None:
                self.closed = (closed.reason.code, closed.reason.reason or "")
            raise
        self.events.append(event)
        return event

    async def until(self, kind: str, count: int = 1) -> dict:
        """Read until this many more events of the kind have come; gives the last."""
        while True:
            event = await self.next()
            count -= event["type"] == kind
            if not count:
                return event

    async def until_closed(self) -> tuple[int, str] | None:
        with trio.fail_after(7200):
            try:
                while True:
                    await self.next()
            except trio_websocket.ConnectionClosed:
                return self.closed

    async def settle(self, seconds: float = 5.0) -> None:
        """Read whatever comes within so much (virtual) time."""
        with trio.move_on_after(seconds):
            await self.until("never")

    async def session(self, **session: object) -> None:
        await self.send("session.update", session={"type": "realtime", **session})
        await self.until("session.updated")

    async def say(self, text: str, *, before_ms: int = 0, after_ms: int = 800, piece_ms: int = 100) -> None:
        """Send tone speech with silence around it, in pieces, at once."""
        await self.send_sound(bytes(before_ms * MS) + speak(text) + bytes(after_ms * MS), piece_ms=piece_ms)

    async def send_sound(self, pcm: bytes, *, piece_ms: int = 100) -> None:
        for at in range(0, len(pcm), piece_ms * MS):
            audio = base64.b64encode(pcm[at : at + piece_ms * MS]).decode()
            await self.send("input_audio_buffer.append", audio=audio)

    async def type(self, text: str, *, role: str = "user") -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": role, "content": content})

    async def ask(self, text: str, **response: object) -> dict:
        """A text turn; gives the finished response."""
        await self.type(text)
        await self.send("response.create", response=response)
        return (await self.until("response.done"))["response"]

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def sound(self, item_id: str | None = None) -> bytes:
        deltas = self.of("response.output_audio.delta")
        return b"".join(base64.b64decode(e["delta"]) for e in deltas if item_id in (None, e["item_id"]))

    def transcript(self) -> str:
        return "".join(e["delta"] for e in self.of("response.output_audio_transcript.delta"))


@asynccontextmanager
async def dialled(
    rehearsal: Rehearsal,
    target: str = "/v1/realtime?model=gpt-realtime-2",
    *,
    headers: list[tuple[bytes, bytes]] = (),
    subprotocols: list[str] = (),
) -> AsyncIterator[Wire]:
    """Connect over memory streams."""
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rehearsal.serve_stream, server)
        # trio-websocket's client waits for ever when the server is gone before the handshake.
        with trio.fail_after(10):
            socket = await trio_websocket.wrap_client_stream(
                nursery,
                client,
                "rehearsal",
                target,
                subprotocols=list(subprotocols),
                extra_headers=list(headers),
                max_message_size=16 * 1024 * 1024,
            )
        yield Wire(socket)
        with trio.move_on_after(1):
            await socket.aclose()
        await trio.aclose_forcefully(client)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def wired(definition=None, *, member: str | None = None, **options) -> AsyncIterator[Wire]:
    """A rehearsal and one connection to it, with `session.created` read."""
    async with open_rehearsal(definition, **options) as rehearsal:
        prefix = f"/{member}" if member else ""
        async with dialled(rehearsal, f"{prefix}/v1/realtime?model=gpt-realtime-2") as wire:
            await wire.until("session.created")
            yield wire
