"""A client that loses its socket comes back and gets what it missed, or is told what it lacks."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import HealthCheck, example, given, settings, strategies as st
from live_sockets import FULL, PLAIN, Client, attached, open_channel, query_of

from mob.live.events import AudioDelta, Interrupted, LiveEvent
from mob.live.transport import TransportClosed
from mob.protocol import frames
from mob.protocol.observations import event_of
from mob.server.channels.held import HeldChannel
from mob.server.channels.ring import Cursor, Numbered
from mob.server.limits import DoorLimits
from mob.server.livesocket import telling

TIGHT = DoorLimits(max_kept_events=25, max_kept_audio_bytes=24_000)
ROOMY = DoorLimits()

STEPS = st.one_of(
    st.tuples(st.just("read"), st.sampled_from([0.0, 0.05, 0.3, 2.0, 8.0])),
    st.tuples(st.just("stall"), st.sampled_from([0.1, 1.0, 3.0])),
    st.tuples(st.just("drop"), st.sampled_from([0.0, 0.01, 0.3, 2.0, 9.0])),
    st.tuples(st.just("text"), st.sampled_from(["text", "audio"])),
    st.tuples(st.just("interrupt")),
)


@define
class Record:
    """Everything that the channel told, read at once, so that nothing can be missing."""

    held: HeldChannel
    events: dict[int, LiveEvent] = field(factory=dict)

    def __attrs_post_init__(self):
        cursor = Cursor(self.held.ring, 0)

        def note():
            while isinstance(found := cursor.next(), Numbered):
                self.events[found.seq] = found.event

        self.held.listen(note)
        note()


@define
class Got:
    """What a client got over all its sockets: events by number, and the numbers that it was told are missing."""

    channel_id: str = ""
    position: int = 0
    resume: str = ""
    events: dict[int, LiveEvent] = field(factory=dict)
    order: list[int] = field(factory=list)
    missing: list[range] = field(factory=list)

    def take(self, client: Client, count: int) -> int:
        """The frames from `count` on. Gives how many there are now."""
        for frame in client.frames[count:]:
            if frame.get("observation") == "attached":
                self.resume, self.channel_id = frame["resume"], frame["channel_id"]
            elif frame.get("observation") in ("gap", "audio_lost"):
                self.missing.append(range(frame["first"], frame["last"] + 1))
                assert frame["events"] + frame["audio"] == len(self.missing[-1])
                assert (frame["observation"] == "gap") == (frame["events"] > 0)
                self.position = frame["seq"]
            elif "seq" in frame:
                self.order.append(frame["seq"])
                self.events[frame["seq"]] = (
                    client.speech[len(client.speech) - 1]
                    if frame["observation"] == "binary"
                    else event_of(frame, self.channel_id)
                )
                self.position = frame["seq"]
        return len(client.frames)


async def talk(steps, limits, *, narrow, terms=FULL):
    """Play the steps over as many sockets as it takes; then stay until the channel has ended."""
    async with open_channel(limits, output="audio") as (door, held):
        record, got = Record(held), Got()
        rest = list(steps)
        away = await one_socket(door.attach(held, terms, narrow=narrow), rest, got)
        while away is not None:
            await trio.sleep(away)
            away = await one_socket(door.resume(held, got.resume, got.position, terms, narrow=narrow), rest, got)
        await held.wait_closed()
        return record.events, got


async def one_socket(how, rest, got):
    """Use one socket until it is gone (gives for how long to stay away) or the channel has ended (gives None)."""
    async with how as client:
        await client.until("attached")
        count = got.take(client, 0)
        while rest:
            step = rest.pop(0)
            match step:
                case ("read", seconds):
                    try:
                        await client.settle(seconds)
                    except TransportClosed:
                        got.take(client, count)
                        return 0.0
                    count = got.take(client, count)
                case ("stall", seconds):
                    await trio.sleep(seconds)
                case ("text", output):
                    await say(client, frames.TextChunk("What time is it?", output))
                case ("interrupt",):
                    await say(client, frames.Interrupt())
                case ("drop", seconds):
                    await client.drop()
                    return seconds
        return None if await finish(client, got, count) else 0.0


async def say(client, command):
    with suppress(TransportClosed):
        client.say(command)
        await trio.testing.wait_all_tasks_blocked()


async def finish(client, got, count):
    """Hear the rest, then end the channel. False when the socket was closed because its client was too slow."""
    with suppress(TransportClosed):
        await client.settle(30)
        count = got.take(client, count)
        client.say(frames.Close())
        await client.until_closed()
    got.take(client, count)
    assert client.closed is not None
    assert client.closed[0] == 1000 or client.frames[-1]["error"] == "slow_reader"
    return client.closed[0] == 1000


def check(events, got):
    """What came is what was told, in order and once; what did not come was announced, or is sound that was cut."""
    assert got.order == sorted(set(got.order))
    missing = {seq for gap in got.missing for seq in gap}
    assert not missing & set(got.events)
    cut = {event.item_id for event in events.values() if isinstance(event, Interrupted)}
    for seq, event in events.items():
        if seq in got.events:
            assert got.events[seq] == event
        elif seq not in missing:
            assert isinstance(event, AudioDelta), (seq, event)
            assert event.item_id in cut
    assert max(got.events) == max(events)


def run(*args, **kwargs):
    return trio.run(lambda: talk(*args, **kwargs), clock=trio.testing.MockClock(autojump_threshold=0))


LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LAW
@given(st.lists(STEPS, max_size=10))
@example([("text", "audio"), ("read", 0.3), ("drop", 0.3), ("read", 0.05), ("drop", 2.0)])
@example([("text", "audio"), ("drop", 9.0)])
def test_what_a_client_gets_over_all_its_sockets_is_what_the_channel_told(steps):
    events, got = run(steps, ROOMY, narrow=False)
    check(events, got)
    assert got.missing == []


@LAW
@given(st.lists(STEPS, max_size=10))
@example([("text", "audio"), ("drop", 9.0)])
@example([("text", "audio"), ("stall", 3.0), ("read", 2.0)])
def test_what_could_not_be_kept_is_announced_exactly(steps):
    check(*run(steps, TIGHT, narrow=True))


def test_the_announcements_are_not_idle():
    _, got = run([("text", "audio"), ("drop", 9.0), ("read", 1.0)], TIGHT, narrow=False)
    assert got.missing


# -- the window --------------------------------------------------------------------------------------------------------


async def test_a_client_that_stays_away_too_long_finds_nothing(autojump_clock):
    async with open_channel() as (door, held):
        async with attached(door, held) as client:
            token, seq = client.frames[0]["resume"], client.numbers[-1]
            await client.drop()
        await trio.sleep(9.9)
        assert held.status == "ready"
        await trio.sleep(0.2)
        assert (held.status, held.reason) == ("closed", "client_disconnected")
        async with door.resume(held, token, seq) as client:
            assert (await client.until_closed())[0] == 1008
        assert client.frames[0]["reason"] == "expired"


async def test_a_resume_token_is_used_once_and_a_new_one_is_given(autojump_clock):
    async with open_channel() as (door, held):
        async with attached(door, held) as client:
            first = client.frames[0]["resume"]
            await client.drop()
        async with door.resume(held, first, 0) as client:
            second = (await client.until("attached"))["resume"]
            await client.drop()
        async with door.resume(held, first, 0) as client:
            await client.until_closed()
        assert client.frames == [
            {"error": "invalid_token", "reason": "already_consumed", "message": client.frames[0]["message"]}
        ]
        async with door.resume(held, second, 0) as client:
            await client.until("connected")
        await held.wait_closed()


async def test_a_client_that_was_not_known_to_be_lost_is_replaced(autojump_clock):
    async with open_channel() as (door, held), attached(door, held) as old:
        async with door.resume(held, old.frames[0]["resume"], 1) as new:
            await new.until("attached")
            code, _ = await old.until_closed()
            assert code == 1008
            assert old.frames[-1]["error"] == "session_already_bound"
            new.say(frames.Ping(), 1)
            await new.until("pong")
            await trio.sleep(20)
            assert held.status == "ready"


async def test_the_end_of_the_channel_is_told_to_a_client_that_was_away(autojump_clock):
    async with open_channel() as (door, held):
        async with attached(door, held) as client:
            token = client.frames[0]["resume"]
            await client.drop()
        await held.close("client_requested")
        async with door.resume(held, token, 1) as client:
            code, reason = await client.until_closed()
        assert (code, reason) == (1000, "client_requested")
        assert client.frames[-1]["observation"] == "disconnected"
        assert client.frames[-1]["reason"] == "client_requested"


async def test_another_client_with_a_token_of_its_own_takes_a_place_that_is_free(autojump_clock):
    async with open_channel() as (door, held):
        async with attached(door, held) as client:
            old = client.frames[0]["resume"]
            await client.drop()
        async with attached(door, held, PLAIN) as client:
            async with door.resume(held, old, 0) as late:
                await late.until_closed()
            assert late.frames[0]["reason"] == "channel_not_bound"
            await trio.sleep(20)
            assert held.status == "ready"


async def test_receipts_are_agreed_anew_with_each_client(autojump_clock):
    async with open_channel() as (door, held):
        async with attached(door, held, f"{FULL}&receipts=1") as client:
            client.say(frames.TextChunk("What time is it?"))
            await client.until("audio_done")
            await client.drop()
        async with door.visit(query_of(held, token=held.mint_token()) + "&control=1") as client:
            turn = (await client.until("turn_committed"))["turn"]
        assert turn["items"][-1]["fidelity"] == "estimated"


# -- mutants -----------------------------------------------------------------------------------------------------------


def caught(steps, limits=ROOMY, narrow=False):
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check(*run(steps, limits, narrow=narrow))


def test_mutant_a_client_that_comes_back_is_told_from_now_on_is_caught(monkeypatch):
    class FromNow(Cursor):
        def __init__(self, ring, position):
            super().__init__(ring, ring.last if position else 0)

    monkeypatch.setattr(telling, "Cursor", FromNow)
    caught([("text", "audio"), ("read", 0.3), ("drop", 2.0), ("read", 2.0)])


def test_mutant_a_gap_that_is_not_told_is_caught(monkeypatch):
    monkeypatch.setattr(telling.Teller, "_tell_gap", lambda self, gap: 1)
    caught([("text", "audio"), ("drop", 9.0), ("read", 1.0)], TIGHT)


def test_mutant_telling_again_what_was_told_is_caught(monkeypatch):
    class Again(Cursor):
        def __init__(self, ring, position):
            super().__init__(ring, max(position - 1, 0))

    monkeypatch.setattr(telling, "Cursor", Again)
    caught([("text", "audio"), ("read", 0.3), ("drop", 2.0), ("read", 2.0)])
