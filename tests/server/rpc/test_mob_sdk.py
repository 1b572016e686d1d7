"""The published Meerkat client, unchanged, makes a mob in a `mob-rpc` of its own and talks with its members."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path

import pytest
from meerkat import MeerkatClient
from meerkat.errors import MeerkatError
from sdk_runner import run_client
from websockets.asyncio.client import connect

from mob.rehearsal.voice import speak

pytestmark = pytest.mark.real_socket

SERVER = Path(sys.executable).with_name("mob-rpc")
DESK = {
    "id": "desk",
    "orchestrator": {"profile": "host"},
    "profiles": {
        "host": {"model": "gpt-realtime-2", "voice": "marin", "instructions": "You welcome people. We open at noon."},
        "menu": {
            "model": "gpt-5.6-terra",
            "peer_description": "Knows the dishes: what the soup costs.",
            "instructions": "The tomato soup costs 6 euros.",
        },
    },
    "rehearsal": {
        "host": [{"when": "slow", "say": "That took a while.", "after_ms": 4000}, {"when": "hello", "say": "Welcome!"}],
        "menu": [{"when": "", "say": "The soup costs 6 euros."}],
    },
}


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Runs a scenario with a client of a fresh server; what the server keeps is under `tmp_path`."""
    for name in ("OPENAI_API_KEY", "MEERKAT_BIN_PATH"):
        monkeypatch.delenv(name, raising=False)

    def run(scenario, **options):
        async def main():
            client = MeerkatClient(rkat_path=str(SERVER))
            chosen = options or {"isolated": True}
            await client.connect(live_ws=True, state_root=str(tmp_path), **chosen)
            try:
                async with asyncio.timeout(60):
                    await scenario(client)
            finally:
                await client.close()

        run_client(main())

    return run


async def refused(call):
    with pytest.raises(MeerkatError) as caught:
        await call
    return caught.value


async def desk_of(client):
    """A mob with a host and a menu, who reach each other."""
    mob = await client.create_mob(definition=DESK)
    await mob.spawn(
        profile="host", agent_identity="ann", labels={"team": "front"}, additional_instructions=["Be brief."]
    )
    await mob.spawn_many([{"profile": "menu", "agent_identity": "mia"}])
    await mob.wire("ann", "mia")
    return mob


def test_a_mob_is_made_filled_wired_and_read(play):
    async def scenario(client):
        assert client.has_capability("mob")
        mob = await desk_of(client)
        assert (await mob.status())["status"] == "Running"
        assert [row["mob_id"] for row in await client.list_mobs()] == ["desk"]
        members = {row["agent_identity"]: row for row in await mob.members()}
        assert (members["ann"]["profile"], members["ann"]["labels"]) == ("host", {"team": "front"})
        assert members["ann"]["wired_to"] == ["mia"]
        batch = await mob.wire_members_batch([{"a": "mia", "b": "ann"}])
        assert [edge.a for edge in batch.already_wired] == ["ann"]
        await mob.unwire("ann", "mia")
        events = (await mob.read_events())["events"]
        kinds = [event["kind"]["type"] for event in events]
        assert kinds[:3] == ["mob_created", "member_spawned", "member_spawned"]
        assert kinds[-1] == "members_unwired"
        assert [e["cursor"] for e in (await mob.read_events(after_cursor=events[1]["cursor"]))["events"]] == [
            event["cursor"] for event in events[2:]
        ]

    play(scenario)


def test_members_are_spoken_to_and_read_back(play):
    async def scenario(client):
        mob = await desk_of(client)
        async with await mob.subscribe_events() as events:
            receipt = await mob.member("mia").send("What does the soup cost?", idempotency_key="k1")
            again = await mob.member("mia").send("What does the soup cost?", idempotency_key="k1")
            assert again["continuation"] == receipt["continuation"]
            async for event in events:
                assert event.role == "menu"
                if type(event.envelope.payload).__name__ == "RunCompleted":
                    assert event.envelope.payload.result == "The soup costs 6 euros."
                    break
        history = await mob.member_history("mia")
        assert history.page.complete
        assert [row["role"] for row in history.page.messages] == ["system", "user", "block_assistant"]
        await mob.append_system_context("mia", "The soup is out.", source="kitchen")
        snapshot = await mob.member_status("mia")
        assert (snapshot["status"], snapshot["tokens_used"] > 0) == ("active", True)
        result = await client.mob_turn_start("desk", "mia", "And now?")
        assert result["text"] == "The soup costs 6 euros."
        await mob.member("ann").send("be slow")
        await mob.member("ann").send("hello", handling_mode="steer")
        receipt = await mob.respawn("mia", "Begin again")
        assert receipt["receipt"]["agent_identity"] == "mia"
        ready = await mob.wait_for_ready(timeout_ms=20000)
        assert {row["agent_identity"] for row in ready} == {"ann", "mia"}
        kicked = await mob.wait_for_kickoff_complete(member_ids=["mia"], timeout_ms=20000)
        assert kicked[0]["kickoff"] is not None
        await mob.retire("mia")
        assert [row["agent_identity"] for row in await mob.members()] == ["ann"]

    play(scenario)


def test_a_members_live_channel_is_spoken_over(play):
    async def scenario(client):
        mob = await desk_of(client)
        opened = await mob.member_live_open("ann")
        channel = opened.channel_id
        assert opened.capabilities.audio_in
        status = await mob.member_live_status("ann")
        assert status.status == {"status": "ready"}
        seen = []
        async with connect(opened.transport["url"]) as socket:
            await client.live_send_input_audio(channel, base64.b64encode(speak("hello")).decode(), 24000, 1)
            await client.live_commit_input(channel)
            async for frame in socket:
                seen.append(json.loads(frame)["observation"])
                if {"turn_completed", "user_transcript_final"} <= set(seen):
                    break
            control = await mob.member_live_control("ann", channel, {"verb": "refresh"})
            assert control["status"] == "queued"
            await mob.member_live_close("ann", channel)
        assert "assistant_audio_chunk" in seen
        rows = (await mob.member_history("ann")).page.messages
        assert [row["role"] for row in rows][-2:] == ["user", "block_assistant"]
        assert rows[-2]["content"] == "hello"

    play(scenario)


def test_each_refusal_has_the_code_that_the_client_knows(play):
    async def scenario(client):
        mob = await desk_of(client)
        assert (await refused(client.create_mob(definition=DESK))).code == "INVALID_PARAMS"
        assert (await refused(client.create_mob(definition={"id": "x"}))).code == "INVALID_PARAMS"
        assert (await refused(client.mob("none").status())).code == "INVALID_PARAMS"
        assert (await refused(mob.spawn(profile="none", agent_identity="x"))).code == "profile_not_found"
        assert (await refused(mob.spawn(profile="host", agent_identity="ann"))).code == "member_already_exists"
        backend = mob.spawn(profile="host", agent_identity="x", backend="external")
        assert (await refused(backend)).code == "CAPABILITY_UNAVAILABLE"
        assert (await refused(mob.wire("ann", {"external": {"name": "x"}}))).code == "CAPABILITY_UNAVAILABLE"
        assert (await refused(mob.member("nobody").send("hello"))).code == "INVALID_PARAMS"
        assert (await refused(mob.member_live_open("mia"))).code == "INVALID_PARAMS"
        assert (await refused(mob.member_live_close("ann", "none"))).code == "INVALID_PARAMS"
        assert (await refused(mob.flows())).code == "method_not_found"
        await mob.member("ann").send("hello", idempotency_key="k")
        assert (await refused(mob.member("ann").send("other", idempotency_key="k"))).code == "DUPLICATE_INPUT"
        await mob.lifecycle("stop")
        assert (await refused(mob.member("ann").send("hello"))).code == "SESSION_NOT_RUNNING"
        await mob.lifecycle("destroy")
        assert (await refused(mob.members())).code == "INVALID_PARAMS"

    play(scenario)


def test_a_mob_of_a_named_realm_is_found_again_by_the_next_server(play):
    async def first(client):
        mob = await desk_of(client)
        await client.mob_turn_start("desk", "mia", "What does the soup cost?")
        await mob.retire("ann")

    async def second(client):
        mob = client.mob("desk")
        assert (await mob.status())["status"] == "Stopped"
        assert [row["agent_identity"] for row in await mob.members()] == ["mia"]
        await mob.lifecycle("resume")
        await mob.spawn(profile="host", agent_identity="ann")
        history = await mob.member_history("mia")
        assert history.page.messages[-1]["role"] == "block_assistant"
        assert (await client.mob_turn_start("desk", "mia", "And now?"))["text"] == "The soup costs 6 euros."

    play(first, realm_id="team-alpha", realm_backend="sqlite")
    play(second, realm_id="team-alpha", realm_backend="sqlite")
