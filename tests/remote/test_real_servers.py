"""mob.connect to real processes: over HTTP, TCP and standard streams; and when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import mob
from mob.live import events as live

ROOT = Path(__file__).resolve().parents[2]
TEAM = str(ROOT / "definitions" / "front-desk.toml")
MOB = [sys.executable, "-W", "error", "-m", "mob"]
RPC = [*MOB, "rpc", "--team", TEAM, "--rehearse", "--live-ws", "127.0.0.1:0"]

pytestmark = pytest.mark.real_socket


@asynccontextmanager
async def served(tmp_path: Path, *more: str):
    """A real `mob serve`: its process, and where it is (HTTP, and JSON lines)."""
    command = [*MOB, "serve", TEAM, "--rehearse", "--listen", "127.0.0.1:0", "--rpc", "127.0.0.1:0", *more]
    with (tmp_path / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=log, cwd=tmp_path)
    try:
        with trio.fail_after(30):
            first = b""
            while not first.endswith(b"\n"):
                data = await process.stdout.receive_some()
                assert data, (tmp_path / "log").read_text()
                first += data
            while "JSON-RPC lines:" not in (said := (tmp_path / "log").read_text()):  # noqa: ASYNC110
                await trio.sleep(0.05)  # another process writes it
        lines = said.partition("JSON-RPC lines:")[2].split()[0]
        yield process, first.decode().strip(), lines
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


async def converse(team):
    """A turn over request/response, and one over a live channel."""
    answer = await team.member("menu").ask("What does the cake cost?")
    assert "5 euros" in answer.text
    async with team.member("host").open_live() as channel:
        await channel.send_text("What is in the risotto?")
        heard = 0
        async for event in channel:
            if isinstance(event, live.AudioDelta):
                channel.played(event)
                heard += len(event.pcm)
            if isinstance(event, live.TurnCommitted):
                break
    assert heard > 24_000
    assert "parmesan" in event.turn.agent_text
    assert team.member("host").history()[-1] == event.turn
    assert team.usage.requests >= 3


async def test_a_server_over_http_and_over_lines(tmp_path):
    async with served(tmp_path) as (_, http, lines):
        for url in (http, lines):
            async with mob.connect(url) as team:
                await converse(team)


async def test_a_process_over_its_standard_streams_ends_with_the_block():
    with trio.fail_after(60):
        async with mob.connect(RPC) as team:
            await converse(team)
            (child,) = children()
        assert children() == []
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def children() -> list[int]:
    own = f"/proc/{os.getpid()}/task"
    return [int(pid) for task in Path(own).iterdir() for pid in (task / "children").read_text().split()]


async def test_a_process_without_live_sockets_says_how_it_gets_them():
    with trio.fail_after(60):
        async with mob.connect(RPC[: RPC.index("--live-ws")]) as team:
            with pytest.raises(mob.MobError, match="--live-ws"):
                async with team.member("host").open_live():
                    pass


async def test_a_process_that_is_killed_in_a_call_is_a_server_that_has_gone():
    with trio.fail_after(60):
        async with mob.connect(RPC) as team:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_kill, team)
                with pytest.raises(mob.ServerGone):
                    await _ask_on(team)
            with pytest.raises(mob.ServerGone):
                await team.ask("Hello?")
    assert children() == []


async def _ask_on(team):
    while True:
        await team.member("menu").ask("What does the cake cost?")


async def _kill(team):
    async with team.events() as events:
        async for event in events:
            if event.type == "agent_text_delta":
                break
    for child in children():
        os.kill(child, signal.SIGKILL)


async def test_a_server_that_is_killed_ends_a_live_channel(tmp_path):
    with trio.fail_after(60):
        async with served(tmp_path) as (process, http, _), mob.connect(http) as team:
            async with team.member("host").open_live() as channel:
                await channel.send_text("What is in the risotto?")
                async for event in channel:
                    if isinstance(event, live.AudioDelta):
                        process.kill()
                        break
                rest = [event async for event in channel]
                assert isinstance(rest[-1], live.Disconnected)
                assert rest[-1].reason == "connection_lost"
                with pytest.raises(mob.ServerGone):
                    await team.ask("Hello?")


async def test_a_secret_is_wanted_and_shown(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("this is long enough to be one\n".replace(" ", "-"))
    async with served(tmp_path, "--secret-file", str(secret)) as (_, http, lines):
        for url in (http, lines):
            with pytest.raises(mob.MobError, match="secret"):
                async with mob.connect(url):
                    pass
            async with mob.connect(url, secret=secret.read_text().strip()) as team:
                await converse(team)
