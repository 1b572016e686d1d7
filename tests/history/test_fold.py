"""The fold of a member's rows."""

import sys

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st
from strategies_history import conversations, logs

from mob.history import rows
from mob.history.fold import History
from mob.history.items import AgentMessage, Cause, ToolCall, ToolResult, Turn, UserMessage
from mob.history.rows import Stored
from mob.values import NO_USAGE, Usage


def state(history):
    """Everything a history shows, but for the counts of what it refused."""
    return (
        tuple(history.turns),
        dict(history.calls),
        dict(history.open_calls),
        dict(history.open_messages),
        history.usage,
        history.generation,
        history.running,
        history.last_seq,
    )


def check_law_01(implementation, log, at, count):
    """Replaying any row, or any prefix, changes nothing; nor does it matter where a fold was interrupted."""
    whole = state(implementation.of("host", log))
    assert state(implementation.of("host", [*log, *log[:at]])) == whole
    assert state(implementation.of("host", [*log[:at], *log[:at], *log[at:]])) == whole
    assert state(implementation.of("host", [s for stored in log for s in [stored] * count])) == whole


def check_law_03(implementation, log):
    """Each row only adds: turns stand where they stood, no words are erased, an empty slot is filled at most."""
    history = implementation("host")
    before: tuple[Turn, ...] = ()
    for stored in log:
        history.apply(stored)
        now = tuple(history.turns)
        assert [turn.id for turn in now[: len(before)]] == [turn.id for turn in before]
        for old, new in zip(before, now, strict=False):
            kept = [item for item in new.items if not (isinstance(item, ToolResult) and item not in old.items)]
            assert [item.id for item in kept] == [item.id for item in old.items]
            for was, is_now in zip(old.items, kept, strict=True):
                if isinstance(was, UserMessage) and not was.text:
                    assert is_now == evolve(was, text=is_now.text, transcript=is_now.transcript)
                else:
                    assert is_now == was
        before = now
    assert state(implementation.of("host", log)) == state(history)


def check_law_17(implementation, log):
    """A call has one terminal state, the first that the log gives it, and at most one result behind it."""
    history = implementation.of("host", log)
    first_ends = {}
    for stored in log:
        if isinstance(stored.row, rows.ToolEnded) and stored.row.member == "host":
            first_ends.setdefault(stored.row.call_id, stored.row)
    ended = {call_id: record for call_id, record in history.calls.items() if not record.open}
    assert ended.keys() == first_ends.keys()
    for call_id, record in ended.items():
        assert (record.status, record.output) == (first_ends[call_id].status, first_ends[call_id].output)
    assert history.open_calls.keys() == history.calls.keys() - first_ends.keys()
    for turn in history.turns:
        for at, item in enumerate(turn.items):
            if isinstance(item, ToolCall) and item.call_id in first_ends:
                results = [i for i in turn.items if isinstance(i, ToolResult) and i.call_id == item.call_id]
                assert results == [turn.items[at + 1]]


@settings(deadline=None, max_examples=80)
@given(log=conversations() | logs(), data=st.data())
def test_law_01_replays_change_nothing(log, data):
    check_law_01(History, log, data.draw(st.integers(0, len(log))), data.draw(st.integers(1, 3)))


@settings(deadline=None, max_examples=80)
@given(log=conversations())
def test_law_03_rows_only_add(log):
    check_law_03(History, log)


@settings(deadline=None, max_examples=80)
@given(log=conversations())
def test_law_17_one_terminal_state(log):
    check_law_17(History, log)


class Replaying(History):
    """The mutant: does not look at the sequence number."""

    def apply(self, stored):
        self._last_seq = 0
        return super().apply(stored)


class Overwriting(History):
    """The mutant: a later transcript replaces an earlier one."""

    def _fill_transcript(self, row):
        for index, turn in enumerate(self._turns):
            self._turns[index] = evolve(
                turn,
                items=tuple(
                    evolve(item, text=row.text) if isinstance(item, UserMessage) and item.id == row.item_id else item
                    for item in turn.items
                ),
            )


class LastWord(History):
    """The mutant: the last terminal state of a call counts."""

    def _end_call(self, row):
        record = self._calls.get(row.call_id)
        if record is not None:
            self._calls[row.call_id] = evolve(record, status=None)
        super()._end_call(row)


def spoken_turn(turn_id, *parts):
    return Turn(turn_id, Cause("speech"), (UserMessage(f"u_{turn_id}", "", spoken=True, transcript="pending"), *parts))


def stored(*some_rows):
    return [Stored(seq, float(seq), row) for seq, row in enumerate(some_rows, 1)]


LATE_TRANSCRIPTS = stored(
    rows.TurnRow("host", evolve(spoken_turn("t1"), usage=Usage(1, 2))),
    rows.TranscriptFilled("host", "u_t1", "hello"),
    rows.TranscriptFilled("host", "u_t1", ""),
    rows.TranscriptFilled("host", "u_t1", "bye"),
)
LATE_RESULTS = stored(
    rows.ToolStarted("host", "c1", "look", "{}", "read", "t1"),
    rows.TurnRow("host", spoken_turn("t1", ToolCall("k1", "c1", "look", "{}"), AgentMessage("a1", "wait"))),
    rows.ToolEnded("host", "c1", "look", "done", "one", 12),
    rows.ToolEnded("host", "c1", "look", "cancelled", "two"),
)


def test_law_01_mutant_replaying_is_caught():
    with pytest.raises(AssertionError):
        check_law_01(Replaying, LATE_TRANSCRIPTS, 1, 2)


def test_law_03_mutant_overwriting_is_caught():
    with pytest.raises(AssertionError):
        check_law_03(Overwriting, LATE_TRANSCRIPTS)


def test_law_17_mutant_last_word_is_caught():
    with pytest.raises(AssertionError):
        check_law_17(LastWord, LATE_RESULTS)


def test_a_late_transcript_fills_its_slot_once():
    history = History.of("host", LATE_TRANSCRIPTS)
    (turn,) = history.turns
    assert turn.user_text == "hello"
    assert turn.items[0].transcript == "final"
    assert turn.seq == 1
    assert history.usage == Usage(1, 2)
    assert history.statistics().refused_transcripts == 2
    assert history.statistics().empty_slots == 0


def test_a_transcript_that_failed_can_still_come():
    history = History.of("host", [*LATE_TRANSCRIPTS[:1]])
    history.apply(Stored(2, 2.0, rows.TranscriptFilled("host", "u_t1", "", failed=True)))
    assert history.turns[0].items[0].transcript == "failed"
    history.apply(Stored(3, 3.0, rows.TranscriptFilled("host", "u_t1", "after all")))
    assert history.turns[0].items[0].transcript == "final"
    assert history.turns[0].user_text == "after all"


def test_a_late_result_appears_right_behind_its_call():
    history = History.of("host", LATE_RESULTS[:2])
    assert set(history.open_calls) == {"c1"}
    history.apply(LATE_RESULTS[2])
    _, call, result, message = history.turns[0].items
    assert isinstance(call, ToolCall)
    assert isinstance(message, AgentMessage)
    assert (result.call_id, result.status, result.output, result.elapsed_ms) == ("c1", "done", "one", 12)
    assert not history.open_calls
    history.apply(LATE_RESULTS[3])
    assert history.calls["c1"].output == "one"
    assert history.statistics().refused_calls == 1


def test_a_result_that_the_ledger_has_before_the_turn_is_committed_without_it():
    started, turn, ended, _ = LATE_RESULTS
    history = History.of("host", [started, evolve(ended, seq=2), evolve(turn, seq=3)])
    assert isinstance(history.turns[0].items[2], ToolResult)


def test_a_denied_call_has_a_record_and_no_start():
    history = History.of("host", stored(rows.ToolEnded("host", "c1", "write", "denied", "no")))
    record = history.calls["c1"]
    assert (record.started, record.status, record.open) == (False, "denied", False)


def test_generations_and_messages():
    history = History.of(
        "host",
        stored(
            rows.MemberSpawned("host", 1, "waiter", "m-1"),
            rows.MessageAdmitted("host", "m1", "menu", "tell", "soup is out"),
            rows.MessageAdmitted("host", "m2", "menu", "ask", "which table?", 1),
            rows.MessageEnded("host", "m1", "done"),
            rows.MemberEnded("host", 1, "crashed"),
            rows.MemberSpawned("host", 2, "waiter", "m-2"),
            rows.MemberEnded("host", 1, "retired"),
            rows.MemberSpawned("menu", 9, "cook", "m-1"),
            rows.RunStopped("done"),
        ),
    )
    assert history.generation == 2
    assert history.running
    assert history.spawned == rows.MemberSpawned("host", 2, "waiter", "m-2")
    assert set(history.open_messages) == {"m2"}
    assert history.last_seq == 9
    assert history.usage == NO_USAGE


@given(log=conversations() | logs(), data=st.data())
def test_who_reads_on_is_given_just_what_was_added_or_changed(log, data):
    at = data.draw(st.integers(0, len(log)))
    history = History.of("host", log[:at])
    revision, before = history.revision, tuple(history.turns)
    for stored in log[at:]:
        history.apply(stored)
    now = dict(enumerate(history.turns))
    assert dict(history.changed_since(revision)) == {
        index: turn for index, turn in now.items() if index >= len(before) or before[index] is not turn
    }
    assert (history.revision == revision) == (tuple(history.turns) == before)
    assert dict(history.changed_since(0)) == now


def test_applying_a_row_costs_the_same_at_any_length():
    """Counted in Python function calls, not seconds: row 10 and row 20 000 take the same."""

    def calls_for(history, stored):
        count = 0

        def profile(_frame, event, _argument):
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            history.apply(stored)
        finally:
            sys.setprofile(None)
        return count

    history = History("host")
    costs = {}
    for seq in range(1, 20_001, 2):
        turn = Stored(seq, 0.0, rows.TurnRow("host", spoken_turn(f"t{seq}", ToolCall("k", f"c{seq}", "look", "{}"))))
        end = Stored(seq + 1, 0.0, rows.ToolEnded("host", f"c{seq}", "look", "done", "x"))
        if seq in (11, 19_999):
            costs[seq] = (calls_for(history, turn), calls_for(history, end))
        else:
            history.apply(turn)
            history.apply(end)
    assert costs[11] == costs[19_999]
