"""The one gate to the log: a hand-over is in the transaction of its turn, and folds see every row once, in order."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from mob.errors import StoreFull
from mob.history.floor import Floor
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.rows import FloorMoved, MessageEnded, TurnRow
from mob.store.memory import MemoryStore
from mob.team.floor import FloorMachine
from mob.team.teamlog import TeamLog


def turn(number):
    return Turn(number, Cause("text"), (UserMessage(f"u{number}", "hello"), AgentMessage(f"a{number}", "hi")))


class SlowLog:
    """Writes like the memory store, but its callers wake in whatever order the test says; or it is full."""

    def __init__(self, log, delays=()):
        self.log, self.delays, self.full = log, iter(delays), False

    @property
    def run_id(self):
        return self.log.run_id

    @property
    def last_seq(self):
        return self.log.last_seq

    async def append(self, *rows):
        if self.full:
            await trio.lowlevel.checkpoint()
            raise StoreFull("no room")
        stored = await self.log.append(*rows)
        with trio.CancelScope(shield=True):
            await trio.sleep(next(self.delays, 0))
        return stored


async def test_the_hand_over_is_in_the_transaction_of_its_turn():
    machine, floor, seen = FloorMachine(entry="ann", max_hops=3, runs=lambda _: True), Floor(), []
    async with MemoryStore().open_run("r", create=True) as log:
        team_log = TeamLog(log, machine, floor, seen.append)
        await team_log.append(machine.start())
        machine.request("ann", "bob", "cards", hops=1)
        stored = await team_log.append(TurnRow("ann", turn("t1")))
        assert [type(each.row) for each in stored] == [TurnRow], "the writer gets its own rows back"
        assert [type(each.row) for each in seen] == [FloorMoved, TurnRow, FloorMoved]
        assert floor.holder == "bob"
        assert team_log.statistics().transactions == 2
        assert team_log.statistics().turns == 1


async def test_a_move_that_cannot_be_written_has_not_happened():
    machine, floor = FloorMachine(entry="ann", max_hops=3, runs=lambda _: True), Floor()
    async with MemoryStore().open_run("r", create=True) as log:
        slow = SlowLog(log)
        team_log = TeamLog(slow, machine, floor, lambda _: None)
        await team_log.append(machine.start())
        slow.full = True
        with pytest.raises(StoreFull):
            await team_log.append(machine.picked("bob", "the user"))
        assert machine.holder == floor.holder == "ann"
        slow.full = False
        await team_log.append(machine.picked("bob", "the user"))
        assert floor.holder == "bob"
        assert [stored.row.origin async for stored in log.read()] == [None, "ann"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_folds_see_each_row_once_in_order_before_its_append_returns(delays):
    async def main():
        seen = []
        async with MemoryStore().open_run("r", create=True) as log, trio.open_nursery() as nursery:
            machine = FloorMachine(entry="ann", max_hops=3, runs=lambda _: True)
            team_log = TeamLog(SlowLog(log, delays), machine, Floor(), seen.append)

            async def write(number):
                stored = await team_log.append(MessageEnded("ann", f"m{number}", "done"))
                assert stored[0] in seen

            for number in range(len(delays)):
                nursery.start_soon(write, number)
        assert [each.seq for each in seen] == list(range(1, len(delays) + 1))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
