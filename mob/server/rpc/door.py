"""The JSON-RPC door as a whole: which methods there are, and how clients come in.

    lines       a stream's or the standard streams' (`serve_rpc_lines`): one client a call
    frames      a WebSocket at /rpc on the port of everything else (`rpc_sockets`), where the front asks for the secret

A table of methods is of one server and serves all its clients; what belongs to one client is in its RpcClient. Where a
secret is wanted of a stream of lines, the first message must be `initialize` with it, and nothing is served before.
Where none is, the first line must be a message: any page of a browser can send a port an HTTP request whose body is
lines of JSON, and its first line is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from mob.carriers.links import Link, SocketLink, StreamLink, TooLong
from mob.errors import Unauthorized
from mob.protocol.jsonrpc import Malformed, Request, Response, read_message, write_message
from mob.server.front.auth import Gatekeeper
from mob.server.front.routes import SocketRoute, Visit
from mob.server.limits import DoorLimits
from mob.server.realm.realm import Realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Methods
from mob.server.rpc.errors import error_of
from mob.server.rpc.handshake import handshake_methods
from mob.server.rpc.live import LiveDoor, live_methods
from mob.server.rpc.mobs.life import mob_methods
from mob.server.rpc.sessions.methods import session_methods
from mob.server.rpc.sessions.streams import stream_methods
from mob.server.rpc.settings import config_methods
from mob.server.rpc.team.live import team_live_methods
from mob.server.rpc.team.methods import team_methods
from mob.server.rpc.team.tools import team_tool_methods
from mob.server.rpc.tools import tool_methods

__all__ = ["LiveDoor", "rpc_methods", "rpc_sockets", "serve_rpc_lines"]

RPC_PATH = "/rpc"
_FIRST_BYTES = 64 * 1024


def rpc_methods(realm: Realm, *, live: LiveDoor | None) -> Methods:
    """The methods that this server offers. `live` None: there is no transport, and so no method of a live channel."""
    methods = Methods()
    methods.add(handshake_methods(realm, methods, live=live is not None))
    methods.add(config_methods(realm))
    methods.add(tool_methods())
    sessions = session_methods(realm)
    methods.add(sessions)
    methods.add(stream_methods(realm))
    if live is not None:
        methods.add(live_methods(realm, live))
    methods.add(mob_methods(realm, sessions=sessions, live=live))
    methods.add(team_methods(realm))
    methods.add(team_tool_methods(realm))
    if live is not None:
        methods.add(team_live_methods(realm, live))
    return methods


async def serve_rpc_lines(
    link: StreamLink, methods: Methods, limits: DoorLimits, *, gatekeeper: Gatekeeper | None = None
) -> None:
    """Serve one client until it goes. `gatekeeper`: it comes from outside, and its first line decides."""
    entrance: Link = link
    if gatekeeper is not None:
        entrance = _Guarded(link, gatekeeper, limits)
    await RpcClient(entrance, methods.call, limits).run()


def rpc_sockets(realm: Realm, methods: Methods) -> list[SocketRoute]:
    """The WebSocket of this door: one message a text frame. At most `max_rpc_clients` at once."""
    served = 0

    async def serve(visit: Visit) -> None:
        nonlocal served
        if served >= realm.limits.max_rpc_clients:
            await visit.transport.aclose(1013, "this server has as many JSON-RPC clients as it takes")
            return
        served += 1
        try:
            await RpcClient(SocketLink(visit.transport), methods.call, realm.limits).run()
        finally:
            served -= 1

    return [
        SocketRoute(
            RPC_PATH,
            serve,
            "JSON-RPC 2.0, one message a text frame",
            # A browser that shows the secret goes only when one of the others that it offers is chosen.
            subprotocols=("mob",),
            max_frame_bytes=realm.limits.max_request_bytes,
        )
    ]


class _Guarded:
    """A link whose first line must be a message, and `initialize` with the server's secret if there is one.

    Otherwise it is refused and ended.
    """

    def __init__(self, link: StreamLink, gatekeeper: Gatekeeper, limits: DoorLimits) -> None:
        self._link = link
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._receive: Callable[[], Awaitable[bytes | None]] = (
            self._first if gatekeeper.secret is None else self._first_with_secret
        )
        self.send = link.send

    async def receive(self) -> bytes | None:
        """As the link's, once the client was let in."""
        return await self._receive()

    async def _first(self) -> bytes | None:
        """The first line, if it is a message and comes soon; None after a refusal."""
        said = "the first line is no JSON-RPC message: who speaks something else is not listened to"
        with trio.move_on_after(self._limits.head_s) as patience, suppress(TooLong):
            data: bytes | None = b""
            while data is not None and not data.strip():
                data = await self._link.receive()
            if data is None or not isinstance(read_message(data), Malformed):
                self._receive = self._link.receive
                return data
        if patience.cancelled_caught:
            said = f"no message came within {self._limits.head_s:g} s: a place is for who has something to say"
        error = Unauthorized(said)
        await self._link.send(write_message(Response(None, error=error_of(error))))
        return None

    async def _first_with_secret(self) -> bytes | None:
        """The first message, if it may come in; None after a refusal. It must be short, and come soon."""
        data, link, most = None, self._link, self._link.max_bytes
        link.max_bytes = min(most, _FIRST_BYTES)
        with trio.move_on_after(self._limits.head_s):
            with suppress(TooLong):
                data = await link.receive()
        link.max_bytes = most
        message = None if data is None else read_message(data)
        if isinstance(message, Request) and message.method == "initialize":
            shown = message.params.get("secret")
            if self._gatekeeper.knows(shown if isinstance(shown, str) else None):
                self._receive = link.receive
                return data
        error = Unauthorized('this server wants its secret: the first request is `initialize` with {"secret": …}')
        ident = message.id if isinstance(message, Request | Malformed) else None
        await link.send(write_message(Response(ident, error=error_of(error))))
        return None
