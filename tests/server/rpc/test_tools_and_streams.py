"""Tools that clients run, and streams of what sessions do, in virtual time."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from mob_peer import CREW
from rpc_peer import HOST, WEATHER, RpcFailed, check_events, check_history, join, open_server, payloads

from mob.server.limits import DoorLimits

WRITES = {"model": "gpt-4.1-mini", "system_prompt": HOST}
SPEAKS = {"model": "gpt-realtime-2", "system_prompt": HOST}
ASKED = "Is there rain, sun or wind today?"


async def calls_of(peer, session_id):
    """The calls in this session's history with their results: (name, output, is_error)."""
    rows = check_history(await peer("session/history", session_id=session_id))
    used = [block.name for row in rows for block in row.blocks if block.block_type == "tool_use"]
    results = [(result.content, result.is_error) for row in rows for result in row.results]
    return [(name, *result) for name, result in zip(used, results, strict=True)]


@pytest.mark.parametrize("kind", [WRITES, SPEAKS], ids=["writes", "speaks"])
async def test_a_client_runs_its_own_tool_and_the_model_is_told(autojump_clock, kind):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        assert await peer("tools/register", tools=[WEATHER]) == {"registered": 1}
        peer.run_tool = lambda params: {"content": [{"type": "text", "text": "Rain."}, {"type": "image"}]}
        result = await peer("session/create", prompt=ASKED, **kind)
        (asked,) = peer.asked
        assert asked["method"] == "tool/execute"
        assert asked["params"]["name"] == "weather"
        assert isinstance(asked["params"]["arguments"], dict)
        assert result["tool_calls"] == 1
        told = "Rain.\n[image, which cannot be shown]"
        assert await calls_of(peer, result["session_id"]) == [("weather", told, False)]
        check_events(peer.told)
        kinds = [event["type"] for event in payloads(peer.told) if event["type"].startswith("tool")]
        assert kinds == [
            "tool_call_requested",
            "tool_execution_started",
            "tool_execution_completed",
            "tool_result_received",
        ]


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ({"content": "No umbrella.", "is_error": True}, "No umbrella."),
        (["no", "object"], "is no tool result"),
        ({"content": 7}, ""),
    ],
)
async def test_whatever_a_client_answers_the_call_ends(autojump_clock, answer, output):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        await peer("tools/register", tools=[WEATHER])
        peer.run_tool = lambda params: answer
        session_id = (await peer("session/create", prompt=ASKED, **WRITES))["session_id"]
        ((name, told, _),) = await calls_of(peer, session_id)
        assert name == "weather"
        assert output in told


async def test_a_client_that_does_not_answer_makes_no_turn_hang(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        await peer("tools/register", tools=[WEATHER])
        peer.run_tool = lambda params: None
        began = trio.current_time()
        session_id = (await peer("session/create", prompt=ASKED, **WRITES))["session_id"]
        ((_, told, failed),) = await calls_of(peer, session_id)
        assert "did not end within 120 s" in told
        assert failed
        assert 120 <= trio.current_time() - began < 150


async def test_law_24_tools_go_with_their_client_and_its_call_ends(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as other:
        async with join(realm, methods) as peer:
            await peer("tools/register", tools=[WEATHER])
            session_id = (await peer("session/create", prompt="", **WRITES))["session_id"]
            session = realm.session(session_id).member.session
            assert "weather" in session.tools
            called = trio.Event()
            peer.run_tool = lambda params: called.set()
            peer.nursery.start_soon(turn_quietly, peer, session_id)
            await called.wait()
        assert "weather" not in session.tools
        ((_, told, failed),) = await calls_of(other, session_id)
        assert "given up" in told
        assert failed
        assert (await other("turn/start", session_id=session_id, prompt="When are you open?"))["text"]


async def turn_quietly(peer, session_id):
    with suppress(RpcFailed):
        await peer("turn/start", session_id=session_id, prompt=ASKED)


async def test_tools_that_come_late_are_offered_to_sessions_that_are_there(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        await peer("tools/register", tools=[{"name": "menu", "description": "The menu"}])
        session_id = (await peer("session/create", prompt="", **SPEAKS))["session_id"]
        session = realm.session(session_id).member.session
        await peer("tools/register", tools=[WEATHER])
        await trio.testing.wait_all_tasks_blocked()
        assert {tool.name for tool in session.tools} == {"menu", "weather"}
        await peer("session/archive", session_id=session_id)

        limits = realm.limits
        many = [{"name": f"tool_{number}"} for number in range(limits.max_client_tools)]
        with pytest.raises(RpcFailed, match="at most"):
            await peer("tools/register", tools=many)
        with pytest.raises(RpcFailed, match="cannot be lent"):
            await peer("session/create", prompt="", external_tools=[{"name": "no name"}], **WRITES)
        assert (await peer("session/list"))["sessions"] == []


async def test_a_stream_tells_what_happens_until_the_session_is_put_away(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer, join(realm, methods) as other:
        session_id = (await other("session/create", prompt="Hello", initial_turn="deferred", **WRITES))["session_id"]
        opened = await peer("session/stream_open", session_id=session_id)
        await other("turn/start", session_id=session_id, prompt="When are you open?", session_events=False)
        await peer.notified(lambda told: "run_completed" in kinds_of(told))
        check_events(peer.told)
        params = [params for _, params in peer.told]
        assert {each["stream_id"] for each in params} == {opened["stream_id"]}
        assert [each["sequence"] for each in params] == list(range(1, len(params) + 1))
        assert kinds_of(peer.told)[0] == "run_started"
        assert other.told == []

        # It outlives a stop of the session, and tells of the next run.
        peer.told.clear()
        await realm.session(session_id).hosted.stop()
        await other("turn/start", session_id=session_id, prompt="Is there parking?", session_events=False)
        await peer.notified(lambda told: "run_completed" in kinds_of(told))

        await other("session/archive", session_id=session_id)
        await peer.notified(lambda told: told[-1][0] == "session/stream_end")
        end = peer.told[-1][1]
        assert (end["ended"], end["outcome"], end["stream_id"]) == (True, "remote_end", opened["stream_id"])
        assert await peer("session/stream_close", stream_id=opened["stream_id"]) == {
            "closed": True,
            "already_closed": True,
            "stream_id": opened["stream_id"],
        }


def kinds_of(told):
    return [event["type"] for event in payloads(told, "session/stream_event")]


async def test_nothing_is_told_of_a_stream_that_was_closed(autojump_clock):
    async with open_server(limits=DoorLimits(max_streams=1)) as (realm, methods), join(realm, methods) as peer:
        session_id = (await peer("session/create", prompt="", **WRITES))["session_id"]
        opened = await peer("session/stream_open", session_id=session_id)
        with pytest.raises(RpcFailed, match="at most 1 streams"):
            await peer("session/stream_open", session_id=session_id)
        closed = await peer("session/stream_close", stream_id=opened["stream_id"])
        assert (closed["closed"], closed["already_closed"]) == (True, False)
        await peer("turn/start", session_id=session_id, prompt="Hello", session_events=False)
        assert peer.told == []
        await peer("session/stream_open", session_id=session_id)


async def test_a_client_has_so_many_streams_of_all_kinds_together(autojump_clock):
    limits = DoorLimits(max_streams=2)
    async with open_server(limits=limits) as (realm, methods), join(realm, methods) as peer:
        session_id = (await peer("session/create", **WRITES, prompt="Hello"))["session_id"]
        await peer("mob/create", definition=CREW)
        await peer("session/stream_open", session_id=session_id)
        feed = (await peer("team/events_open", mob="crew", state=True))["stream"]
        for method, more in [
            ("session/stream_open", {"session_id": session_id}),
            ("mob/stream_open", {"mob_id": "crew"}),
            ("team/events_open", {"mob": "crew"}),
        ]:
            with pytest.raises(RpcFailed, match="at most 2 streams"):
                await peer(method, **more)
        assert await peer("team/events_close", stream=feed) == {"closed": True}
        assert await peer("team/events_close", stream=feed) == {"closed": False}
        await peer("mob/stream_open", mob_id="crew")


async def test_law_24_a_members_channel_ends_with_the_client_that_opened_it(autojump_clock):
    async with open_server() as (realm, methods):
        async with join(realm, methods) as peer, join(realm, methods) as other:
            await peer("mob/create", definition={"id": "talk", "profiles": {"host": {"model": "gpt-realtime-2"}}})
            await peer("mob/spawn", mob_id="talk", profile="host", agent_identity="ann")
            opened = await peer("team/live_open", mob="talk", member="ann")
            with pytest.raises(RpcFailed, match="did not open"):
                await other("team/live_close", channel=opened["channel"])
        held = realm.channels.get(opened["channel"])
        assert (held.status, held.reason) == ("closed", "client_disconnected")
