"""A network in memory: who listens at an address gets the other end of every stream that is opened to it.

It stands in the place of TCP under a virtual clock, and lets a test break connections on purpose: see `MemoryNetwork`
for what can happen to dialling, and `Connection` for what can happen to an open stream.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Literal

import trio
import trio.testing
from attrs import frozen
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_pump

from mob.errors import ProviderUnreachable

Handler = Callable[[trio.abc.Stream], Awaitable[None]]
MemoryStream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


@frozen(slots=True)
class NetworkStatistics:
    """Connections that were opened, refused and are open now."""

    opened: int
    refused: int
    open_now: int


class MemoryNetwork:
    """Implements `mob.live.network.Network`. Handlers run in the nursery that it is given."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._handlers: dict[tuple[str, int], Handler] = {}
        self._default: Handler | None = None
        self._dialling: Literal["open", "refuse", "hang"] = "open"
        self._open: list[Connection] = []
        self._opened = self._refused = 0

    def listen(self, host: str, port: int, handler: Handler) -> None:
        """Answer connections to this address."""
        self._handlers[host, port] = handler

    def listen_default(self, handler: Handler) -> None:
        """Answer connections to every other address."""
        self._default = handler

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """See Network.connect."""
        await trio.lowlevel.checkpoint()
        if self._dialling == "hang":
            await trio.sleep_forever()
        handler = self._handlers.get((host, port), self._default)
        if handler is None or self._dialling == "refuse":
            self._refused += 1
            raise ProviderUnreachable(f"cannot connect to {host}:{port}: connection refused", recovery="reopen")
        ours, theirs = trio.testing.memory_stream_pair()
        self._opened += 1
        connection = Connection(ours, theirs)
        self._open.append(connection)
        self._nursery.start_soon(self._serve, handler, connection)
        return ours

    def tls_context(self) -> ssl.SSLContext:
        """There is no TLS in memory."""
        raise ProviderUnreachable("a memory network has no TLS; dial http:// or ws://", recovery="fatal")

    def refuse(self, *, refusing: bool = True) -> None:
        """From now on refuse connections, or take them again."""
        self._dialling = "refuse" if refusing else "open"

    def hang(self, *, hanging: bool = True) -> None:
        """From now on let connecting take for ever, as where a firewall drops what it gets; or take them again."""
        self._dialling = "hang" if hanging else "open"

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The open connections, oldest first."""
        return tuple(self._open)

    def statistics(self) -> NetworkStatistics:
        """The counts as they are now."""
        return NetworkStatistics(self._opened, self._refused, len(self._open))

    async def _serve(self, handler: Handler, connection: Connection) -> None:
        try:
            await handler(connection.theirs)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went away, or a test broke the connection: the end of this handler, not of the others
        finally:
            self._open.remove(connection)
            await trio.aclose_forcefully(connection.theirs)


class Connection:
    """One open connection: `ours` is the end of who dialled, `theirs` the listener's; and what can be done to it."""

    def __init__(self, ours: MemoryStream, theirs: MemoryStream) -> None:
        self.ours = ours
        self.theirs = theirs

    def reset(self) -> None:
        """Both ends find the connection broken at once, whatever they are doing."""
        for stream in (self.ours, self.theirs):
            stream.send_stream.close()
            stream.receive_stream.close()

    def hang_up(self) -> None:
        """The listener's end of the stream ends politely: who dialled reads to the end, and cannot write any more."""
        self.theirs.send_stream.close()
        self.theirs.receive_stream.close()

    def silence(self) -> None:
        """From now on nothing arrives in either direction and nobody is told: a half-open connection."""
        for stream in (self.ours, self.theirs):
            stream.send_stream.send_all_hook = None
            stream.send_stream.close_hook = None

    def stall(self) -> None:
        """From now on the listener's end takes nothing: who dialled waits for ever to write."""
        self.ours.send_stream.send_all_hook = trio.sleep_forever

    def drip(self, *, max_bytes: int, every_s: float) -> None:
        """From now on what the listener's end sends arrives at most `max_bytes` at a time, `every_s` apart."""

        async def trickle() -> None:
            while memory_stream_pump(self.theirs.send_stream, self.ours.receive_stream, max_bytes=max_bytes):  # noqa: ASYNC110 - time is the point
                await trio.sleep(every_s)

        self.theirs.send_stream.send_all_hook = trickle
