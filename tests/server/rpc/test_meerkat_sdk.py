"""The published Meerkat client, unchanged, starts `mob-rpc` and does with it what its own guide says."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from meerkat import MeerkatClient
from meerkat.errors import MeerkatError
from meerkat.events import RunCompleted, RunStarted, TextDelta, ToolResultReceived, UnknownEvent
from sdk_runner import run_client
from websockets.asyncio.client import connect

from mob.rehearsal.voice import hear, speak

pytestmark = pytest.mark.real_socket

SERVER = Path(sys.executable).with_name("mob-rpc")
HOST = "You are the host.\nWe are open from noon to eleven.\nThere is free parking behind the house."
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
STEP = 9600


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Runs a scenario with a client of a server of its own, rehearsed; what it keeps is under `tmp_path`."""
    for name in ("OPENAI_API_KEY", "MEERKAT_BIN_PATH", "MOB_SERVER_SECRET"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    roots = {"state_root": str(tmp_path / "state"), "user_config_root": str(tmp_path / "home")}

    def run(scenario, *, tools=None, **options):
        async def main():
            client = MeerkatClient(rkat_path=str(SERVER))
            if tools is not None:
                tools(client)
            await client.connect(**{"live_ws": True, "context_root": str(tmp_path / "home"), **roots, **options})
            try:
                async with asyncio.timeout(60):
                    return await scenario(client)
            finally:
                await client.close()

        return run_client(main())

    return run


async def refused(call):
    with pytest.raises(MeerkatError) as caught:
        await call
    return caught.value


async def rows_until(client, session_id, count):
    """The history, as soon as it has so many rows."""
    while True:
        history = await client.read_session_history(session_id)
        if len(history.messages) >= count:
            return history.messages
        await asyncio.sleep(0.05)


def test_the_end_to_end_example_of_the_guide(play):
    """As it is printed there, but for `prompt`s that let a rehearsed model answer, and for sound in base64."""

    async def example(client):
        # 1. Create a session on a realtime-capable model.
        session = await client.create_session(
            prompt="Ready for live audio.", model="gpt-realtime-2", provider="openai", system_prompt=HOST
        )
        # 2. Open a live channel (returns channel_id + transport bootstrap).
        result = await client.live_open(session.id)
        channel_id = result["channel_id"]
        assert result["transport"]["url"].startswith("ws://127.0.0.1:")
        assert result["capabilities"]["audio_in"]
        # 3. Send audio input and commit at turn boundaries.
        sound = speak("When are you open?")
        for at in range(0, len(sound), STEP):
            audio_data = base64.b64encode(sound[at : at + STEP]).decode()
            await client.live_send_input_audio(channel_id, audio_data, 24000, 1)
        await client.live_commit_input(channel_id)
        await rows_until(client, session.id, 5)
        # 4. Close the channel when done.
        await client.live_close(channel_id)
        # 5. The session's history accumulates committed turns, same as a text session.
        history = await client.read_session_history(session.id)
        assert [message.role for message in history.messages] == [
            "system",
            "user",
            "block_assistant",
            "user",
            "block_assistant",
        ]
        assert history.messages[3].content == "When are you open?"
        assert history.messages[4].blocks[0].text == "We are open from noon to eleven."
        return session.id, history.messages

    session_id, before = play(example, realm_id="team-alpha")

    async def later(client):
        # The next server of the realm has the session, and goes on with it.
        (summary,) = await client.list_sessions()
        assert summary.session_id == session_id
        history = await client.read_session_history(session_id)
        assert [message.raw for message in history.messages] == [message.raw for message in before]
        result = await client.live_open(session_id)
        await client.live_send_input_text(result["channel_id"], "Is there parking?")
        rows = await rows_until(client, session_id, 7)
        assert "parking" in json.dumps(rows[-1].raw)

    play(later, realm_id="team-alpha")

    async def elsewhere(client):
        assert await client.list_sessions() == []

    play(elsewhere, realm_id="team-beta")
    play(elsewhere, isolated=True)
    with pytest.raises(MeerkatError, match="backend sqlite"):
        play(elsewhere, realm_id="team-alpha", realm_backend="memory")


def test_what_is_heard_on_the_socket_is_in_the_history(play):
    async def scenario(client):
        session = await client.create_session("Ready.", model="gpt-realtime-2", system_prompt=HOST)
        opened = await client.live_open(session.id, turning_mode="explicit_commit")
        sound = bytearray()
        async with connect(opened["transport"]["url"]) as socket:
            pcm = speak("Is there free parking behind the house?")
            for at in range(0, len(pcm), STEP):
                await socket.send(pcm[at : at + STEP])
            await asyncio.sleep(0.5)  # the socket and the request are two lines: let the sound be there first
            await client.live_commit_input(opened["channel_id"])
            async for text in socket:
                observation = json.loads(text)
                if observation["observation"] == "assistant_audio_chunk":
                    sound += base64.b64decode(observation["data"])
                if observation["observation"] == "turn_completed":
                    break
            rows = await rows_until(client, session.id, 5)
        assert rows[3].content == "Is there free parking behind the house?"
        assert rows[4].blocks[0].text == "There is free parking behind the house."
        assert hear(bytes(sound)).strip() == rows[4].blocks[0].text

    play(scenario)


def test_a_tool_of_the_client_is_called_back(play):
    asked = []

    def tools(client):
        @client.tool("weather", description="The weather of today: rain, sun and wind.")
        async def weather(arguments):
            asked.append(arguments)
            return "It rains in Berlin."

    async def scenario(client):
        session = await client.create_session("Is there rain, sun or wind today?", model="gpt-4.1-mini")
        assert session.tool_calls == 1
        assert len(asked) == 1
        events = []
        async with session.stream("Is there rain, sun or wind now?") as stream:
            async for event in stream:
                assert not isinstance(event, UnknownEvent)
                events.append(event)
        assert isinstance(events[0], RunStarted)
        assert any(isinstance(event, ToolResultReceived) and not event.is_error for event in events)
        assert isinstance(events[-1], RunCompleted)
        assert "".join(event.delta for event in events if isinstance(event, TextDelta)) == events[-1].result

        @client.tool("menu", description="The menu: dishes, soup and prices.")
        async def menu(arguments):
            raise RuntimeError("no menu today")

        await asyncio.sleep(0.2)
        result = await session.turn("Which dishes and soup are on the menu?")
        assert result.tool_calls == 1
        rows = await client.read_session_history(session.id)
        (failed,) = [result for row in rows.messages for result in row.results if result.is_error]
        assert "no menu today" in str(failed.content)

    play(scenario, tools=tools)


def test_pictures_come_with_a_prompt_and_over_a_channel(play):
    async def scenario(client):
        data = base64.b64encode(PNG).decode()
        image = {"type": "image", "media_type": "image/png", "source": "inline", "data": data}
        session = await client.create_session(
            [{"type": "text", "text": "What is this?"}, image], model="gpt-realtime-2"
        )
        opened = await client.live_open(session.id)
        assert opened["capabilities"]["image_in"]
        channel_id = opened["channel_id"]
        await client.live_send_input_image(channel_id, "photo-1", "image/png", data)
        error = await refused(
            client.live_send_input_image(channel_id, "photo-1", "image/png", base64.b64encode(PNG + b"x").decode())
        )
        assert error.details["error_code"]["reason"] == {"kind": "image_input_idempotency_conflict"}
        await client.live_send_input_text(channel_id, "And this?")
        rows = await rows_until(client, session.id, 5)
        blocks = [block for row in rows if isinstance(row.content, list) for block in row.raw["content"]]
        assert [block["type"] for block in blocks] == ["text", "image", "image"]
        assert [block["data"] for block in blocks[1:]] == [data, data]

    play(scenario)


def test_the_configuration_decides_what_a_session_is_made_of(play, tmp_path):
    (tmp_path / "home" / ".mob").mkdir()
    (tmp_path / "home" / ".mob" / "config.toml").write_text('default_model = "gpt-realtime-2"\n')

    async def scenario(client):
        config = await client.get_config()
        assert config["config"]["agent"]["model"] == "gpt-realtime-2"
        session = await client.create_session("Hello")
        assert (await client.read_session(session.id)).model == "gpt-realtime-2"
        changed = await client.patch_config(
            {"agent": {"model": "gpt-4.1-mini"}}, expected_generation=config["generation"]
        )
        assert changed["generation"] == config["generation"] + 1
        error = await refused(client.set_config({}, expected_generation=config["generation"]))
        assert error.code == "INVALID_PARAMS"
        assert error.details == {"generation": changed["generation"]}
        deferred = await client.create_deferred_session("Hello")
        assert (await client.read_session(deferred.id)).model == "gpt-4.1-mini"
        asked_for = await client.create_deferred_session("Hello", model="gpt-5.5")
        assert (await client.read_session(asked_for.id)).model == "gpt-5.5"
        catalog = await client.get_models_catalog()
        assert "gpt-realtime-2" in json.dumps(catalog)

    play(scenario, realm_id="house")

    async def later(client):
        assert (await client.get_config())["config"]["agent"]["model"] == "gpt-4.1-mini"

    play(later, realm_id="house")


def test_errors_come_with_the_codes_that_are_documented(play):
    async def scenario(client):
        assert client.has_capability("sessions")
        assert not client.has_capability("shell")
        error = await refused(client.read_session("0198c0de-0000-7000-8000-000000000001"))
        assert error.code == "SESSION_NOT_FOUND"
        error = await refused(client.create_session("Hello", enable_shell=True))
        assert (error.code, error.details["field"]) == ("CAPABILITY_UNAVAILABLE", "enable_shell")
        error = await refused(client.create_session("Hello", model="gpt-realtime-3"))
        assert (error.code, error.details["field"]) == ("INVALID_PARAMS", "model")
        idle = await client.create_deferred_session("Hello", model="gpt-realtime-2")
        error = await refused(client.live_open(idle.id))
        assert "start a turn" in error.message
        error = await refused(client.live_status("nowhere"))
        assert (error.code, "no live channel" in error.message) == ("INVALID_PARAMS", True)
        session = await client.create_session("Hello", model="gpt-realtime-2")
        first = await client.live_open(session.id)
        assert "has an open live channel" in (await refused(client.live_open(session.id))).message
        error = await refused(client.live_send_input_audio(first["channel_id"], "AAA=", 8000, 1))
        assert error.details["error_code"]["reason"]["actual_sample_rate_hz"] == 8000
        assert (await client.live_status(first["channel_id"]))["status"] == {"status": "ready"}

    play(scenario)

    async def no_sockets(client):
        session = await client.create_session("Hello", model="gpt-realtime-2")
        assert (await refused(client.live_open(session.id))).code == "method_not_found"

    play(no_sockets, live_ws=False)


def test_a_subscription_follows_a_session_and_ends_with_it(play):
    async def scenario(client):
        session = await client.create_session("Hello", model="gpt-4.1-mini", system_prompt=HOST)
        subscription = await client.subscribe_session_events(session.id)
        seen = []

        async def follow():
            async with subscription:
                seen.extend([envelope.payload async for envelope in subscription])

        following = asyncio.ensure_future(follow())
        await session.turn("When are you open?")
        await session.archive()
        await following
        assert isinstance(seen[-1], RunCompleted)
        assert not any(isinstance(event, UnknownEvent) for event in seen)

    play(scenario)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_client_that_dies_leaves_no_server_behind(play, sign, tmp_path):
    """The client is a process of its own, killed in the middle of a turn; its server ends by itself."""
    environ = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    command = [sys.executable, "-c", _KILLED, str(SERVER), str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as client:
        assert client.stdout is not None
        server = int(client.stdout.readline())
        client.send_signal(sign)
        client.wait(10)
    deadline = time.monotonic() + 10
    while _runs(server):
        assert time.monotonic() < deadline, "the server goes on without its client"
        time.sleep(0.05)

    async def later(client):
        # Whether its creator was told of the session in time or not: what there is can be read and gone on with.
        for summary in await client.list_sessions():
            rows = (await client.read_session_history(summary.session_id)).messages
            calls = [block for row in rows for block in row.blocks if block.block_type == "tool_use"]
            assert len(calls) == sum(len(row.results) for row in rows)

    play(later, realm_id="killed", state_root=str(tmp_path))


_KILLED = """
import asyncio, sys
from meerkat import MeerkatClient

async def main():
    client = MeerkatClient(rkat_path=sys.argv[1])

    @client.tool("weather", description="The weather of today: rain, sun and wind.")
    async def weather(arguments):
        print(client._process.pid, flush=True)
        await asyncio.sleep(1000)

    await client.connect(realm_id="killed", state_root=sys.argv[2], user_config_root=sys.argv[2])
    await client.create_session("Is there rain, sun or wind today?", model="gpt-4.1-mini")

asyncio.run(main())
"""


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
