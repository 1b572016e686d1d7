"""Law 26 over the doors as they are served: mutants in any order, in virtual time, beside an honest client.

Some thousands here, seeded; `tests/fuzz/run.py` sends as many as one likes. For each room one guard is taken out, and
the room says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from fuzzing import Broken, todays_seed
from house import in_virtual_time, open_house
from room_http import check_responses, fuzz_http
from room_rpc import fuzz_rpc
from room_sockets import fuzz_gateway, fuzz_live

from mob.carriers.links import StreamLink
from mob.server.front.auth import Gatekeeper
from mob.server.rpc.door import serve_rpc_lines

Room = Callable[[int, int], Awaitable[int]]

ROOMS: dict[str, tuple[Room, int]] = {
    "rpc": (fuzz_rpc, 1280),
    "http": (fuzz_http, 600),
    "live socket": (fuzz_live, 1200),
    "gateway": (fuzz_gateway, 1200),
}
"""Each with how many mutants it is sent here."""

BREAKS: dict[str, tuple[str, Any]] = {
    "rpc": ("mob.server.params.Params._typed", lambda self, name, _: self.values.get(name)),
    "http": ("mob.server.params.Params._typed", lambda self, name, _: self.values.get(name)),
    "live socket": ("mob.protocol.frames._audio", lambda body: body["data"]),
    "gateway": ("mob.server.gateway.policy.Policy._item", lambda _, event: event["item"]["content"][0]["text"]),
}


@pytest.mark.parametrize("name", ROOMS)
def test_law_26_a_door_outlives_whatever_is_said_there(name: str):
    room, count = ROOMS[name]
    seed = todays_seed()
    try:
        assert in_virtual_time(room, count, seed) >= count
    except BaseException as error:
        error.add_note(f"room {name}, seed {seed}")
        raise


@pytest.mark.parametrize("name", ROOMS)
def test_law_26_mutant_a_door_without_a_guard_is_caught(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*BREAKS[name])
    room, count = ROOMS[name]
    with pytest.raises((Broken, BaseExceptionGroup)) as caught:
        in_virtual_time(room, 4 * count, 1)
    assert isinstance(caught.value, Broken) or caught.value.subgroup(Broken) is not None


# -- what was found ----------------------------------------------------------------------------------------------------

_UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_LIVE = b"GET /live/ws?token=a&channel=b HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_LIVE + _UPGRADE + b"Sec-WebSocket-Key: \xff\xfe\r\n\r\n", b"400"),
        (_LIVE + _KEY + _UPGRADE.replace(b"Upgrade\r\n", b"kee\xedp, Upgrade\r\n", 1) + b"\r\n", b"400"),
        (_LIVE + _UPGRADE + b"\r\n\xff\xff\xff\xff", b""),
        (_LIVE + _KEY + b"Upgrade: websocket\r\n\r\n\x83\x00\x07", b""),
        (
            b"POST /sessions/HONEST/turns HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n"
            + b'{"\\ud800": 1}',
            b"400",
        ),
    ],
    ids=["key", "connection", "no frame", "half a frame", "half a character"],
)
async def test_law_26_a_request_that_broke_the_port_is_answered(request_bytes, status, autojump_clock):
    async with open_house() as house:
        stream = house.connect()
        await stream.send_all(request_bytes.replace(b"HONEST", house.honest.session_id.encode()))
        await stream.send_eof()
        data = b""
        async for piece in stream:
            data += piece
        check_responses(data)
        assert data.split(b" ")[1:2] == ([status] if status else [])
        house.check()


async def test_law_26_half_a_character_in_a_secret_is_refused(autojump_clock):
    """It ended the server, before anybody had been let in."""
    async with open_house() as house, trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()

        async def serve() -> None:
            async with theirs:
                link = StreamLink(theirs, theirs, max_bytes=1000)
                gatekeeper = Gatekeeper("a-secret-of-the-tests")
                await serve_rpc_lines(link, house.methods, house.realm.limits, gatekeeper=gatekeeper)

        nursery.start_soon(serve)
        await ours.send_all(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"secret":"\\ud800"}}\n')
        answer = b""
        async for piece in ours:
            answer += piece
        assert b'"unauthorized"' in answer
