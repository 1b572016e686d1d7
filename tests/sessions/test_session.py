"""The session as a whole: one turn at a time, cancellation everywhere, stopping, and going on after a crash."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import pairwise

import pytest
import trio
from desks import tool
from far_end import calls, hangs, open_stage, says, team
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from mob.definition.model import Limits
from mob.errors import MailboxFull, MemberNotRunning, MobError, NotRealtime, TurnTimedOut
from mob.history.fold import History
from mob.history.items import ToolCall, ToolResult
from mob.history.rows import ToolEnded, ToolStarted, TurnRow
from mob.sessions.ledger import STOPPED
from mob.store.memory import MemoryStore


async def test_letters_are_served_one_after_the_other(autojump_clock):
    """In the order in which they came."""
    async with open_stage(*[says("a", every=1)] * 3) as stage:
        letters = [stage.session.tell_nowait(f"{number}") for number in range(3)]
        answers = [await letter.wait() for letter in letters]
        assert trio.current_time() == 3.0
        assert stage.session.statistics().mailbox.waiting == 0
    assert [answer.turn.user_text for answer in answers] == ["0", "1", "2"]
    assert [answer.turn.seq for answer in answers] == [1, 2, 3]


async def test_a_full_mailbox_refuses_and_forgets_nothing(autojump_clock):
    """What was taken in is answered."""
    async with open_stage(*[says("a", every=1)] * 5, definition=team(limits=Limits(max_mailbox=2))) as stage:
        first = stage.session.tell_nowait("0")
        await wait_all_tasks_blocked()
        rest = [stage.session.tell_nowait("1"), stage.session.tell_nowait("2")]
        with pytest.raises(MailboxFull):
            await stage.session.ask("3")
        with pytest.raises(MailboxFull):
            stage.session.check_room()
        for letter in (first, *rest):
            await letter.wait()
        stage.session.check_room()
    assert len(stage.session.history()) == 3


async def test_an_asker_who_gives_up_takes_a_waiting_message_back(autojump_clock):
    """It never runs; one that runs already is interrupted."""
    async with open_stage(*[says("a", "b", "c", every=1)] * 3) as stage:
        with trio.move_on_after(1.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stage.session.ask, "runs")
                await wait_all_tasks_blocked()
                nursery.start_soon(stage.session.ask, "waits")
        answer = await stage.session.ask("after")
        turns = stage.session.history()
    assert [(turn.user_text, turn.status, turn.agent_text) for turn in turns] == [
        ("runs", "interrupted", "ab"),
        ("after", "done", "abc"),
    ]
    assert answer.turn == turns[1]
    assert len(stage.requests) == 2


async def test_an_ask_with_a_timeout_ends_in_time(autojump_clock):
    """Waiting in the mailbox counts."""
    async with open_stage(says(*"abcdef", every=1), says("x")) as stage:
        stage.session.tell_nowait("long")
        with pytest.raises(TurnTimedOut, match="did not answer within 2 s"):
            await stage.session.ask("short", timeout=2)
        assert trio.current_time() == 2.0
        with pytest.raises(TurnTimedOut):
            await stage.session.ask("short", timeout=0)
        await trio.sleep(10)
        assert [turn.user_text for turn in stage.session.history()] == ["long"]


class _StopAt(trio.abc.Instrument):
    """Cancels a scope when this many task steps have been made."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps

    def before_task_step(self, task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


@pytest.mark.parametrize("effect", ["read", "write"])
def test_an_ask_can_be_cancelled_at_every_step(effect):
    """Cancelled after 1, 2, 3 … steps of the whole program: nothing is torn, and the next question is answered."""

    async def cancelled_at(steps: int) -> bool:
        started: Counter[str] = Counter()

        async def look(arguments, context):
            started[context.call_id] += 1
            await trio.sleep(1)
            return "looked"

        async def brain(exchange):
            *_, question = (message.text for message in exchange.request.messages if message.role == "user")
            if question == "Second?":
                await says("Two.")(exchange)
            elif exchange.request.messages[-1].role == "tool":
                await says("One.", every=1)(exchange)
            else:
                await calls("look")(exchange)

        tools = [tool(look, effect=effect, keeps_running=effect == "write")]
        async with open_stage(tools=tools, otherwise=brain) as stage:
            scope = trio.CancelScope()
            instrument = _StopAt(scope, steps)
            trio.lowlevel.add_instrument(instrument)
            with scope:
                await stage.session.ask("First?")
            trio.lowlevel.remove_instrument(instrument)
            assert (await stage.session.ask("Second?")).text == "Two."
            await trio.sleep(5)
            await _assert_whole(stage, started)
            return scope.cancelled_caught

    steps = 1
    while trio.run(cancelled_at, steps, clock=MockClock(autojump_threshold=0)):
        steps += 1
    assert steps > 50


async def _assert_whole(stage, started: Counter[str]) -> None:
    turns = stage.session.history()
    assert turns == tuple(History.of("host", [stored async for stored in stage.log.read()]).turns)
    assert turns[-1].user_text == "Second?"
    assert all(turn.status in ("done", "interrupted") for turn in turns)
    for turn in turns:
        called = [item.call_id for item in turn.items if isinstance(item, ToolCall)]
        assert called == [item.call_id for item in turn.items if isinstance(item, ToolResult)]
    rows = await stage.rows()
    ended = Counter(row.call_id for row in rows if isinstance(row, ToolEnded))
    assert all(count == 1 for count in ended.values())
    assert {row.call_id for row in rows if isinstance(row, ToolStarted)} <= set(ended)
    assert all(count == 1 for count in started.values())
    statistics = stage.session.statistics()
    assert (statistics.state, statistics.desk.running, statistics.desk.waiting) == ("idle", None, 0)
    assert statistics.ledger.running == 0
    assert statistics.budget.in_flight == 0


async def test_stopping_serves_what_was_taken_in(autojump_clock):
    """And takes no more."""
    async with open_stage(says("a", every=1), says("b", every=1)) as stage:
        letters = [stage.session.tell_nowait("0"), stage.session.tell_nowait("1")]
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.stop)
            await wait_all_tasks_blocked()
            with pytest.raises(MemberNotRunning):
                stage.session.tell_nowait("2")
        assert [(await letter.wait()).text for letter in letters] == ["a", "b"]
        assert not stage.session.running


STAGES = {
    "idle": [],
    "asking": [hangs],
    "answering": [says(*"abcdefghij", every=1)],
    "calling": [calls("look"), says("x")],
    "calling a write": [calls("book"), says("x")],
    "calling the deaf": [calls("deaf"), says("x")],
}


async def _assert_gone(stage, letters, *, every_end_is_written: bool) -> None:
    assert not stage.session.running
    for letter in letters:
        assert letter.ended, "nobody waits on a member that is gone"
        with suppress(MobError):
            await letter.wait()
    for connection in stage.network.connections:
        with pytest.raises(trio.BrokenResourceError):
            await connection.theirs.send_all(b"is anybody there?")
    rows = await stage.rows()
    if every_end_is_written:
        ended = Counter(row.call_id for row in rows if isinstance(row, ToolEnded))
        assert ended == Counter(row.call_id for row in rows if isinstance(row, ToolStarted))


async def _check_law_24(kind: str, moment: float, store_takes: float, *, cancel: bool) -> None:
    async def look(arguments, context):
        await trio.sleep(30)

    async def deaf(arguments, context):
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    class Slow:
        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            await trio.sleep(store_takes)
            return await self._log.append(*rows)

        def __getattr__(self, name):
            return getattr(self._log, name)

    tools = [
        tool(look, "look"),
        tool(look, "book", effect="write", keeps_running=True),
        tool(deaf, "deaf"),
    ]
    before = trio.lowlevel.current_statistics().tasks_living
    bound = Limits().shutdown_timeout_s
    async with open_stage(*STAGES[kind], tools=tools, wrap=Slow) as stage:
        letters = [] if kind == "idle" else [stage.session.tell_nowait("0"), stage.session.tell_nowait("1")]
        await trio.sleep(moment)
        began = trio.current_time()
        if cancel:
            stage.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await stage.session.stop()
            assert trio.current_time() - began <= bound, "stopping is bounded"
            await _assert_gone(stage, letters, every_end_is_written=store_takes < 1)
    assert trio.lowlevel.current_statistics().tasks_living == before


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(STAGES)),
    st.floats(0, 6),
    st.sampled_from([0.0, 0.3, 1.0, 1000.0]),
    st.booleans(),
)
def test_law_24_stopping_is_bounded_from_any_state_and_leaves_nothing(kind, moment, store_takes, cancel):
    """Whatever the member does, however slow the store is: within the declared bound, and no task is left."""

    async def main():
        await _check_law_24(kind, moment, store_takes, cancel=cancel)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_turn_that_runs_when_the_member_stops_is_kept(autojump_clock):
    """As cancelled, with what was shown of it."""
    async with open_stage(says(*"abcdefghij", every=1)) as stage:
        letter = stage.session.tell_nowait("0")
        await trio.sleep(2.5)
        await stage.session.stop()
        (turn,) = stage.session.history()
        assert (turn.status, turn.agent_text) == ("cancelled", "abcde")
        assert turn.items[-1].interrupted
        with pytest.raises(MemberNotRunning):
            await letter.wait()


async def test_going_on_after_a_crash(autojump_clock):
    """The next session has every committed turn, closes what was left open, and does not run it again."""
    store = MemoryStore(wall=trio.current_time)
    started = []

    async def book(arguments, context):
        started.append(context.call_id)
        return "booked"

    async with open_stage(says("One."), store=store) as stage:
        await stage.session.ask("First?")
        await stage.log.append(ToolStarted("host", "call_9", "look", "{}", "write", "turn_x", "r"))
    again = [calls("look", ids=["call_9"]), says("Two.")]
    async with open_stage(*again, store=store, tools=[tool(book, effect="write")]) as stage:
        assert stage.session.folded.calls["call_9"].output == STOPPED
        assert not stage.session.folded.open_calls
        answer = await stage.session.ask("Second?")
        assert stage.budget.turns == 2
    # Over request/response the id of another answer is another call; over a live channel it would be the same one.
    assert answer.text == "Two."
    assert started != ["call_9"]
    assert [message.text for message in stage.requests[0].messages[1:]] == ["First?", "One.", "Second?"]


async def test_law_22_a_crash_ends_the_member_and_nobody_else(autojump_clock):
    """A fault of ours comes out of `run`; who waits is told, and the log is whole."""

    class Broken:
        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            if isinstance(rows[0], TurnRow):
                raise ZeroDivisionError
            return await self._log.append(*rows)

        def __getattr__(self, name):
            return getattr(self._log, name)

    async with open_stage(says("x"), run=False, wrap=Broken) as stage:
        crashed = []

        async def host(task_status):
            try:
                await stage.session.run(task_status=task_status)
            except BaseExceptionGroup as group:
                crashed.append(group)

        await stage.nursery.start(host)
        waiting = stage.session.tell_nowait("1")
        with pytest.raises(MemberNotRunning):
            await stage.session.ask("0")
        with pytest.raises(MemberNotRunning):
            await waiting.wait()
        assert crashed[0].subgroup(ZeroDivisionError)
        assert await stage.rows() == []


async def test_a_member_without_a_realtime_model_has_no_live_channel(autojump_clock):
    """Typed, and it says what to do."""
    async with open_stage() as stage:
        with pytest.raises(NotRealtime, match="writer-1, which is not reached over a live channel"):
            async with stage.session.open_live():
                pass
        assert stage.session.channel is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.none() | st.integers(0, 4)), min_size=1, max_size=6))
def test_law_06_turns_are_in_the_log_wholly_and_one_at_a_time(asks):
    """Askers that come, wait and give up at any time: each turn is one row, in order, and none runs beside another."""

    async def main():
        async with open_stage(*[says("a", "b", every=1)] * 20) as stage:

            async def one(index, begins, patience):
                await trio.sleep(begins)
                with trio.move_on_after(float("inf") if patience is None else patience + 0.5):
                    await stage.session.ask(f"{index}")

            async with trio.open_nursery() as nursery:
                for index, (begins, _, patience) in enumerate(asks):
                    nursery.start_soon(one, index, begins, patience)
            await trio.sleep(5)
            rows = [row for row in await stage.rows() if isinstance(row, TurnRow)]
            turns = stage.session.history()
            assert [row.turn.id for row in rows] == [turn.id for turn in turns]
            patient = {f"{index}" for index, (_, _, patience) in enumerate(asks) if patience is None}
            assert patient <= {turn.user_text for turn in turns if turn.status == "done"}
            spans = [
                (turn.timings.started_at, turn.timings.started_at + (turn.timings.total_ms or 0) / 1000)
                for turn in turns
            ]
            assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
            told = [event.turn for event in stage.told("turn_committed")]
            assert told == [turn.id for turn in turns]

    trio.run(main, clock=MockClock(autojump_threshold=0))
