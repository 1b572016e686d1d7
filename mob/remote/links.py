"""What brings the messages of a connection to a server: lines of a stream, or frames of a WebSocket. One owner each."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

from mob.errors import LiveRejected
from mob.live.transport_port import Transport, TransportClosed

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""More than a server answers at once."""
_READ_BYTES = 64 * 1024
_NEWLINE = b"\n"


class Link(Protocol):
    """One message is one line, or one frame."""

    async def receive(self) -> bytes | None:
        """The next message; None at the end, and when what comes is longer than may be."""
        ...

    async def send(self, message: bytes) -> None:
        """Write one message. trio.BrokenResourceError when nobody reads any more."""
        ...


class LineLink:
    """One message a line. Whoever made the stream closes it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0

    async def receive(self) -> bytes | None:
        """The next line, without its end; None at the end."""
        while (end := self._buffer.find(_NEWLINE, self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > MAX_MESSAGE_BYTES:
                return None
            try:
                data = await self._stream.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    async def send(self, message: bytes) -> None:
        """Write one line."""
        await self._stream.send_all(message + _NEWLINE)


class FrameLink:
    """One message a text frame. Whoever opened the transport runs its writer and closes it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._waiting: deque[str | bytes] = deque()

    async def receive(self) -> bytes | None:
        """The next frame; None when the socket has closed."""
        while not self._waiting:
            try:
                self._waiting.extend(await self._transport.receive())
            except TransportClosed:
                return None
        message = self._waiting.popleft()
        return message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message

    async def send(self, message: bytes) -> None:
        """Send one frame, when the frames before it are on their way."""
        try:
            await self._transport.wait_sent()
            self._transport.send_nowait(message.decode("utf-8", "replace"))
        except (TransportClosed, LiveRejected) as error:
            raise trio.BrokenResourceError(str(error)) from error
