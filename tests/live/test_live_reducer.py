"""From wire events to a turn's items: laws 1 and 2 on the reducer, the lanes, and the playback and buffer beside it."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings, strategies as st
from live_bench import pcm

from mob.history.heard import SpeechRate
from mob.history.items import AgentMessage, ToolCall, ToolResult, UserMessage
from mob.live import events
from mob.live.buffer import ClientBuffer
from mob.live.playback import Heard, Playback, Receipts
from mob.live.reducer import TurnReducer
from mob.providers import events as wire

LAW = settings(deadline=None, max_examples=100)


def all_heard(generated: dict[str, int]):
    return lambda item_id: Heard(generated.get(item_id, 0), generated.get(item_id, 0), "exact")


@st.composite
def answers(draw):
    """A finished response: its events in an order that a provider may choose, and what must come of it."""
    chain = [f"i{n}" for n in range(draw(st.integers(1, 4)))]
    lists, expected = [], []
    for n, item_id in enumerate(chain):
        previous = chain[n - 1] if n else "u"
        kind = draw(st.sampled_from(["spoken", "written", "call"]))
        words = draw(st.lists(st.sampled_from(["so", "it", "is"]), min_size=1, max_size=4))
        text = " ".join(words)
        parts = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
        events_ = [wire.ItemAdded(item_id, previous, "assistant")]
        if kind == "call":
            events_ += [wire.ToolCallReady("r", item_id, f"call_{item_id}", "look", "{}")]
            expected.append(("call", item_id))
        elif kind == "written":
            events_ += [wire.AgentTextPart("r", item_id, part) for part in parts]
            events_ += [wire.AgentTextFinal("r", item_id, text)]
            expected.append(("written", text))
        else:
            events_ += [wire.AgentTranscriptPart("r", item_id, part) for part in parts]
            events_ += [wire.AgentTranscriptFinal("r", item_id, text)]
            expected.append(("spoken", text))
        lists.append([*events_, wire.OutputItemEnded("r", item_id)])
    order = []
    while any(lists):
        chosen = draw(st.sampled_from([entry for entry in lists if entry]))
        order.append(chosen.pop(0))
    return [*order, wire.ResponseEnded("r", "completed")], expected


def reduce(stream) -> TurnReducer:
    reducer = TurnReducer(24000, SpeechRate())
    reducer.give(UserMessage("u", "hello"))
    for event in stream:
        reducer.apply(event)
    return reducer


def shape(reducer: TurnReducer) -> list[tuple]:
    out = []
    for item in reducer.items(all_heard({})):
        match item:
            case AgentMessage(display_text=written, spoken_text=spoken):
                out.append(("written", written) if written else ("spoken", spoken))
            case ToolCall(id=item_id):
                out.append(("call", item_id))
    return out


def check_law_01(stream, replayed) -> None:
    reducer = reduce(stream)
    before = reducer.items(all_heard({}))
    for event in replayed:
        reducer.apply(event)
    assert reducer.items(all_heard({})) == before


@LAW
@given(answers(), st.data())
def test_law_01_replaying_any_event_or_prefix_changes_nothing(answer, data):
    stream, expected = answer
    assert shape(reduce(stream)) == expected
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    some = data.draw(st.lists(st.sampled_from(stream), max_size=5))
    check_law_01(stream, [*prefix, *some])


SPOKEN = [
    wire.AgentTranscriptPart("r", "a", "one"),
    wire.AgentTranscriptFinal("r", "a", "one"),
    wire.ResponseEnded("r", "completed"),
]


def test_law_01_mutant_deltas_after_the_end_are_caught(monkeypatch):
    check_law_01(SPOKEN, SPOKEN)

    def add(self, index, delta):
        self.parts[index] = self.parts.get(index, "") + delta
        return True

    monkeypatch.setattr("mob.live.reducer._Lane.add", add)
    monkeypatch.setattr(TurnReducer, "_end_response", lambda *_, **__: True)
    with pytest.raises(AssertionError):
        check_law_01(SPOKEN, SPOKEN)


@LAW
@given(answers(), st.randoms())
def test_law_02_no_item_stands_before_its_predecessor(answer, random):
    stream, expected = answer
    shuffled = list(stream[:-1])
    placements = [event for event in shuffled if isinstance(event, wire.ItemAdded)]
    rest = [event for event in shuffled if not isinstance(event, wire.ItemAdded)]
    random.shuffle(placements)
    assert shape(reduce([*placements, *rest, stream[-1]])) == expected
    assert shape(reduce([*rest, *placements, stream[-1]])) == expected


def test_law_02_an_unknown_predecessor_means_append():
    stream = [wire.ItemAdded("a", "never seen", "assistant"), *SPOKEN]
    assert shape(reduce(stream)) == [("spoken", "one")]


def test_lanes_are_kept_apart():
    reducer = reduce(
        [
            wire.AgentTextPart("r", "a", "written"),
            wire.AgentTranscriptPart("r", "a", "spoken", 1),
            wire.AgentAudio("r", "a", pcm(500), 1),
        ]
    )
    (_, message) = reducer.items(all_heard({"a": 500}))
    assert (message.display_text, message.generated_text) == ("written", "spoken")


def test_words_of_the_user_are_never_replaced():
    reducer = TurnReducer(24000, SpeechRate())
    reducer.give(UserMessage("u", "", spoken=True, transcript="pending"))
    assert not reducer.give(UserMessage("u", "other"))
    assert reducer.hear("u", "", "final")
    assert reducer.hear("u", "words", "final")
    assert not reducer.hear("u", "others", "final")
    assert not reducer.hear("u", "", "failed")
    (message,) = reducer.items(all_heard({}))
    assert message.text == "words"


def test_a_result_stands_behind_its_call_and_the_first_is_the_only_one():
    reducer = reduce(
        [wire.ToolCallReady("r", f"i{n}", f"c{n}", "look", "{}") for n in range(2)]
        + [wire.ToolCallReady("r", "i0", "c2", "look", "{}")]
    )
    for n in (1, 0):
        assert reducer.answer_call(ToolResult(f"o{n}", f"c{n}", "look", "done", "x"))
        assert not reducer.answer_call(ToolResult("again", f"c{n}", "look", "failed", "y"))
    assert not reducer.answer_call(ToolResult("o", "nobody's", "look", "done", "x"))
    kinds = [(type(item).__name__, item.call_id) for item in reducer.items(all_heard({}))[1:]]
    assert kinds == [
        ("ToolCall", "c0"),
        ("ToolResult", "c0"),
        ("ToolCall", "c1"),
        ("ToolResult", "c1"),
        ("ToolCall", "c2"),
    ]


# -- playback ------------------------------------------------------------------------------------------------------


@LAW
@given(st.lists(st.tuples(st.sampled_from(["add", "play", "wait", "end"]), st.integers(0, 3000)), max_size=20))
def test_positions_are_ordered_and_only_move_forward(steps):
    playback, now, last = Playback(24000, Receipts()), 0.0, Heard(0, 0, "estimated")
    for name, value in steps:
        if name == "add":
            playback.add("a", "r", value * 48, now)
        elif name == "play":
            playback.played("a", value, now)
        elif name == "wait":
            now += value / 1000
        else:
            playback.end("a", now)
        playback.advance(now)
        heard = playback.heard("a")
        assert 0 <= heard.heard_ms <= heard.generated_ms
        if heard.fidelity == last.fidelity:
            assert heard.heard_ms >= last.heard_ms
        last = heard


def test_the_clock_plays_items_in_order_and_waits_for_what_has_not_come():
    playback = Playback(24000, Receipts())
    assert playback.add("a", "r", 48000, 0.0) == 0
    assert playback.drains_at() == pytest.approx(1.0, abs=1e-3)
    playback.advance(3.0)
    assert playback.heard("a").heard_ms == 1000
    assert playback.add("a", "r", 48000, 3.0) == 1000
    playback.end("a", 3.0)
    playback.add("b", "r", 48000, 3.2)
    playback.advance(3.5)
    assert (playback.heard("a").heard_ms, playback.heard("b").heard_ms) == (1500, 0)
    playback.advance(4.5)
    assert (playback.heard("a").heard_ms, playback.heard("b").heard_ms) == (2000, 500)
    playback.stop(4.5)
    playback.advance(9.0)
    assert playback.heard("b").heard_ms == 500


def test_receipts_rule_once_one_has_come_and_a_lost_item_is_unknown():
    receipts = Receipts()
    playback = Playback(24000, receipts)
    playback.add("a", "r", 48000, 0.0)
    playback.advance(0.4)
    playback.lose("a")
    assert playback.heard("a") == Heard(1000, 400, "unknown")
    assert playback.played("a", 5000, 0.4)
    assert playback.heard("a") == Heard(1000, 1000, "exact")
    assert not playback.played("a", 10, 0.5)
    later = Playback(24000, receipts)
    later.add("b", "r", 48000, 1.0)
    later.advance(9.0)
    assert later.heard("b") == Heard(1000, 0, "exact")


# -- the client's buffer -------------------------------------------------------------------------------------------


def delta(n: int, item: str = "a") -> events.AudioDelta:
    return events.AudioDelta(channel_id="c", epoch=1, t=0.0, item_id=item, response_id="r", pcm=bytes(10), start_ms=n)


def control(n: int) -> events.SpeechStarted:
    return events.SpeechStarted(channel_id="c", epoch=1, t=0.0, item_id=str(n))


async def test_events_come_in_order_and_only_audio_is_dropped():
    buffer = ClientBuffer(max_control=10, max_audio_bytes=25)
    sent = []
    for n in range(4):
        sent += [control(n), delta(n)]
        assert buffer.put(control(n))
        dropped = buffer.put_audio(delta(n))
        assert dropped == (() if n < 2 else ("a",))
    buffer.close()
    got = []
    while (event := await buffer.get()) is not None:
        got.append(event)
    assert got == [event for event in sent if event not in (delta(0), delta(1))]
    assert buffer.statistics().audio_dropped == 2


async def test_too_many_control_events_are_told_and_kept():
    buffer = ClientBuffer(max_control=2, max_audio_bytes=10)
    assert [buffer.put(control(n)) for n in range(3)] == [True, True, False]
    assert buffer.statistics().control_events == 3


async def test_cut_audio_is_discarded_and_a_cancelled_reader_loses_nothing():
    buffer = ClientBuffer(max_control=5, max_audio_bytes=1000)
    with trio.move_on_after(0):
        await buffer.get()
    for item in ("a", "b", "a"):
        buffer.put_audio(delta(1, item))
    buffer.discard(frozenset("a"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await buffer.get()
    assert await buffer.get() == delta(1, "b")
    assert buffer.statistics().audio_discarded == 2
    assert evolve(delta(1), item_id="b") == delta(1, "b")
