"""The opening handshake of a WebSocket (RFC 6455, 4), both ends, and what its failures mean.

Nothing of what is sent in headers may come out again: servers like to repeat a key in their refusal, so the excerpt
of a refusal has every header value struck out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus

import trio
from attrs import field, frozen
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.http11 import Request, Response
from websockets.protocol import Event, Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from mob.errors import ProviderUnreachable, UsageError, WireError
from mob.live.pipe import Pipe, write_all
from mob.live.ports import ChannelLimits
from mob.live.transport_port import HandshakeRefused
from mob.values import Recovery

_EXCERPT = 300
_SHORTEST_SECRET = 6
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110, 5.5. Looked at here: not every release of the library does, and a line break would begin another header."""


@frozen(slots=True)
class UpgradeRequest:
    """What a client asks for: the path with its query, headers (names in lower case), subprotocols it offers."""

    path: str
    headers: Mapping[str, str] = field(repr=lambda headers: repr(sorted(headers)))
    subprotocols: tuple[str, ...] = ()


@frozen(slots=True)
class Refusal:
    """Why a client does not get its WebSocket: an HTTP status of 400 or more, and a body (plain text, or JSON)."""

    status: int
    body: str


Admit = Callable[[UpgradeRequest], Refusal | None]


def parse_url(url: str) -> WebSocketURI:
    """The parts of a ws or wss URL; UsageError when it is none."""
    try:
        return parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise UsageError(f"{url.split('?')[0]!r} is not a ws:// or wss:// address: {error.args[-1]}") from error


async def shake_hands(
    pipe: Pipe,
    uri: WebSocketURI,
    *,
    headers: Iterable[tuple[str, str]],
    subprotocols: Sequence[str],
    limits: ChannelLimits,
) -> tuple[ClientProtocol, list[Event]]:
    """Ask for a WebSocket. The protocol, open, and what came along with the answer."""
    protocol = ClientProtocol(
        uri, subprotocols=[Subprotocol(name) for name in subprotocols] or None, max_size=limits.max_frame_bytes
    )
    _keep_quiet(protocol)
    request = protocol.connect()
    sent = list(headers)
    _add_headers(request.headers, sent)
    protocol.send_request(request)
    try:
        await write_all(pipe, b"".join(protocol.data_to_send()))
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            _feed(protocol, await pipe.read())
    except trio.BrokenResourceError as error:
        raise ProviderUnreachable(
            f"the connection to {uri.host}:{uri.port} broke during the WebSocket handshake: {error}", recovery="reopen"
        ) from error
    if protocol.handshake_exc is not None:
        raise _failure(protocol.handshake_exc, uri, sent) from protocol.handshake_exc
    return protocol, [event for event in protocol.events_received() if not isinstance(event, Response)]


async def answer_handshake(
    pipe: Pipe, *, admit: Admit | None, subprotocols: Sequence[str], limits: ChannelLimits
) -> tuple[ServerProtocol, UpgradeRequest, list[Event]]:
    """Answer who asks for a WebSocket; as above. WireError when there is none in the end: it has had its answer."""

    def select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((Subprotocol(name) for name in subprotocols if name in offered), None)

    protocol = ServerProtocol(select_subprotocol=select, max_size=limits.max_frame_bytes)
    _keep_quiet(protocol)
    try:
        request, early = await _read_request(pipe, protocol)
        asked = _asked(request)
        refusal = _refusal_of_words(asked) or (admit(asked) if admit is not None else None)
        response = protocol.accept(request) if refusal is None else _refuse(protocol, refusal)
        protocol.send_response(response)
        await write_all(pipe, b"".join(protocol.data_to_send()))
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            await pipe.write_eof()
    except trio.BrokenResourceError as error:
        raise WireError(f"the client left during the WebSocket handshake: {error}", recovery="fatal") from error
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        why = refusal.body if refusal is not None else protocol.handshake_exc
        raise WireError(f"no WebSocket for this client, it got HTTP {response.status_code}: {why}", recovery="fatal")
    return protocol, asked, early


async def _read_request(pipe: Pipe, protocol: ServerProtocol) -> tuple[Request, list[Event]]:
    events: list[Event] = []
    while not events:
        _feed(protocol, await pipe.read())
        events = protocol.events_received()
        if protocol.handshake_exc is not None:
            await write_all(pipe, b"".join(protocol.data_to_send()))
            raise WireError(f"not a WebSocket handshake: {_chain(protocol.handshake_exc)}", recovery="fatal")
    request, *early = events
    if not isinstance(request, Request):
        raise WireError("not a WebSocket handshake", recovery="fatal")
    if protocol.eof_sent:  # what came behind the request, in the same piece, is no frame: it cannot be answered now
        raise WireError("what followed the request for a WebSocket is none of its frames", recovery="fatal")
    return request, early


def _asked(request: Request) -> UpgradeRequest:
    headers = _plain(request.headers)
    offered = headers.get("sec-websocket-protocol", "").split(",")
    return UpgradeRequest(request.path, headers, tuple(name.strip() for name in offered if name.strip()))


def _refusal_of_words(asked: UpgradeRequest) -> Refusal | None:
    """The library fails at what is not ASCII in the headers of its own, so they never come there."""
    for name, value in asked.headers.items():
        if (name in ("connection", "upgrade") or name.startswith("sec-websocket-")) and not value.isascii():
            return Refusal(HTTPStatus.BAD_REQUEST, f"{name} has a character that no WebSocket header has")
    return None


def _refuse(protocol: ServerProtocol, refusal: Refusal) -> Response:
    response = protocol.reject(refusal.status, refusal.body)
    if refusal.body.startswith("{"):
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
    return response


def _feed(protocol: Protocol, data: bytes) -> None:
    if data:
        protocol.receive_data(data)
    else:
        protocol.receive_eof()


def _keep_quiet(protocol: Protocol) -> None:
    """Its debug log has every header in it, keys too."""
    protocol.debug = False


def _add_headers(into: Headers, headers: Iterable[tuple[str, str]]) -> None:
    for name, value in headers:
        if not _HEADER_VALUE.fullmatch(value):
            raise UsageError(
                f"the header {name} has a character that HTTP does not allow; look for a line break or other "
                "invisible character in the key that it is made of"
            )
        into[name] = value


def _plain(headers: Headers) -> dict[str, str]:
    plain: dict[str, str] = {}
    for name, value in headers.raw_items():
        name = name.lower()
        plain[name] = f"{plain[name]}, {value}" if name in plain else value
    return plain


def _failure(error: Exception, uri: WebSocketURI, sent: Sequence[tuple[str, str]]) -> Exception:
    peer = f"{uri.host}:{uri.port}"
    match error:
        case InvalidStatus(response=response):
            return _refused(response, peer, sent)
        case InvalidMessage() if isinstance(error.__cause__, EOFError):
            return ProviderUnreachable(f"{peer} hung up during the WebSocket handshake", recovery="reopen")
        case InvalidHandshake():
            return ProviderUnreachable(
                f"{peer} does not speak WebSocket: {_strike(_chain(error), sent)[:_EXCERPT]}; check the base_url",
                recovery="reopen",
            )
        case _:
            return error


def _refused(response: Response, peer: str, sent: Sequence[tuple[str, str]]) -> HandshakeRefused:
    status = response.status_code
    headers = _plain(response.headers)
    body = bytes(response.body)
    said = _said(body)
    message = f"{peer} refused the WebSocket handshake with HTTP {status} {response.reason_phrase}".rstrip()
    if "location" in headers:
        message += f"; it points to {headers['location']}, and redirects are not followed: set base_url to where it is"
    if said:
        message += f": {said}"
    return HandshakeRefused(
        _strike(message, sent),
        status=status,
        headers=headers,
        body=body,
        recovery=_recovery(status),
        retry_after_s=_seconds(headers.get("retry-after")),
    )


def _recovery(status: int) -> Recovery:
    """Whether dialling again may help. The wire knows more: it looks into the body."""
    return "reopen" if status in (408, 409, 425, 429) or status >= 500 else "fatal"


def _said(body: bytes) -> str:
    """The message of a JSON refusal, else the beginning of whatever it is."""
    text = body.decode(errors="replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        error = found.get("error", found.get("detail"))
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str):
            text = message
    return " ".join(text.split())[:_EXCERPT]


def _strike(text: str, sent: Sequence[tuple[str, str]]) -> str:
    for _, value in sent:
        for secret in (value, *value.split()):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "…")
    return text


def _seconds(retry_after: str | None) -> float | None:
    """The header in seconds. A date counts from now by the wall clock, which a run does not have: left out."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        return None


def _chain(error: BaseException) -> str:
    said = str(error)
    while error.__cause__ is not None:
        error = error.__cause__
        said += f": {error}"
    return said
