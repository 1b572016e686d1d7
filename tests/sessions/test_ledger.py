"""The ledger: laws 17 and 18, over a real log, under every interruption."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import trio
from desks import Bench, call, open_bench, tool
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from mob.errors import StoreFull
from mob.history.items import Cause
from mob.history.rows import ToolEnded, ToolStarted
from mob.sessions.events import ToolCalled, ToolEnded as ToolEndedEvent
from mob.sessions.ledger import CUT, STOPPED, Ledger
from mob.sessions.running import Outcome
from mob.store.memory import MemoryStore

TEXT = Cause("text")


async def run(bench: Bench, made=None, response_id: str = "r1"):
    return await bench.ledger.run(made or call(), turn_id="t1", response_id=response_id, cause=TEXT)


def virtual(function, *arguments):
    return trio.run(function, *arguments, clock=MockClock(autojump_threshold=0))


async def test_a_call_is_durable_before_it_starts_and_after_it_ended(autojump_clock):
    """Two rows and two events, and the function sees the first row in the log."""
    seen = []

    async def look(arguments, context):
        seen.extend([row.row.kind for row in await bench.rows()])
        await trio.sleep(1.5)
        return f"{arguments['x']} {context.call_id}"

    async with open_bench(tool(look, effect="write")) as bench:
        result = await run(bench, call(arguments='{"x": 1}'))
        rows = [stored.row for stored in await bench.rows()]
        assert bench.ledger.statistics().running == 0
    assert (result.status, result.output, result.elapsed_ms) == ("done", "1 c1", 1500)
    assert seen == ["tool_started"]
    assert rows == [
        ToolStarted("host", "c1", "look", '{"x": 1}', "write", "t1", "r1"),
        ToolEnded("host", "c1", "look", "done", "1 c1", 1500),
    ]
    assert [type(event) for event in bench.events] == [ToolCalled, ToolEndedEvent]


async def test_the_same_id_again_waits_for_the_first_and_gives_its_result(autojump_clock):
    """Side by side, and afterwards."""
    starts = []

    async def look(arguments, context):
        starts.append(context.call_id)
        await trio.sleep(1)
        return str(len(starts))

    results = []

    async def one():
        results.append(await run(bench))

    async with open_bench(tool(look)) as bench:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        results.append(await run(bench))
        assert bench.ledger.statistics().repeated == 3
    assert starts == ["c1"]
    assert {(result.status, result.output, result.id) for result in results} == {("done", "1", results[0].id)}


async def test_a_caller_who_waits_for_the_first_may_run_it_when_the_first_gave_up_early(autojump_clock):
    """No: a call has one life; giving it up ended it."""

    async def look(arguments, context):
        await trio.sleep(10)
        return "late"

    async with open_bench(tool(look)) as bench:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def first():
                with scope:
                    await run(bench)

            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            second = partial(run, bench)
            scope.cancel()
            result = await second()
    assert result.status == "cancelled"


async def test_a_write_of_a_cut_response_never_starts(autojump_clock):
    """Law 18, both where the cut came before and where it came while the first row was being written."""
    started = []

    async def book(arguments, context):
        started.append(context.call_id)
        return "booked"

    class Slow:
        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            await trio.sleep(1)
            return await self._log.append(*rows)

        def __getattr__(self, name):
            return getattr(self._log, name)

    async with open_bench(tool(book, effect="write"), tool(book, "read"), wrap=Slow) as bench:
        bench.ledger.response_cut("r1")
        early = await run(bench)
        read = await run(bench, call("c2", "read"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run, bench, call("c3"), "r2"))
            await trio.sleep(0.5)
            bench.ledger.response_cut("r2")
        late = bench.ledger.result("c3")
        assert bench.ledger.result("c9") is None
    assert (early.status, early.output) == ("denied", CUT)
    assert read.status == "done"
    assert late is not None
    assert (late.status, late.output) == ("denied", CUT)
    assert started == ["c2"]


async def test_what_a_dead_process_left_open_is_closed_and_never_run_again():
    """Law 18 across restarts."""
    store = MemoryStore()
    started = []

    async def book(arguments, context):
        started.append(context.call_id)
        return "booked"

    async with store.open_run("run", create=True) as log:
        await log.append(ToolStarted("host", "c1", "book", "{}", "write", "t1", "r1"))
        await log.append(ToolStarted("other", "c1", "book", "{}", "write", "t1", "r1"))
    async with open_bench(tool(book, "book", effect="write"), store=store) as bench:
        assert await bench.ledger.close_dangling() == 1
        assert await bench.ledger.close_dangling() == 0
        result = await run(bench, call(name="book"))
        assert [row.row for row in await bench.rows()][2:] == [ToolEnded("host", "c1", "book", "cancelled", STOPPED)]
    assert (result.status, result.output) == ("cancelled", STOPPED)
    assert started == []


async def test_a_call_that_cannot_be_recorded_is_not_run(autojump_clock):
    """A full disk costs the call, not the session."""
    started = []

    async def look(arguments, context):
        started.append(1)
        return "x"

    class Full:
        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            await trio.lowlevel.checkpoint()
            raise StoreFull("no room")

        def __getattr__(self, name):
            return getattr(self._log, name)

    async with open_bench(tool(look), wrap=Full) as bench:
        result = await run(bench)
    assert (result.status, result.output) == ("failed", "look was not run: it could not be recorded.")
    assert started == []


async def test_a_store_that_does_not_answer_costs_a_bounded_time(autojump_clock):
    """Then the fold catches up with what did get written."""

    class Stuck:
        stuck = True

        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            stored = await self._log.append(*rows)
            if Stuck.stuck:
                Stuck.stuck = False
                await trio.sleep(1000)
            return stored

        def __getattr__(self, name):
            return getattr(self._log, name)

    async def look(arguments, context):
        return "x"

    async with open_bench(tool(look), wrap=Stuck) as bench:
        result = await run(bench)
        assert result.status == "failed"
        assert trio.current_time() == 5.0
        # The first row was written although nobody said so; the fold has it from the log, and the row that ends it.
        assert bench.history.calls["c1"].status == "failed"
        assert not bench.history.open_calls


# Law 17: exactly one terminal state, whatever happens and whenever.

CASES = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(["read", "write"]),
        "known": st.sampled_from([True, True, True, False]),
        "lasts": st.integers(0, 4),
        "timeout": st.sampled_from([None, 1, 2, 3]),
        "ends": st.sampled_from(["return", "raise", "ignore"]),
        "cancel_at": st.none() | st.integers(0, 5),
        "cut_at": st.none() | st.integers(0, 3),
        "write_takes": st.integers(0, 2),
        "repeat_at": st.none() | st.integers(0, 6),
    }
)


async def _check_law_17(ledger: type[Ledger], cases: list[dict], store: MemoryStore) -> None:
    runs: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    forbidden: list[str] = []

    def made(index: int, case: dict):
        async def function(arguments, context):
            runs[context.call_id] += 1
            if case["effect"] == "write" and case["cut_at"] == 0:
                forbidden.append(context.call_id)
            with trio.CancelScope(shield=case["ends"] == "ignore"):
                await trio.sleep(case["lasts"])
            if case["ends"] == "raise":
                raise ValueError("no")
            return "yes"

        return tool(function, f"tool{index}", effect=case["effect"], timeout_s=case["timeout"])

    class Slow:
        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            await trio.sleep(max((case["write_takes"] for case in cases), default=0) / 10)
            return await self._log.append(*rows)

        def __getattr__(self, name):
            return getattr(self._log, name)

    async def one(bench: Bench, index: int, case: dict) -> None:
        request = call(f"c{index}", f"tool{index}" if case["known"] else "nobody")
        if case["cut_at"] == 0:
            bench.ledger.response_cut(f"r{index}")
        with trio.move_on_after(float("inf") if case["cancel_at"] is None else case["cancel_at"] + 0.05):
            await bench.ledger.run(request, turn_id="t", response_id=f"r{index}", cause=TEXT)
        if case["repeat_at"] is not None:
            await trio.sleep(case["repeat_at"])
            await bench.ledger.run(request, turn_id="t", response_id=f"r{index}", cause=TEXT)

    tools = [made(index, case) for index, case in enumerate(cases)]
    async with open_bench(*tools, store=store, ledger=ledger, wrap=Slow) as bench:
        async with trio.open_nursery() as nursery:
            for index, case in enumerate(cases):
                nursery.start_soon(one, bench, index, case)
        rows = [stored.row for stored in await bench.rows()]
    for row in rows:
        if isinstance(row, ToolEnded):
            ended[row.call_id] += 1
            assert row.status in ("done", "failed", "cancelled", "timed_out", "denied")
    assert ended == Counter({f"c{index}": 1 for index in range(len(cases))}), "one terminal row for each call"
    assert all(count == 1 for count in runs.values()), "nothing runs twice"
    assert not forbidden, "a write of a cut response does not start (law 18)"
    begun = [row.call_id for row in rows if isinstance(row, ToolStarted)]
    assert len(begun) == len(set(begun))
    assert set(runs) <= set(begun), "durable before it starts"
    told = Counter(event.call for event in bench.events if isinstance(event, ToolEndedEvent))
    assert told == ended, "told once, when it ended"


def check_law_17(ledger: type[Ledger], cases: list[dict]) -> None:
    virtual(_check_law_17, ledger, cases, MemoryStore())


@settings(deadline=None, max_examples=100)
@given(st.lists(CASES, max_size=4))
def test_law_17_each_call_has_exactly_one_terminal_state(cases):
    """Whatever the tool does, whoever gives up when, however slow the store is."""
    check_law_17(Ledger, cases)


def assert_caught(check, *arguments) -> None:
    """The property fails for this mutant."""
    with pytest.raises(BaseException) as caught:
        check(*arguments)
    error = caught.value
    assert isinstance(error, AssertionError) or (
        isinstance(error, BaseExceptionGroup) and error.subgroup(AssertionError) is not None
    ), error


PLAIN = {
    "effect": "read",
    "known": True,
    "lasts": 2,
    "timeout": None,
    "ends": "return",
    "cancel_at": None,
    "cut_at": None,
    "write_takes": 0,
    "repeat_at": None,
}


def test_law_17_mutant_that_loses_the_end_of_a_cancelled_call_is_caught():
    """The end is written only when nobody cancelled."""

    class Mutant(Ledger):
        async def _end(self, started, outcome: Outcome, elapsed_ms: int) -> None:
            if outcome.status != "cancelled":
                await super()._end(started, outcome, elapsed_ms)

    check_law_17(Ledger, [{**PLAIN, "cancel_at": 1}])
    assert_caught(check_law_17, Mutant, [{**PLAIN, "cancel_at": 1}])


def test_law_17_mutant_that_does_not_shield_the_end_is_caught():
    """The end is written in the scope that was just cancelled."""

    class Mutant(Ledger):
        async def _end(self, started, outcome: Outcome, elapsed_ms: int) -> None:
            await trio.lowlevel.checkpoint_if_cancelled()
            await super()._end(started, outcome, elapsed_ms)

    assert_caught(check_law_17, Mutant, [{**PLAIN, "cancel_at": 1}])


def test_law_18_mutant_that_forgets_what_ran_is_caught():
    """The same id starts again."""

    class Mutant(Ledger):
        async def run(self, call, *, turn_id, response_id, cause):
            return await self._first_run(call, turn_id, response_id, cause)

    assert_caught(check_law_17, Mutant, [{**PLAIN, "repeat_at": 0}])


def test_law_18_mutant_that_starts_writes_of_cut_responses_is_caught():
    """The cut is not looked at."""

    class Mutant(Ledger):
        def _refusal(self, call, tool, response_id):
            return None if tool else "no"

    check_law_17(Ledger, [{**PLAIN, "effect": "write", "cut_at": 0}])
    assert_caught(check_law_17, Mutant, [{**PLAIN, "effect": "write", "cut_at": 0}])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["c1", "c2", "c3"]), max_size=6), st.integers(0, 12), st.integers(1, 3))
def test_law_18_nothing_starts_twice_for_one_id_across_restarts(requests, dies_at, restarts):
    """Processes that die at any moment, each resent the same calls."""
    started: Counter[str] = Counter()

    async def book(arguments, context):
        started[context.call_id] += 1
        await trio.sleep(1)
        return "booked"

    async def life(store: MemoryStore, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with open_bench(tool(book, effect="write"), store=store) as bench:
                await bench.ledger.close_dangling()
                for each in requests:
                    await run(bench, call(each))

    async def main():
        store = MemoryStore()
        for _ in range(restarts):
            await life(store, dies_at / 2 + 0.25)
        await life(store, 1000)
        rows = [row.row async for row in store.read_run("run")]
        ends = Counter(row.call_id for row in rows if isinstance(row, ToolEnded))
        assert ends == Counter(set(requests))

    virtual(main)
    assert all(count == 1 for count in started.values())
