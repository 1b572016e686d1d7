"""What every driver of the Transport port does, whatever is under it and whoever is at the other end.

Each check takes `talk`, which opens a conversation: `async with talk(...) as (transport, peer)`.
"""

import pytest
import trio

from mob.live.ports import ChannelLimits
from mob.live.transport import TransportClosed

MIB = 1024 * 1024


async def gather(transport, count):
    """The next `count` messages."""
    messages = []
    while len(messages) < count:
        messages += await transport.receive()
    return messages


async def until(condition):
    """Let the others go on until this is so; a socket gives no other sign of what its far end has done."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.001)


async def the_end(transport):
    """The messages that still come, and how it ended."""
    messages = []
    while True:
        try:
            messages += await transport.receive()
        except TransportClosed as closed:
            return messages, closed


async def check_messages_keep_their_kind_and_order(talk):
    async with talk() as (transport, peer):
        sent = ["text", b"binary", "", b"", "grüße, 世界 🦊", bytes(range(256))]
        for message in sent:
            transport.send_nowait(message)
        assert [await peer.get() for _ in sent] == sent
        for message in sent:
            await peer.send(message)
        assert await gather(transport, len(sent)) == sent


async def check_a_burst_arrives_whole_and_in_order(talk):
    async with talk() as (transport, peer):
        sent = [f"{number:05} ".ljust(200, ".") for number in range(500)]
        for message in sent:
            transport.send_nowait(message)
        assert [await peer.get() for _ in sent] == sent

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_each, peer, sent)
            assert await gather(transport, len(sent)) == sent


async def send_each(peer, messages):
    for message in messages:
        await peer.send(message)


async def check_large_messages_pass(talk, size):
    async with talk() as (transport, peer):
        large = b"\x01\x02\x03\x04" * (size // 4)
        transport.send_nowait(large)
        assert await peer.get() == large
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, large)
            assert await gather(transport, 1) == [large]


async def check_pings_of_the_peer_are_answered(talk):
    async with talk() as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(the_end, transport)
        await peer.ping()
        nursery.cancel_scope.cancel()


async def check_the_peer_answers_our_ping(talk):
    async with talk() as (transport, peer), trio.open_nursery() as nursery:
        before = transport.last_received
        nursery.start_soon(the_end, transport)
        nursery.start_soon(swallow, peer)
        await trio.sleep(0.001)
        transport.ping_nowait()
        await until(lambda: transport.last_received > before)
        assert transport.last_received > before
        nursery.cancel_scope.cancel()


async def swallow(peer):
    while True:
        await peer.get()


async def check_the_peer_says_goodbye(talk):
    async with talk() as (transport, peer), trio.open_nursery() as nursery:
        await peer.send("last words")
        nursery.start_soon(peer.close, 4002, "the session expired")
        messages, closed = await the_end(transport)
        assert messages == ["last words"]
        assert (closed.close_code, closed.reason, closed.by) == (4002, "the session expired", "peer")
        with pytest.raises(TransportClosed):
            await transport.receive()
        with pytest.raises(TransportClosed):
            transport.send_nowait("too late")
        assert transport.statistics().closed
        await transport.aclose()


async def check_we_say_goodbye(talk):
    async with talk() as (transport, peer), trio.open_nursery() as nursery:
        transport.send_nowait("last words")
        assert await peer.get() == "last words"
        nursery.start_soon(transport.aclose, 3001, "enough")
        assert await peer.wait_closed() == (3001, "enough")
    with pytest.raises(TransportClosed) as closed:
        await transport.receive()
    assert (closed.value.close_code, closed.value.by) == (3001, "local")
    with pytest.raises(TransportClosed):
        transport.send_nowait("too late")


async def check_goodbye_while_somebody_receives(talk):
    async with talk() as (transport, peer), trio.open_nursery() as nursery:
        ends = []

        async def listen():
            ends.append(await the_end(transport))

        nursery.start_soon(listen)
        nursery.start_soon(peer.wait_closed)
        await trio.sleep(0.001)
        await transport.aclose(1000, "done")
        await trio.sleep(0.001)
        assert [(closed.close_code, closed.by) for _, closed in ends] == [(1000, "local")]


async def check_a_lost_connection_is_told_as_such(talk):
    async with talk() as (transport, peer):
        await peer.send("before")
        assert await gather(transport, 1) == ["before"]
        await peer.vanish()
        messages, closed = await the_end(transport)
        assert messages == []
        assert (closed.close_code, closed.by) == (1006, "network")


async def check_abort_wakes_the_reader(talk):
    async with talk() as (transport, _), trio.open_nursery() as nursery:
        ends = []

        async def listen():
            ends.append(await the_end(transport))

        nursery.start_soon(listen)
        await trio.sleep(0.001)
        transport.abort("it was silent for too long")
        await trio.sleep(0.001)
        assert [(closed.close_code, closed.reason, closed.by) for _, closed in ends] == [
            (1006, "it was silent for too long", "local")
        ]


async def check_a_subprotocol_is_agreed_on(talk):
    async with talk(subprotocol="realtime") as (transport, _):
        assert transport.subprotocol == "realtime"
    async with talk() as (transport, _):
        assert transport.subprotocol is None


async def check_the_peer_sees_path_and_headers(talk):
    async with talk() as (_, peer):
        headers = {_text(name).lower(): _text(value) for name, value in peer.headers.items()}
        assert peer.path == "/v1/realtime?model=m"
        assert headers["x-from"] == "mob"
        assert "sec-websocket-extensions" not in headers


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


async def check_a_stalled_peer_costs_audio_and_never_control(talk):
    """Nothing is read at the other end; then all of it is."""
    limits = ChannelLimits(max_audio_buffer_bytes=64_000)
    async with talk(limits=limits) as (transport, peer):
        plug = b"-" * (8 * MIB)  # more than any socket buffers
        transport.send_nowait(plug)
        await trio.sleep(0.01)
        for number in range(200):
            transport.send_nowait(f"{number:04}".encode() * 250, audio=True)
            if number % 20 == 0:
                transport.send_nowait(f"control {number}")
        now = transport.statistics()
        assert now.audio_bytes_waiting <= 64_000
        assert now.audio_dropped >= 200 - 64 - 1
        transport.send_nowait("the end")
        got = []
        while not got or got[-1] != "the end":
            got.append(await peer.get())
        assert got[0] == plug
        control = [message for message in got if isinstance(message, str)]
        assert control == [*(f"control {number}" for number in range(0, 200, 20)), "the end"]
        audio = [int(message[:4]) for message in got[1:] if isinstance(message, bytes)]
        assert audio == list(range(200 - len(audio), 200)), "the oldest go first"
        assert len(audio) == 200 - transport.statistics().audio_dropped


async def check_too_much_control_ends_the_connection(talk):
    async with talk(limits=ChannelLimits(max_control_frames=100)) as (transport, _):
        transport.send_nowait(b"-" * (8 * MIB))
        await trio.sleep(0.01)
        taken = 0
        with pytest.raises(TransportClosed, match="control messages wait for a slow peer"):  # noqa: PT012 - at some point
            for number in range(300):
                transport.send_nowait(f"control {number}")
                taken += 1
        assert taken >= 99
        _, closed = await the_end(transport)
        assert (closed.close_code, closed.by) == (1006, "local")


async def check_counts(talk):
    async with talk() as (transport, peer):
        for _ in range(3):
            transport.send_nowait("abc")
            await peer.get()
        await peer.send("defg")
        await gather(transport, 1)
        counts = transport.statistics()
        assert (counts.messages_in, counts.messages_out, counts.closed) == (1, 3, False)
        assert counts.bytes_in >= 4
        assert counts.audio_dropped == counts.control_frames_waiting == 0


CHECKS = [
    check_messages_keep_their_kind_and_order,
    check_a_burst_arrives_whole_and_in_order,
    check_pings_of_the_peer_are_answered,
    check_the_peer_answers_our_ping,
    check_the_peer_says_goodbye,
    check_we_say_goodbye,
    check_goodbye_while_somebody_receives,
    check_a_lost_connection_is_told_as_such,
    check_abort_wakes_the_reader,
    check_a_subprotocol_is_agreed_on,
    check_the_peer_sees_path_and_headers,
    check_counts,
]
STALLING = [check_a_stalled_peer_costs_audio_and_never_control, check_too_much_control_ends_the_connection]
