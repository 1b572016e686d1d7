"""mob/*: how members do, their turns, streams and live channels; in virtual time, over memory streams."""

from __future__ import annotations

import pytest
import trio
from meerkat.client import MeerkatClient
from meerkat.events import UnknownEvent
from mob_peer import CREW, RpcFailed, open_crew, open_door, open_peer, spawn

TALKER = {**CREW, "profiles": {**CREW["profiles"], "talker": {"model": "gpt-realtime-2", "voice": "marin"}}}


async def refused(client, method, **params):
    with pytest.raises(RpcFailed) as caught:
        await client(method, mob_id="crew", **params)
    return caught.value


def about(identity, **more):
    return {"mob_id": "crew", "agent_identity": identity, **more}


async def test_a_members_status_says_how_it_does(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann", initial_message="Hello", labels={"a": "b"})
        await spawn(peer, "bob", profile="scribe")
        await peer("mob/wire", mob_id="crew", member="ann", peer={"local": "bob"})
        done = await peer("mob/wait_kickoff", mob_id="crew", member_ids=["ann"])
        assert done["members"][0]["kickoff"]["phase"] == "started"
        status = await peer("mob/member_status", **about("ann"))
        assert (status["status"], status["is_final"], status["output_preview"]) == ("active", False, "Welcome!")
        assert status["tokens_used"] > 0
        assert status["current_session_id"] == realm.mob("crew").session_id("ann")
        assert status["peer_connectivity"]["snapshot"]["reachable_peer_count"] == 1
        assert (status["progress"]["run_state"], status["progress"]["health"]) == ("idle", "healthy")
        assert status["resolved_capabilities"]["realtime"] is False
        await peer("mob/member_send", **about("ann"), content="be slow")
        await trio.sleep(1)
        progress = (await peer("mob/member_status", **about("ann")))["progress"]
        assert (progress["run_state"], progress["in_flight_work"]) == ("run_open", 1)


async def test_the_status_of_who_is_gone_or_stopped_is_still_read(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        await spawn(peer, "bob")
        await peer("mob/turn_start", **about("ann"), prompt="Hello")
        await peer("mob/retire", **about("ann"))
        status = await peer("mob/member_status", **about("ann"))
        assert (status["status"], status["is_final"], status["output_preview"]) == ("completed", True, "Welcome!")
        await peer("mob/lifecycle", mob_id="crew", action="stop")
        status = await peer("mob/member_status", **about("bob"))
        assert (status["status"], status["progress"]["health"]) == ("active", "unknown")
        assert status["peer_connectivity"] == {"status": "not_applicable"}
        assert (await refused(peer, "mob/member_status", agent_identity="cyd")).number == -32602


async def test_waiting_for_a_kickoff_is_bounded_and_a_failed_one_is_said(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann", initial_message="be slow")
        error = await refused(peer, "mob/wait_kickoff", timeout_ms=1000)
        assert (error.code, "ann" in error.message) == ("kickoff_wait_timed_out", True)
        row = (await peer("mob/member_status", **about("ann")))["kickoff"]
        assert row["phase"] == "starting"
        await peer("mob/respawn", **about("ann"))
        (row,) = (await peer("mob/wait_kickoff", mob_id="crew"))["members"]
        assert row["kickoff"]["phase"] in ("cancelled", "failed", "started")
        assert (await peer("mob/wait_ready", mob_id="crew", timeout_ms=1000))["members"][0]["status"] == "active"
        assert (await refused(peer, "mob/wait_ready", member_ids=["nobody"])).number == -32602


async def test_a_turn_is_answered_when_it_is_over_and_can_be_cut(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        result = await peer("mob/turn_start", **about("ann"), prompt="Hello", session_events=False)
        assert (result["text"], result["session_id"]) == ("Welcome!", realm.mob("crew").session_id("ann"))
        assert peer.told == []
        async with trio.open_nursery() as nursery:

            async def cut():
                await trio.sleep(1)
                assert (await peer("mob/force_cancel", **about("ann")))["cancelled"]

            nursery.start_soon(cut)
            error = await refused(peer, "mob/turn_start", agent_identity="ann", prompt="be slow")
            assert error.code == "REQUEST_CANCELLED"
        assert not (await peer("mob/force_cancel", **about("ann")))["cancelled"]


async def test_a_stream_of_the_mob_says_whose_each_event_is(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        opened = await peer("mob/stream_open", mob_id="crew")
        await peer("mob/turn_start", **about("ann"), prompt="Hello", session_events=False)
        await spawn(peer, "bob", profile="scribe")
        await peer("mob/respawn", **about("ann"))
        await peer("mob/turn_start", **about("bob"), prompt="Note this", session_events=False)
        await peer("mob/turn_start", **about("ann"), prompt="Hello", session_events=False)
        await peer.notified(lambda told: sum(_type(p) == "run_completed" for _, p in told) == 3)
        told = [params for method, params in peer.told if method == "mob/stream_event"]
        assert [params["sequence"] for params in told] == list(range(1, len(told) + 1))
        assert {params["stream_id"] for params in told} == {opened["stream_id"]}
        events = [MeerkatClient._parse_attributed_mob_event(params["event"]) for params in told]
        assert not any(isinstance(event.envelope.payload, UnknownEvent) for event in events)
        runs = [(p["event"]["source"], p["event"]["role"]) for p in told if _type(p) == "run_completed"]
        assert runs == [
            ({"identity": "ann", "generation": 0}, "host"),
            ({"identity": "bob", "generation": 0}, "scribe"),
            ({"identity": "ann", "generation": 1}, "host"),
        ]


async def test_a_stream_of_one_member_has_bare_envelopes_and_ends_with_the_mob(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        await spawn(peer, "bob")
        stream = (await peer("mob/stream_open", **about("ann")))["stream_id"]
        await peer("mob/turn_start", **about("bob"), prompt="Hello", session_events=False)
        await peer("mob/turn_start", **about("ann"), prompt="Hello", session_events=False)
        await peer("mob/lifecycle", mob_id="crew", action="stop")
        await peer("mob/lifecycle", mob_id="crew", action="resume")
        await peer("mob/turn_start", **about("ann"), prompt="Hello", session_events=False)
        await peer("mob/destroy", mob_id="crew")
        await peer.notified(lambda told: told and told[-1][0] == "mob/stream_end")
        payloads = [p["event"]["payload"] for method, p in peer.told if method == "mob/stream_event"]
        assert [payload["type"] for payload in payloads].count("run_completed") == 2
        assert peer.told[-1][1] == {"stream_id": stream, "mob_id": "crew", "ended": True, "outcome": "remote_end"}
        closed = await peer("mob/stream_close", stream_id=stream)
        assert (closed["closed"], closed["already_closed"]) == (True, True)


async def test_a_closed_stream_tells_nothing_more(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        stream = (await peer("mob/stream_open", mob_id="crew"))["stream_id"]
        assert not (await peer("mob/stream_close", stream_id=stream))["already_closed"]
        await peer("mob/turn_start", **about("ann"), prompt="Hello", session_events=False)
        assert peer.told == []
        assert (await refused(peer, "mob/stream_open", agent_identity="nobody")).number == -32602


async def test_a_members_live_channel_is_opened_used_and_closed(autojump_clock):
    async with open_crew(definition=TALKER) as (realm, peer):
        await spawn(peer, "ann", profile="talker")
        await spawn(peer, "bob", profile="talker")
        opened = await peer("mob/member_live_open", **about("ann"))
        MeerkatClient._parse_live_open_result(opened, "mob/member_live_open")
        channel = {"channel_id": opened["channel_id"]}
        assert (await peer("mob/member_live_status", **about("ann")))["status"] == {"status": "ready"}
        assert (await peer("mob/member_live_status", **about("ann"), **channel))["status"] == {"status": "ready"}
        assert (await refused(peer, "mob/member_live_open", agent_identity="ann")).number == -32602
        for method in ("mob/member_live_status", "mob/member_live_close"):
            assert (await refused(peer, method, agent_identity="bob", **channel)).number == -32602
        await peer("live/send_input", **channel, chunk={"kind": "text", "text": "Hello"})
        await realm.mob("crew").mob.wait_quiet()
        for verb, status in (("interrupt", "interrupted"), ("refresh", "queued")):
            done = await peer("mob/member_live_control", **about("ann"), **channel, verb={"verb": verb})
            assert done == {"verb": verb, "status": status}
        wrong = await refused(peer, "mob/member_live_control", agent_identity="ann", **channel, verb={"verb": "sing"})
        assert wrong.number == -32602
        for _ in range(2):
            assert await peer("mob/member_live_close", **about("ann"), **channel) == {"status": "closed"}
        assert (await refused(peer, "mob/member_live_status", agent_identity="ann")).number == -32602
        assert (await peer("mob/member_live_open", **about("ann")))["channel_id"] != opened["channel_id"]


async def test_a_member_that_is_not_realtime_has_no_live_channel(autojump_clock):
    async with open_crew(definition=TALKER) as (_realm, peer):
        await spawn(peer, "ann")
        assert "gpt-5.6-terra" in (await refused(peer, "mob/member_live_open", agent_identity="ann")).message
        error = await refused(peer, "mob/member_live_open", agent_identity="ann", execution_identity={"model": "x"})
        assert error.code == "CAPABILITY_UNAVAILABLE"


async def test_p39_destroying_closes_live_channels_and_tools_of_clients_are_lent_to_newcomers(autojump_clock):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        tool = {"name": "weather", "description": "The weather of today.", "input_schema": {"type": "object"}}
        await peer("tools/register", tools=[tool])
        await peer("mob/create", definition=TALKER)
        await spawn(peer, "ann", profile="talker")
        assert "weather" in {tool.name for tool in realm.mob("crew").member("ann").session.tools}
        channel = (await peer("mob/member_live_open", **about("ann")))["channel_id"]
        await peer("mob/destroy", mob_id="crew")
        assert (await peer("live/status", channel_id=channel))["status"]["status"] == "closed"


def _type(params):
    event = params.get("event") or {}
    return event.get("envelope", event).get("payload", {}).get("type")
