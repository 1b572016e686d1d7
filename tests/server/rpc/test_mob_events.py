"""mob/events: pages of the log by cursor, and the roll as the fold of them."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from mob_peer import CREW, RpcFailed, open_crew, open_door, open_peer, spawn

from mob.server.rpc.mobs.events import mob_event

NAMES = ("ann", "bob", "cyd")
who = st.sampled_from(NAMES)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("spawn"), who),
        st.tuples(st.just("retire"), who),
        st.tuples(st.just("respawn"), who),
        st.tuples(st.just("send"), who),
        st.tuples(st.just("wire"), st.tuples(who, who)),
        st.tuples(st.just("unwire"), st.tuples(who, who)),
        st.tuples(st.just("stop"), st.none()),
    ),
    max_size=12,
)


async def act(peer, kind, value):
    """Do it; what is refused is refused."""
    try:
        match kind:
            case "spawn":
                await spawn(peer, value)
            case "retire" | "respawn":
                await peer(f"mob/{kind}", mob_id="crew", agent_identity=value)
            case "send":
                await peer("mob/member_send", mob_id="crew", agent_identity=value, content="Hello")
            case "wire" | "unwire":
                await peer(f"mob/{kind}", mob_id="crew", member=value[0], peer={"local": value[1]})
            case "stop":
                await peer("mob/lifecycle", mob_id="crew", action="stop")
                await peer("mob/lifecycle", mob_id="crew", action="resume")
    except RpcFailed:
        pass


def fold(events):
    """Who is in the mob, and who is wired to whom, by the events alone."""
    there, edges = {}, {}
    for event in events:
        kind = event["kind"]
        match kind["type"]:
            case "member_spawned":
                there[kind["agent_identity"]] = (kind["role"], kind["generation"])
            case "member_retired":
                del there[kind["agent_identity"]]
            case "members_wired":
                edges[kind["from"], kind["to"]] = True
            case "members_unwired":
                edges.pop((kind["from"], kind["to"]), None)
    return there, {frozenset(pair) for pair in edges if set(pair) <= set(there)}


async def pages(peer, sizes):
    """All events, in pages of these sizes and then of the last."""
    events, sizes = [], list(sizes)
    while True:
        limit = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        after = events[-1]["cursor"] if events else 0
        page = (await peer("mob/events", mob_id="crew", after_cursor=after, limit=limit))["events"]
        assert len(page) <= limit
        if not page:
            return events
        events += page


class Play:
    """One run of random acts; what the door then says."""

    def __init__(self, acts, sizes):
        self.acts, self.sizes = acts, sizes

    async def run(self):
        async with open_crew() as (realm, peer):
            for kind, value in self.acts:
                await act(peer, kind, value)
            self.events = await pages(peer, self.sizes)
            self.whole = (await peer("mob/events", mob_id="crew", limit=1000))["events"]
            self.members = (await peer("mob/members", mob_id="crew"))["members"]
            hosted = realm.mob("crew")
            self.rows = [row async for row in realm.store.read_run(hosted.run_id)]


@settings(max_examples=60, deadline=None)
@given(acts=acts, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_p38_pages_are_the_log_without_gap_or_repeat_and_the_roll_is_their_fold(acts, sizes):
    play = Play(acts, sizes)
    trio.run(play.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert play.events == play.whole
    cursors = [event["cursor"] for event in play.events]
    assert cursors == sorted(set(cursors))
    structural = {"run_stopped", "member_spawned", "member_ended", "wired"}
    told = [
        row.seq
        for row in play.rows
        if row.row.kind in structural or (row.row.kind == "run_started" and not row.row.resumed)
    ]
    assert cursors == told
    there, edges = fold(play.events)
    assert {row["agent_identity"]: (row["role"], row["generation"]) for row in play.members} == there
    assert {frozenset((row["agent_identity"], to)) for row in play.members for to in row["wired_to"]} == edges


def broken_event(stored, *args):
    """The mutant: every event is told under the place of the row behind its own."""
    event = mob_event(stored, *args)
    return event and {**event, "cursor": event["cursor"] + 1}


def test_p38_catches_cursors_that_are_off(monkeypatch):
    monkeypatch.setattr("mob.server.rpc.mobs.events.mob_event", broken_event)
    play = Play([("spawn", name) for name in NAMES], [1])
    trio.run(play.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert play.events != play.whole


async def test_a_strict_read_refuses_a_place_that_is_not_there(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann")
        assert (await peer("mob/events", mob_id="crew", after_cursor=99))["events"] == []
        assert (await peer("mob/events", mob_id="crew", after_cursor=2, strict=True))["events"] == []
        with pytest.raises(RpcFailed) as caught:
            await peer("mob/events", mob_id="crew", after_cursor=99, strict=True)
        assert (caught.value.number, caught.value.code) == (-32027, "STALE_CURSOR")
        assert caught.value.details == {"requested": 99, "watermark": 2}


async def test_the_events_of_a_life(autojump_clock):
    async with open_crew() as (_realm, peer):
        await spawn(peer, "ann", labels={"a": "b"})
        await spawn(peer, "bob", profile="scribe")
        await peer("mob/wire", mob_id="crew", member="bob", peer={"local": "ann"})
        await peer("mob/respawn", mob_id="crew", agent_identity="ann")
        await peer("mob/retire", mob_id="crew", agent_identity="bob")
        await peer("mob/lifecycle", mob_id="crew", action="complete")
        events = (await peer("mob/events", mob_id="crew", after_cursor=0, limit=100))["events"]
        kinds = [event["kind"] for event in events]
        assert [kind["type"] for kind in kinds] == [
            "mob_created",
            "member_spawned",
            "member_spawned",
            "members_wired",
            "members_wired",
            "member_reset",
            "member_spawned",
            "member_retired",
            "mob_completed",
        ]
        assert kinds[0]["definition"] == CREW
        assert kinds[1]["labels"] == {"a": "b"}
        assert (kinds[3]["a"], kinds[3]["b"]) == (kinds[4]["a"], kinds[4]["b"]) == ("ann", "bob")
        assert (kinds[5]["previous_generation"], kinds[5]["new_generation"]) == (0, 1)
        assert (kinds[6]["generation"], kinds[6]["fence_token"], kinds[6]["agent_runtime_id"]) == (1, 2, "ann:1")
        assert events[0]["timestamp"].endswith("Z")


async def test_a_reset_mob_has_a_new_log(autojump_clock):
    async with open_door() as (realm, methods), open_peer(realm, methods) as peer:
        await peer("mob/create", definition=CREW)
        await spawn(peer, "ann")
        await peer("mob/lifecycle", mob_id="crew", action="reset")
        events = (await peer("mob/events", mob_id="crew"))["events"]
        assert [event["kind"]["type"] for event in events] == ["mob_created"]


@pytest.mark.parametrize("bad", [-1, 1.5, True, "1", [1]])
async def test_a_cursor_that_is_none_is_refused(autojump_clock, bad):
    async with open_crew() as (_realm, peer):
        with pytest.raises(RpcFailed) as caught:
            await peer("mob/events", mob_id="crew", after_cursor=bad)
        assert caught.value.number == -32602
