"""What a model is told of a history."""

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st
from strategies_history import conversations, turns

from mob.history import projection
from mob.history.fold import History, ToolRecord
from mob.history.items import AgentMessage, Cause, Note, ToolCall, ToolResult, Turn, UserMessage
from mob.history.projection import CUT_MARK, NEVER_RAN, NOT_TRANSCRIBED, NOT_TRANSCRIBED_YET, STILL_RUNNING, project
from mob.values import Image


def check_law_07(project, some_turns, calls, max_chars):
    """Each tool call is followed by exactly one result, whatever was committed and wherever the window begins."""
    told = project(some_turns, calls, max_chars=max_chars).items
    for at, item in enumerate(told):
        if isinstance(item, ToolCall):
            assert isinstance(told[at + 1], ToolResult), "a call without its result"
            assert told[at + 1].call_id == item.call_id
        if isinstance(item, ToolResult):
            assert at > 0
            assert isinstance(told[at - 1], ToolCall), "a result without its call"


def check_heard_only(project, some_turns):
    """No word of what was generated and not heard, and a mark on every cut answer."""
    told = project(some_turns, {}).items
    messages = [item for item in told if isinstance(item, AgentMessage)]
    said = [item for turn in some_turns for item in turn.items if isinstance(item, AgentMessage) and item.text]
    assert [message.id for message in messages] == [item.id for item in said]
    for message, item in zip(messages, said, strict=True):
        assert not message.generated_text
        assert message.text == item.text + (CUT_MARK if item.interrupted else "")


def check_window(project, some_turns, calls, max_chars):
    """A suffix of whole turns within the bound; degraded exactly when something is missing."""
    whole = [project([turn], calls).items for turn in some_turns]
    result = project(some_turns, calls, max_chars=max_chars)
    kept = whole[len(whole) - result.turns :]
    assert result.items == tuple(item for items in kept for item in items)
    assert weigh(result.items) <= max_chars
    assert result.degraded == any(whole[: len(whole) - result.turns])
    if result.degraded:
        assert weigh(result.items) + weigh(whole[len(whole) - result.turns - 1]) > max_chars


def weigh(items):
    total = 0
    for item in items:
        match item:
            case ToolCall(name=name, arguments=arguments):
                total += len(name) + len(arguments)
            case ToolResult(output=output):
                total += len(output)
            case _:
                total += len(item.text) + 4000 * len(getattr(item, "images", ()))
    return total


some_turns_strategy = st.lists(turns, max_size=6)


@settings(deadline=None, max_examples=100)
@given(some_turns=some_turns_strategy, max_chars=st.none() | st.integers(0, 100))
def test_law_07_every_call_has_its_result(some_turns, max_chars):
    check_law_07(project, some_turns, {}, max_chars)


@settings(deadline=None, max_examples=60)
@given(log=conversations(), max_chars=st.none() | st.integers(0, 100))
def test_law_07_of_a_folded_history(log, max_chars):
    history = History.of("host", log)
    check_law_07(project, history.turns, history.calls, max_chars)


@settings(deadline=None, max_examples=60)
@given(some_turns=some_turns_strategy)
def test_law_04_a_model_is_told_what_was_heard(some_turns):
    check_heard_only(project, some_turns)


@settings(deadline=None, max_examples=100)
@given(some_turns=some_turns_strategy, max_chars=st.integers(0, 60))
def test_a_window_is_a_suffix_of_whole_turns(some_turns, max_chars):
    check_window(project, some_turns, {}, max_chars)


def project_by_item(some_turns, calls, *, max_chars=None):
    """The mutant: windows by item, through the middle of turns, and hands items on as they were committed."""
    room = max_chars if max_chars is not None else 10**9
    kept = []
    for item in reversed([item for turn in some_turns for item in turn.items]):
        room -= weigh([item])
        if room < 0:
            return projection.Projection(tuple(reversed(kept)), True, 0)
        kept.append(item)
    return projection.Projection(tuple(reversed(kept)), False, len(some_turns))


WITH_CALL = Turn(
    "t", Cause("text"), (ToolCall("k", "c1", "look", "{}"), ToolResult("r", "c1", "look", "done", "found it"))
)


def test_law_07_mutant_windowing_by_item_is_caught():
    with pytest.raises(AssertionError):
        check_law_07(project_by_item, [WITH_CALL], {}, 10)


def test_law_04_mutant_telling_the_generated_text_is_caught():
    cut = AgentMessage("a", spoken_text="I can", interrupted=True, generated_text="I can explain everything")
    with pytest.raises(AssertionError):
        check_heard_only(project_by_item, [Turn("t", Cause("text"), (cut,))])


def told(*parts, calls=None):
    return project([Turn("t", Cause("text"), parts)], calls or {}).items


def test_a_cut_answer_ends_with_the_mark():
    cut = AgentMessage("a", spoken_text="The soup", interrupted=True, generated_text="The soup is out")
    assert told(cut)[0].text == f"The soup{CUT_MARK}"
    assert told(evolve(cut, spoken_text="", display_text="Menu:"))[0].text == f"Menu:{CUT_MARK}"
    assert told(evolve(cut, display_text="Menu:"))[0].text == f"Menu:\nThe soup{CUT_MARK}"
    assert told(evolve(cut, spoken_text="")) == ()


def test_speech_without_words_is_told_as_such():
    spoken = UserMessage("u", "", spoken=True, transcript="pending")
    assert told(spoken)[0].text == NOT_TRANSCRIBED_YET
    assert told(evolve(spoken, transcript="failed"))[0].text == NOT_TRANSCRIBED
    assert told(evolve(spoken, transcript="final")) == ()
    picture = UserMessage("u", "", images=(Image("image/png", b"x"),))
    assert told(picture) == (picture,)


def test_a_call_without_a_result_is_told_what_the_ledger_knows():
    call = ToolCall("k", "c1", "look", "{}")
    assert told(call)[1].output == NEVER_RAN
    assert told(call, calls={"c1": ToolRecord("c1", "look")})[1].output == STILL_RUNNING
    ended = ToolRecord("c1", "look", status="failed", output="no light", elapsed_ms=3)
    result = told(call, calls={"c1": ended})[1]
    assert (result.status, result.output, result.elapsed_ms) == ("failed", "no light", 3)


def test_results_find_their_calls():
    """Parallel calls, a message in between, and one call id twice: each result stands behind its own call."""
    first, second = ToolCall("k1", "c1", "look", "1"), ToolCall("k2", "c2", "look", "2")
    again = ToolCall("k3", "c1", "look", "3")
    one, two, three = (ToolResult(f"r{n}", c, "look", "done", str(n)) for n, c in [(1, "c1"), (2, "c2"), (3, "c1")])
    note = Note("n", "still looking")
    assert told(first, second, note, two, one, again, three) == (first, one, second, two, note, again, three)


def test_what_was_said_is_kept_as_it_is():
    """Nothing is copied that need not change."""
    parts = (UserMessage("u", "Hello"), AgentMessage("a", spoken_text="Good evening."), Note("n", "be brief"))
    assert all(was is is_now for was, is_now in zip(parts, told(*parts), strict=True))


def test_the_price_is_that_of_the_window():
    class Counting(list):
        read = 0

        def __reversed__(self):
            for turn in super().__reversed__():
                Counting.read += 1
                yield turn

    long = Counting(Turn(f"t{n}", Cause("text"), (UserMessage(f"u{n}", "x" * 10),)) for n in range(10_000))
    assert project(long, {}, max_chars=100).turns == 10
    assert Counting.read == 11
