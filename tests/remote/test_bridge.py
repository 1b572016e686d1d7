"""The bridge: a client that can only start a process comes to a server that runs already."""

from __future__ import annotations

import json

import pytest
import trio
from served import HTTP, LINES, serving

import mob
from mob.carriers.links import StreamLink
from mob.live.transport import connect_websocket
from mob.remote.bridge import run_bridge


def line_link(stream: trio.abc.Stream) -> StreamLink:
    return StreamLink(stream, stream, max_bytes=1024 * 1024)


class Process:
    """The bridge as a client sees it: its standard streams in memory."""

    def __init__(self) -> None:
        self.client, self.near = trio.testing.memory_stream_pair()
        self._lines = line_link(self.client)

    async def send(self, method: str, ident: int, **params) -> None:
        message = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
        await self.client.send_all(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict:
        line = await self._lines.receive()
        assert line is not None
        return json.loads(line)


@pytest.mark.parametrize("url", [HTTP, LINES])
async def test_messages_pass_both_ways_and_the_secret_is_added(autojump_clock, url):
    async with serving(secret="a-secret-of-some-length") as server, trio.open_nursery() as nursery:
        process = Process()
        nursery.start_soon(bridge, process, url, server)
        await process.send("initialize", 1)
        greeting = await process.receive()
        await process.send("mob/list", 2)
        listed = await process.receive()
        await process.client.send_eof()

        assert greeting["id"] == 1
        assert greeting["result"]["contract_version"] == "0.9.6"
        assert listed["result"]["mobs"][0]["mob_id"] == "front-desk"


async def test_what_was_asked_before_the_client_left_is_answered(autojump_clock):
    async with serving() as server, trio.open_nursery() as nursery:
        process = Process()
        nursery.start_soon(bridge, process, HTTP, server)
        await process.send("team/ask", 7, mob="front-desk", member="menu", text="What does the cake cost?")
        await process.client.send_eof()
        answer = await process.receive()

        assert answer["id"] == 7
        assert "5 euros" in answer["result"]["text"]


async def test_a_wrong_secret_and_a_server_that_is_not_there_are_told_in_words(autojump_clock):
    async with serving(secret="a-secret-of-some-length") as server:
        with pytest.raises(mob.Unauthorized, match="wants its secret"):
            await run_bridge(line_link(Process().near), HTTP, secret="wrong", network=server.network)
        with pytest.raises(mob.ServerGone, match="cannot be reached"):
            await run_bridge(line_link(Process().near), "tcp://localhost:9", network=server.network)


async def test_law_24_a_server_that_goes_ends_the_bridge(autojump_clock):
    async with trio.open_nursery() as nursery:
        async with serving() as server:
            process = Process()
            ended: list[mob.MobError] = []

            async def run() -> None:
                try:
                    await run_bridge(line_link(process.near), HTTP, network=server.network)
                except mob.MobError as error:
                    ended.append(error)

            nursery.start_soon(run)
            await process.send("initialize", 1)
            await process.receive()
        with trio.fail_after(30):
            await trio.testing.wait_all_tasks_blocked()
        assert [type(error) for error in ended] == [mob.ServerGone]
        assert not nursery.child_tasks


async def bridge(process: Process, url: str, server) -> None:
    await run_bridge(line_link(process.near), url, secret="a-secret-of-some-length", network=server.network)


async def test_a_browser_that_shows_the_secret_is_answered_one_of_its_subprotocols(autojump_clock):
    """It drops a connection whose answer names none, and the secret itself is not repeated."""
    secret = "a-secret-of-some-length"
    async with serving(secret=secret) as server:
        for offered in (["mob", f"openai-insecure-api-key.{secret}"], [f"openai-insecure-api-key.{secret}", "mob"]):
            transport = await connect_websocket(server.network, "ws://localhost:80/rpc", subprotocols=offered)
            assert transport.subprotocol == "mob"
            await transport.aclose()
