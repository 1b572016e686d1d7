"""The copy of a mob that a client has, under everything that can happen; and servers that say anything at all."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from served import HTTP, LINES, crew, serving

import mob
from mob.definition.model import Limits
from mob.errors import MobError
from mob.live.memory import MemoryNetwork
from mob.remote.replica import Replica
from mob.server.rpc.team.feed import Feed

NAMES = ("ann", "bob", "cyd")
who = st.sampled_from(NAMES)
where = st.sampled_from(["here", "there"])  # by the remote client, or by somebody else at the server
acts = st.lists(
    st.tuples(
        where,
        st.one_of(
            st.tuples(st.just("ask"), who),
            st.tuples(st.just("tell"), who),
            st.tuples(st.just("slow"), who),
            st.tuples(st.just("hand_off"), who),
            st.tuples(st.just("retire"), who),
            st.tuples(st.just("respawn"), who),
            st.tuples(st.just("spawn"), st.sampled_from(["dan", "eve"])),
            st.tuples(st.just("inject"), who),
            st.tuples(st.just("interrupt"), who),
            st.tuples(st.just("crash"), who),
            st.tuples(st.just("wait"), st.sampled_from([0.0, 0.2, 6.0])),
            st.tuples(st.just("give_up"), who),
        ),
    ),
    max_size=10,
)


async def act(team, kind, value):
    with suppress(MobError):
        match kind:
            case "ask":
                await team.member(value).ask(f"question to {value}")
            case "tell":
                team.member(value).tell(f"news for {value}")
            case "slow":
                team.member(value).tell("slow, please")
            case "hand_off":
                await team.hand_off(value)
            case "retire":
                await team.retire(value)
            case "respawn":
                await team.respawn(value)
            case "spawn":
                await team.spawn(value, profile="ann")
            case "inject":
                await team.member(value).inject("It rains.")
            case "interrupt":
                await team.member(value).interrupt()
            case "wait":
                await trio.sleep(value)
            case "give_up":
                with trio.move_on_after(0.1):
                    await team.member(value).ask("slow, please")


async def fault():
    await trio.lowlevel.checkpoint()
    raise RuntimeError("a bug")


def same(team, there):
    """What the client knows without asking is what the mob is."""
    assert (team.state, team.floor, team.usage) == (there.state, there.floor, there.usage)
    assert team.routes == there.routes
    assert list(team.members) == list(there.members)
    for identity, member in team.members.items():
        handle = there.member(identity)
        assert (member.generation, member.state) == (handle.generation, handle.state)
        assert (member.usage, member.model, member.profile_name) == (handle.usage, handle.model, handle.profile_name)
        assert member.history() == handle.history()


async def play(script, url):
    limits = Limits(max_restarts=2, restart_backoff_s=0.3, shutdown_timeout_s=4.0)
    async with serving(crew(limits=limits)) as server, server.connect(url) as team:
        there = server.mob
        for place, (kind, value) in script:
            if kind == "crash":
                with suppress(MobError):
                    there.member(value).session._parts.nursery.start_soon(fault)
                continue
            before = {name: handle.history() for name, handle in there.members.items()}
            await act(team if place == "here" else there, kind, value)
            if place == "here" and kind not in ("tell", "slow", "wait", "give_up"):
                for name, history in before.items():  # no older than the answer
                    assert team.member(name).history()[: len(history)] == history
        await team.wait_quiet()
        same(team, there)
        published = there.statistics().events.published
        seqs = []
        async with team.events() as events:
            while events.last_seq < published:
                seqs.append((await anext(events)).seq)
        assert seqs == list(range(1, published + 1))


def run(main, *arguments):
    trio.run(main, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(deadline=None, max_examples=40)
@given(script=acts, url=st.sampled_from([HTTP, LINES]))
def test_the_copy_is_the_mob_whatever_happens_to_it(script, url):
    run(play, script, url)


SCRIPT = [("here", ("ask", "bob")), ("there", ("ask", "bob")), ("here", ("hand_off", "cyd")), ("here", ("ask", "ann"))]


@pytest.mark.parametrize("mutant", ["no flush", "no floor", "one turn less", "no usage"])
def test_a_copy_that_is_kept_carelessly_is_caught(mutant, monkeypatch):
    """Mutants of the feed and of the copy."""

    whole = Feed.flush

    async def once(self):
        if not self._members:
            await whole(self)

    apply_mob, put_turn = Replica._apply_mob, Replica.put_turn
    match mutant:
        case "no flush":
            monkeypatch.setattr(Feed, "flush", once)
        case "no floor":
            monkeypatch.setattr(Replica, "_apply_mob", lambda self, facts: apply_mob(self, {**facts, "floor": "ann"}))
        case "one turn less":

            def careless(self, place, turn):
                if place != ("bob", 1):
                    put_turn(self, place, turn)

            monkeypatch.setattr(Replica, "put_turn", careless)
        case "no usage":
            monkeypatch.setattr(Replica, "_apply_mob", lambda self, facts: apply_mob(self, {**facts, "usage": {}}))
    with pytest.raises(BaseException) as caught:
        run(bounded, SCRIPT)
    assert isinstance(caught.value, AssertionError | trio.TooSlowError) or caught.group_contains(
        (AssertionError, trio.TooSlowError)
    )


async def bounded(script):
    with trio.fail_after(1000):
        await play(script, HTTP)
        await known_at_once()


async def known_at_once():
    async with serving(crew()) as server, server.connect() as team:
        await team.hand_off("cyd")
        assert team.floor == "cyd"
        await team.unwire("ann", "bob")
        assert team.routes == server.mob.routes
        await team.wait_quiet()


async def test_what_a_call_did_is_known_when_it_returns(autojump_clock):
    """Also what no event has told of yet."""
    await known_at_once()


# -- servers that say anything -----------------------------------------------------------------------------------------

leaf = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False)
rubbish = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoiled(draw, value):
    """This JSON with one of its values replaced, or left out."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(rubbish)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from(keys))
    inner = draw(st.just(_GONE) | spoiled(value[key]))
    copy = dict(value) if isinstance(value, dict) else list(value)
    if inner is _GONE:
        del copy[key]
    else:
        copy[key] = inner
    return copy


_GONE = object()
_recorded = []


async def record():
    """What a real server says to a client that connects and asks."""
    said = []
    async with serving(crew()) as server, trio.open_nursery() as nursery:
        real = server.network

        async def tap(stream):
            other = await real.connect("localhost", 7)

            async def forward():
                async for data in stream:
                    await other.send_all(data)
                await other.send_stream.aclose()

            async with trio.open_nursery() as pumps:
                pumps.start_soon(forward)
                async for data in other:
                    said.append(data)
                    await stream.send_all(data)
                pumps.cancel_scope.cancel()

        network = MemoryNetwork(nursery)
        network.listen("localhost", 7, tap)
        async with mob.connect(LINES, network=network) as team:
            await team.member("bob").ask("one")
            await team.hand_off("cyd")
        nursery.cancel_scope.cancel()
    return [json.loads(line) for line in b"".join(said).splitlines()]


def lines():
    if not _recorded:

        async def main():
            _recorded.extend(await record())

        run(main)
    return _recorded


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_law_26_a_server_that_says_anything_is_a_typed_error(data):
    """Any message of the server spoiled: the client goes on, or raises what mob raises on purpose, and ends."""
    said = list(lines())
    at = data.draw(st.integers(0, len(said) - 1))
    said[at] = data.draw(spoiled(said[at]))
    body = b"".join(json.dumps(message).encode() + b"\n" for message in said)

    async def main():
        async def answer(stream):
            await stream.send_all(body)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass

        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)
            network.listen("localhost", 7, answer)
            with suppress(MobError):
                with trio.move_on_after(100):
                    async with mob.connect(LINES, network=network) as team:
                        team.statistics()
                        for member in team.members.values():
                            member.history()
                        await team.member("bob").ask("one")
            nursery.cancel_scope.cancel()

    run(main)


@settings(deadline=None, max_examples=60)
@given(body=st.binary(max_size=200))
def test_law_26_a_server_that_does_not_speak_json_is_a_typed_error(body):
    async def main():
        async def answer(stream):
            await stream.send_all(body + b"\n")

        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)
            network.listen("localhost", 7, answer)
            with pytest.raises(MobError):
                async with mob.connect(LINES, network=network):
                    pass
            nursery.cancel_scope.cancel()

    run(main)
