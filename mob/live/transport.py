"""Opening WebSockets, either end, over whatever the network gives: sockets, TLS in memory, memory streams.

`connect_websocket` dials a URL on a network; `open_websocket` and `accept_websocket` shake hands over a stream that is
there already. Each owns the stream from the call on: when it fails or is cancelled, the stream is closed. None bounds
its time; the caller does.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence

import trio

from mob.errors import ProviderUnreachable
from mob.live.handshake import Admit, Refusal, UpgradeRequest, answer_handshake, parse_url, shake_hands
from mob.live.network import Network
from mob.live.pipe import Pipe, SocketPipe, StreamPipe
from mob.live.ports import ChannelLimits
from mob.live.tls import TlsPipe
from mob.live.transport_port import ABNORMAL, HandshakeRefused, Transport, TransportClosed, TransportStatistics
from mob.live.websocket import WebSocketTransport

__all__ = [
    "ABNORMAL",
    "HandshakeRefused",
    "HeaderPairs",
    "Refusal",
    "Transport",
    "TransportClosed",
    "TransportStatistics",
    "UpgradeRequest",
    "accept_websocket",
    "connect_websocket",
    "open_websocket",
]

HeaderPairs = Mapping[str, str] | Iterable[tuple[str, str]]


async def connect_websocket(
    network: Network,
    url: str,
    *,
    headers: HeaderPairs = (),
    subprotocols: Sequence[str] = (),
    limits: ChannelLimits | None = None,
) -> Transport:
    """Dial a ws or wss URL and open a WebSocket there; the errors of `open_websocket`."""
    uri = parse_url(url)
    stream = await network.connect(uri.host, uri.port)
    tls = network.tls_context() if uri.secure else None
    return await open_websocket(stream, url, headers=headers, subprotocols=subprotocols, limits=limits, tls=tls)


async def open_websocket(
    stream: trio.abc.Stream,
    url: str,
    *,
    headers: HeaderPairs = (),
    subprotocols: Sequence[str] = (),
    limits: ChannelLimits | None = None,
    tls: ssl.SSLContext | None = None,
) -> Transport:
    """Be the client of a WebSocket over this stream, with TLS under it when a context is given.

    HandshakeRefused (a ProviderRefused) with status, headers and body when the answer is another status than 101, a
    redirect included; ProviderUnreachable when the peer hangs up, breaks off or speaks something else, or its
    certificate does not convince; UsageError for a URL or a header that cannot be sent.
    """
    limits = limits or ChannelLimits()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    pipe = _pipe_over(stream)
    try:
        uri = parse_url(url)
        if tls is not None:
            pipe = await _secure(TlsPipe(pipe, tls, hostname=uri.host))
        protocol, early = await shake_hands(pipe, uri, headers=pairs, subprotocols=subprotocols, limits=limits)
    except BaseException:
        await _close(pipe)
        raise
    return WebSocketTransport(pipe, protocol, limits, early=early)


async def accept_websocket(
    stream: trio.abc.Stream,
    *,
    admit: Admit | None = None,
    subprotocols: Sequence[str] = (),
    limits: ChannelLimits | None = None,
    tls: ssl.SSLContext | None = None,
    seen: bytes = b"",
) -> tuple[Transport, UpgradeRequest]:
    """Be the server of a WebSocket over this stream. Of the subprotocols the first that the client offers is chosen.

    `seen`: bytes of the stream that were read already, to find out that a WebSocket is what is asked for.

    `admit` looks at the request and may refuse it. WireError when there is no WebSocket in the end: the client has had
    an HTTP answer that says why. ProviderUnreachable when TLS fails.
    """
    limits = limits or ChannelLimits()
    pipe = _pipe_over(stream, seen)
    try:
        if tls is not None:
            pipe = await _secure(TlsPipe(pipe, tls, server_side=True))
        protocol, asked, early = await answer_handshake(pipe, admit=admit, subprotocols=subprotocols, limits=limits)
    except BaseException:
        await _close(pipe)
        raise
    return WebSocketTransport(pipe, protocol, limits, early=early), asked


def _pipe_over(stream: trio.abc.Stream, seen: bytes = b"") -> Pipe:
    return SocketPipe(stream, seen) if isinstance(stream, trio.SocketStream) else StreamPipe(stream, seen)


async def _secure(secured: TlsPipe) -> Pipe:
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        raise ProviderUnreachable(
            f"the connection broke during the TLS handshake: {error}", recovery="reopen"
        ) from error
    return secured


async def _close(pipe: Pipe) -> None:
    with trio.CancelScope(shield=True):
        await pipe.aclose()
