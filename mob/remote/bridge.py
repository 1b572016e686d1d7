"""A bridge for clients that can only start a process: what they say goes to a server that runs already, and back.

`mob rpc --server URL` (or `MOB_SERVER=URL mob-rpc`) is such a process. Messages pass as they are, one by one; the first
one only is given the server's secret when the server is reached over plain lines, since their client knows none.
"""

from __future__ import annotations

import trio
from attrs import evolve

from mob.carriers.links import Link, TooLong
from mob.errors import ServerGone
from mob.live.network import Network, TcpNetwork
from mob.live.watchdog import Watchdog
from mob.protocol.jsonrpc import Id, Request, Response, read_message, too_long, write_message
from mob.remote.dial import Dialled, dial


async def run_bridge(near: Link, server: str, *, secret: str | None = None, network: Network | None = None) -> None:
    """Carry messages until the client goes. ServerGone when the server goes first; Unauthorized, UsageError."""
    network, watchdog = network or TcpNetwork(), Watchdog()
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(watchdog.run)
            async with dial(server, secret=secret, network=network, nursery=nursery, watchdog=watchdog) as dialled:
                await _Bridge(PatientLink(near), dialled).run()
        except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Bridge:
    """Both ways of one client. Its end is the end, when what it asked for is answered."""

    def __init__(self, near: PatientLink, far: Dialled) -> None:
        self._near = near
        self._far = far
        self._asked: set[Id] = set()
        self._answered = trio.Event()
        self._left = False

    async def run(self) -> None:
        """Carry until the client has gone. ServerGone."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._back, nursery.cancel_scope)
                await self._forth()
                self._left = True
                while self._asked:
                    await self._answered.wait()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if not self._left:
            raise ServerGone(f"{self._far.where} has gone, or takes nothing any more")

    async def _forth(self) -> None:
        secret = self._far.secret
        while (data := await self._near.receive()) is not None:
            if not data.strip():
                continue
            message = read_message(data)
            if isinstance(message, Request):
                self._asked.add(message.id)
                if secret is not None and message.method == "initialize":
                    data = write_message(evolve(message, params={**message.params, "secret": secret}))
            await self._far.link.send(data)
            secret = None

    async def _back(self, everything: trio.CancelScope) -> None:
        while (data := await _next_of(self._far)) is not None:
            message = read_message(data)
            await self._near.send(data)
            if isinstance(message, Response) and message.id is not None:
                self._asked.discard(message.id)
                self._answered.set()
                self._answered = trio.Event()
        everything.cancel()


class PatientLink:
    """The client's link, read and written by two tasks: a message that is too long is answered and passed over."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sending = trio.Lock()

    async def receive(self) -> bytes | None:
        """As the link's, without TooLong; None also when it broke."""
        while True:
            try:
                return await self._link.receive()
            except TooLong as error:
                await self.send(too_long(error.limit))
            except trio.BrokenResourceError:
                return None

    async def send(self, message: bytes) -> None:
        """As the link's, one after the other."""
        async with self._sending:
            await self._link.send(message)


async def _next_of(far: Dialled) -> bytes | None:
    """The server's next message; None at its end, and when it says more than may be said at once."""
    try:
        return await far.link.receive()
    except (TooLong, trio.BrokenResourceError):
        return None
