"""Peers that break the protocol, stall, lie or leave; and that no key ever comes out again."""

import ssl
import struct
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.lowlevel
import trio.testing
from transport_conformance import MIB, gather, the_end, until
from transport_frames import frame
from transport_peers import URL, contexts, conversation, memory_link, socket_link
from websockets.frames import Close, Opcode

from mob.errors import LiveRejected, ProviderRefused, ProviderUnreachable, UsageError, WireError
from mob.live.network import TcpNetwork
from mob.live.ports import ChannelLimits
from mob.live.transport import (
    HandshakeRefused,
    Refusal,
    TransportClosed,
    accept_websocket,
    connect_websocket,
    open_websocket,
)

LINKS = pytest.mark.parametrize("link", ["memory", "socket"])


# Fragments and pings


@LINKS
async def test_fragments_come_out_as_one_message_with_pings_between_them(link):
    async with conversation(link=link) as (transport, peer):
        text = "héllo".encode()
        pieces = frame(1, text[:2], fin=False) + frame(9, b"p") + frame(0, text[2:3], fin=False) + frame(0, text[3:])
        await peer.stream.send_all(pieces + frame(2, b"ab", fin=False) + frame(0, fin=False) + frame(0, b"c"))
        assert await gather(transport, 2) == ["héllo", b"abc"]
        assert (await peer.frame()).opcode is Opcode.PONG


@LINKS
async def test_a_message_may_come_byte_by_byte(link):
    async with conversation(link=link) as (transport, peer), trio.open_nursery() as nursery:

        async def drip():
            for byte in frame(1, b"slowly") + frame(2, b"x" * 200):
                await peer.stream.send_all(bytes([byte]))

        nursery.start_soon(drip)
        assert await gather(transport, 2) == ["slowly", b"x" * 200]


@LINKS
async def test_a_flood_of_pings_costs_one_pong_a_read(link):
    async with conversation(link=link) as (transport, peer), trio.open_nursery() as nursery:
        flood = b"".join(frame(9, struct.pack("!I", number)) for number in range(5000))
        await peer.stream.send_all(flood + frame(1, b"done"))
        nursery.start_soon(the_end, transport)
        last = None
        pongs = 0
        while last != struct.pack("!I", 4999):
            answer = await peer.frame()
            assert answer.opcode is Opcode.PONG
            pongs, last = pongs + 1, bytes(answer.data)
        counts = transport.statistics()
        assert counts.pings_in == 5000
        assert pongs <= counts.reads + 1
        nursery.cancel_scope.cancel()


async def test_a_flood_of_pings_from_one_who_does_not_read_takes_no_memory():
    async with conversation(link="socket") as (transport, peer), trio.open_nursery() as nursery:
        transport.send_nowait(b"-" * 8 * MIB)
        nursery.start_soon(the_end, transport)
        for _ in range(20):
            await peer.stream.send_all(frame(9, b"x" * 125) * 500)
        with trio.fail_after(5):
            await until(lambda: transport.statistics().pings_in == 10_000)
        assert transport.statistics().control_frames_waiting == 0
        assert len(transport._pong) <= 131
        assert await peer.get() == b"-" * 8 * MIB
        nursery.cancel_scope.cancel()


# What breaks the protocol


BROKEN = {
    "a frame over the limit": (1009, frame(2, b"x" * 1025)),
    "a text over the limit": (1009, frame(1, b"x" * 1025)),
    "fragments over the limit": (1009, frame(2, b"x" * 1000, fin=False) + frame(0, b"x" * 25)),
    "a length beyond all limits": (1009, struct.pack("!BBQ", 0x82, 127, 1 << 62)),
    "text that is not UTF-8": (1007, frame(1, b"ab\xff")),
    "text that ends within a character": (1007, frame(1, "é".encode()[:1])),
    "fragments that are not UTF-8": (1007, frame(1, b"\xc3", fin=False) + frame(0, b"\x28")),
    "a masked frame from a server": (1002, frame(1, b"abcd", mask=b"\0\0\0\0")),
    "reserved bits": (1002, frame(1, b"x", rsv=0x40)),
    "an unknown opcode": (1002, frame(3, b"x")),
    "a continuation of nothing": (1002, frame(0, b"x")),
    "a message within a message": (1002, frame(1, b"x", fin=False) + frame(1, b"y")),
    "a long ping": (1002, frame(9, b"x" * 126)),
    "a fragmented ping": (1002, frame(9, b"x", fin=False)),
    "half a close code": (1002, frame(8, b"\x03")),
    "a close code that is none": (1002, frame(8, struct.pack("!H", 999))),
    "a close reason that is not UTF-8": (1007, frame(8, struct.pack("!H", 1000) + b"\xff")),
}


@LINKS
@pytest.mark.parametrize("fault", BROKEN)
async def test_who_breaks_the_protocol_is_told_so_and_the_reader_too(link, fault):
    code, data = BROKEN[fault]
    limits = ChannelLimits(max_frame_bytes=1024, close_timeout_s=5.0)
    async with conversation(link=link, limits=limits) as (transport, peer), trio.open_nursery() as nursery:
        await peer.stream.send_all(frame(1, b"before") + data + frame(1, b"after"))
        messages, closed = await the_end(transport)
        assert messages == ["before"]
        assert (closed.close_code, closed.by) == (code, "local")
        assert closed.reason
        nursery.start_soon(transport.aclose)
        assert (await peer.wait_closed())[0] == code
        with pytest.raises(TransportClosed):
            transport.send_nowait("too late")


async def test_sixteen_mebibytes_pass_and_one_byte_more_does_not():
    async with conversation(link="socket") as (transport, peer), trio.open_nursery() as nursery:

        async def send():
            await peer.stream.send_all(frame(2, b"x" * 16 * MIB))
            with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
                await peer.stream.send_all(frame(2, b"x" * (16 * MIB + 1)) + b"\0" * 16 * MIB)

        nursery.start_soon(send)
        assert len((await gather(transport, 1))[0]) == 16 * MIB
        _, closed = await the_end(transport)
        assert (closed.close_code, closed.by) == (1009, "local")
        nursery.cancel_scope.cancel()


async def test_what_we_may_not_send_is_refused_and_the_connection_lives():
    async with conversation(limits=ChannelLimits(max_frame_bytes=100)) as (transport, peer):
        with pytest.raises(LiveRejected) as refused:
            transport.send_nowait(b"x" * 101)
        assert refused.value.reason == "too_large"
        with pytest.raises(LiveRejected) as refused:
            transport.send_nowait("half a pair: \ud83e")
        assert refused.value.reason == "wrong_format"
        transport.send_nowait("fine")
        assert await peer.get() == "fine"


async def test_a_reset_is_a_lost_connection():
    async with conversation(link="socket") as (transport, peer):
        peer.stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.vanish()
        _, closed = await the_end(transport)
        assert (closed.close_code, closed.by) == (1006, "network")
        assert "reset" in closed.reason


async def test_writing_to_one_who_left_is_quiet_until_the_reader_knows_why():
    async with conversation(link="socket") as (transport, peer):
        await peer.stream.send_all(frame(8, Close(4001, "thrown out").serialize()))
        await peer.vanish()
        await trio.sleep(0.01)
        for _ in range(5):
            transport.send_nowait("anybody there?")
            await trio.sleep(0.001)
        _, closed = await the_end(transport)
        assert closed.close_code in (4001, 1006)  # a reset may overtake what was said before it
        assert closed.by != "local"


# Closing takes no longer than it may


@pytest.mark.parametrize("waiting", [0, 8 * MIB])
async def test_a_peer_that_ignores_our_goodbye_delays_us_for_the_declared_time(autojump_clock, waiting):
    async with conversation(limits=ChannelLimits(close_timeout_s=2.0)) as (transport, peer):
        peer.stream.send_stream.send_all_hook = None
        transport.send_nowait(b"-" * waiting)
        began = trio.current_time()
        await transport.aclose()
        assert trio.current_time() - began == pytest.approx(2.0)
        with pytest.raises(TransportClosed):
            await transport.receive()


async def test_a_stalled_peer_cannot_delay_closing_either():
    async with conversation(link="socket", limits=ChannelLimits(close_timeout_s=0.05)) as (transport, _):
        transport.send_nowait(b"-" * 8 * MIB)
        began = trio.current_time()
        await transport.aclose()
        assert trio.current_time() - began < 1


@LINKS
async def test_closing_again_does_nothing(link):
    async with conversation(link=link) as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.wait_closed)
        await transport.aclose(1000, "x" * 500)
        before = transport.statistics()
        await transport.aclose(1000, "y")
        assert transport.statistics() == before


@LINKS
async def test_a_write_that_is_cancelled_ends_the_connection(link):
    """Half a frame would make all that follows unreadable: nothing follows."""
    async with conversation(link=link, writer=False) as (transport, peer), trio.open_nursery() as nursery:
        if link == "memory":
            block = trio.Event()
            transport._pipe._stream.send_stream.send_all_hook = block.wait
        transport.send_nowait(b"-" * 8 * MIB)
        with trio.move_on_after(0.01):
            await transport.run_writer()
        with pytest.raises(TransportClosed):
            transport.send_nowait("an answer that would vanish")
        _, closed = await the_end(transport)
        assert (closed.close_code, closed.by) == (1006, "local")
        if link == "socket":
            with pytest.raises(AssertionError, match="the stream ended"):
                await peer.get()
        nursery.cancel_scope.cancel()


async def test_there_is_one_writer():
    async with conversation() as (transport, _):
        await trio.lowlevel.checkpoint()
        with pytest.raises(trio.BusyResourceError):
            await transport.run_writer()


# The opening handshake


@asynccontextmanager
async def server_that_answers(link, answer, *, hang_up=True):
    """The client's end of a stream whose other end answers any request with these bytes."""

    async def serve(stream):
        with suppress(trio.BrokenResourceError):
            await stream.receive_some(65536)
            await stream.send_all(answer)
        if hang_up:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        ours, theirs, _ = await {"memory": memory_link, "socket": socket_link}[link]()
        nursery.start_soon(serve, theirs)
        yield ours
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(theirs)


def response(status, body=b"", **headers):
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


KEY = "sk-live-0123456789"
REFUSALS = [
    (
        401,
        b'{"error": {"message": "Incorrect API key provided: sk-live-0123456789.", "code": "invalid_api_key"}}',
        "fatal",
    ),
    (403, b'{"detail": "not for you"}', "fatal"),
    (404, b"<html>nothing here</html>", "fatal"),
    (426, b"upgrade to something else", "fatal"),
    (429, b'{"error": "slow down"}', "reopen"),
    (503, b"", "reopen"),
]


@LINKS
@pytest.mark.parametrize(("status", "body", "recovery"), REFUSALS)
async def test_a_refused_handshake_says_status_and_body_and_no_key(link, status, body, recovery):
    async with server_that_answers(link, response(f"{status} No", body, Retry_After="7")) as stream:
        with pytest.raises(HandshakeRefused) as refused:
            await open_websocket(stream, URL, headers={"authorization": f"Bearer {KEY}"})
    error = refused.value
    assert isinstance(error, ProviderRefused)
    assert (error.status, error.body, error.headers["retry-after"]) == (status, body, "7")
    assert (error.recovery, error.retry_after_s) == (recovery, 7.0)
    assert f"HTTP {status}" in str(error)
    assert KEY not in str(error)


@LINKS
async def test_redirects_are_not_followed_and_named(link):
    async with server_that_answers(link, response("307 Elsewhere", Location="wss://elsewhere.example/v1")) as stream:
        with pytest.raises(HandshakeRefused, match=r"elsewhere\.example.*not followed") as refused:
            await open_websocket(stream, URL)
    assert (refused.value.status, refused.value.recovery) == (307, "fatal")


GARBAGE = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
    b"HTTP/1.1 999 What\r\n\r\n",
    b"HTTP/1.1 401\r\n" + b"x" * 100_000,
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000,
    b"",
]


@LINKS
@pytest.mark.parametrize("answer", GARBAGE)
async def test_who_does_not_speak_websocket_is_unreachable(link, answer):
    async with server_that_answers(link, answer) as stream:
        with pytest.raises(ProviderUnreachable) as error:
            await open_websocket(stream, URL)
    assert error.value.recovery == "reopen"
    assert len(str(error.value)) < 500


@LINKS
async def test_who_never_answers_is_given_up_when_the_caller_says_so(link, autojump_clock):
    async with server_that_answers(link, b"HTTP/1.1 ", hang_up=False) as stream:
        with trio.move_on_after(10) as patience:
            await open_websocket(stream, URL)
        assert patience.cancelled_caught
        with pytest.raises((trio.ClosedResourceError, OSError)):
            await stream.send_all(b"x")


async def test_a_key_with_a_line_break_is_refused_without_being_shown():
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="authorization") as error:
        await open_websocket(ours, URL, headers={"authorization": f"Bearer {KEY}\n"})
    assert KEY not in str(error.value)
    assert error.value.__cause__ is None
    assert await theirs.receive_some(10) == b""


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "not a url", "wss://host:99999999/"])
async def test_what_is_no_websocket_address_is_refused(url):
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(UsageError, match="not a ws"):
        await open_websocket(ours, url)
    assert await theirs.receive_some(10) == b""


async def test_nobody_listens():
    with pytest.raises(ProviderUnreachable, match=r"127\.0\.0\.1:9") as error:
        await connect_websocket(TcpNetwork(), "ws://127.0.0.1:9/")
    assert error.value.recovery == "reopen"


async def test_a_certificate_of_nobody_we_know_is_fatal():
    server, _ = contexts()
    ours, theirs, _ = await socket_link()
    async with trio.open_nursery() as nursery:

        async def serve():
            with pytest.raises(trio.BrokenResourceError):
                await trio.SSLStream(theirs, server, server_side=True).do_handshake()
            await theirs.aclose()

        nursery.start_soon(serve)
        with pytest.raises(ProviderUnreachable, match="certificate") as error:
            await open_websocket(ours, "wss://127.0.0.1/", tls=ssl.create_default_context())
    assert error.value.recovery == "fatal"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_who_speaks_no_tls_is_unreachable(answer):
    async with server_that_answers("socket", answer) as stream:
        with pytest.raises(ProviderUnreachable, match="TLS"):
            await open_websocket(stream, "wss://127.0.0.1/", tls=ssl.create_default_context())


# The server's side of it


@asynccontextmanager
async def both_ends_ours(link="memory", **accept):
    async with trio.open_nursery() as nursery:
        ours, theirs, _ = await {"memory": memory_link, "socket": socket_link}[link]()
        accepted = []

        async def serve():
            accepted.append(await accept_websocket(theirs, **accept))
            nursery.start_soon(accepted[0][0].run_writer)

        nursery.start_soon(serve)
        client = await open_websocket(ours, URL, subprotocols=["a", "realtime"], headers=[("x-from", "mob")])
        nursery.start_soon(client.run_writer)
        await trio.testing.wait_all_tasks_blocked()
        server, asked = accepted[0]
        yield client, server, asked
        async with trio.open_nursery() as closing:
            closing.start_soon(client.aclose)
            closing.start_soon(server.aclose)
        nursery.cancel_scope.cancel()


@LINKS
async def test_the_server_end_speaks_and_knows_what_was_asked_for(link):
    async with both_ends_ours(link, subprotocols=["realtime"]) as (client, server, asked):
        assert (asked.path, asked.headers["x-from"], asked.subprotocols) == (
            "/v1/realtime?model=m",
            "mob",
            ("a", "realtime"),
        )
        assert client.subprotocol == server.subprotocol == "realtime"
        assert "mob" not in repr(asked)
        client.send_nowait("from the client")
        server.send_nowait(b"from the server")
        assert await server.receive() == ["from the client"]
        assert await client.receive() == [b"from the server"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose, 4000, "enough")
            _, closed = await the_end(client)
            assert (closed.close_code, closed.reason, closed.by) == (4000, "enough", "peer")
            await client.aclose()


@LINKS
async def test_the_server_end_hangs_up_first_and_does_not_wait(link):
    async with both_ends_ours(link) as (client, server, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 1001, "going")
            _, closed = await the_end(server)
            assert (closed.close_code, closed.by) == (1001, "peer")
            await server.aclose()


@LINKS
async def test_a_door_may_refuse(link):
    ours, theirs, _ = await {"memory": memory_link, "socket": socket_link}[link]()
    body = '{"error": {"message": "no such member"}}'
    async with trio.open_nursery() as nursery:

        async def serve():
            with pytest.raises(WireError, match="404"):
                await accept_websocket(theirs, admit=lambda asked: Refusal(404, body))

        nursery.start_soon(serve)
        with pytest.raises(HandshakeRefused, match="no such member") as refused:
            await open_websocket(ours, URL)
    assert refused.value.headers["content-type"] == "application/json"


REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /v1/realtime HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET /" + b"x" * 100_000,
    b"",
]


@LINKS
@pytest.mark.parametrize("request_bytes", REQUESTS)
async def test_who_asks_for_no_websocket_gets_an_answer_and_no_connection(link, request_bytes):
    ours, theirs, _ = await {"memory": memory_link, "socket": socket_link}[link]()
    async with trio.open_nursery() as nursery:

        async def ask():
            try:
                await ours.send_all(request_bytes)
                await ours.send_eof()
                while await ours.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                pass
            await trio.aclose_forcefully(ours)

        nursery.start_soon(ask)
        with pytest.raises(WireError, match="WebSocket"):
            await accept_websocket(theirs)


async def test_tls_at_both_ends_in_memory():
    server_context, client_context = contexts()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        accepted = []

        async def serve():
            server, _ = await accept_websocket(theirs, tls=server_context)
            accepted.append(server)
            nursery.start_soon(server.run_writer)
            for message in await server.receive():
                server.send_nowait(message)

        nursery.start_soon(serve)
        client = await open_websocket(ours, "wss://127.0.0.1/", tls=client_context)
        nursery.start_soon(client.run_writer)
        client.send_nowait("secret " * 10_000)
        assert await gather(client, 1) == ["secret " * 10_000]
        async with trio.open_nursery() as closing:
            closing.start_soon(client.aclose)
            closing.start_soon(accepted[0].aclose)
        nursery.cancel_scope.cancel()


@LINKS
async def test_what_was_queued_when_the_channel_is_cancelled_is_still_sent_before_the_goodbye(link):
    """A channel says its last words and leaves its nursery in one breath."""
    async with conversation(link=link, writer=False) as (transport, peer), trio.open_nursery() as nursery:
        async with trio.open_nursery() as channel:
            channel.start_soon(transport.run_writer)
            await trio.testing.wait_all_tasks_blocked()
            transport.send_nowait("last words")
            channel.cancel_scope.cancel()
        nursery.start_soon(transport.aclose, 1000, "bye")
        assert await peer.get() == "last words"
        assert await peer.wait_closed() == (1000, "bye")
