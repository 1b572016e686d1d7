"""The rehearsal as a server: paths, models, addresses, and what `mob rehearse` calls."""

import json
import re
from pathlib import Path

import pytest
import trio
import trio.testing

import mob
from mob.errors import MemberUnknown, UsageError
from mob.rehearsal.faults import KINDS, parse_fault
from mob.rehearsal.serve import Rehearsal, open_rehearsal, serve_forever

ROOT = Path(__file__).parents[2]
FRONT_DESK = str(ROOT / "definitions" / "front-desk.toml")


async def request(rehearsal: Rehearsal, method: str, target: str, body: object = None) -> tuple[int, dict]:
    client, server = trio.testing.memory_stream_pair()
    data = b"" if body is None else json.dumps(body).encode()
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rehearsal.serve_stream, server)
        head = f"{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        await client.send_all(head.encode() + data)
        while piece := await client.receive_some():
            received += bytes(piece)
    head_bytes, _, answer = received.partition(b"\r\n\r\n")
    return int(head_bytes.split()[1]), json.loads(answer)


def question(text: str) -> dict:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


async def test_paths_lead_to_members(autojump_clock):
    async with open_rehearsal(mob.load(FRONT_DESK), member="host") as rehearsal:
        for path, words in (
            ("", "Welcome to the Olive Tree!"),
            ("/host", "Welcome"),
            ("/menu", "Hello! I know the menu."),
        ):
            status, answer = await request(rehearsal, "POST", f"{path}/v1/chat/completions", question("hello"))
            assert status == 200
            assert answer["choices"][0]["message"]["content"].startswith(words)
        assert rehearsal.statistics()["responses"] == 3


async def test_a_member_goes_by_the_team_file_when_nothing_else_is_said(autojump_clock):
    async with open_rehearsal(mob.load(FRONT_DESK)) as rehearsal:
        asked = question("What does the mushroom risotto cost?")
        _, answer = await request(rehearsal, "POST", "/menu/v1/chat/completions", asked)
        assert "14 euros" in answer["choices"][0]["message"]["content"]
        asked["messages"].insert(0, {"role": "system", "content": "You sell shoes."})
        _, answer = await request(rehearsal, "POST", "/menu/v1/chat/completions", asked)
        assert "14 euros" not in answer["choices"][0]["message"]["content"]


async def test_models_are_the_teams(autojump_clock):
    definition = mob.load(FRONT_DESK)
    async with open_rehearsal(definition) as rehearsal:
        status, answer = await request(rehearsal, "GET", "/v1/models")
        assert status == 200
        assert {m["id"] for m in answer["data"]} == {definition.profile_of(name).model for name in definition.members}


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("GET", "/v1", None, 404),
        ("POST", "/v1/models", {}, 404),
        ("GET", "/nobody/v1/models", None, 404),
        ("GET", "/v1/realtime?model=m", None, 426),
        ("POST", "/v1/chat/completions", {"model": "m"}, 400),
        ("POST", "/v1/chat/completions", [], 400),
    ],
)
async def test_what_is_not_served_is_said(method, target, body, status, autojump_clock):
    async with open_rehearsal(mob.load(FRONT_DESK)) as rehearsal:
        got, answer = await request(rehearsal, method, target, body)
        assert got == status
        assert answer["error"]["message"]


async def test_bad_calls_come_over_the_text_wire_too(autojump_clock):
    tool = {"name": "ask_menu", "description": "dishes and prices", "parameters": {"type": "object"}}
    asked = {**question("What does the soup cost?"), "tools": [{"type": "function", "function": tool}]}
    async with open_rehearsal(None, faults=[parse_fault("bad-arguments")]) as rehearsal:
        _, answer = await request(rehearsal, "POST", "/v1/chat/completions", asked)
        call = answer["choices"][0]["message"]["tool_calls"][0]
        with pytest.raises(ValueError):
            json.loads(call["function"]["arguments"])


@pytest.mark.real_socket
async def test_serve_forever_says_where_and_can_be_dialled():
    ready: list[str] = []
    async with trio.open_nursery() as nursery:
        came = trio.Event()

        def on_ready(url: str) -> None:
            ready.append(url)
            came.set()

        async def serve() -> None:
            await serve_forever("127.0.0.1:0", definition=mob.load(FRONT_DESK), member="menu", on_ready=on_ready)

        nursery.start_soon(serve)
        await came.wait()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/v1", ready[0])
        assert found
        stream = await trio.open_tcp_stream("127.0.0.1", int(found[1]))
        async with stream:
            await stream.send_all(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "listen", ["", "8000", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "no.such.host.invalid:0"]
)
async def test_an_address_that_is_none_is_refused(listen):
    with pytest.raises(UsageError):
        await serve_forever(listen, on_ready=lambda url: None)


async def test_a_member_that_is_nobody_is_refused():
    with pytest.raises(MemberUnknown, match="menu"):
        await serve_forever("127.0.0.1:0", definition=mob.load(FRONT_DESK), member="x", on_ready=lambda url: None)


def test_the_page_lists_every_fault():
    page = (ROOT / "docs" / "rehearsal.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)
    assert [name for name in listed if name in KINDS] == list(KINDS)
