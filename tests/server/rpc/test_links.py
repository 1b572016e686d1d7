"""What brings messages: lines however they are cut, lines that are too long, the secret at the entrance, the socket."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from rpc_peer import open_server

from mob.carriers.links import StreamLink, TooLong
from mob.live.transport import open_websocket
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Table
from mob.server.limits import DoorLimits
from mob.server.rpc.door import rpc_sockets, serve_rpc_lines

MOST = 16


def reference(data):
    """Whole lines as they should come out: bytes, or None for one that is too long."""
    *lines, rest = data.split(b"\n")
    return [line if len(line) <= MOST else None for line in (*lines, *([rest] if rest else []))]


@settings(deadline=None)
@given(data=st.lists(st.sampled_from([b"\n", b"a", b"bcd", b"e" * 9, b"f" * 40])).map(b"".join), cut=st.data())
async def test_lines_come_out_whole_however_they_are_cut(data, cut):
    send, receive = trio.testing.memory_stream_one_way_pair()
    link = StreamLink(receive, send, max_bytes=MOST)
    found = []

    async def write():
        at = 0
        while at < len(data):
            size = cut.draw(st.integers(1, 12))
            await send.send_all(data[at : at + size])
            at += size
        await send.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        while True:
            try:
                line = await link.receive()
            except TooLong:
                found.append(None)
                continue
            if line is None:
                break
            found.append(line)
            assert len(link._buffer) <= MOST + 64 * 1024
    assert found == reference(data)


async def test_a_line_without_an_end_is_not_kept():
    send, receive = trio.testing.memory_stream_one_way_pair()
    link = StreamLink(receive, send, max_bytes=MOST)
    told = []

    async def read():
        while True:
            try:
                if await link.receive() is None:
                    return
            except TooLong as error:
                told.append(error.limit)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for _ in range(100):
            await send.send_all(b"x" * 1000)
            assert len(link._buffer) <= MOST + 1000
        await send.aclose()
    assert told == [MOST]


SECRET = "a-secret-that-is-long-enough"


@pytest.mark.parametrize(
    ("first", "let_in"),
    [
        ({"method": "initialize", "params": {"secret": SECRET}}, True),
        ({"method": "initialize", "params": {"secret": "another"}}, False),
        ({"method": "initialize", "params": {"secret": 7}}, False),
        ({"method": "initialize", "params": {}}, False),
        ({"method": "session/list", "params": {"secret": SECRET}}, False),
        ("no JSON", False),
        ("x" * 100_000, False),
        (None, False),
    ],
)
async def test_where_a_secret_is_wanted_it_comes_first(autojump_clock, first, let_in):
    async with open_server() as (realm, methods):
        ours, theirs = trio.testing.memory_stream_pair()
        link = StreamLink(theirs, theirs, max_bytes=realm.limits.max_request_bytes)
        answers = b""

        async def serve():
            await serve_rpc_lines(link, methods, realm.limits, gatekeeper=Gatekeeper(SECRET))
            await theirs.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            if isinstance(first, dict):
                first = json.dumps({"jsonrpc": "2.0", "id": 1, **first})
            second = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "session/list"})
            if first is not None:
                await ours.send_all(f"{first}\n{second}\n".encode())
                if let_in:
                    await ours.send_eof()
            async for data in ours:
                answers += data
        told = [json.loads(line) for line in answers.splitlines()]
        if let_in:
            assert {each["id"] for each in told} == {1, 2}
            assert all("result" in each for each in told)
        else:
            (refusal,) = told
            assert (refusal["error"]["code"], refusal["error"]["data"]["code"]) == (-32025, "SCOPE_DENIED")
            assert SECRET not in answers.decode()


@pytest.mark.parametrize("gatekeeper", [Gatekeeper(), Gatekeeper(SECRET)])
async def test_who_says_nothing_holds_no_place(autojump_clock, gatekeeper):
    async with open_server() as (realm, methods):
        ours, theirs = trio.testing.memory_stream_pair()
        link = StreamLink(theirs, theirs, max_bytes=realm.limits.max_request_bytes)
        began = trio.current_time()
        await serve_rpc_lines(link, methods, realm.limits, gatekeeper=gatekeeper)
        assert trio.current_time() - began < 2 * realm.limits.head_s
        assert b"SCOPE_DENIED" in await ours.receive_some()


async def test_the_socket_has_one_message_a_frame_and_so_many_clients(autojump_clock):
    limits = DoorLimits(max_rpc_clients=1)
    async with open_server(limits=limits) as (realm, methods):
        front = Front(Table((), rpc_sockets(realm, methods)), Gatekeeper(), limits)
        async with trio.open_nursery() as nursery:

            async def dial():
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(front.serve_stream, theirs)
                transport = await open_websocket(ours, "ws://127.0.0.1/rpc")
                nursery.start_soon(transport.run_writer)
                return transport

            first = await dial()
            for number in range(3):
                first.send_nowait(json.dumps({"jsonrpc": "2.0", "id": number, "method": "session/list"}))
            answers = []
            while len(answers) < 3:
                answers += [json.loads(message) for message in await first.receive()]
            assert {answer["id"] for answer in answers} == {0, 1, 2}
            second = await dial()
            with pytest.raises(Exception, match="as many JSON-RPC clients"):
                await second.receive()
            await second.aclose()
            await first.aclose()
            third = await dial()
            third.send_nowait(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize"}))
            (answer,) = await third.receive()
            assert json.loads(answer)["result"]["contract_version"] == "0.9.6"
            await third.aclose()
            nursery.cancel_scope.cancel()
