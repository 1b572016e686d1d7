"""One chat request over HTTP, streamed as neutral events. Bytes come from the Network port, so memory streams do too.

httpcore2 does HTTP; this adapts our network to its backend port, bounds what it reads, and makes typed errors of what
goes wrong. The caller bounds the time: a cancelled request closes its connection.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpcore2
import trio

from mob.errors import ProviderRefused, ProviderUnreachable, WireError
from mob.live.network import Endpoint, Network
from mob.providers.events import WireEvent
from mob.providers.openai_chat.client import ChatRequest, ChatStream, fault_from_response

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BODY = 64 * 1024


class ChatAnswer:
    """The answer as it comes: iterate for neutral events; the last one is a ResponseEnded."""

    def __init__(self, response: httpcore2.Response, stream: ChatStream) -> None:
        self._chunks: AsyncIterator[bytes] = aiter(response.aiter_stream())
        self._stream = stream
        self._events: deque[WireEvent] = deque()
        self._read = 0
        self._ended = False

    def __aiter__(self) -> ChatAnswer:
        return self

    async def __anext__(self) -> WireEvent:
        """The next event. ProviderUnreachable when the connection breaks, WireError for what is not the protocol."""
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            await self._more()
        return self._events.popleft()

    async def _more(self) -> None:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
            self._events.extend(self._stream.close())
            return
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            raise ProviderUnreachable(f"the answer broke off: {_said(error)}", recovery="retry") from error
        self._read += len(chunk)
        if self._read > MAX_ANSWER_BYTES:
            raise WireError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes", recovery="fatal")
        self._events.extend(self._stream.receive_bytes(chunk))


@asynccontextmanager
async def stream_chat(endpoint: Endpoint, request: ChatRequest, network: Network) -> AsyncIterator[ChatAnswer]:
    """Send the request; leaving the block closes the connection.

    ProviderUnreachable: no connection. ProviderRefused: an HTTP status other than 200, with its recovery and
    `retry_after_s`. Redirects are refused, since a key must not follow one.
    """
    url = endpoint.base_url.rstrip("/") + request.path
    headers = {**endpoint.headers, **request.headers, "User-Agent": "mob"}
    headers |= {"Host": url.split("/")[2], "Content-Length": str(len(request.body))}
    if endpoint.api_key is not None:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    pool = httpcore2.AsyncConnectionPool(
        ssl_context=network.tls_context() if url.startswith("https:") else None,
        network_backend=_Backend(network),
        max_keepalive_connections=0,
    )
    async with pool:
        try:
            post = httpcore2.Request("POST", url, headers=list(headers.items()), content=request.body)
            response = await pool.handle_async_request(post)
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            raise ProviderUnreachable(f"no answer from {_origin(url)}: {_said(error)}", recovery="retry") from error
        except (httpcore2.UnsupportedProtocol, httpcore2.LocalProtocolError) as error:
            raise ProviderUnreachable(f"{_origin(url)} cannot be dialled: {_said(error)}", recovery="fatal") from error
        try:
            if response.status != 200:
                await _refuse(response)
            kind = _headers(response).get("content-type", "")
            yield ChatAnswer(response, ChatStream(streamed="json" not in kind))
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await response.aclose()


async def _refuse(response: httpcore2.Response) -> None:
    body = b""
    try:
        async for chunk in response.aiter_stream():
            body += chunk
            if len(body) > _MAX_ERROR_BODY:
                break
    except (httpcore2.NetworkError, httpcore2.RemoteProtocolError):
        pass  # the status alone says enough
    fault = fault_from_response(response.status, _headers(response), body)
    raise ProviderRefused(
        fault.message,
        recovery=fault.recovery,
        provider_code=fault.code,
        status=response.status,
        retry_after_s=fault.retry_after_s,
    )


def _headers(response: httpcore2.Response) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Backend(httpcore2.AsyncNetworkBackend):
    """Our network as httpcore2 wants one."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect; TLS comes later, by `start_tls`."""
        return _Stream(await self._network.connect(host, port, tls=False))

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
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(secure)
            raise httpcore2.ConnectError(f"TLS failed: {error.__cause__ or error}") from error
        return _Stream(secure)

    def get_extra_info(self, info: str) -> Any:
        """Whether the stream can be read is not known here; nothing else is asked that matters."""
        return False if info == "is_readable" else None
