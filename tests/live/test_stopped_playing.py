"""A client that sends no receipts and still says where it stopped; and the events by which turns are told apart."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from live_bench import Bench, Reply

from mob.history.items import AgentMessage, Cause, ToolResult, UserMessage
from mob.live import events, inputs
from mob.live.ports import Prompt


def plain(**options) -> Bench:
    return Bench(audio_receipts=False, auto_respond=False, barge_in=False, **options)


def answering(bench: Bench, *replies: Reply) -> str:
    """Ask, and let the whole answer come. Gives its last audio item."""
    bench.replies.extend(replies or [Reply(words=20)])
    bench.text()
    bench.command(inputs.Respond())
    bench.provider.finish()
    return [event.item_id for event in bench.published if isinstance(event, events.AudioDelta)][-1]


def message(bench: Bench) -> AgentMessage:
    return [item for item in bench.log[-1].items if isinstance(item, AgentMessage)][-1]


@given(heard=st.integers(0, 3000), later=st.floats(0, 2))
def test_where_a_client_without_receipts_stopped_is_exact(heard, later):
    bench = plain()
    item = answering(bench)
    bench.wait(0.5)
    bench.feed(inputs.StopPlaying())
    bench.wait(later)
    assert bench.command(inputs.Truncate(item, heard))
    said = message(bench)
    assert (said.heard_ms, said.fidelity, bench.log[-1].status) == (heard, "exact", "interrupted")


def test_without_a_word_the_clock_stands_where_playing_stopped():
    bench = plain()
    answering(bench)
    bench.wait(0.7)
    bench.feed(inputs.StopPlaying())
    bench.wait(3)
    assert not bench.log, "it may still be said where"
    bench.command(inputs.Interrupt())
    assert (message(bench).heard_ms, message(bench).fidelity) == (700, "estimated")


def test_a_client_that_stops_and_says_nothing_ever_is_not_waited_for_for_ever():
    bench = plain()
    answering(bench)
    bench.wait(0.7)
    bench.feed(inputs.StopPlaying())
    bench.wait(60)
    assert message(bench).heard_ms == 700


def test_saying_where_one_answer_stopped_says_nothing_of_the_next():
    bench = plain()
    item = answering(bench)
    bench.command(inputs.Truncate(item, 100))
    answering(bench)
    bench.wait(60)
    assert (bench.log[-1].status, message(bench).fidelity) == ("done", "estimated")


def test_what_stands_before_the_item_was_heard_and_what_stands_behind_it_was_not():
    bench = plain()
    bench.replies.extend([Reply(words=6, calls=("look",)), Reply(words=6)])
    bench.text()
    bench.command(inputs.Respond())
    bench.provider.finish()
    (call,) = bench.open_tools
    first = next(event.item_id for event in bench.published if isinstance(event, events.AudioDelta))
    bench.open_tools.pop(call)
    bench.feed(inputs.ToolOutcome(call, ToolResult("result", call, "look", "done", "seen")))
    bench.provider.finish()
    second = [event.item_id for event in bench.published if isinstance(event, events.AudioDelta)][-1]
    assert first != second
    bench.command(inputs.Truncate(second, 50))
    before, cut = [item for item in bench.log[-1].items if isinstance(item, AgentMessage)]
    assert before.heard_ms == before.generated_ms
    assert cut.heard_ms == 50


def test_an_answer_that_is_played_through_is_not_waited_for():
    bench = plain()
    answering(bench)
    bench.wait(0.1)
    bench.feed(inputs.PlayedThrough())
    assert bench.log[-1].status == "done"
    assert message(bench).heard_ms == message(bench).generated_ms
    assert message(bench).fidelity == "estimated"


def test_an_answer_that_still_comes_is_not_played_through():
    bench = plain()
    bench.replies.append(Reply(words=20))
    bench.text()
    bench.command(inputs.Respond())
    bench.provider.emit(6)
    bench.feed(inputs.PlayedThrough())
    bench.provider.finish()
    assert not bench.log
    bench.wait(60)
    assert bench.log[-1].status == "done"


def test_turns_are_told_apart_by_their_beginnings():
    bench = plain()
    bench.speak()
    bench.command(inputs.Respond())
    bench.feed(inputs.PutPrompt("turn_asked", Prompt((UserMessage("m", "psst"),), Cause("ask", origin="menu"), "text")))
    bench.provider.finish()
    bench.wait(60)
    bench.replies.append(Reply(words=3, spoken=False))
    bench.provider.finish()
    told = [event for event in bench.published if isinstance(event, events.TurnBegan | events.TurnCommitted)]
    kinds = [(e.cause, e.origin, e.prompted) if isinstance(e, events.TurnBegan) else e.turn.cause.kind for e in told]
    assert kinds == [("speech", None, False), "speech", ("ask", "menu", True), "ask"]


@pytest.mark.parametrize("again", [False, True])
def test_speech_is_told_of_once_when_it_is_an_item(again):
    bench = plain()
    item = bench.speak()
    if again:
        bench.lose()
        bench.wait(1)
        bench.provider.hear()
    told = [event.item_id for event in bench.published if isinstance(event, events.SpeechCommitted)]
    assert told == [item]
