"""Byte pipes: the one place that touches a socket's descriptor, so that a channel costs one task step per wake-up.

`Pipe` is what the WebSocket pump needs: read what is there (waiting once), write what the kernel takes without
waiting, and write all of it with waiting. `SocketPipe` does so on a non-blocking socket; `TlsPipe` puts TLS between,
in memory (`ssl.MemoryBIO`, ten times cheaper than a TLS stream per message); `StreamPipe` serves any other trio
stream, memory streams above all.
"""

from __future__ import annotations

import socket
import ssl
from typing import Protocol

import trio

from mob.errors import ProviderUnreachable

_READ_BYTES = 65536


class Pipe(Protocol):
    """A bidirectional byte stream with one reader and one writer."""

    async def read(self) -> bytes:
        """What has arrived, waiting at most once per wake-up; b"" at the end. trio.BrokenResourceError."""
        ...

    def write_now(self, data: bytes) -> int:
        """How many of these bytes the other side took without waiting; 0 when this pipe cannot say."""
        ...

    @property
    def unsent(self) -> bool:
        """Whether `write_now` took bytes that still wait in the pipe for a `write`."""
        ...

    async def write(self, data: bytes) -> None:
        """Write all of it. Cancelled in the middle, the stream is torn and must be closed."""
        ...

    async def aclose(self) -> None:
        """Close at once; never raises, never waits long."""
        ...


class StreamPipe:
    """A pipe over any trio stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        """See Pipe.read."""
        return bytes(await self._stream.receive_some(_READ_BYTES))

    def write_now(self, data: bytes) -> int:
        """A stream can only be waited for."""
        return 0

    @property
    def unsent(self) -> bool:
        """See Pipe.unsent: what was taken is gone."""
        return False

    async def write(self, data: bytes) -> None:
        """See Pipe.write."""
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        """See Pipe.aclose."""
        await trio.aclose_forcefully(self._stream)


class SocketPipe:
    """A pipe over a connected TCP socket, reading and writing the descriptor directly.

    The trio stream stays the owner (it closes the descriptor); nobody else may use it meanwhile.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = socket.socket(fileno=stream.socket.fileno())
        self._closed = False

    async def read(self) -> bytes:
        """See Pipe.read."""
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def write_now(self, data: bytes) -> int:
        """See Pipe.write_now."""
        if self._closed:
            raise trio.ClosedResourceError
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    @property
    def unsent(self) -> bool:
        """See Pipe.unsent: what was taken is gone."""
        return False

    async def write(self, data: bytes) -> None:
        """See Pipe.write."""
        rest = memoryview(data)
        await trio.lowlevel.checkpoint_if_cancelled()
        while rest:
            rest = rest[self.write_now(rest.tobytes()) :]
            if rest:
                await trio.lowlevel.wait_writable(self._socket)

    async def aclose(self) -> None:
        """See Pipe.aclose."""
        if not self._closed:
            self._closed = True
            self._socket.detach()
            await trio.aclose_forcefully(self._stream)


class TlsPipe:
    """TLS in memory over another pipe."""

    def __init__(self, inner: Pipe, context: ssl.SSLContext, server_hostname: str) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def do_handshake(self) -> None:
        """Agree on keys. ProviderUnreachable when the certificate does not convince."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._inner.read()
                if not data:
                    raise ProviderUnreachable("TLS: the peer closed during the handshake", recovery="reopen") from None
                self._incoming.write(data)
            except ssl.SSLError as error:
                raise ProviderUnreachable(
                    f"TLS failed: {error.reason or error}; check the certificate, the host name and the clock"
                ) from error
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """See Pipe.read."""
        while True:
            try:
                return self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
            data = await self._inner.read()
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
                return b""

    def write_now(self, data: bytes) -> int:
        """Encrypt all of it; when the inner pipe does not take every byte, the rest waits for the next write."""
        if self._outgoing.pending:
            return 0
        self._tls.write(data)
        record = self._outgoing.read()
        taken = self._inner.write_now(record)
        if taken < len(record):
            self._outgoing.write(record[taken:])
        return len(data)

    @property
    def unsent(self) -> bool:
        """See Pipe.unsent: encrypted bytes that the inner pipe did not take."""
        return self._outgoing.pending > 0

    async def write(self, data: bytes) -> None:
        """See Pipe.write."""
        if data:
            self._tls.write(data)
        await self._flush()

    async def _flush(self) -> None:
        while self._outgoing.pending:
            await self._inner.write(self._outgoing.read())

    async def aclose(self) -> None:
        """See Pipe.aclose."""
        await self._inner.aclose()


async def open_pipe(stream: trio.abc.Stream, *, tls: ssl.SSLContext | None = None, hostname: str = "") -> Pipe:
    """The cheapest pipe over this stream, with TLS when a context is given.

    The pipe owns the stream from here on, also when this fails: ProviderUnreachable.
    """
    pipe: Pipe = SocketPipe(stream) if isinstance(stream, trio.SocketStream) else StreamPipe(stream)
    if tls is None:
        return pipe
    secure = TlsPipe(pipe, tls, hostname)
    try:
        await secure.do_handshake()
    except BaseException:
        await pipe.aclose()
        raise
    return secure
