"""The turn desk, the journal and the mailbox: one turn at a time, one writer, one ending for each letter."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from desks import open_bench
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from mob.definition.model import Budget
from mob.errors import BudgetExceeded, MailboxFull, MemberFailed, MemberNotRunning, StoreError, StoreFull
from mob.history.fold import History
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.rows import TurnRow
from mob.sessions.journal import Journal
from mob.sessions.mailbox import Answer, Letter, Mailbox
from mob.store.memory import MemoryStore
from mob.values import Usage

TEXT = Cause("text")


def turn(name: str = "t1", **changes) -> Turn:
    return Turn(name, TEXT, (UserMessage(f"u_{name}", "hello"), AgentMessage(f"a_{name}", "hi")), **changes)


async def test_turns_are_admitted_one_at_a_time_in_the_order_of_asking(autojump_clock):
    """The slot is free when the turn is durable, and not before."""
    order = []

    async def one(bench, name):
        await bench.desk.admit(TEXT)
        order.append(f"{name} begins")
        await trio.sleep(1)
        await bench.desk.commit(turn(name))
        order.append(f"{name} ends")

    async with open_bench() as bench:
        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(one, bench, name)
                await wait_all_tasks_blocked()
            assert bench.desk.statistics().waiting == 2
            assert bench.desk.running == TEXT
        assert [each.id for each in bench.history.turns] == ["a", "b", "c"]
        assert bench.desk.running is None
        assert [event.type for event in bench.events] == ["turn_started", "turn_committed"] * 3
    assert order == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_a_turn_is_told_of_only_once_it_is_durable(autojump_clock):
    """And the fold has it by then."""

    class Watching:
        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            assert [event.type for event in bench.events] == ["turn_started"]
            return await self._log.append(*rows)

        def __getattr__(self, name):
            return getattr(self._log, name)

    async with open_bench(wrap=Watching) as bench:
        await bench.desk.admit(TEXT)
        committed = await bench.desk.commit(turn())
        assert committed.seq == 1
        assert bench.history.turns[0] == committed
        assert (bench.events[1].user, bench.events[1].agent) == ("hello", "hi")


async def test_a_cancelled_commit_is_a_commit(autojump_clock):
    """A turn that has ended is kept, whoever stops waiting for it."""
    async with open_bench() as bench:
        await bench.desk.admit(TEXT)
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.desk.commit(turn())
        assert len(bench.history.turns) == 1
        assert bench.desk.running is None


async def test_a_commit_that_fails_frees_the_slot(autojump_clock):
    """The next turn may fare better; nothing half-written is in the fold."""

    class Full:
        full = True

        def __init__(self, log):
            self._log = log

        async def append(self, *rows):
            await trio.lowlevel.checkpoint()
            if Full.full:
                raise StoreFull("no room")
            return await self._log.append(*rows)

        def __getattr__(self, name):
            return getattr(self._log, name)

    async with open_bench(wrap=Full) as bench:
        await bench.desk.admit(TEXT)
        with pytest.raises(StoreFull):
            await bench.desk.commit(turn("lost"))
        assert [event.type for event in bench.events] == ["turn_started"]
        Full.full = False
        await bench.desk.admit(TEXT)
        await bench.desk.commit(turn("kept"))
        assert [each.id for each in bench.history.turns] == ["kept"]


async def test_an_abandoned_turn_leaves_nothing(autojump_clock):
    """Nothing in the log, nothing reserved, and its place in the budget is given back."""
    async with open_bench(budget=Budget(max_turns=1)) as bench:
        await bench.desk.admit(TEXT)
        await bench.desk.make_ready()
        bench.desk.abandon()
        bench.desk.abandon()
        assert bench.desk.statistics().abandoned == 1
        await bench.desk.admit(TEXT)
        await bench.desk.commit(turn())
        with pytest.raises(BudgetExceeded, match="max_turns"):
            await bench.desk.admit(TEXT)
        assert bench.desk.running is None


async def test_what_a_turn_leaves_in_flight_is_settled_as_unreported(autojump_clock):
    """A connection that died mid-answer must not hold the budget for ever."""
    async with open_bench(budget=Budget(max_tokens=100)) as bench:
        await bench.desk.admit(TEXT)
        await bench.desk.make_ready()
        bench.desk.reserve_nowait()
        await bench.desk.commit(turn())
        await bench.desk.admit(TEXT)
        bench.desk.reserve_nowait()
        assert bench.desk.settle(Usage(input_tokens=100)).total_tokens == 100
        assert bench.desk.settle(Usage(input_tokens=1)).total_tokens == 1
        with pytest.raises(BudgetExceeded):
            await bench.desk.make_ready()
        assert bench.desk.running is None


async def test_a_turn_that_may_not_make_a_request_is_not_begun(autojump_clock):
    """The slot is free for whoever may."""
    async with open_bench(budget=Budget(max_tokens=10)) as bench:
        await bench.desk.admit(TEXT)
        await bench.desk.reserve(5)
        bench.desk.settle(Usage(input_tokens=10))
        with pytest.raises(BudgetExceeded, match="max_tokens"):
            await bench.desk.reserve(5)
        bench.desk.abandon()
        assert bench.desk.running is None


class _SlowLog:
    """A log that takes its time before and after each append."""

    def __init__(self, log, delays):
        self._log = log
        self.delays = delays

    async def append(self, *rows):
        before, after = self.delays.pop()
        await trio.sleep(before)
        stored = await self._log.append(*rows)
        await trio.sleep(after)
        return stored

    def __getattr__(self, name):
        return getattr(self._log, name)


async def _check_law_03(journals: type[Journal], writes) -> None:
    store = MemoryStore()
    async with store.open_run("run", create=True) as log:
        slow = _SlowLog(log, [(before, after) for before, after, _ in reversed(writes)])
        journal = journals(slow, History("host"), timeout_s=3.5)

        async def write(index, give_up):
            with trio.move_on_after(float("inf") if give_up is None else give_up + 0.5):
                with suppress(StoreError):
                    await journal.write(TurnRow("host", turn(f"t{index}"), 1))

        async with trio.open_nursery() as nursery:
            for index, (_, _, give_up) in enumerate(writes):
                nursery.start_soon(write, index, give_up)
        slow.delays[:] = [(0, 0)]
        await journal.write(TurnRow("host", turn("last"), 1))
    rows = [row async for row in store.read_run("run")]
    assert journal.history.turns == History.of("host", rows).turns
    assert len({row.row.turn.id for row in rows}) == len(rows)


def check_law_03(journals: type[Journal], writes) -> None:
    trio.run(_check_law_03, journals, writes, clock=MockClock(autojump_threshold=0))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4) | st.none()), max_size=6))
def test_law_03_concurrent_writes_are_folded_in_the_order_of_the_log(writes):
    """One writer: whoever writes, however slow the store is, whoever gives up: the fold is the fold of the log."""
    check_law_03(Journal, writes)


def test_law_03_mutant_that_lets_two_write_at_once_is_caught():
    """The later row is folded first, and the earlier one is then taken for a replay."""

    class Mutant(Journal):
        async def write(self, *rows):
            stored = await self._log.append(*rows)
            self._fold(stored)
            return stored

    check_law_03(Journal, [(0, 3, None), (1, 0, None)])
    with pytest.raises(AssertionError):
        check_law_03(Mutant, [(0, 3, None), (1, 0, None)])


def test_law_03_mutant_that_does_not_catch_up_is_caught():
    """A row that was written although nobody said so in time is in the log and not in the fold."""

    class Mutant(Journal):
        async def _catch_up(self):
            await trio.lowlevel.checkpoint()

    check_law_03(Journal, [(0, 4, None)])
    with pytest.raises(AssertionError):
        check_law_03(Mutant, [(0, 4, None)])


async def test_a_journal_in_a_hurry_gives_up_at_the_moment_it_was_told(autojump_clock):
    """So that stopping is bounded, also for a write under way."""

    class Stuck:
        async def append(self, *rows):
            await trio.sleep_forever()

    journal = Journal(Stuck(), History("host"), timeout_s=100)
    errors = []

    async def write():
        try:
            await journal.write(TurnRow("host", turn(), 1))
        except StoreError as error:
            errors.append((trio.current_time(), str(error)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.sleep(1)
        journal.hurry(2.0)
    assert errors[0][0] == 2.0
    assert "did not take 1 rows of host" in errors[0][1]


def letter() -> Letter:
    return Letter((), TEXT)


async def test_a_full_mailbox_refuses_at_the_door(autojump_clock):
    """What was taken stays in order; what was taken back never runs."""
    mailbox = Mailbox("host", 2)
    first, second, third = letter(), letter(), letter()
    mailbox.put(first)
    mailbox.put(second)
    with pytest.raises(MailboxFull, match=r"host has 2 messages waiting.*max_mailbox"):
        mailbox.put(third)
    assert mailbox.withdraw(first)
    assert not mailbox.withdraw(third)
    assert await mailbox.next() is second
    assert not mailbox.withdraw(second)
    mailbox.put(third)
    assert mailbox.statistics().refused == 1
    mailbox.close()
    with pytest.raises(MemberNotRunning):
        mailbox.check_room()
    assert await mailbox.next() is third
    assert await mailbox.next() is None


async def test_a_letter_has_one_ending(autojump_clock):
    """The first one."""
    made = letter()
    answer = Answer("yes", turn())
    made.close(answer)
    made.close(MemberFailed("too late"))
    assert await made.wait() is answer
    failed = letter()
    failed.close(MemberFailed("no"))
    with pytest.raises(MemberFailed, match="no"):
        await failed.wait()


async def test_a_mailbox_that_ends_ends_its_letters(autojump_clock):
    """Nobody waits for ever on a member that is gone."""
    mailbox = Mailbox("host", 2)
    waiting = letter()
    mailbox.put(waiting)
    mailbox.refuse_all(MemberNotRunning("gone"))
    with pytest.raises(MemberNotRunning):
        await waiting.wait()
    assert mailbox.statistics().waiting == 0
