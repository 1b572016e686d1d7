"""Chat requests over HTTP, streamed as neutral events. Bytes come from the Network port, so memory streams do too.

httpcore2 does HTTP; this adapts our network to its backend port, bounds what it reads, and makes typed errors of what
goes wrong. The caller bounds the time: a cancelled request closes its connection.
"""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

import httpcore2
import trio
from attrs import evolve

from mob.errors import ProviderRefused, ProviderUnreachable, WireError
from mob.live.network import Endpoint, Network
from mob.providers.events import ProviderFault, ResponseEnded, WireEvent
from mob.providers.openai_chat.client import ChatRequest, ChatStream, fault_from_response

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BODY = 64 * 1024
_LAST_CHUNK_S = 0.1
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class ChatAnswer:
    """The answer as it comes: iterate for neutral events; the last one is a ResponseEnded."""

    def __init__(self, response: httpcore2.Response, stream: ChatStream, hide: Callable[[str], str]) -> None:
        self._chunks = _chunks(response)
        self._stream = stream
        self._hide = hide
        self._events: deque[WireEvent] = deque()
        self._read = 0

    def __aiter__(self) -> ChatAnswer:
        return self

    async def __anext__(self) -> WireEvent:
        """The next event. ProviderUnreachable when the connection breaks, WireError for what is not the protocol."""
        while not self._events:
            if self._stream.ended:  # by its own word: whether the server closes now or never is all the same
                raise StopAsyncIteration
            self._events.extend(await self._more())
        event = self._events.popleft()
        match event:
            case ResponseEnded(fault=ProviderFault() as fault):
                return evolve(event, fault=evolve(fault, message=self._hide(fault.message)))
            case _:
                return event

    async def aclose(self) -> None:
        """Stop reading. When all was said, wait a moment for the body's end, so that the connection can be kept."""
        with suppress(httpcore2.NetworkError, httpcore2.RemoteProtocolError):
            if self._stream.ended:
                with trio.move_on_after(_LAST_CHUNK_S, shield=True):
                    async for _ in self._chunks:
                        pass
        with trio.CancelScope(shield=True):
            await self._chunks.aclose()

    async def _more(self) -> list[WireEvent]:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return self._stream.close()
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            raise ProviderUnreachable(f"the answer broke off: {_said(error)}", recovery="retry") from error
        self._read += len(chunk)
        if self._read > MAX_ANSWER_BYTES:
            raise WireError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes", recovery="fatal")
        return self._stream.receive_bytes(chunk)


class ChatConnections:
    """Connections to chat endpoints, kept from one request to the next: a TLS handshake costs three round trips.

    Made by `open_chat`; for one request at a time.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._backend = _Backend(network)
        self._pools: dict[bytes, httpcore2.AsyncConnectionPool] = {}

    @asynccontextmanager
    async def stream(self, endpoint: Endpoint, request: ChatRequest) -> AsyncIterator[ChatAnswer]:
        """Send the request; the answer is to be read within the block.

        ProviderUnreachable: no connection. ProviderRefused: an HTTP status other than 200, with its recovery and
        `retry_after_s`. Redirects are refused, since a key must not follow one. What the endpoint keeps secret is in
        no error, not even when the server repeats it.
        """
        url = _address(endpoint, request)
        headers = _headers_for(endpoint, request, url)
        hide = _hider(endpoint)
        post = httpcore2.Request("POST", url, headers=list(headers.items()), content=request.body)
        try:
            response = await self._send(post)
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            said = f"no answer from {url.host.decode()}: {_said(error)}"
            raise ProviderUnreachable(said, recovery="retry") from error
        try:
            if response.status != 200:
                await _refuse(response, hide)
            kind = _headers(response).get("content-type", "")
            async with aclosing(ChatAnswer(response, ChatStream(streamed="json" not in kind), hide)) as answer:
                yield answer
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close them all. `open_chat` does this."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _send(self, post: httpcore2.Request) -> httpcore2.Response:
        """Send it, again where a kept connection turns out to be closed: the server took its leave meanwhile."""
        pool = self._pool(post.url.scheme)
        opened = self._backend.opened
        try:
            return await pool.handle_async_request(post)
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError):
            if self._backend.opened > opened:
                raise
            return await pool.handle_async_request(post)

    def _pool(self, scheme: bytes) -> httpcore2.AsyncConnectionPool:
        if scheme not in self._pools:
            self._pools[scheme] = httpcore2.AsyncConnectionPool(
                ssl_context=self._network.tls_context() if scheme == b"https" else None,
                network_backend=self._backend,
                max_keepalive_connections=1,
            )
        return self._pools[scheme]


@asynccontextmanager
async def open_chat(network: Network) -> AsyncIterator[ChatConnections]:
    """Connections to chat endpoints on this network; leaving the block closes them."""
    async with aclosing(ChatConnections(network)) as connections:
        yield connections


async def _refuse(response: httpcore2.Response, hide: Callable[[str], str]) -> NoReturn:
    body = b""
    try:
        async with aclosing(_chunks(response)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > _MAX_ERROR_BODY:
                    break
    except (httpcore2.NetworkError, httpcore2.RemoteProtocolError):
        pass  # the status alone says enough
    headers = _headers(response)
    fault = fault_from_response(response.status, headers, body)
    where = headers.get("location")
    redirect = f" It points to {where[:200]}, and redirects are not followed: set base_url." if where else ""
    raise ProviderRefused(
        hide(fault.message + redirect),
        recovery=fault.recovery,
        provider_code=fault.code,
        status=response.status,
        retry_after_s=fault.retry_after_s,
    )


def _address(endpoint: Endpoint, request: ChatRequest) -> httpcore2.URL:
    """The endpoint's root and the request's path; a query of the root (an API version, say) stays at the end."""
    try:
        root = urlsplit(endpoint.base_url)
        port = root.port
        if root.scheme not in ("http", "https") or not root.hostname:
            raise ValueError("it is not http:// or https:// and a host")
        query = f"?{root.query}" if root.query else ""
        target = root.path.rstrip("/") + request.path + query
        return httpcore2.URL(
            scheme=root.scheme.encode("ascii"),
            host=root.hostname.encode("ascii"),
            port=port,
            target=target.encode("ascii"),
        )
    except ValueError as error:
        raise ProviderUnreachable(f"base_url cannot be dialled: {_said(error)}", recovery="fatal") from None


def _headers_for(endpoint: Endpoint, request: ChatRequest, url: httpcore2.URL) -> dict[str, str]:
    """All headers, by lower-case name; what the endpoint says goes before what we would say by ourselves."""
    headers = {"user-agent": "mob", "accept-encoding": "identity"}
    for given in (endpoint.headers, request.headers):
        headers |= {name.lower(): value for name, value in given.items()}
    host = url.host.decode()
    host = f"[{host}]" if ":" in host else host
    headers |= {"host": host if url.port is None else f"{host}:{url.port}", "content-length": str(len(request.body))}
    if endpoint.api_key is not None:
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise ProviderUnreachable(
                f"the header {name!r} for {host} holds characters that no header can carry; look for a line break in "
                "the key or in the provider's headers",
                recovery="fatal",
            )
    return headers


def _hider(endpoint: Endpoint) -> Callable[[str], str]:
    """Takes the endpoint's secrets out of what a server says. Short header values are words, not secrets."""
    values = [value for value in endpoint.headers.values() if len(value) >= 8]
    secrets = [endpoint.api_key, *values] if endpoint.api_key else values

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "(hidden)")
        return text

    return hide


def _chunks(response: httpcore2.Response) -> AsyncGenerator[bytes]:
    return cast("AsyncGenerator[bytes]", aiter(response.aiter_stream()))


def _headers(response: httpcore2.Response) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Backend(httpcore2.AsyncNetworkBackend):
    """Our network as httpcore2 wants one."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.opened = 0

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect; TLS comes later, by `start_tls`."""
        self.opened += 1
        return _Stream(await self._network.connect(host, port))

    async def sleep(self, seconds: float) -> None:
        """Wait on the run's clock."""
        await trio.sleep(seconds)


class _Stream(httpcore2.AsyncNetworkStream):
    """A trio stream as httpcore2 wants one."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has arrived."""
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error) or "connection reset") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it."""
        if not buffer:
            return
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error) or "connection reset") from error

    async def aclose(self) -> None:
        """At once: an answer that is not wanted any more needs no goodbye."""
        await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Put TLS over the stream."""
        secure = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException as error:  # also when cancelled: httpcore does not know this stream yet
            await trio.aclose_forcefully(secure)
            if not isinstance(error, trio.BrokenResourceError):
                raise
            if isinstance(error.__cause__, ssl.SSLError):
                said = f"TLS failed: {error.__cause__}; check the certificate, the host name and the clock"
                raise ProviderUnreachable(said, recovery="fatal") from error
            raise httpcore2.ConnectError(f"the peer left during the TLS handshake: {error}") from error
        return _Stream(secure)

    def get_extra_info(self, info: str) -> Any:
        """Only `is_readable`, which is asked of a kept connection: it has news, and that can only be its end."""
        return _is_readable(self._stream) if info == "is_readable" else None


def _is_readable(stream: trio.abc.Stream) -> bool:
    match stream:
        case trio.SSLStream(transport_stream=inner):
            return _is_readable(inner)
        case trio.SocketStream():
            return stream.socket.is_readable()
        case _:
            return False
