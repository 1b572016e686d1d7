"""A server as a whole: a realm's doors on their ports, and the order in which they open and close.

    serve_doors
    ├─ the front        HTTP and WebSockets on one port: REST, the gateway, live sockets, JSON-RPC
    ├─ live sockets     on a port of their own, where they are all that is wanted (`mob rpc --live-ws`)
    ├─ JSON-RPC lines   over TCP, at most `max_rpc_clients` at once
    └─ JSON-RPC lines   over the standard streams; when they end, so does the server

The realm is opened before its doors and closed after them, so what clients began is ended in order. Each connection is
a task of its listener's; nothing outlives `serve_doors`.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Awaitable, Callable

import trio
from attrs import field, frozen

from mob.carriers.links import StdioLink, StreamLink
from mob.server.front.auth import Gatekeeper, check_exposure
from mob.server.front.listening import Address, keep_alive, listen
from mob.server.front.port import Front, secure
from mob.server.front.routes import Table
from mob.server.realm.realm import Realm
from mob.server.rpc.dispatch import Methods
from mob.server.rpc.door import LiveDoor, rpc_methods, rpc_sockets, serve_rpc_lines


@frozen(slots=True)
class DoorSettings:
    """Which doors there are, and who may come in.

    `front`: one port for everything over HTTP. `rpc`: JSON-RPC lines over TCP. `stdio`: the same on the standard
    streams. `live`: live sockets alone. `webrtc`: it was asked for, and is refused by name. UsageError, when it is
    served, for an open address without a secret.
    """

    front: Address | None = None
    rpc: Address | None = None
    stdio: bool = False
    live: Address | None = None
    webrtc: bool = False
    gatekeeper: Gatekeeper = field(factory=Gatekeeper)
    tls: ssl.SSLContext | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it is to listen."""
        return tuple(address for address in (self.front, self.rpc, self.live) if address is not None)


@frozen(slots=True)
class Served:
    """Where the doors are: URLs, None where there is none. `warnings` are for whoever started the server."""

    http: str | None = None
    rpc: str | None = None
    live: str | None = None
    warnings: tuple[str, ...] = ()


async def serve_doors(realm: Realm, settings: DoorSettings, *, on_ready: Callable[[Served], None]) -> None:
    """Serve until cancelled, or until the standard streams end. `on_ready` is told where. UsageError."""
    hosts = [address.host for address in settings.addresses]
    warnings = check_exposure(hosts, settings.gatekeeper.secret, tls=settings.tls is not None)
    async with trio.open_nursery() as nursery:
        server = _Server(realm, settings, nursery)
        try:
            served = await server.open(tuple(warnings))
            on_ready(served)
            if settings.stdio:
                await server.serve_stdio()
            else:
                await trio.sleep_forever()
        finally:
            nursery.cancel_scope.cancel()


class _Server:
    """The doors of one server. Listeners open in order; what is served where is known before the first is."""

    def __init__(self, realm: Realm, settings: DoorSettings, nursery: trio.Nursery) -> None:
        self._realm = realm
        self._settings = settings
        self._nursery = nursery
        self._methods: Methods
        self._lines = 0

    async def open(self, warnings: tuple[str, ...]) -> Served:
        """Open every port. UsageError when one cannot be had; then none is served."""
        settings = self._settings
        front = None if settings.front is None else await listen(settings.front)
        live = None if settings.live is None else await listen(settings.live)
        rpc = None if settings.rpc is None else await listen(settings.rpc)
        scheme = "ws" if settings.tls is None else "wss"
        at = live or front
        url = None if at is None else f"{scheme}://{at[1]}"
        door = LiveDoor(url, webrtc=settings.webrtc) if url is not None or settings.webrtc else None
        self._methods = rpc_methods(self._realm, live=door)
        if front is not None:
            self._serve(front[0], self._front().serve_stream)
        if live is not None:
            self._serve(live[0], self._live_front().serve_stream)
        if rpc is not None:
            self._serve(rpc[0], self._serve_lines)
        secure = "http" if settings.tls is None else "https"
        return Served(
            http=None if front is None else f"{secure}://{front[1]}",
            rpc=None if rpc is None else f"{'tcp' if settings.tls is None else 'tls'}://{rpc[1]}",
            live=None if live is None else f"{scheme}://{live[1]}",
            warnings=warnings,
        )

    def _serve(
        self, listeners: list[trio.SocketListener], handler: Callable[[trio.SocketStream], Awaitable[object]]
    ) -> None:
        self._nursery.start_soon(functools.partial(trio.serve_listeners, handler, listeners))

    def _front(self) -> Front:
        """Everything. Its rooms are loaded here, since a client that starts `mob rpc` waits for none of them."""
        from mob.server.gateway.door import gateway_sockets
        from mob.server.livesocket.socket import live_sockets
        from mob.server.rest.door import rest_routes

        realm, gatekeeper = self._realm, self._settings.gatekeeper
        table = Table(
            rest_routes(
                realm,
                nursery=self._nursery,
                table=lambda: table,
                front=lambda: front,
                rpc_served=lambda: self._methods.served,
            ),
            [*live_sockets(realm), *gateway_sockets(realm, gatekeeper), *rpc_sockets(realm, self._methods)],
        )
        front = Front(table, gatekeeper, realm.limits, tls=self._settings.tls)
        return front

    def _live_front(self) -> Front:
        """Nothing but live sockets: whoever comes there shows a token."""
        from mob.server.livesocket.socket import live_sockets

        table = Table((), live_sockets(self._realm))
        return Front(table, self._settings.gatekeeper, self._realm.limits, tls=self._settings.tls)

    async def _serve_lines(self, stream: trio.abc.Stream) -> None:
        limits = self._realm.limits
        if self._lines >= limits.max_rpc_clients:
            await trio.aclose_forcefully(stream)
            return
        self._lines += 1
        keep_alive(stream)
        try:
            secured = await secure(stream, self._settings.tls, limits)
            if secured is not None:
                link = StreamLink(secured, secured, max_bytes=limits.max_request_bytes)
                await serve_rpc_lines(link, self._methods, limits, gatekeeper=self._settings.gatekeeper)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass  # it has gone, or speaks something else
        finally:
            self._lines -= 1
            await trio.aclose_forcefully(stream)

    async def serve_stdio(self) -> None:
        """One client on the standard streams, until it ends them. It started this process and needs no secret."""
        limits = self._realm.limits
        async with StdioLink(max_bytes=limits.max_request_bytes) as link:
            await serve_rpc_lines(link, self._methods, limits)
