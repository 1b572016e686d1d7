"""What clients of the JSON-RPC door can make the server keep: under a key, of what they ask, of what they are told."""

from __future__ import annotations

import base64
import gc
import json
import sys
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings, strategies as st
from mob_peer import CREW, open_crew, spawn
from rpc_peer import check_events, join, open_server

from mob.server.limits import DoorLimits
from mob.server.rpc.client import RpcClient
from mob.server.rpc.content import Content
from mob.server.rpc.dispatch import Methods
from mob.server.rpc.mobs.door import FACTS
from mob.server.rpc.mobs.facts import MobFacts
from mob.server.rpc.sessions.methods import INJECTED
from mob.values import Image

PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = st.builds(Image, st.sampled_from(["image/png", "image/jpeg"]), st.binary(max_size=3))
CONTENTS = st.builds(Content, st.text(max_size=3), st.lists(PICTURES, max_size=2).map(tuple))


def size_of(whole):
    """The bytes of data that can be reached from an object: text, bytes and what holds them, not classes or code."""
    found, line = {}, [whole]
    while line:
        each = line.pop()
        if id(each) in found or isinstance(each, type) or callable(each):
            continue
        found[id(each)] = sys.getsizeof(each)
        line += gc.get_referents(each)
    return sum(found.values())


@given(one=CONTENTS, other=CONTENTS)
def test_two_messages_have_the_same_digest_exactly_when_they_are_the_same(one, other):
    assert (one.digest() == other.digest()) == (one == other)


async def test_a_key_keeps_no_message(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        to = {"mob_id": "crew", "agent_identity": "ann"}
        picture = base64.b64encode(PNG + bytes(100_000)).decode()
        said = [
            {"type": "text", "text": "x" * 100_000},
            {"type": "image", "source": "inline", "media_type": "image/png", "data": picture},
        ]
        await peer("mob/member_send", content=said, idempotency_key="k", **to)
        await peer("mob/append_system_context", text="y" * 100_000, idempotency_key="k", **to)
        rooms = realm.mob("crew").rooms
        deliveries = rooms.enter(FACTS, MobFacts).member("ann").deliveries
        injected = rooms.enter(INJECTED, dict, of="ann").keys
        assert (len(deliveries), len(injected)) == (1, 1)
        assert size_of(deliveries) < 8192
        assert size_of(injected) < 8192


async def test_a_key_tells_a_long_text_from_another(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        made = await peer("session/create", prompt="", model="gpt-4.1-mini")
        for text, status in (("z" * 100_000, "applied"), ("z" * 100_000, "duplicate")):
            content = {"type": "text", "text": text}
            told = {"session_id": made["session_id"], "content": content, "idempotency_key": "k"}
            assert await peer("session/inject_context", **told) == {"status": status}


# -- what a client asks, and what it is answered -----------------------------------------------------------------------


async def test_requests_are_served_up_to_so_many_bytes_in_their_order(autojump_clock):
    limits = DoorLimits(max_request_bytes_under_way=1000)
    begun, sizes, most, alone = [], [], 0, 0

    async def slow(client, params):
        nonlocal most, alone
        begun.append(params.whole("number"))
        sizes.append(params.whole("size"))
        most, alone = max(most, sum(sizes)), max(alone, len(sizes))
        await trio.sleep(1)
        sizes.remove(params.whole("size"))
        return {}

    methods = Methods()
    methods.add({"slow": slow})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:
        numbered = [(number, 300 if number < 20 else 1 if number < 60 else 3000) for number in range(65)]
        async with trio.open_nursery() as nursery:
            for number, size in numbered:
                nursery.start_soon(partial(peer, "slow", number=number, size=size, text="x" * size))
                await trio.testing.wait_all_tasks_blocked()
        assert peer.client.statistics().under_way == 0
    assert begun == [number for number, _ in numbered]  # small ones do not pass large ones
    assert most < 1000 + 3000
    assert alone > 3  # when large ones have ended, many small ones begin at once


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(st.tuples(st.integers(0, 900), st.sampled_from([0, 0.5, 3])), min_size=1, max_size=20),
    most=st.sampled_from([1, 500, 5000]),
)
async def test_whatever_the_bytes_every_request_is_served_within_its_bounds(autojump_clock, asked, most):
    limits = DoorLimits(max_request_bytes_under_way=most, max_requests_under_way=4)
    under_way, excess, answered = [], -1, 0

    async def serve(client, params):
        nonlocal excess
        size = len(params.maybe_text("text") or "")
        excess = max(excess, sum(under_way) - most)
        under_way.append(size)
        await trio.sleep(params.values["for"])
        under_way.remove(size)
        return {}

    methods = Methods()
    methods.add({"serve": serve})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:

        async def ask(size, seconds):
            nonlocal answered
            await peer("serve", **{"text": "x" * size, "for": seconds})
            answered += 1

        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                for size, seconds in asked:
                    nursery.start_soon(ask, size, seconds)
    assert answered == len(asked)
    assert excess < 0  # none was begun when as much as may be was under way


async def test_a_client_answers_while_all_its_bytes_are_under_way(autojump_clock):
    limits = DoorLimits(max_request_bytes_under_way=1)
    asked = 0

    async def ask_back(client, params):
        return await client.call("tool/execute", {"name": "it"}, timeout_s=5)

    methods = Methods()
    methods.add({"ask_back": ask_back})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:

        async def ask():
            nonlocal asked
            await peer("ask_back", text="x" * 1000)
            asked += 1

        with trio.fail_after(4):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask)
    assert asked == 20


class Deaf:
    """A link whose client asks and never reads."""

    def __init__(self):
        self._number = 0

    async def receive(self):
        await trio.lowlevel.checkpoint()
        self._number += 1
        return json.dumps({"jsonrpc": "2.0", "id": self._number, "method": "much"}).encode()

    async def send(self, message):
        await trio.sleep_forever()


async def test_answers_that_nobody_reads_are_bounded_in_bytes(autojump_clock):
    limits = DoorLimits(max_answer_bytes_waiting=30_000)

    async def much(client, params):
        await trio.lowlevel.checkpoint()
        return "x" * 10_000

    methods = Methods()
    methods.add({"much": much})
    client = RpcClient(Deaf(), methods.call, limits)
    with trio.move_on_after(100):
        await client.run()
    assert 30_000 <= sum(len(message) for message, _ in client._outbox) < 30_000 + 11_000


# -- what a client is told ---------------------------------------------------------------------------------------------

LONG = "Well, " * 1000
TALKER = {**CREW, "rehearsal": {"host": [{"when": "", "say": LONG}]}}


def outlined(told, method, of):
    """What was told by this method: 1 for each thing that was lost in its place, else its kind."""
    outline = []
    for name, params in told:
        if name == method:
            payload = of(params)
            if payload["type"] == "stream_truncated":
                assert payload["reason"]["kind"] == "stream_lagged"
                outline.append(payload["reason"]["dropped"])
            elif payload["type"] != "text_delta":
                outline.append(payload["type"])
    return outline


async def test_what_is_too_large_to_be_told_is_counted_in_its_place(autojump_clock):
    async with open_crew(DoorLimits(max_notification_bytes=2000), TALKER) as (realm, peer):
        await spawn(peer, "ann")
        session_id = realm.mob("crew").session_id("ann")
        await peer("session/stream_open", session_id=session_id)
        await peer("mob/stream_open", mob_id="crew")
        await peer("mob/stream_open", mob_id="crew", agent_identity="ann")
        answer = await peer("turn/start", session_id=session_id, prompt="Hello")
        assert answer["text"].strip() == LONG.strip()
        await trio.testing.wait_all_tasks_blocked()

        whole = ["run_started", "turn_started", 1, "turn_completed", 1]
        assert outlined(peer.told, "session/event", lambda params: params["event"]["payload"]) == whole
        assert outlined(peer.told, "session/stream_event", lambda params: params["event"]["payload"]) == whole
        of_mob = [
            each for name, each in peer.told if name == "mob/stream_event" and each["event"].get("role") == "host"
        ]
        of_ann = [each for name, each in peer.told if name == "mob/stream_event" and "role" not in each["event"]]
        for told, of in (
            (of_mob, lambda params: params["event"]["envelope"]["payload"]),
            (of_ann, lambda params: params["event"]["payload"]),
        ):
            assert outlined([("told", params) for params in told], "told", of) == whole
            assert [params["sequence"] for params in told] == list(range(1, len(told) + 1))
        for method in ("session/event", "session/stream_event"):
            numbers = [params["sequence"] for name, params in peer.told if name == method]
            assert numbers == list(range(1, len(numbers) + 1))
        check_events(peer.told)


@pytest.mark.parametrize("state", [True, False])
async def test_a_feed_counts_what_it_cannot_tell_in_its_place(autojump_clock, state):
    async with open_crew(DoorLimits(max_notification_bytes=4000), TALKER) as (realm, peer):
        await spawn(peer, "ann")
        before = realm.mob("crew").mob.statistics().events.published
        await peer("team/events_open", mob="crew", state=state)
        await peer("team/ask", mob="crew", member="ann", text="Hello")
        await trio.testing.wait_all_tasks_blocked()
        events = [params["event"] for name, params in peer.told if name == "team/event" and "event" in params]
        assert [event["seq"] for event in events] == list(range(before + 1, before + 1 + len(events)))
        assert [event["type"] for event in events if event["type"] != "agent_text_delta"] == [
            "turn_started",
            "member_changed",
            "lagged",  # what was written
            "lagged",  # the turn's end, with the turn
            "member_changed",
        ]
        assert all(event["missed"] == 1 for event in events if event["type"] == "lagged")
        turns = [turn for name, params in peer.told if name == "team/event" for turn in params.get("turns", ())]
        assert turns == ([["ann", 0, None]] if state else [])
