"""Getting to a server: an address, or a command that is one.

http(s)://HOST:PORT        JSON-RPC over a WebSocket at /rpc, live sockets at /live/ws: `mob serve`
ws(s)://HOST:PORT/rpc      the same, told exactly
tcp://HOST:PORT            JSON lines: `mob serve --rpc`, `mob rpc --listen`; tls://HOST:PORT where it has a certificate
anything else              a command, started as a process that speaks JSON lines on its standard streams; it is
                           ended with the connection: its input ends, and what does not go is made to go
"""

from __future__ import annotations

import shlex
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit

import trio
from attrs import field, frozen

from mob.carriers.links import Link, SocketLink, StreamLink
from mob.errors import DoorFull, MobError, ProviderError, ServerGone, Unauthorized, UsageError
from mob.live.network import Network
from mob.live.ports import ChannelLimits
from mob.live.transport import HandshakeRefused, connect_websocket
from mob.live.watchdog import Watchdog
from mob.remote.peer import MAX_MESSAGE_BYTES

_CONNECT_S = 10.0
_GO_S, _TERMINATE_S = 15.0, 5.0
_SCHEMES = ("http", "https", "ws", "wss", "tcp", "tls")
_LINES = ("tcp", "tls")
_UNAUTHORIZED, _FULL = 401, 503


@frozen(slots=True)
class Dialled:
    """A way to a server. `live_base` is where its live sockets are, when the address says so.

    `secret` is to be shown in the first message, when it was not in a header; `where` names the server in errors.
    """

    link: Link
    where: str
    live_base: str | None = None
    secret: str | None = field(default=None, repr=False)


@asynccontextmanager
async def dial(
    server: str | Sequence[str], *, secret: str | None, network: Network, nursery: trio.Nursery, watchdog: Watchdog
) -> AsyncIterator[Dialled]:
    """The server, until the block is left. `nursery` and `watchdog` outlive it.

    ServerGone, Unauthorized, UsageError.
    """
    url = _url(server)
    if url is None:
        words = shlex.split(server) if isinstance(server, str) else list(server)
        way = _command(words, secret)
    elif url.scheme in _LINES:
        way = _lines(url, secret, network)
    else:
        way = _frames(url, secret, network, nursery, watchdog)
    async with way as dialled:
        yield dialled


def bearer(secret: str | None) -> dict[str, str]:
    """The header that shows the secret."""
    return {} if secret is None else {"authorization": f"Bearer {secret}"}


def _url(server: str | Sequence[str]) -> SplitResult | None:
    """The address's parts; None for a command. UsageError for what is neither."""
    if not isinstance(server, str):
        return None
    scheme, separator, _ = server.partition("://")
    if not separator or " " in scheme or "/" in scheme:
        return None
    if scheme not in _SCHEMES:
        raise UsageError(f"{server!r}: an address begins with {'://, '.join(_SCHEMES)}://; anything else is a command")
    try:
        url = urlsplit(server)
        known = url.hostname is not None and (url.port is not None or scheme not in _LINES)
    except ValueError as error:
        raise UsageError(f"{server!r} is no address: {error}") from None
    if not known:
        raise UsageError(f"{server!r} is no address: it needs a host{' and a port' if scheme in _LINES else ''}")
    return url


@asynccontextmanager
async def _frames(
    url: SplitResult, secret: str | None, network: Network, nursery: trio.Nursery, watchdog: Watchdog
) -> AsyncIterator[Dialled]:
    scheme = {"http": "ws", "https": "wss"}.get(url.scheme, url.scheme)
    root = url.path.rstrip("/").removesuffix("/rpc")
    base, where = f"{scheme}://{url.netloc}{root}", f"{url.scheme}://{url.netloc}"
    limits = ChannelLimits(max_frame_bytes=MAX_MESSAGE_BYTES)
    transport = None
    with trio.move_on_after(_CONNECT_S):
        try:
            transport = await connect_websocket(network, f"{base}/rpc", headers=bearer(secret), limits=limits)
        except ProviderError as error:
            raise unreached(where, error) from error
    if transport is None:
        raise ServerGone(f"{where} did not answer within {_CONNECT_S:g} s; is a server there?")
    nursery.start_soon(transport.run_writer)
    try:
        with watchdog.watch(transport):
            yield Dialled(SocketLink(transport), where, live_base=base)
    finally:
        with trio.CancelScope(shield=True):
            await transport.aclose()


def unreached(where: str, error: ProviderError) -> MobError:
    """What it means that no WebSocket could be opened at a server of ours."""
    if isinstance(error, HandshakeRefused) and error.status == _UNAUTHORIZED:
        if b"its secret" not in error.body:  # a name or an origin that it does not know: its own words say which
            return Unauthorized(f"{where} cannot be reached: {error.message}")
        return Unauthorized(
            f"{where} wants its secret, and none or another one was shown: give the one that it was started with, in a "
            "file (--secret-file) or in MOB_SERVER_SECRET"
        )
    if isinstance(error, HandshakeRefused) and error.status == _FULL:
        return DoorFull(f"{where} has as many clients as it takes")
    return ServerGone(f"{where} cannot be reached: {error.message}")


@asynccontextmanager
async def _lines(url: SplitResult, secret: str | None, network: Network) -> AsyncIterator[Dialled]:
    where, host = f"{url.scheme}://{url.netloc}", url.hostname or ""
    stream: trio.abc.Stream | None = None
    with trio.move_on_after(_CONNECT_S):
        try:
            stream = await network.connect(host, url.port or 0)
        except ProviderError as error:
            raise unreached(where, error) from error
        if url.scheme == "tls":
            stream = await _secured(stream, host, where, network)
    if stream is None:
        raise ServerGone(f"{where} did not answer within {_CONNECT_S:g} s; is a server there?")
    try:
        yield Dialled(StreamLink(stream, stream, max_bytes=MAX_MESSAGE_BYTES), where, secret=secret)
    finally:
        await trio.aclose_forcefully(stream)


async def _secured(stream: trio.abc.Stream, host: str, where: str, network: Network) -> trio.abc.Stream:
    """TLS over it. ServerGone when the server's certificate does not convince, or it speaks none."""
    secured = trio.SSLStream(stream, network.tls_context(), server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError) as error:
        await trio.aclose_forcefully(stream)
        raise ServerGone(f"{where} cannot be reached by TLS: {error.__cause__ or error}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


@asynccontextmanager
async def _command(words: Sequence[str], secret: str | None) -> AsyncIterator[Dialled]:
    if not words:
        raise UsageError("an empty command is no server; give an address, or a command such as `mob rpc --team FILE`")
    try:
        process = await trio.lowlevel.open_process(list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        hint = f"; an address is written http://{words[0]}" if _names_a_port(words) else ""
        raise ServerGone(f"{words[0]!r} cannot be started: {error.strerror or error}{hint}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    stream = trio.StapledStream(process.stdin, process.stdout)
    try:
        yield Dialled(
            StreamLink(stream, stream, max_bytes=MAX_MESSAGE_BYTES), f"the process of {words[0]!r}", secret=secret
        )
    finally:
        await _end(process)


def _names_a_port(words: Sequence[str]) -> bool:
    """Whether this is no command, but HOST:PORT."""
    host, _, port = words[0].rpartition(":")
    return len(words) == 1 and bool(host) and port.isdecimal()


async def _end(process: trio.Process) -> None:
    """Close its input, by which it is told to go; if it does not, make it. Nothing of it is left."""
    assert process.stdin is not None
    assert process.stdout is not None
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(process.stdin)
        for patience, push in ((_GO_S, process.terminate), (_TERMINATE_S, process.kill)):
            with trio.move_on_after(patience) as waiting:
                await process.wait()
            if not waiting.cancelled_caught:
                break
            push()
        await process.wait()
        await trio.aclose_forcefully(process.stdout)
