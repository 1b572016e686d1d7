"""Chat servers for tests, good ones and others, in memory and on loopback with and without TLS."""

import contextlib
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from mob.errors import ProviderError
from mob.live.network import Endpoint, Network, TcpNetwork
from mob.providers.commands import AddMessage, SessionConfig
from mob.providers.events import AgentTextPart, WireEvent
from mob.providers.openai_chat.client import ChatRequest, build_request
from mob.providers.openai_chat.server import ChatRefused, ChatReply, ChatToolCall, parse_request
from mob.sessions.http import ChatAnswer, open_chat
from mob.testing import MemoryNetwork
from mob.values import ToolSchema, Usage
from mob.web.http import HttpReply, HttpRequest, serve_http

KEY = "sk-very-secret-0123456789"
SEARCH = ToolSchema("search", "Searches.", {"type": "object", "properties": {"q": {"type": "string"}}})
REQUEST = build_request("m", SessionConfig(tools=(SEARCH,)), [AddMessage("i", "user", "say hello")])
SAYS_HELLO = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Handler = Callable[[trio.abc.Stream], Awaitable[None]]


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve_chat(stream: trio.abc.Stream) -> None:
    """Our server role behind a small HTTP server: it says what it was asked to say, word by word."""

    async def answer(request: HttpRequest, reply: HttpReply) -> None:
        try:
            asked = parse_request(request.body)
        except ChatRefused as refusal:
            await reply.send_bytes(refusal.status, refusal.body, "application/json")
            return
        writer = ChatReply(asked, reply_id="chatcmpl-1", created=1)
        last = asked.messages[-1]
        call = ChatToolCall("call_1", "search", '{"q":"menu"}')
        pieces = [writer.start()]
        if last.role == "user" and "search" in last.text:
            pieces.append(writer.tool_call(call, pieces=3))
        else:
            pieces += [writer.text(word) for word in ("You ", "said: ", last.text)]
        pieces.append(writer.finish(Usage(3, 4)))
        if not asked.stream:
            await reply.send_bytes(200, b"".join(pieces), writer.content_type)
            return
        await reply.start(200, writer.content_type)
        for piece in pieces:
            await reply.write(piece)
        await reply.end()

    await serve_http(stream, answer)


def raw(*pieces: bytes, pause: float = 0, then: Handler | None = None) -> Handler:
    """A server that reads a request, says these bytes with a pause before each, and then closes (or does `then`)."""

    async def serve(stream: trio.abc.Stream) -> None:
        received = b""
        while REQUEST.body not in received:
            received += bytes(await stream.receive_some(65536))
        for piece in pieces:
            await trio.sleep(pause)
            await stream.send_all(piece)
        if then is not None:
            await then(stream)

    return serve


async def for_ever(_: trio.abc.Stream) -> None:
    await trio.sleep_forever()


class Watched(trio.abc.HalfCloseableStream):
    """A stream that knows whether it was closed."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self.closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        self.closed = True
        await self.stream.aclose()


class WatchedNetwork:
    """A network that knows what it opened; leaving a test with a stream open is an error."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.streams: list[Watched] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        stream = await self.network.connect(host, port)
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        self.streams.append(Watched(stream))
        return self.streams[-1]

    def tls_context(self) -> ssl.SSLContext:
        return self.network.tls_context()

    def check_closed(self) -> None:
        assert all(stream.closed for stream in self.streams)


Place = tuple[Endpoint, WatchedNetwork]


@asynccontextmanager
async def memory(handler: Handler) -> AsyncIterator[Place]:
    async with trio.open_nursery() as nursery:
        inner = MemoryNetwork(nursery)
        inner.listen("model.test", 80, handler)
        network = WatchedNetwork(inner)
        yield Endpoint("http://model.test/v1", api_key=KEY), network
        network.check_closed()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def loopback(
    handler: Handler, *, ca: trustme.CA | None = None, name: str = "localhost", trusted: bool = True
) -> AsyncIterator[Place]:
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    if ca is not None:
        ca.issue_cert(name).configure_cert(server_tls)
        if trusted:
            ca.configure_trust(client_tls)

    async def serve(stream: trio.SocketStream) -> None:
        secure = stream if ca is None else trio.SSLStream(stream, server_tls, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await handler(secure)
        await trio.aclose_forcefully(secure)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        network = WatchedNetwork(TcpNetwork(ssl_context=client_tls))
        scheme = "http" if ca is None else "https"
        yield Endpoint(f"{scheme}://localhost:{port}/v1", api_key=KEY), network
        network.check_closed()
        nursery.cancel_scope.cancel()


PLACES = {
    "memory": memory,
    "loopback": loopback,
    "tls": lambda handler: loopback(handler, ca=trustme.CA()),
}
everywhere = pytest.mark.parametrize(
    "place", ["memory", *(pytest.param(name, marks=pytest.mark.real_socket) for name in ("loopback", "tls"))]
)


@asynccontextmanager
async def stream_chat(endpoint: Endpoint, request: ChatRequest, network: Network) -> AsyncIterator[ChatAnswer]:
    async with open_chat(network) as chat, chat.stream(endpoint, request) as answer:
        yield answer


async def ask(place: Place, request: ChatRequest = REQUEST) -> list[WireEvent]:
    endpoint, network = place
    with trio.fail_after(50):
        async with stream_chat(endpoint, request, network) as events:
            return [event async for event in events]


async def fail(place: Place, kind: type[ProviderError] = ProviderError) -> ProviderError:
    """The typed error of a request; neither it nor any other that it stems from shows the key."""
    with pytest.raises(kind) as caught:
        await ask(place)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in repr(caught.value) + repr(place[0])
    return caught.value


def words(events: list[WireEvent]) -> str:
    return "".join(event.delta for event in events if isinstance(event, AgentTextPart))


def response(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
