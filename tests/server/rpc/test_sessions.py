"""Sessions and turns over JSON-RPC, in virtual time; every answer is read by the published client's own parsers."""

from __future__ import annotations

import base64
import uuid

import pytest
import trio
from hypothesis import given, settings, strategies as st
from meerkat import MeerkatClient
from rpc_peer import HOST, WEATHER, RpcFailed, check_events, check_history, join, open_server, payloads

from mob.history.items import AgentMessage, Cause, Note, Timings, ToolCall, ToolResult, Turn, UserMessage
from mob.server.limits import DoorLimits
from mob.server.rpc.shapes import count_rows, history_page
from mob.values import Image

WRITES = {"model": "gpt-4.1-mini", "system_prompt": HOST}
SPEAKS = {"model": "gpt-realtime-2", "system_prompt": HOST}
QUESTION = "When are you open?"
ANSWER = "We are open from noon to eleven."


@pytest.mark.parametrize("kind", [WRITES, SPEAKS], ids=["writes", "speaks"])
async def test_a_session_is_made_spoken_to_read_and_put_away(autojump_clock, kind):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        made = await peer("session/create", prompt=QUESTION, labels={"desk": "front"}, session_events=False, **kind)
        result = MeerkatClient._parse_run_result(made)
        assert (result.text, result.turns, result.tool_calls) == (ANSWER, 1, 0)
        assert str(uuid.UUID(result.session_id)) == result.session_id
        assert result.usage.input_tokens > 0
        assert peer.told == []  # its client wanted no events

        again = MeerkatClient._parse_run_result(
            await peer("turn/start", session_id=result.session_id, prompt="Is there parking?", session_events=False)
        )
        assert "free parking" in again.text
        assert again.usage.output_tokens > result.usage.output_tokens  # the session's, not the turn's

        page = await peer("session/history", session_id=result.session_id)
        rows = check_history(page)
        assert [row.role for row in rows] == ["system", "user", "block_assistant", "user", "block_assistant"]
        assert (rows[0].content, rows[1].content, rows[2].blocks[0].text) == (HOST, QUESTION, ANSWER)
        assert page["message_count"] == 5
        assert not page["has_more"]

        (listed,) = (await peer("session/list", labels={"desk": "front"}))["sessions"]
        summary = MeerkatClient._parse_session_summary(listed)
        assert (summary.session_id, summary.message_count, summary.is_active) == (result.session_id, 5, False)
        assert (await peer("session/list", labels={"desk": "back"}))["sessions"] == []
        details = MeerkatClient._parse_session_details(await peer("session/read", session_id=result.session_id))
        assert (details.model, details.provider) == (kind["model"], "openai")
        assert details.last_assistant_text == again.text
        assert details.resolved_capabilities["realtime"] == (kind is SPEAKS)

        await peer("session/archive", session_id=result.session_id)
        assert (await peer("session/list"))["sessions"] == []
        with pytest.raises(RpcFailed, match="no session") as refused:
            await peer("session/read", session_id=result.session_id)
        assert (refused.value.number, refused.value.code) == (-32001, "SESSION_NOT_FOUND")


async def test_a_turn_is_told_as_it_goes_and_answered_after(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        made = await peer("session/create", prompt=QUESTION, **WRITES)
        first = len(peer.told)
        check_events(peer.told)
        told = payloads(peer.told)
        assert [event["type"] for event in told if event["type"] != "text_delta"] == [
            "run_started",
            "turn_started",
            "text_complete",
            "turn_completed",
            "run_completed",
        ]
        assert "".join(event["delta"] for event in told if event["type"] == "text_delta") == ANSWER
        assert told[0]["input"] == {"kind": "content", "content": QUESTION}
        assert told[-1]["result"] == made["text"] == ANSWER

        await peer("turn/start", session_id=made["session_id"], prompt="Is there parking?", session_events=False)
        assert len(peer.told) == first
        params = [params for _, params in peer.told]
        assert [each["sequence"] for each in params] == list(range(1, first + 1))
        assert {each["session_id"] for each in params} == {made["session_id"]}


async def test_an_idle_session_keeps_what_it_will_begin_with(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        made = await peer(
            "session/create",
            prompt=QUESTION,
            injected_context=["It is raining."],
            initial_turn="deferred",
            comms_name="desk",
            **WRITES,
        )
        assert set(made) == {"session_id", "session_ref"}
        session_id = made["session_id"]
        assert (await peer("session/history", session_id=session_id))["message_count"] == 1
        applied = {"type": "text", "text": "It is Sunday."}
        assert await peer("session/inject_context", session_id=session_id, content=applied) == {"status": "applied"}
        with pytest.raises(RpcFailed, match="start a turn") as refused:
            await peer("live/open", session_id=session_id)
        assert refused.value.number == -32602

        result = await peer("turn/start", session_id=session_id, prompt="", session_events=False)
        assert result["text"] == ANSWER
        rows = check_history(await peer("session/history", session_id=session_id))
        assert [(row.content, row.transcript_role) for row in rows[1:-1]] == [
            ("It is raining.", "injected_context"),
            ("It is Sunday.", "injected_context"),
            (QUESTION, "conversational"),
        ]
        with pytest.raises(RpcFailed, match="nothing else is said"):
            await peer("turn/start", session_id=session_id, prompt="")


async def test_what_is_known_and_not_here_is_refused_by_name(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        for more in (
            {"output_schema": {"type": "object"}},
            {"enable_shell": True},
            {"budget_limits": {"max_seconds": 3}},
        ):
            with pytest.raises(RpcFailed) as refused:
                await peer("session/create", prompt="", **WRITES, **more)
            assert (refused.value.number, refused.value.code) == (-32020, "CAPABILITY_UNAVAILABLE")
            assert refused.value.details["field"] == next(iter(more))
        nothing = {"enable_shell": False, "keep_alive": True, "peer_meta": {"a": 1}, "structured_output_retries": 2}
        await peer("session/create", prompt="", **WRITES, **nothing)
        for wrong, field in [
            ({"model": "gpt-real"}, "model"),
            ({"model": "x", "provider": "nobody"}, "provider"),
            ({"model": 3}, "model"),
            ({"model": "gpt-4.1-mini", "prompt": 7}, "prompt"),
            ({"model": "gpt-4.1-mini", "prompt": [{"type": "image", "source": "inline"}]}, "prompt[0].media_type"),
            ({"model": "gpt-4.1-mini", "labels": {"a": 1}}, "labels.a"),
        ]:
            with pytest.raises(RpcFailed) as refused:
                await peer("session/create", **{"prompt": "", **wrong})
            assert (refused.value.number, refused.value.code) == (-32602, "INVALID_PARAMS")
            assert refused.value.details["field"] == field
        assert len((await peer("session/list"))["sessions"]) == 1  # what failed was never made


async def test_a_session_is_in_one_turn_at_a_time_and_a_turn_can_be_cut(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        peer.run_tool = lambda params: None  # its turn waits for it
        made = await peer("session/create", prompt="", external_tools=[WEATHER], **WRITES)
        session_id = made["session_id"]
        ended = []

        async def ask():
            try:
                ended.append(
                    await peer("turn/start", session_id=session_id, prompt="Is there rain, sun or wind today?")
                )
            except RpcFailed as error:
                ended.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await peer.notified(lambda told: any(each["type"] == "tool_execution_started" for each in payloads(told)))
            with pytest.raises(RpcFailed, match="in a turn") as refused:
                await peer("turn/start", session_id=session_id, prompt="And now?")
            assert (refused.value.number, refused.value.code) == (-32002, "SESSION_BUSY")
            assert (await peer("session/read", session_id=session_id))["is_active"]
            cut = await peer("turn/interrupt", session_id=session_id)
            assert (cut["interrupted"], cut["result"]) == (True, "interrupted")
        assert (ended[0].number, ended[0].code) == (-32005, "REQUEST_CANCELLED")
        check_events(peer.told)
        assert payloads(peer.told)[-1]["type"] in ("run_failed", "run_completed")
        assert payloads(peer.told)[0]["type"] == "run_started"
        idle = await peer("turn/interrupt", session_id=session_id)
        assert (idle["interrupted"], idle["result"]) == (False, "staged_noop")
        assert (await peer("session/history", session_id=session_id))["message_count"] >= 2


async def test_a_turn_may_change_the_model_and_what_it_is_told(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id = (await peer("session/create", prompt=QUESTION, **WRITES))["session_id"]
        answer = await peer(
            "turn/start",
            session_id=session_id,
            prompt="When are you open?",
            model="gpt-realtime-2",
            system_prompt="You are the host. We are open on Mondays.",
        )
        assert answer["text"] == "We are open on Mondays."
        assert (await peer("session/read", session_id=session_id))["model"] == "gpt-realtime-2"
        opened = await peer("live/open", session_id=session_id)
        with pytest.raises(RpcFailed, match="close it") as refused:
            await peer("turn/start", session_id=session_id, prompt="Hm?", model="gpt-4.1-mini")
        assert refused.value.details["fields"] == ["model"]
        await peer("live/close", channel_id=opened["channel_id"])
        assert (await peer("turn/start", session_id=session_id, prompt="And now?", model="gpt-4.1-mini"))["text"]


async def test_context_counts_once_for_each_key(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id = (await peer("session/create", prompt=QUESTION, **SPEAKS))["session_id"]
        said = {"session_id": session_id, "content": {"type": "text", "text": "It rains."}, "idempotency_key": "k"}
        assert await peer("session/inject_context", **said) == {"status": "applied"}
        assert await peer("session/inject_context", **said) == {"status": "duplicate"}
        with pytest.raises(RpcFailed) as refused:
            await peer("session/inject_context", **{**said, "content": {"type": "text", "text": "It snows."}})
        assert (refused.value.number, refused.value.code) == (-32004, "DUPLICATE_INPUT")
        rows = check_history(await peer("session/history", session_id=session_id))
        assert [row.content for row in rows if row.transcript_role == "injected_context"] == ["It rains."]


async def test_there_are_at_most_so_many_sessions(autojump_clock):
    limits = DoorLimits(max_sessions=1)
    async with open_server(limits=limits) as (realm, methods), join(realm, methods) as peer:
        await peer("session/create", prompt="", **WRITES)
        with pytest.raises(RpcFailed, match="all it takes"):
            await peer("session/create", prompt="", **WRITES)


# -- the shapes of histories -------------------------------------------------------------------------------------------

TEXT = st.text(max_size=8)
ITEMS = st.one_of(
    st.builds(UserMessage, st.just("u"), TEXT, author=st.sampled_from([None, "scribe"]), spoken=st.booleans()),
    st.builds(UserMessage, st.just("u"), TEXT, images=st.just((Image("image/png", b"x"),))),
    st.builds(
        AgentMessage,
        st.just("a"),
        display_text=TEXT,
        spoken_text=TEXT,
        interrupted=st.booleans(),
        generated_ms=st.sampled_from([None, 100]),
        heard_ms=st.just(50),
    ),
    st.builds(ToolCall, st.just("c"), st.just("call"), st.just("look"), st.sampled_from(["{}", "", "[1]", "{"])),
    st.builds(ToolResult, st.just("r"), st.just("call"), st.just("look"), st.sampled_from(["done", "failed"]), TEXT),
    st.builds(Note, st.just("n"), TEXT, kind=st.sampled_from(["note", "context"])),
)
TURNS = st.lists(
    st.builds(
        Turn,
        st.just("turn"),
        st.just(Cause("text")),
        st.lists(ITEMS, max_size=5).map(tuple),
        status=st.sampled_from(["done", "interrupted", "failed", "cancelled"]),
        timings=st.just(Timings(1.5)),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(turns=TURNS, instructions=st.sampled_from(["", "You are a host."]), limit=st.integers(1, 4))
def test_pages_of_a_history_come_to_the_whole_and_the_published_client_takes_them(turns, instructions, limit):
    whole, total = history_page(instructions, 1.0, turns, offset=0, limit=1000)
    assert len(whole) == total == count_rows(instructions, turns)
    pages = []
    for offset in range(0, total + limit, limit):
        rows, _ = history_page(instructions, 1.0, turns, offset=offset, limit=limit)
        assert len(rows) == min(limit, max(total - offset, 0))
        pages += rows
    assert pages == whole
    page = {"session_id": "s", "message_count": total, "offset": 0, "has_more": False, "messages": whole}
    assert len(check_history(page)) == total


async def test_the_servers_own_bound_of_pictures_is_obeyed_not_the_usual_one(autojump_clock):
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100)).decode()
    picture = {"type": "image", "source": "inline", "media_type": "image/png", "data": png}
    async with open_server(limits=DoorLimits(max_image_bytes=50)) as (realm, methods), join(realm, methods) as peer:
        for prompt in ([picture], [{"type": "text", "text": QUESTION}, picture]):
            with pytest.raises(RpcFailed, match="50"):
                await peer("session/create", prompt=prompt, **WRITES)
