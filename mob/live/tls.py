"""TLS in memory over another pipe: about ten times cheaper per message than a TLS stream, and no task of its own."""

from __future__ import annotations

import ssl

import trio

from mob.errors import ProviderUnreachable
from mob.live.pipe import READ_BYTES, Data, Pipe, write_all


class TlsPipe:
    """Encrypts what is written and decrypts what is read. Call `do_handshake` first."""

    def __init__(
        self, inner: Pipe, context: ssl.SSLContext, *, hostname: str | None = None, server_side: bool = False
    ) -> None:
        self._inner = inner
        self._hostname = hostname
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._sealed = memoryview(b"")
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname, server_side=server_side)

    async def do_handshake(self) -> None:
        """Agree on keys. ProviderUnreachable: fatal when the certificate does not convince, else reopen."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await write_all(self, b"")
                data = await self._inner.read()
                if not data:
                    raise ProviderUnreachable(
                        f"TLS with {self._peer} failed: it hung up during the handshake", recovery="reopen"
                    ) from None
                self._incoming.write(data)
            except ssl.SSLError as error:
                await self._send_alert()
                raise ProviderUnreachable(
                    f"TLS with {self._peer} failed: {_reason(error)}; check its certificate, the name and the clock",
                    recovery="fatal",
                ) from error
            else:
                await write_all(self, b"")
                return

    async def _send_alert(self) -> None:
        """The peer may as well know why. What it makes of it is not our business."""
        try:
            self._inner.write_now(self._outgoing.read())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    @property
    def _peer(self) -> str:
        return self._hostname or "the peer"

    @property
    def unsent(self) -> bool:
        """See Pipe.unsent: encrypted bytes that the inner pipe did not take."""
        return bool(self._sealed) or self._outgoing.pending > 0 or self._inner.unsent

    async def read(self) -> bytes:
        """See Pipe.read: every whole record that has arrived.

        An end without TLS's own goodbye is an end like any other: the protocol above has a goodbye of its own.
        """
        while True:
            plain, ended = self._open()
            if plain or ended:
                return plain
            data = await self._inner.read()
            if not data:
                return b""
            self._incoming.write(data)

    def _open(self) -> tuple[bytes, bool]:
        """All that can be decrypted, and whether the peer has said that nothing follows."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                return b"".join(pieces), False
            except ssl.SSLZeroReturnError:
                return b"".join(pieces), True
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS: {_reason(error)}") from error
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)

    def write_now(self, data: Data) -> int:
        """See Pipe.write_now: nothing while older bytes wait, else all of it, however much of that is sent at once."""
        if not self._push():
            return 0
        self._seal(data)
        self._push()
        return len(data)

    async def write_some(self, data: Data) -> int:
        """See Pipe.write_some."""
        if not self.unsent:
            self._seal(data)
            await self._wait()
            return len(data)
        await self._wait()
        return 0

    async def write_eof(self) -> None:
        """See Pipe.write_eof."""
        await write_all(self, b"")
        await self._inner.write_eof()

    def close_now(self) -> None:
        """See Pipe.close_now."""
        self._inner.close_now()

    async def aclose(self) -> None:
        """See Pipe.aclose."""
        await self._inner.aclose()

    def _seal(self, data: Data) -> None:
        if data:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS: {_reason(error)}") from error

    def _collect(self) -> None:
        """Put what TLS wants to send behind what still waits."""
        if self._outgoing.pending:
            self._sealed = memoryview(bytes(self._sealed) + self._outgoing.read())

    def _push(self) -> bool:
        """Send what the inner pipe takes now; whether that was all."""
        self._collect()
        if self._sealed:
            self._sealed = self._sealed[self._inner.write_now(self._sealed) :]
        return not self._sealed

    async def _wait(self) -> None:
        self._collect()
        self._sealed = self._sealed[await self._inner.write_some(self._sealed) :]


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", None) or error.reason or str(error)
