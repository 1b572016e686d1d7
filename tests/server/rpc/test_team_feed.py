"""What a feed of `team/` tells of histories: each difference, however late, at a price that does not grow with them."""

from __future__ import annotations

import itertools
import sys
from types import SimpleNamespace

import trio
from attrs import evolve
from hypothesis import HealthCheck, given, settings, strategies as st
from mob_peer import open_crew, spawn

from mob.history.fold import History
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.rows import Stored, TranscriptFilled, TurnRow
from mob.remote.replica import Replica
from mob.server.limits import DoorLimits
from mob.server.rpc.team.feed import Feed


def feed_of(hosted=None):
    client = SimpleNamespace(limits=DoorLimits())
    return Feed(client, hosted or SimpleNamespace(mob=None), "s", trio.CancelScope(), after=0, state=True)


def spoken(number):
    return Turn(f"t{number}", Cause("speech"), (UserMessage(f"u{number}", "", spoken=True, transcript="pending"),))


def told(replica, feed, history):
    """Tell this copy what the feed finds."""
    for index, turn in feed._new_turns("ann", history):
        replica.put_turn(("ann", index), turn)


STEPS = st.lists(
    st.one_of(
        st.just("turn"),
        st.just("tell"),
        st.just("new generation"),
        st.tuples(st.integers(0, 9), st.sampled_from(["", "hello"]), st.booleans()),
    ),
    max_size=30,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_a_copy_has_every_turn_as_it_stands_however_late_it_changed(autojump_clock, steps):
    log, history, feed, replica = [], History("ann"), feed_of(), Replica(None)
    for step in [*steps, "tell"]:
        seq = len(log) + 1
        match step:
            case "turn":
                log.append(Stored(seq, 0.0, TurnRow("ann", spoken(seq))))
            case "tell":
                told(replica, feed, history)
                assert replica.history("ann") == tuple(history.turns)
                continue
            case "new generation":
                history = History.of("ann", log)
                continue
            case (number, text, failed):
                log.append(Stored(seq, 0.0, TranscriptFilled("ann", f"u{number}", text, failed)))
        history.apply(log[-1])


def lines_of(work):
    """How many lines of Python this takes."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


async def test_telling_costs_the_same_at_any_length(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        hosted = realm.mob("crew")
        history, feed = hosted.member("ann").folded, feed_of(hosted)
        numbers = itertools.count(100_000)

        def happen():
            number = next(numbers)
            turn = evolve(spoken(number), items=(AgentMessage(f"a{number}", display_text="Well."),))
            history.apply(Stored(number, 0.0, TurnRow("ann", turn)))

        def tell():
            list(feed._differences(["ann"]))

        costs = []
        for size in (20, 5000):
            for _ in range(size):
                happen()
            tell()
            tell()
            nothing = lines_of(tell)
            happen()
            costs.append((nothing, lines_of(tell)))
        assert costs[0] == costs[1]


async def test_telling_costs_the_same_with_many_routes(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        hosted = realm.mob("crew")
        feed, costs = feed_of(hosted), []
        for wired in (1, 500):
            for number in range(wired):
                hosted.mob._past.routes.restore("ann", f"peer {number}", ["ask"])
            (part,) = feed._differences(["ann"])
            assert len(part["mob"]["routes"]) == wired
            costs.append(lines_of(lambda: list(feed._differences(["ann"]))))
        assert costs[0] == costs[1]
