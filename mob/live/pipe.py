"""Byte pipes: the one place that touches a socket itself, so that a channel costs one task step per wake-up.

A pipe reads what has arrived (waiting once), writes what is taken without waiting, and waits until more is taken.
`SocketPipe` does so on a non-blocking socket that it takes over from its trio stream, so that nobody else can use it
any more; `StreamPipe` serves every other trio stream, memory streams above all.

What is known of a cancelled write decides what must follow. A socket says how many bytes it took, so waiting for it
can be given up at any time; a stream does not, so a write to it that is given up midway has torn it, and closes it.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from typing import Protocol, TypeVar

import trio

READ_BYTES = 65536

Data = bytes | memoryview
_T = TypeVar("_T")


class Pipe(Protocol):
    """A bidirectional byte stream with one reader and one writer at a time.

    Reading and writing raise trio.BrokenResourceError when the peer or the network ended it, and
    trio.ClosedResourceError when `close_now` or `aclose` did.
    """

    @property
    def unsent(self) -> bool:
        """Whether bytes that were taken wait inside the pipe; `write_some` sends them."""
        ...

    async def read(self) -> bytes:
        """What has arrived, at most 64 KiB of the connection's bytes; b"" at the end."""
        ...

    def write_now(self, data: Data) -> int:
        """How many of these bytes were taken without waiting: 0 when one would have to wait."""
        ...

    async def write_some(self, data: Data) -> int:
        """Wait, then take some; how many of these bytes."""
        ...

    async def write_eof(self) -> None:
        """Tell the peer that nothing more comes, and go on reading."""
        ...

    def close_now(self) -> None:
        """End it without waiting: whoever reads or writes is woken with trio.ClosedResourceError."""
        ...

    async def aclose(self) -> None:
        """Close it, without goodbyes; a checkpoint, and closed also when that is cancelled."""
        ...


async def write_all(pipe: Pipe, data: Data) -> None:
    """Write all of it, waiting as long as it takes."""
    rest = memoryview(data)
    while rest or pipe.unsent:
        rest = rest[await pipe.write_some(rest) :]


class SocketPipe:
    """A pipe over a connected socket, which it takes over: the trio stream is of no use afterwards.

    `seen`: bytes of it that were read before; they come first.
    """

    def __init__(self, stream: trio.SocketStream, seen: bytes = b"") -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.settimeout(0.0)
        self._seen = seen

    @property
    def unsent(self) -> bool:
        """See Pipe.unsent: what was taken is the kernel's."""
        return False

    async def read(self) -> bytes:
        """See Pipe.read."""
        if self._seen:
            await trio.lowlevel.checkpoint()
            seen, self._seen = self._seen, b""
            return seen
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def write_now(self, data: Data) -> int:
        """See Pipe.write_now."""
        self._check_open()
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def write_some(self, data: Data) -> int:
        """See Pipe.write_some; cancelled, nothing was taken."""
        self._check_open()
        await trio.lowlevel.wait_writable(self._socket)
        return self.write_now(data)

    async def write_eof(self) -> None:
        """See Pipe.write_eof."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def close_now(self) -> None:
        """See Pipe.close_now."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        """See Pipe.aclose."""
        self.close_now()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError("this pipe was closed")


class StreamPipe:
    """A pipe over any trio stream. A stream can only be waited for, so nothing is taken at once. `seen` as above."""

    def __init__(self, stream: trio.abc.Stream, seen: bytes = b"") -> None:
        self._stream = stream
        self._seen = seen
        self._closed = False
        self._waits: set[trio.CancelScope] = set()

    @property
    def unsent(self) -> bool:
        """See Pipe.unsent."""
        return False

    async def read(self) -> bytes:
        """See Pipe.read."""
        if self._seen:
            await trio.lowlevel.checkpoint()
            seen, self._seen = self._seen, b""
            return seen
        return bytes(await self._unless_closed(self._stream.receive_some(READ_BYTES)))

    def write_now(self, data: Data) -> int:
        """See Pipe.write_now."""
        self._check_open()
        return 0

    async def write_some(self, data: Data) -> int:
        """See Pipe.write_some: all of it. Cancelled, the stream is torn and closed."""
        try:
            await self._unless_closed(self._stream.send_all(data))
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self.aclose()
            raise
        return len(data)

    async def write_eof(self) -> None:
        """See Pipe.write_eof; a stream that cannot say so is left as it is."""
        self._check_open()
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._unless_closed(self._stream.send_eof())

    def close_now(self) -> None:
        """See Pipe.close_now. A stream closes only by waiting: who is woken does it, or `aclose`."""
        self._closed = True
        for scope in self._waits:
            scope.cancel()

    async def aclose(self) -> None:
        """See Pipe.aclose."""
        self.close_now()
        await trio.aclose_forcefully(self._stream)

    async def _unless_closed(self, wait: Awaitable[_T]) -> _T:
        with trio.CancelScope() as scope:
            if self._closed:
                scope.cancel()
            self._waits.add(scope)
            try:
                return await wait
            except trio.ClosedResourceError as error:
                if self._closed:
                    raise
                raise trio.BrokenResourceError("the stream was closed by somebody else") from error
            finally:
                self._waits.discard(scope)
        await trio.aclose_forcefully(self._stream)
        raise trio.ClosedResourceError("this pipe was closed")

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this pipe was closed")
