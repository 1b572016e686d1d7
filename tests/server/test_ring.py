"""The ring of a channel's latest events: nothing is lost without a word, and nothing grows."""

from __future__ import annotations

import pytest
from attrs import define
from hypothesis import given, settings, strategies as st

from mob.errors import LiveClosed
from mob.server.channels.ring import Cursor, EventRing, Gap, Numbered, RingLimits, SlowReader

SMALL = RingLimits(max_control=4, max_control_bytes=400, max_audio=6, max_audio_bytes=60)

APPENDS = st.one_of(
    st.tuples(st.just("control"), st.integers(1, 150)),
    st.tuples(st.just("audio"), st.integers(1, 30), st.sampled_from("abc")),
    st.tuples(st.just("cut"), st.sampled_from("abc")),
    st.tuples(st.just("read"), st.integers(1, 12)),
)


@define
class Told:
    """What one reader got, and the piece of every number that there ever was."""

    numbers: list[int]
    gaps: list[Gap]


def play(steps, limits=SMALL, *, after=0, ring=None):
    """Do the steps with one reader from the start. Gives the ring, what there was by number, what was cut, and told."""
    ring = ring or EventRing(limits)
    cursor = Cursor(ring, after)
    there: dict[int, tuple] = {}
    cut: set[int] = set()
    told = Told([], [])
    for step in steps:
        match step:
            case ("control", size):
                there[ring.append(("control", ring.last), size)] = step
            case ("audio", size, item):
                there[ring.append_audio(("audio", item), size, item)] = step
            case ("cut", item):
                cut |= {seq for seq, what in there.items() if what[0] == "audio" and what[2] == item}
                ring.discard(lambda event, item=item: event == ("audio", item))
            case ("read", count):
                read(cursor, told, count)
    read(cursor, told, 10_000)
    return ring, there, cut, told


def read(cursor, told, count):
    for _ in range(count):
        found = cursor.next()
        if isinstance(found, Gap):
            told.gaps.append(found)
        elif isinstance(found, Numbered):
            told.numbers.append(found.seq)
        else:
            return


def check_whole(there, cut, told):
    """Everything was told, or is in a gap that says truly what it lacks, or belongs to an answer that was cut."""
    missing = [seq for gap in told.gaps for seq in range(gap.first, gap.last + 1)]
    assert sorted(told.numbers) == told.numbers
    assert len(set(missing)) == len(missing)
    assert not set(missing) & set(told.numbers)
    assert set(there) - set(told.numbers) - set(missing) <= cut
    for gap in told.gaps:
        lost = [there[seq] for seq in range(gap.first, gap.last + 1)]
        audio = [what for what in lost if what[0] == "audio"]
        assert (gap.audio, gap.audio_bytes) == (len(audio), sum(size for _, size, _ in audio))
        assert gap.events == len(lost) - len(audio)
        assert set(gap.items) == {item for _, _, item in audio}


@settings(max_examples=400)
@given(st.lists(APPENDS, max_size=60))
def test_a_reader_gets_everything_in_order_or_is_told_what_it_lacks(steps):
    try:
        _, there, cut, told = play(steps)
    except SlowReader:
        return
    check_whole(there, cut, told)
    assert not any(gap.events for gap in told.gaps if gap.first > 1), "control fell out from under a reader"


@settings(max_examples=200)
@given(st.lists(APPENDS, max_size=60), st.integers(0, 80))
def test_who_comes_back_gets_the_rest_or_one_gap_that_says_so(steps, after):
    ring, there, cut, _ = play([step for step in steps if step[0] != "read"])
    cursor = Cursor(ring, after)
    told = Told([], [])
    read(cursor, told, 10_000)

    check_whole({seq: what for seq, what in there.items() if seq > after}, cut, told)
    assert not any(gap.events for gap in told.gaps if gap.first > after + 1)
    assert cursor.next() is None
    assert cursor.position == ring.last


@given(st.lists(APPENDS, max_size=80))
def test_nothing_grows(steps):
    ring, there, _, _ = play([step for step in steps if step[0] != "read"])
    kept = ring.statistics()

    assert kept.last == len(there)
    assert kept.control <= SMALL.max_control
    assert kept.control_bytes <= SMALL.max_control_bytes or kept.control == 1
    assert kept.audio <= SMALL.max_audio
    assert kept.audio_bytes <= SMALL.max_audio_bytes or kept.audio == 1
    assert len(ring._kept) == kept.control + kept.audio
    assert kept.control + kept.control_dropped == sum(what[0] == "control" for what in there.values())


@given(st.lists(APPENDS, min_size=1, max_size=60))
def test_every_reader_is_told_the_same_whatever_others_do(steps):
    writes = [step for step in steps if step[0] != "read"]
    ring, *_ = play(writes)
    first, second = (Told([], []) for _ in range(2))
    a, b = Cursor(ring, 0), Cursor(ring, 0)
    read(a, first, 3)
    read(b, second, 10_000)
    read(a, first, 10_000)

    assert (first.numbers, first.gaps) == (second.numbers, second.gaps)


def test_control_that_falls_out_from_under_a_reader_ends_it():
    ring = EventRing(SMALL)
    ring.append("first", 1)
    cursor = Cursor(ring, 0)
    assert cursor.next() == Numbered(1, "first")
    for number in range(10):
        ring.append(number, 1)

    with pytest.raises(SlowReader) as slow:
        cursor.next()
    assert slow.value.reason == "slow_reader"
    assert isinstance(slow.value, LiveClosed)
    assert Cursor(ring, 1).next() == Gap(2, ring.floor, 0, 0)


def test_a_gap_of_speech_stands_where_it_was_lost():
    ring = EventRing(RingLimits(max_control=10, max_control_bytes=1000, max_audio=2, max_audio_bytes=1000))
    for item in "xxyz":
        ring.append_audio(item, 10, item)
        ring.append(f"after {item}", 1)
    told = Told([], [])
    read(Cursor(ring, 0), told, 100)

    assert told.gaps == [Gap(1, 1, 1, 10, ("x",)), Gap(3, 3, 1, 10, ("x",))]
    assert told.numbers == [2, 4, 5, 6, 7, 8]


def test_speech_of_an_answer_that_was_cut_is_no_gap():
    ring = EventRing(SMALL)
    for _ in range(3):
        ring.append_audio("a", 10, "a")
    ring.discard(lambda _: True)
    ring.append("cut", 1)
    told = Told([], [])
    read(Cursor(ring, 0), told, 100)

    assert told == Told([4], [])
    assert ring.statistics().audio_bytes == 0
    assert ring.statistics().audio_discarded == 3


def test_a_gap_older_than_memory_is_told_as_far_as_it_is_known():
    ring = EventRing(SMALL)
    for _ in range(20_000):
        ring.append_audio("a", 2, "a")
    for _ in range(6):
        ring.append("c", 1)
    gap = Cursor(ring, 0).next()

    assert isinstance(gap, Gap)
    assert gap.first == 1
    assert 0 < gap.audio_bytes <= 40_000


# -- mutants -----------------------------------------------------------------------------------------------------------


OVERRUN = [("control", 1), ("read", 1), *[("control", 1)] * 8]
LOSSES = [("audio", 20, "a")] * 5


def caught(ring_class, steps):
    """The check passes with the ring as it is, and fails with the mutant."""
    _check(steps, EventRing)
    with pytest.raises(AssertionError):
        _check(steps, ring_class)


def _check(steps, ring_class):
    try:
        _, there, cut, told = play(steps, ring=ring_class(SMALL))
    except SlowReader:
        return
    check_whole(there, cut, told)
    assert not any(gap.events for gap in told.gaps if gap.first > 1)


def test_mutant_control_that_is_dropped_without_a_floor_is_caught():
    class Silent(EventRing):
        def _drop_control(self):
            super()._drop_control()
            self.floor = 0

    caught(Silent, OVERRUN)


def test_mutant_a_gap_that_forgets_the_bytes_is_caught():
    class Forgetful(EventRing):
        def gap(self, first, last):
            found = super().gap(first, last)
            return Gap(first, last, found.audio, 0, found.items)

    caught(Forgetful, LOSSES)
