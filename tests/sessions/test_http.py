"""Chat over HTTP: what is asked, answered and refused, on memory streams with a virtual clock and on loopback."""

import contextlib

import pytest
import trio
import trustme
from attrs import evolve
from chat_servers import (
    HEAD,
    KEY,
    PLACES,
    REQUEST,
    SAYS_HELLO,
    SEARCH,
    ask,
    chunked,
    everywhere,
    fail,
    for_ever,
    loopback,
    memory,
    raw,
    response,
    serve_chat,
    stream_chat,
    words,
)
from hypothesis import given, settings, strategies as st

from mob.errors import ProviderError, ProviderRefused, ProviderUnreachable, WireError
from mob.providers.commands import AddMessage, SessionConfig
from mob.providers.events import AgentTextFinal, AgentTextPart, ResponseEnded, ToolCallReady
from mob.providers.openai_chat.client import build_request
from mob.providers.openai_chat.server import error_body
from mob.sessions import http
from mob.values import Usage
from mob.web.http import HttpReply, HttpRequest, serve_http
from mob.web.streams import reset

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


WHOLE = HEAD + b"".join(map(chunked, SAYS_HELLO)) + b"0\r\n\r\n"
REFUSAL = response("429 No", error_body(429, "no"), b"Retry-After: 3")


@st.composite
def answers(draw: st.DrawFn) -> list[bytes]:
    """An answer with some of its bytes changed, in pieces."""
    data = bytearray(draw(st.sampled_from([WHOLE, WHOLE, REFUSAL, b"HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\n" + WHOLE])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    step = draw(st.integers(1, len(data) + 1))
    return [bytes(data[at : at + step]) for at in range(0, len(data), step)]


@settings(deadline=None, max_examples=150)
@given(answers() | st.lists(st.binary(max_size=60), max_size=4))
def test_law_26_any_answer(pieces):
    async def main() -> None:
        async with memory(raw(*pieces)) as at:
            with contextlib.suppress(ProviderError):
                ends = [event for event in await ask(at) if isinstance(event, ResponseEnded)]
                assert len(ends) == 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
