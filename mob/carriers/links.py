"""What brings the messages of JSON-RPC, either end: lines of a stream, the standard streams, or a WebSocket's frames.

A line ends with a newline; one that is longer than a request may be is passed over as it comes, without being kept,
and told of once (`TooLong`). A link that its peer has ended reads as the end: what was asked before may still be
answered. One that broke, or cannot be written to any more, is trio.BrokenResourceError: nobody waits for an answer.
"""

from __future__ import annotations

import os
from collections import deque
from types import TracebackType
from typing import Protocol

import trio

from mob.errors import LiveRejected
from mob.live.transport_port import Transport, TransportClosed

_READ_BYTES = 64 * 1024
_NEWLINE = b"\n"


class TooLong(Exception):
    """A message was longer than `limit` bytes; it was passed over."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class Link(Protocol):
    """What brings messages and takes them: one message is one line, or one frame."""

    async def receive(self) -> bytes | None:
        """The next message's bytes; None at the end. TooLong when a message is longer than may be.

        trio.BrokenResourceError when whoever is at the other end was lost.
        """
        ...

    async def send(self, message: bytes) -> None:
        """Write one message. trio.BrokenResourceError when nobody reads any more."""
        ...


class StreamLink:
    """One message a line. The caller closes the streams."""

    def __init__(self, receive: trio.abc.ReceiveStream, send: trio.abc.SendStream, *, max_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self.max_bytes = max_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self._ended = False
        self._torn = False

    async def receive(self) -> bytes | None:
        """The next line, without its end; None at the end. What follows the last newline is a line, too.

        TooLong, trio.BrokenResourceError.
        """
        while True:
            line = self._line()
            if line is not None:
                await trio.lowlevel.checkpoint()
                return line
            if self._ended:
                await trio.lowlevel.checkpoint()
                return None
            await self._fill()

    def _line(self) -> bytes | None:
        """A whole line of what was read. TooLong as soon as it is known that one cannot be."""
        while (end := self._buffer.find(_NEWLINE, self._searched)) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            if not self._skipping:
                return self._fitting(line)
            self._skipping = False
        self._searched = len(self._buffer)
        if self._skipping:
            self._drop()
        elif self._searched > self.max_bytes:
            self._skipping = True
            self._drop()
            raise TooLong(self.max_bytes)
        elif self._ended and self._buffer:
            rest = bytes(self._buffer)
            self._drop()
            return rest
        return None

    def _fitting(self, line: bytes) -> bytes:
        if len(line) > self.max_bytes:
            raise TooLong(self.max_bytes)
        return line

    def _drop(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    async def _fill(self) -> None:
        try:
            data = await self._receive.receive_some(_READ_BYTES)
        except trio.ClosedResourceError:
            data = b""
        if not data:
            self._ended = True
        self._buffer += data

    async def send(self, message: bytes) -> None:
        """Write one line. trio.BrokenResourceError, also when a line before it was cut off: it would make no sense."""
        if self._torn:
            raise trio.BrokenResourceError("a line was cut off in the middle")
        self._torn = True
        await self._send.send_all(message + _NEWLINE)
        self._torn = False


class StdioLink:
    """The standard streams, as an async context manager that gives a StreamLink.

    While it lasts the process's own stdout is stderr, so that a tool that prints breaks no message.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._stdout = -1
        self._streams: tuple[trio.lowlevel.FdStream, trio.lowlevel.FdStream] | None = None

    async def __aenter__(self) -> StreamLink:
        self._stdout = os.dup(1)
        os.dup2(2, 1)
        receive, send = trio.lowlevel.FdStream(os.dup(0)), trio.lowlevel.FdStream(os.dup(self._stdout))
        self._streams = (receive, send)
        await trio.lowlevel.checkpoint()
        return StreamLink(receive, send, max_bytes=self._max_bytes)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._streams is not None
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        os.dup2(self._stdout, 1)
        os.close(self._stdout)


class SocketLink:
    """One message a text frame. The caller runs the transport's writer and closes it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._waiting: deque[str | bytes] = deque()

    async def receive(self) -> bytes | None:
        """The next frame; None when the client has closed the socket. trio.BrokenResourceError when it was lost."""
        while not self._waiting:
            try:
                self._waiting.extend(await self._transport.receive())
            except TransportClosed as closed:
                if closed.by == "network":
                    raise trio.BrokenResourceError(closed.reason) from closed
                return None
        message = self._waiting.popleft()
        await trio.lowlevel.checkpoint()
        return message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message

    async def send(self, message: bytes) -> None:
        """Send one frame, when the frames before it are on their way. trio.BrokenResourceError."""
        try:
            await self._transport.wait_sent()
            self._transport.send_nowait(message.decode("utf-8", "replace"))
        except (TransportClosed, LiveRejected) as error:
            raise trio.BrokenResourceError(str(error)) from error
