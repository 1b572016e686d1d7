"""Whatever the parameters of mob/*, there is a typed answer, and the mob goes on (law 26); nothing is left (law 24)."""

from __future__ import annotations

import json

import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from mob_peer import CREW, RpcFailed, open_door, open_peer, spawn

ANN = {"mob_id": "crew", "agent_identity": "ann"}
GOOD = {
    "mob/create": {"definition": CREW},
    "mob/list": {},
    "mob/status": {"mob_id": "crew"},
    "mob/snapshot": {"mob_id": "crew"},
    "mob/lifecycle": {"mob_id": "crew", "action": "resume"},
    "mob/destroy": {"mob_id": "other"},
    "mob/members": {"mob_id": "crew"},
    "mob/list_members_matching": {"mob_id": "crew", "filter": {"labels": {"a": "b"}, "role": "host"}},
    "mob/spawn": {**ANN, "profile": "host", "labels": {"a": "b"}, "initial_message": "Hello", "model_override": None},
    "mob/spawn_many": {"mob_id": "crew", "specs": [{"profile": "host", "agent_identity": "bob"}]},
    "mob/ensure_member": {"mob_id": "crew", "spec": {"profile": "host", "agent_identity": "ann"}},
    "mob/retire": {"mob_id": "crew", "agent_identity": "bob", "generation": 0},
    "mob/respawn": {**ANN, "initial_message": None, "fence_token": 1},
    "mob/member_status": ANN,
    "mob/wait_ready": {"mob_id": "crew", "member_ids": ["ann"], "timeout_ms": 100},
    "mob/wait_kickoff": {"mob_id": "crew", "member_ids": ["ann"], "timeout_ms": 100},
    "mob/member_send": {**ANN, "content": "Hello", "handling_mode": "steer", "idempotency_key": "k"},
    "mob/member_history": {**ANN, "from_index": 0, "limit": 2},
    "mob/turn_start": {**ANN, "prompt": [{"type": "text", "text": "Hello"}], "session_events": False},
    "mob/append_system_context": {**ANN, "text": "It rains.", "source": None, "idempotency_key": None},
    "mob/force_cancel": ANN,
    "mob/wire": {"mob_id": "crew", "member": "ann", "peer": {"local": "bob"}},
    "mob/unwire": {"mob_id": "crew", "member": "ann", "peer": {"local": "bob"}},
    "mob/wire_members_batch": {"mob_id": "crew", "edges": [{"a": "ann", "b": "bob"}]},
    "mob/events": {"mob_id": "crew", "after_cursor": 0, "limit": 3, "strict": True},
    "mob/stream_open": {"mob_id": "crew", "agent_identity": "ann"},
    "mob/stream_close": {"stream_id": "stream-1"},
    "mob/member_live_open": {**ANN, "turning_mode": "explicit_commit", "transport": "websocket"},
    "mob/member_live_status": ANN,
    "mob/member_live_control": {**ANN, "channel_id": "c", "verb": {"verb": "interrupt"}},
    "mob/member_live_close": {**ANN, "channel_id": "c"},
}

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def calls(draw):
    """A call that is nearly right: one thing in it is replaced, added or left out."""
    method = draw(st.sampled_from(sorted(GOOD)))
    params = json.loads(json.dumps(GOOD[method]))
    at = params
    while isinstance(at, dict) and at and draw(st.booleans()):
        below = [value for value in at.values() if isinstance(value, dict) and value]
        if not below:
            break
        at = draw(st.sampled_from(below))
    match draw(st.sampled_from(["as it is", "replaced", "added", "left out"])):
        case "replaced" if at:
            at[draw(st.sampled_from(sorted(at)))] = draw(junk)
        case "added":
            at[draw(st.text(max_size=12))] = draw(junk)
        case "left out" if at:
            del at[draw(st.sampled_from(sorted(at)))]
    return method, params


async def answered(peer, method, params):
    """The number and the name of the refusal; 0 and "object" when it is answered by one."""
    try:
        return 0, "object" if isinstance(await peer(method, **params), dict) else None
    except RpcFailed as error:
        return error.number, error.code


async def play(drawn):
    async with open_door() as (realm, methods):
        assert {name for name in methods.names if name.startswith("mob/")} == set(GOOD)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_peer(realm, methods) as peer:
            await peer("mob/create", definition=CREW)
            for name in ("ann", "bob"):
                await spawn(peer, name)
            for method, params in drawn:
                number, code = await answered(peer, method, params)
                assert number != -32603, (method, params)
                assert code
            await peer("mob/lifecycle", mob_id="crew", action="stop")
            await peer("mob/lifecycle", mob_id="crew", action="resume")
            await peer("mob/ensure_member", mob_id="crew", spec={"profile": "host", "agent_identity": "eve"})
            answer = await peer("mob/turn_start", mob_id="crew", agent_identity="eve", prompt="Hello")
            assert answer["text"] == "Welcome!"
            for row in (await peer("mob/list"))["mobs"]:
                await peer("mob/destroy", mob_id=row["mob_id"])
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def hang_up(asked, after):
    """Ask all of this at once and hang up after a while; then another client finds everything in order."""
    async with open_door() as (realm, methods):
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_peer(realm, methods) as peer:
            await peer("mob/create", definition=CREW)
            await spawn(peer, "ann")
            async with trio.open_nursery() as nursery:
                for method in asked:
                    nursery.start_soon(answered, peer, method, GOOD[method])
                await trio.sleep(after)
                nursery.cancel_scope.cancel()
        async with open_peer(realm, methods) as peer:
            await peer("mob/lifecycle", mob_id="crew", action="resume")
            await peer("mob/ensure_member", mob_id="crew", spec={"profile": "host", "agent_identity": "eve"})
            assert (await peer("mob/turn_start", mob_id="crew", agent_identity="eve", prompt="Hi"))[
                "text"
            ] == "Welcome!"
            told = {row["agent_identity"] for row in (await peer("mob/members", mob_id="crew"))["members"]}
            assert told == {name for name, each in realm.mob("crew").mob.members.items() if each.state != "retired"}
            await peer("mob/destroy", mob_id="crew")
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=6), st.sampled_from([0, 0.01, 0.2, 1, 3]))
def test_law_24_a_client_that_goes_at_any_moment_leaves_the_mob_whole(asked, after):
    trio.run(hang_up, asked, after, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=150, deadline=None)
@given(st.lists(calls(), max_size=6))
def test_law_26_and_24_whatever_is_asked_is_answered_and_the_mob_goes_on(drawn):
    trio.run(play, drawn, clock=trio.testing.MockClock(autojump_threshold=0))
