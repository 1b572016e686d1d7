"""One port for HTTP and WebSockets: who may come in, where they want to go, and how many there may be.

Theory. A connection is read up to the end of its first head, and from there on belongs either to HTTP (any number of
requests, one after the other) or to one WebSocket. Everything on it is bounded before it is read: connections, the
time for TLS and for the head, bytes, silence. A handler raises what it has to refuse as a MobError; the answer's status
is looked up, and nothing else of the server is touched (law 26). Every connection runs in the front's nursery.

    accepted ──TLS──> head ──upgrade──> socket: admitted, shaken hands with, served, closed
                       └──────────────> HTTP: request, answer, request, …
"""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import Mapping

import trio
from attrs import evolve, frozen

from mob.errors import (
    AlreadyOpen,
    BudgetExceeded,
    CapabilityUnavailable,
    ChannelUnknown,
    ConfigConflict,
    CredentialMissing,
    DefinitionError,
    DoorError,
    DoorFull,
    DuplicateRequest,
    LimitReached,
    LiveClosed,
    LiveError,
    LiveRejected,
    MailboxFull,
    MemberError,
    MemberUnknown,
    MobError,
    MobExists,
    MobUnknown,
    ModelUnknown,
    NotRealtime,
    ProviderError,
    ReopenRequired,
    RequestInvalid,
    RouteRefused,
    RunUnknown,
    ServerGone,
    SessionBusy,
    SessionIdle,
    SessionUnknown,
    StaleCursor,
    StoreError,
    TokenRefused,
    TurnTimedOut,
    Unauthorized,
    UsageError,
    WireError,
)
from mob.live.ports import ChannelLimits
from mob.live.transport import Refusal, Transport, UpgradeRequest, accept_websocket
from mob.server.front.auth import Gatekeeper
from mob.server.front.routes import Auth, Call, SocketRoute, Table, Visit
from mob.server.limits import DoorLimits
from mob.web.http import HttpBounds, HttpReply, HttpRequest, error_body, serve_http
from mob.web.streams import Head, ReplayedStream, read_head

_log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[MobError], int], ...] = (
    (Unauthorized, 401),
    (TokenRefused, 401),
    (MobUnknown, 404),
    (ModelUnknown, 404),
    (SessionUnknown, 404),
    (ChannelUnknown, 404),
    (RunUnknown, 404),
    (MemberUnknown, 404),
    (MobExists, 409),
    (SessionBusy, 409),
    (SessionIdle, 409),
    (ConfigConflict, 409),
    (DuplicateRequest, 409),
    (StaleCursor, 409),
    (AlreadyOpen, 409),
    (LiveClosed, 409),
    (ReopenRequired, 409),
    (RouteRefused, 409),
    (LiveRejected, 400),
    (NotRealtime, 400),
    (RequestInvalid, 400),
    (CapabilityUnavailable, 400),
    (DefinitionError, 400),
    (UsageError, 400),
    (TurnTimedOut, 504),
    (MailboxFull, 429),
    (BudgetExceeded, 429),
    (DoorFull, 503),
    (CredentialMissing, 503),
    (LimitReached, 429),
    (MemberError, 409),
    (ProviderError, 502),
    (ServerGone, 502),
    (StoreError, 500),
    (LiveError, 409),
    (DoorError, 400),
)
_LITTLE = 64 * 1024
_SHOWN = 200
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def status_of(error: MobError) -> int:
    """The HTTP status that says what kind of refusal this is."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def body_of(error: MobError) -> dict[str, object]:
    """The answer's body: OpenAI's error shape, which its clients read, with our own code in it."""
    status = status_of(error)
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"message": error.message, "type": kind, "code": error.code, "param": getattr(error, "field", None)}
    return {"error": body}


@frozen(slots=True)
class FrontStatistics:
    """Connections now open, ever accepted, turned away because there were too many, and requests refused."""

    open: int
    accepted: int
    turned_away: int
    refused: int


class Front:
    """Serves one table of routes on any number of listeners and streams."""

    def __init__(
        self, table: Table, gatekeeper: Gatekeeper, limits: DoorLimits, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._table = table
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._tls = tls
        self._open = self._accepted = self._turned_away = self._refused = 0

    def statistics(self) -> FrontStatistics:
        """Counts, as of now."""
        return FrontStatistics(self._open, self._accepted, self._turned_away, self._refused)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end, and close it. A client that vanishes is no error."""
        if self._open >= self._limits.max_connections:
            self._turned_away += 1
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        self._accepted += 1
        try:
            await self._serve(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass
        except* Exception:  # whatever it is, it is this connection's alone
            _log.exception("a connection failed")
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        secured = await secure(stream, self._tls, self._limits)
        if secured is None:
            return
        head, replayed = await read_head(secured, within_s=self._limits.head_s)
        if head is not None and head.is_upgrade:
            await self._serve_socket(head, replayed)
            return
        limits, bounds = self._limits, self._bounds()
        if head is not None:
            await serve_http(replayed, self._answer, bounds)
            return
        with trio.move_on_after(limits.close_s):  # no head in time, or none that can be one: time to say so
            await serve_http(replayed, self._answer, bounds)

    def _bounds(self) -> HttpBounds:
        limits = self._limits
        return HttpBounds(limits.max_body_bytes, limits.idle_s, limits.request_s, self._room)

    # -- HTTP ------------------------------------------------------------------------------------------------------

    async def _answer(self, request: HttpRequest, reply: HttpReply) -> None:
        reply.always = self._cors(request.headers)
        try:
            self._check_origin(request.path, request.headers)
            if request.method == "OPTIONS":
                await reply.send_bytes(204, b"", "text/plain")
                return
            found = self._table.find(request.method, request.path)
            if found.route is None:
                await self._nowhere(request, reply, found.methods)
                return
            self._check(found.route.auth, request.headers)
            await found.route.handler(Call(request, reply, found.params))
        except MobError as error:
            await self._refuse(reply, status_of(error), body_of(error))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:
            _log.exception("%s %s could not be answered", request.method, request.path)
            await self._refuse(reply, 500, error_body("The server failed; its log says why.", kind="server_error"))

    def _room(self, request: HttpRequest) -> int:
        """How large the body of this request may be; little, where it is refused or looked at by nobody."""
        found = self._table.find(request.method, request.path)
        if found.route is None or found.route.body is None:
            return _LITTLE
        try:
            self._gatekeeper.check_origin(request.headers)
            self._check(found.route.auth, request.headers)
        except MobError:
            return _LITTLE
        return self._limits.max_body_bytes

    async def _nowhere(self, request: HttpRequest, reply: HttpReply, methods: tuple[str, ...]) -> None:
        if methods:
            body = error_body(f"{request.path} takes {', '.join(methods)}.", code="method_not_allowed")
            await self._refuse(reply, 405, body, [("allow", ", ".join(methods))])
        elif self._table.find_socket(request.path) is not None:
            body = error_body("This is a WebSocket: ask for the upgrade.", code="upgrade_required")
            await self._refuse(reply, 426, body, [("upgrade", "websocket")])
        else:
            body = error_body(f"Nothing is served at {request.path[:200]}; see /openapi.json.", code="unknown_url")
            await self._refuse(reply, 404, body)

    async def _refuse(
        self, reply: HttpReply, status: int, body: Mapping[str, object], headers: list[tuple[str, str]] | None = None
    ) -> None:
        self._refused += 1
        if reply.started:
            raise trio.BrokenResourceError("the answer had begun; cut it off, so that the client sees that it failed")
        own = [("www-authenticate", "Bearer")] if status == 401 else []
        await reply.send_json(status, body, [*own, *(headers or [])])

    def _check_origin(self, path: str, headers: Mapping[str, str]) -> None:
        """Whoever runs the server sees in its log what a page only shows as a failed request."""
        try:
            self._gatekeeper.check_origin(headers)
        except Unauthorized as error:
            _log.info("%s: refused: %s", path[:_SHOWN], error.message[:_SHOWN])
            raise

    def _check(self, auth: Auth, headers: Mapping[str, str]) -> None:
        if auth == "secret":
            self._gatekeeper.check(headers)

    def _cors(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """What a browser must be told before it lets a page of this origin see the answer."""
        origin = headers.get("origin")
        if origin is None or not self._gatekeeper.allows(origin):
            return []
        wanted = headers.get("access-control-request-headers", "authorization, content-type")
        return [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, POST, PATCH, PUT, DELETE, OPTIONS"),
            ("access-control-allow-headers", wanted),
            ("vary", "origin"),
        ]

    # -- WebSockets ------------------------------------------------------------------------------------------------

    async def _serve_socket(self, head: Head, replayed: ReplayedStream) -> None:
        found = self._table.find_socket(head.path)
        refusal = self._refusal_of_socket(head, found)
        if refusal is not None or found is None:
            self._refused += 1
            await serve_http(replayed, functools.partial(self._refuse_socket, refusal), self._bounds())
            return
        route, params = found
        transport = await self._shake_hands(head, replayed, route)
        if transport is None:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.run_writer)
            code, reason = 1000, ""
            try:
                await route.handler(Visit(head, transport, params))
            except MobError as error:
                code, reason = 1008, error.message
            except Exception:
                _log.exception("the WebSocket at %s failed", head.path)
                code, reason = 1011, "the server failed; its log says why"
            finally:
                with trio.CancelScope(shield=True):
                    await transport.aclose(code, reason)
            nursery.cancel_scope.cancel()

    def _refusal_of_socket(
        self, head: Head, found: tuple[SocketRoute, Mapping[str, str]] | None
    ) -> tuple[int, Mapping[str, object]] | None:
        if found is None:
            return 404, error_body(f"No WebSocket is served at {head.path[:200]}.", code="unknown_url")
        route, params = found
        try:
            self._check_origin(head.path, head.headers)
            self._check(route.auth, head.headers)
            if route.admit is not None:
                route.admit(head, params)
        except MobError as error:
            return status_of(error), body_of(error)
        return None

    async def _refuse_socket(
        self, refusal: tuple[int, Mapping[str, object]] | None, _: HttpRequest, reply: HttpReply
    ) -> None:
        status, body = refusal or (404, error_body("Nothing is served here.", code="unknown_url"))
        await reply.send_json(status, body, [("connection", "close")])

    async def _shake_hands(self, head: Head, replayed: ReplayedStream, route: SocketRoute) -> Transport | None:
        stream, seen = replayed.release()
        limits = evolve(
            ChannelLimits(),
            max_frame_bytes=route.max_frame_bytes or self._limits.max_frame_bytes,
            close_timeout_s=self._limits.close_s,
        )
        with trio.move_on_after(self._limits.head_s):
            try:
                transport, _ = await accept_websocket(
                    stream, seen=seen, subprotocols=route.subprotocols, limits=limits, admit=_anybody
                )
            except WireError:  # its message may quote a line of the head, and there may be a secret in that
                self._refused += 1
                _log.info("%s: the WebSocket handshake failed", head.path)
                return None
            return transport
        return None


async def secure(stream: trio.abc.Stream, tls: ssl.SSLContext | None, limits: DoorLimits) -> trio.abc.Stream | None:
    """The stream with TLS on it, if there is to be any; None when the client does not shake hands in time.

    trio.BrokenResourceError, ssl.SSLError.
    """
    if tls is None:
        return stream
    secured = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
    with trio.move_on_after(limits.tls_s) as patience:
        await secured.do_handshake()
    return None if patience.cancelled_caught else secured


def _anybody(_: UpgradeRequest) -> Refusal | None:
    """Whoever comes this far has been looked at already."""
    return None
