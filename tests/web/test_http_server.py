"""The HTTP server end: bounded, polite to what is wrong, and never surprised."""

import json
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from mob.web import http
from mob.web.http import HttpBounds, HttpReply, HttpRequest, serve_http
from mob.web.streams import ReplayedStream, read_head


async def echo(request: HttpRequest, reply: HttpReply) -> None:
    if request.path == "/stream":
        await reply.start(200, "text/plain")
        await reply.write(b"one ")
        await reply.write(b"two")
        await reply.end()
        return
    await reply.send_json(200, {"path": request.path, "body": request.body.decode("latin-1")})


async def talk(*pieces: bytes, close: bool = True, bounds: HttpBounds | None = None) -> bytes:
    """Send pieces to a server on a memory stream, and read until it has nothing more to say."""
    client, server = trio.testing.memory_stream_pair()
    received = b""

    async def serve() -> None:
        await serve_http(server, echo, bounds)
        await server.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with suppress(trio.BrokenResourceError):  # the server may have had enough already
            for piece in pieces:
                await client.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            if close:
                await client.send_eof()
        while data := await client.receive_some(65536):
            received += bytes(data)
    return received


POST = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


async def test_requests_follow_one_another_on_a_connection():
    received = await talk(POST + POST, b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
    assert received.count(b"HTTP/1.1 200") == 3
    assert received.count(b'{"path": "/v1/x", "body": "hi"}') == 2
    assert b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n" in received


async def test_a_request_in_single_bytes_is_read():
    assert b"200" in await talk(*[POST[i : i + 1] for i in range(len(POST))])


async def test_expect_continue_is_answered():
    head = POST.replace(b"\r\n\r\nhi", b"\r\nExpect: 100-continue\r\n\r\n")
    received = await talk(head, b"hi")
    assert received.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200" in received


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
    ],
)
async def test_what_is_wrong_is_said_and_the_connection_closed(sent, status):
    received = await talk(sent, close=False)
    assert received.startswith(b"HTTP/1.1 %d" % status)
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_a_body_too_large_is_refused():
    sent = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
    received = await talk(sent, close=False, bounds=HttpBounds(max_body_bytes=10))
    assert received.startswith(b"HTTP/1.1 413")


async def test_a_silent_client_is_let_go(autojump_clock):
    assert await talk(b"GET / HT", close=False) == b""
    assert trio.current_time() >= http.IDLE_S


async def test_a_request_that_trickles_in_is_let_go(autojump_clock):
    client, server = trio.testing.memory_stream_pair()

    async def trickle() -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await client.send_all(b"G")
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        await serve_http(server, echo, HttpBounds(idle_s=5, request_s=20))
        nursery.cancel_scope.cancel()
    assert 20 <= trio.current_time() < 25


async def test_work_for_a_client_that_hangs_up_is_cancelled_and_the_connection_ends(autojump_clock):
    client, server = trio.testing.memory_stream_pair()
    ended = []

    async def slow(_: HttpRequest, reply: HttpReply) -> None:
        async def work() -> None:
            try:
                await trio.sleep(100)
            finally:
                ended.append(trio.current_time())

        await reply.while_there(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_up_after, client, 3)
        with pytest.raises(trio.BrokenResourceError):
            await serve_http(server, slow)
    assert ended == [3]


async def hang_up_after(client, seconds) -> None:
    await client.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await trio.sleep(seconds)
    await client.aclose()


async def test_what_comes_while_an_answer_is_worked_at_is_the_next_request(autojump_clock):
    client, server = trio.testing.memory_stream_pair()

    async def slow(request: HttpRequest, reply: HttpReply) -> None:
        async def work() -> None:
            await trio.sleep(1)
            await echo(request, reply)

        await reply.while_there(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, server, slow)
        await client.send_all(POST)
        await trio.sleep(0.5)
        await client.send_all(POST)
        received = b""
        while received.count(b'"body": "hi"') < 2:
            received += bytes(await client.receive_some(65536))
        assert received.count(b"HTTP/1.1 200") == 2
        assert trio.current_time() == 2
        nursery.cancel_scope.cancel()


async def test_what_long_work_raises_comes_out_bare():
    client, server = trio.testing.memory_stream_pair()

    async def failing(_: HttpRequest, reply: HttpReply) -> None:
        async def work() -> None:
            raise ValueError("odd")

        await reply.while_there(work)

    await client.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    with pytest.raises(ValueError, match="odd"):
        await serve_http(server, failing)


async def test_a_client_that_takes_nothing_is_let_go(autojump_clock):
    client, server = trio.testing.memory_stream_pair()
    server.send_stream.send_all_hook = trio.sleep_forever
    await client.send_all(POST)
    with pytest.raises(trio.BrokenResourceError, match="took nothing"):
        await serve_http(server, echo, HttpBounds(idle_s=7))
    assert trio.current_time() == 7


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_law_26_any_bytes_are_answered_or_dropped(pieces):
    async def main() -> None:
        with trio.fail_after(5):
            await talk(*pieces)

    trio.run(main)


async def test_the_head_is_seen_and_stays_in_the_stream():
    client, server = trio.testing.memory_stream_pair()
    sent = b"GET /a/v1/realtime?model=m&x=1 HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n\r\nrest"
    await client.send_all(sent)
    await client.send_eof()
    head, replayed = await read_head(server)
    assert head is not None
    assert (head.path, head.query["model"], head.is_upgrade) == ("/a/v1/realtime", "m", True)
    received = b""
    while data := await replayed.receive_some(7):
        received += bytes(data)
    assert received == sent


async def test_no_head_no_harm():
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"half a hea")
    await client.send_eof()
    head, replayed = await read_head(server)
    assert head is None
    assert isinstance(replayed, ReplayedStream)
    assert await replayed.receive_some() == b"half a hea"
