"""Chat over HTTP: memory streams on a virtual clock, loopback sockets with and without TLS, and the vendor's client."""

import contextlib
import gc
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpcore2
import openai
import pytest
import trio
import trustme
from attrs import evolve

from mob.errors import ProviderError, ProviderRefused, ProviderUnreachable, WireError
from mob.live.network import Endpoint, Network, TcpNetwork
from mob.providers.commands import AddMessage, SessionConfig
from mob.providers.events import AgentTextFinal, AgentTextPart, ResponseEnded, ToolCallReady, WireEvent
from mob.providers.openai_chat.client import ChatRequest, build_request
from mob.providers.openai_chat.server import ChatRefused, ChatReply, ChatToolCall, error_body, parse_request
from mob.rehearsal.faults import Fault
from mob.rehearsal.http import HttpReply, HttpRequest, serve_http
from mob.rehearsal.serve import open_rehearsal
from mob.rehearsal.streams import reset
from mob.sessions import http
from mob.sessions.http import ChatAnswer, ChatConnections, open_chat
from mob.testing.network import MemoryNetwork
from mob.values import ToolSchema, Usage

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

    async def connect(self, host: str, port: int, *, tls: bool) -> trio.abc.Stream:
        stream = await self.network.connect(host, port, tls=tls)
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


# --- answers --------------------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("stream", [True, False])
async def test_words(place, stream):
    request = build_request("m", SessionConfig(), [AddMessage("i", "user", "héllo")], stream=stream)
    async with PLACES[place](serve_chat) as at:
        events = await ask(at, request)
    assert words(events) == "You said: héllo"
    assert isinstance(events[-2], AgentTextFinal)
    assert events[-1] == ResponseEnded("chatcmpl-1", "completed", "stop", Usage(3, 4, requests=1))


@everywhere
async def test_a_tool_call(place):
    request = build_request("m", SessionConfig(tools=(SEARCH,)), [AddMessage("i", "user", "search it")])
    async with PLACES[place](serve_chat) as at:
        events = await ask(at, request)
    assert [(e.call_id, e.name, e.arguments) for e in events if isinstance(e, ToolCallReady)] == [
        ("call_1", "search", '{"q":"menu"}')
    ]


async def test_a_slow_drip_is_read_as_it_comes(autojump_clock):
    body = HEAD + b"".join(map(chunked, SAYS_HELLO)) + b"0\r\n\r\n"
    drip = raw(*[body[i : i + 1] for i in range(len(body))], pause=0.1)
    async with memory(drip) as at:
        assert words(await ask(at)) == "hello"
    assert trio.current_time() == pytest.approx(0.1 * len(body), abs=1)


async def test_after_done_nothing_is_waited_for(autojump_clock):
    async with memory(raw(HEAD, *map(chunked, SAYS_HELLO), then=for_ever)) as at:
        assert words(await ask(at)) == "hello"
    assert trio.current_time() < 1


async def test_a_server_that_ignores_stream(autojump_clock):
    body = b'{"id":"c","choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]}'
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
    async with memory(raw(head, body)) as at:
        assert words(await ask(at)) == "hello"


async def test_what_is_sent(autojump_clock):
    seen: list[HttpRequest] = []

    async def look(request: HttpRequest, reply: HttpReply) -> None:
        seen.append(request)
        await reply.send_bytes(200, b"".join(SAYS_HELLO), "text/event-stream")

    async with memory(lambda stream: serve_http(stream, look)) as (endpoint, network):
        headers = {"X-Team": "menu", "User-Agent": "theirs"}
        endpoint = evolve(endpoint, base_url="http://model.test/v1/?api-version=7", headers=headers)
        await ask((endpoint, network))
        await ask((evolve(endpoint, api_key=None, base_url="http://MODEL.test:80/v1"), network))
    first, second = seen
    assert first.target == "/v1/chat/completions?api-version=7"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert (first.headers["x-team"], first.headers["user-agent"], first.headers["host"]) == (
        "menu",
        "theirs",
        "model.test",
    )
    assert first.headers["accept-encoding"] == "identity"
    assert "authorization" not in second.headers
    assert second.headers["host"] == "model.test:80"


# --- refusals -------------------------------------------------------------------------------------------------------


def response(status: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status.encode(), b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("status", "headers", "recovery", "wait"),
    [
        ("401 Unauthorized", [], "fatal", None),
        ("403 Forbidden", [], "fatal", None),
        ("404 Not Found", [], "fatal", None),
        ("429 Too Many Requests", [b"Retry-After: 3"], "retry", 3.0),
        ("500 Oops", [b"Retry-After-Ms: 1500"], "retry", 1.5),
        ("529 Busy", [], "retry", None),
        ("503 Busy", [b"X-Should-Retry: false"], "fatal", None),
        ("204 No Content", [], "fatal", None),
    ],
)
async def test_statuses(autojump_clock, status, headers, recovery, wait):
    body = b"" if status.startswith("204") else error_body(int(status[:3]), f"no, {KEY} will not do")
    async with memory(raw(response(status, body, *headers))) as at:
        error = await fail(at, ProviderRefused)
    assert (error.status, error.recovery, error.retry_after_s) == (int(status[:3]), recovery, wait)
    assert not body or "(hidden) will not do" in error.message


async def test_a_refusal_whose_body_breaks_off_or_never_ends(autojump_clock):
    head = b"HTTP/1.1 401 No\r\nContent-Length: 1000000\r\n\r\n"
    async with memory(raw(head, b"ab")) as at:
        assert (await fail(at, ProviderRefused)).status == 401
    async with memory(raw(head, b"x" * 100_000, then=for_ever)) as at:
        assert (await fail(at, ProviderRefused)).status == 401


async def test_a_redirect_is_not_followed(autojump_clock):
    async with memory(raw(response("307 Elsewhere", b"", b"Location: http://thief.test/v1"))) as at:
        error = await fail(at, ProviderRefused)
        assert len(at[1].streams) == 1
    assert (error.status, error.recovery) == (307, "fatal")
    assert "http://thief.test/v1" in error.message


# --- connections that fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "kind", "recovery"),
    [
        ([], ProviderUnreachable, "retry"),
        ([b"SSH-2.0-OpenSSH\r\n"], ProviderUnreachable, "retry"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000], ProviderUnreachable, "retry"),
        ([HEAD, chunked(SAYS_HELLO[0])], ProviderUnreachable, "retry"),
        ([HEAD, b"zz\r\n"], ProviderUnreachable, "retry"),
        ([HEAD, chunked(b"data: {nonsense\n\n")], WireError, "reopen"),
        ([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{1}"], WireError, "reopen"),
    ],
)  # fmt: skip
async def test_what_is_not_the_protocol(autojump_clock, pieces, kind, recovery):
    async with memory(raw(*pieces)) as at:
        error = await fail(at, kind)
    assert error.recovery == recovery


async def test_an_answer_without_end_is_refused(autojump_clock, monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 10_000)
    async with memory(raw(HEAD, *[chunked(b": ping\n\n")] * 2000, then=for_ever)) as at:
        error = await fail(at, WireError)
    assert "larger than 10000 bytes" in error.message


async def test_an_error_in_the_stream_hides_the_key(autojump_clock):
    async with memory(raw(HEAD, chunked(b'data: {"error": {"message": "key %s expired"}}\n\n' % KEY.encode()))) as at:
        ended = (await ask(at))[-1]
    assert isinstance(ended, ResponseEnded)
    assert ended.fault is not None
    assert ended.fault.message == "key (hidden) expired"


async def test_a_reset_in_memory(autojump_clock):
    async with memory(raw(HEAD, chunked(SAYS_HELLO[0]), then=for_ever)) as (endpoint, network):
        async with stream_chat(endpoint, REQUEST, network) as events:
            while not isinstance(await anext(events), AgentTextPart):
                pass
            network.network.connections[0].reset()
            with pytest.raises(ProviderUnreachable, match="broke off"):
                await anext(events)


@pytest.mark.real_socket
@pytest.mark.parametrize("pieces", [[], [HEAD, chunked(SAYS_HELLO[0])]])
async def test_a_reset_of_a_socket(pieces):
    async with loopback(raw(*pieces, then=reset)) as at:
        error = await fail(at, ProviderUnreachable)
    assert error.recovery == "retry"


async def test_a_silent_server_is_the_callers_to_bound(autojump_clock):
    for silent in (raw(then=for_ever), raw(HEAD, then=for_ever), for_ever):
        async with memory(silent) as (endpoint, network):
            with trio.move_on_after(5) as scope:
                async with stream_chat(endpoint, REQUEST, network) as events:
                    async for _ in events:
                        pass
            assert scope.cancelled_caught
            network.check_closed()


@pytest.mark.real_socket
async def test_nobody_there():
    async with loopback(for_ever) as at:
        pass
    assert (await fail(at, ProviderUnreachable)).recovery == "reopen"


@pytest.mark.real_socket
async def test_certificates():
    ca = trustme.CA()
    async with loopback(serve_chat, ca=ca, trusted=False) as at:
        error = await fail(at, ProviderUnreachable)
        assert error.recovery == "fatal"
        assert "certificate" in error.message
    async with loopback(serve_chat, ca=ca, name="other.test") as at:
        assert (await fail(at, ProviderUnreachable)).recovery == "fatal"
    async with loopback(serve_chat) as (endpoint, network):  # https spoken to a server without TLS
        secure = evolve(endpoint, base_url=endpoint.base_url.replace("http:", "https:"))
        await fail((secure, network), ProviderUnreachable)


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "ftp://model.test/v1"},
        {"base_url": "model.test/v1"},
        {"base_url": "http:///v1"},
        {"base_url": "http://model.test:port/v1"},
        {"base_url": "http://[::1/v1"},
        {"base_url": "http://mödel.test/v1"},
        {"base_url": "http://model.test/vö1"},
        {"api_key": KEY + "\n"},
        {"api_key": KEY + "é"},
        {"headers": {"x-a": f"b\r\nx-key: {KEY}"}},
        {"headers": {"x a": "b"}},
    ],
)
async def test_endpoints_that_cannot_be_dialled(autojump_clock, change):
    async with memory(serve_chat) as (endpoint, network):
        error = await fail((evolve(endpoint, **change), network), ProviderUnreachable)
        assert error.recovery == "fatal"
        assert network.streams == []


# --- cancellation ---------------------------------------------------------------------------------------------------


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task has made so many steps."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.left = step
        self.task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if not self.left:
                self.scope.cancel()


@everywhere
async def test_cancelled_at_any_step_it_leaves_nothing(place):
    async with PLACES[place](serve_chat) as (endpoint, network):
        for step in range(1, 200):
            with trio.CancelScope() as scope:
                instrument = CancelAt(scope, step)
                trio.lowlevel.add_instrument(instrument)
                try:
                    async with open_chat(network) as chat:
                        for _ in range(2):
                            async with chat.stream(endpoint, REQUEST) as events:
                                async for _ in events:
                                    await trio.lowlevel.checkpoint()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            network.check_closed()
            if not scope.cancelled_caught:
                break
        else:
            pytest.fail("it never came to an end")
        assert step > 5


@everywhere
async def test_left_in_the_middle_it_leaves_nothing(place):
    async with PLACES[place](raw(HEAD, chunked(SAYS_HELLO[0]), then=for_ever)) as (endpoint, network):
        async with stream_chat(endpoint, REQUEST, network) as events:
            async for event in events:
                if isinstance(event, AgentTextPart):
                    break
        network.check_closed()
        with contextlib.suppress(ZeroDivisionError):
            async with stream_chat(endpoint, REQUEST, network) as events:
                await anext(events)
                raise ZeroDivisionError
        network.check_closed()


# --- connections that are kept ---------------------------------------------------------------------------------------


@everywhere
async def test_a_connection_is_kept_for_the_next_request(place):
    async with PLACES[place](serve_chat) as (endpoint, network):
        async with open_chat(network) as chat:
            for _ in range(3):
                async with chat.stream(endpoint, REQUEST) as events:
                    assert words([event async for event in events]) == "You said: say hello"
            refused = evolve(REQUEST, body=b"{}")
            with pytest.raises(ProviderRefused):
                await chat.stream(endpoint, refused).__aenter__()
            async with chat.stream(endpoint, REQUEST) as events:
                pass  # left unread: this connection cannot be kept
            assert len(network.streams) == 1
            async with chat.stream(endpoint, REQUEST) as events:
                assert len([event async for event in events]) > 3
        assert len(network.streams) == 2


@everywhere
async def test_a_kept_connection_that_the_server_has_closed(place):
    async def once(request: HttpRequest, reply: HttpReply) -> None:
        await reply.send_bytes(200, b"".join(SAYS_HELLO), "text/event-stream")
        raise trio.BrokenResourceError  # it leaves, and did not say so in the head

    async with PLACES[place](lambda stream: serve_http(stream, once)) as (endpoint, network):
        async with open_chat(network) as chat:
            for count in range(1, 4):
                async with chat.stream(endpoint, REQUEST) as events:
                    assert words([event async for event in events]) == "hello"
                assert len(network.streams) == count
                await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.real_socket
@pytest.mark.parametrize("place", ["loopback", "tls"])
async def test_the_end_of_a_socket_is_seen_before_anything_is_sent(place, monkeypatch):
    async def send_once(self: ChatConnections, post: httpcore2.Request) -> httpcore2.Response:
        return await self._pool(post.url.scheme).handle_async_request(post)

    monkeypatch.setattr(ChatConnections, "_send", send_once)
    leave = raw(response("200 OK", b"".join(SAYS_HELLO), b"Content-Type: text/event-stream"))
    async with PLACES[place](leave) as (endpoint, network):
        async with open_chat(network.network) as chat:
            for _ in range(2):
                async with chat.stream(endpoint, REQUEST) as events:
                    assert words([event async for event in events]) == "hello"
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_request_on_a_new_connection_is_sent_once(autojump_clock):
    async with memory(raw()) as at:
        await fail(at, ProviderUnreachable)
        assert len(at[1].streams) == 1


async def test_of_what_was_cancelled_nothing_is_kept(autojump_clock):
    """The rest of one answer must not be read as the beginning of the next."""
    async with memory(serve_chat) as (endpoint, network):
        async with open_chat(network) as chat:
            with trio.CancelScope() as scope:
                async with chat.stream(endpoint, REQUEST) as events:
                    await anext(events)
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            async with chat.stream(endpoint, REQUEST) as events:
                assert words([event async for event in events]) == "You said: say hello"
        assert len(network.streams) == 2


# --- the rehearsed model, with the faults of the text wire -----------------------------------------------------------

SOUP = build_request(
    "m", SessionConfig(instructions="The soup is tomato soup."), [AddMessage("i", "user", "Which soup is there?")]
)


@asynccontextmanager
async def rehearsed(fault: str) -> AsyncIterator[Place]:
    async with open_rehearsal(None, faults=[Fault(fault)]) as rehearsal:
        async with memory(rehearsal.serve_stream) as at:
            yield at


@pytest.mark.parametrize("fault", ["sse-comments", "sse-crlf", "sse-split", "sse-no-done", "sse-pings"])
async def test_faults_of_the_stream_change_nothing(autojump_clock, fault):
    async with rehearsed(fault) as at:
        events = await ask(at, SOUP)
    assert "tomato" in words(events)
    assert isinstance(events[-1], ResponseEnded)
    assert (events[-1].status, events[-1].fault) == ("completed", None)


async def test_an_error_in_the_middle_of_the_stream(autojump_clock):
    async with rehearsed("sse-error") as at:
        ended = (await ask(at, SOUP))[-1]
    assert isinstance(ended, ResponseEnded)
    assert ended.fault is not None
    assert (ended.status, ended.fault.recovery) == ("failed", "retry")


@pytest.mark.parametrize(("fault", "status", "wait"), [("http-529", 529, None), ("http-429", 429, 1.0)])
async def test_too_much_asked(autojump_clock, fault, status, wait):
    async with rehearsed(fault) as at:
        error = await fail(at, ProviderRefused)
    assert (error.status, error.recovery, error.retry_after_s) == (status, "retry", wait)


# --- the vendor's own client ----------------------------------------------------------------------------------------


# The package stops reading its streams at [DONE] and leaves their generators to the collector, as trio then remarks.
vendors = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")


@asynccontextmanager
async def vendors_client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with loopback(serve_chat) as (endpoint, _):
        async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=KEY, max_retries=0) as client:
            yield client
        gc.collect()


@pytest.mark.real_socket
@vendors
async def test_the_vendors_client_streams():
    async with vendors_client() as client:
        async with client.chat.completions.stream(
            model="m",
            messages=[{"role": "user", "content": "hello"}],
            stream_options={"include_usage": True},
        ) as stream:
            final = await stream.get_final_completion()
    assert final.choices[0].message.content == "You said: hello"
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (3, 4)


@pytest.mark.real_socket
@vendors
@pytest.mark.parametrize("streamed", [True, False])
async def test_the_vendors_client_is_given_a_tool_call(streamed):
    tool = {"type": "function", "function": {"name": "search", "parameters": SEARCH.parameters}}
    asked = {"model": "m", "messages": [{"role": "user", "content": "search"}], "tools": [tool]}
    async with vendors_client() as client:
        if streamed:
            async with client.chat.completions.stream(**asked) as stream:
                final = await stream.get_final_completion()
        else:
            final = await client.chat.completions.create(**asked)
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"q":"menu"}'


@pytest.mark.real_socket
@vendors
async def test_the_vendors_client_is_refused():
    async with vendors_client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="m", messages=[])
    assert (caught.value.param, caught.value.code) == ("messages", "empty_array")
