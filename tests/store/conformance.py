"""What every store must do, as plain functions of a store. `test_conformance.py` runs each of them on each store."""

import gc

import pytest
import trio

from mob.errors import RunUnknown, StoreError, StoreLocked
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.rows import FloorMoved, RunStarted, RunStopped, Stored, ToolEnded, TurnRow

STARTED = RunStarted("front-desk", "d1", seed=7)


def turn_row(n, member="host", text="hello"):
    """A turn that names its number."""
    said = (UserMessage(f"u{n}", text), AgentMessage(f"a{n}", f"answer {n}"))
    return TurnRow(member, Turn(f"t{n}", Cause("text"), said))


async def collect(rows):
    return [stored async for stored in rows]


async def rows_are_numbered_from_one_without_gaps(store):
    async with store.open_run("r1", create=True) as log:
        assert (log.run_id, log.last_seq) == ("r1", 0)
        first = await log.append(STARTED)
        second = await log.append(turn_row(1), FloorMoved(None, None, "host", "entry"), turn_row(2))
        assert [stored.seq for stored in (*first, *second)] == [1, 2, 3, 4]
        assert log.last_seq == 4
        assert second[0].row == turn_row(1)
        assert await collect(log.read()) == [*first, *second]
    assert await collect(store.read_run("r1")) == [*first, *second]
    assert await collect(store.read_run("r1", after=2)) == list(second[1:])
    assert await collect(store.read_run("r1", after=1, kinds=["turn"])) == [second[0], second[2]]


async def an_append_of_nothing_is_nothing(store):
    async with store.open_run("r1", create=True) as log:
        assert await log.append() == ()
        assert log.last_seq == 0
        assert await collect(log.read()) == []


async def runs_do_not_mix(store):
    async with store.open_run("a", create=True) as a, store.open_run("b", create=True) as b:
        for n in range(5):
            await a.append(turn_row(n, text="in a"))
            await b.append(turn_row(n, text="in b"))
    for run_id in ("a", "b"):
        rows = await collect(store.read_run(run_id))
        assert [stored.seq for stored in rows] == [1, 2, 3, 4, 5]
        assert all(stored.row.turn.user_text == f"in {run_id}" for stored in rows)


async def a_run_goes_on_where_it_ended(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(STARTED, turn_row(1))
    async with store.open_run("r1", create=False) as log:
        assert log.last_seq == 2
        (stored,) = await log.append(turn_row(2))
        assert stored.seq == 3
    async with store.open_run("r1", create=True) as log:
        assert log.last_seq == 3


async def reading_chooses_by_member_kind_and_position(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(STARTED)
        for n in range(200):
            await log.append(turn_row(n, member=("host", "menu")[n % 2]))
        await log.append(ToolEnded("menu", "c1", "look", "done", "x"), RunStopped("done"))
        seqs = [stored.seq async for stored in log.read(member="menu")]
        assert seqs == [*range(3, 202, 2), 202]
        assert [s.seq async for s in log.read(member="menu", kinds=("tool_ended", "run_stopped"))] == [202]
        assert [s.seq async for s in log.read(kinds=("run_started", "run_stopped"))] == [1, 203]
        assert [s.seq async for s in log.read(after=200)] == [201, 202, 203]
        assert [s.seq async for s in log.read(after=203)] == []
        assert [s.seq async for s in log.read(after=-5, kinds=("run_started",))] == [1]
    assert [s.seq async for s in store.read_run("r1", member="menu")] == seqs


async def a_reader_sees_the_log_as_it_was(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(*(turn_row(n) for n in range(100)))
        seen = []
        async for stored in log.read():
            seen.append(stored.seq)
            await log.append(turn_row(0))
        assert seen == list(range(1, 101))
        assert log.last_seq == 200


async def a_reader_may_be_left_early(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(*(turn_row(n) for n in range(100)))
        reader = log.read()
        assert (await anext(reader)).seq == 1
        del reader
        gc.collect()
        await log.append(turn_row(1))


async def one_writer_at_a_time(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(STARTED)
        with pytest.raises(StoreLocked, match="r1"):
            async with store.open_run("r1", create=False):
                raise AssertionError("opened twice")
        await log.append(turn_row(1))
        assert len(await collect(store.read_run("r1"))) == 2, "reading needs no lock"
    async with store.open_run("r1", create=False) as log:
        assert log.last_seq == 2


async def unknown_runs_are_refused(store):
    assert await store.runs() == ()
    with pytest.raises(RunUnknown, match="r1"):
        async with store.open_run("r1", create=False):
            raise AssertionError("opened")
    with pytest.raises(RunUnknown, match="r1"):
        await collect(store.read_run("r1"))
    assert await store.runs() == ()


async def runs_are_listed_oldest_first(store):
    async with store.open_run("second", create=True) as log:
        await log.append(STARTED, turn_row(1), turn_row(2))
        (run,) = await store.runs()
        assert (run.run_id, run.mob, run.rows, run.turns, run.stopped) == ("second", "front-desk", 3, 2, False)
        await log.append(RunStopped("done"))
        await trio.sleep(0.01)
        async with store.open_run("another", create=True):
            pass
    first, second = await store.runs()
    assert (first.run_id, first.rows, first.stopped) == ("second", 4, True)
    assert (second.run_id, second.mob, second.rows) == ("another", "", 0)
    assert first.started_at <= second.started_at
    async with store.open_run("second", create=False) as log:
        await log.append(RunStarted("front-desk", "d1", seed=7, resumed=True))
    assert not (await store.runs())[0].stopped


async def a_closed_log_is_refused(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(STARTED)
    with pytest.raises(StoreError, match="closed"):
        await log.append(turn_row(1))
    assert log.last_seq == 1


async def rows_carry_the_time_of_their_append(store):
    async with store.open_run("r1", create=True) as log:
        (first,) = await log.append(STARTED)
        await trio.sleep(0.02)
        second, third = await log.append(turn_row(1), turn_row(2))
    assert 0.019 <= second.at - first.at < 60
    assert second.at == third.at


async def a_cancelled_append_wrote_nothing(store):
    async with store.open_run("r1", create=True) as log:
        await log.append(STARTED)
        with trio.CancelScope() as scope:
            scope.cancel()
            await log.append(turn_row(1), turn_row(2))
            raise AssertionError("the append was not cancelled")
        assert scope.cancelled_caught
        (stored,) = await log.append(turn_row(3))
        assert stored.seq == 2
        assert [s.row for s in await collect(log.read())] == [STARTED, turn_row(3)]


async def appends_of_many_tasks_stay_whole(store):
    """Each append's rows stand together and in order, and each task's appends in its own order."""

    async def write(name):
        for n in range(10):
            stored = await log.append(*(turn_row(f"{name}.{n}.{part}") for part in range(3)))
            assert [s.seq for s in stored] == list(range(stored[0].seq, stored[0].seq + 3))

    async with store.open_run("r1", create=True) as log:
        async with trio.open_nursery() as nursery:
            for name in range(8):
                nursery.start_soon(write, name)
        rows = await collect(log.read())
    assert [stored.seq for stored in rows] == list(range(1, 241))
    triples = [[stored.row.turn.id[1:].split(".") for stored in rows[at : at + 3]] for at in range(0, 240, 3)]
    for triple in triples:
        assert [part for _, _, part in triple] == ["0", "1", "2"]
        assert len({(name, n) for name, n, _ in triple}) == 1
    for name in map(str, range(8)):
        assert [triple[0][1] for triple in triples if triple[0][0] == name] == [str(n) for n in range(10)]


async def cancelling_anywhere_leaves_an_append_whole_or_absent(store):
    """Appends are cancelled at random; each is in the log wholly (then it returned) or not at all."""
    outcomes = {}

    async def write(n):
        with trio.CancelScope() as scopes[n]:
            await trio.lowlevel.checkpoint()
            stored = await log.append(turn_row(f"{n}.0"), turn_row(f"{n}.1"))
            outcomes[n] = [s.seq for s in stored]

    async with store.open_run("r1", create=True) as log:
        for at in range(0, 60, 6):
            scopes = {}
            async with trio.open_nursery() as nursery:
                for n in range(at, at + 6):
                    nursery.start_soon(write, n)
                for _ in range(at // 12):
                    await trio.lowlevel.checkpoint()
                for n in (at, at + 3, at + 5):
                    if n in scopes:
                        scopes[n].cancel()
        rows = await collect(log.read())
        assert [stored.seq for stored in rows] == list(range(1, len(rows) + 1))
        found = {}
        for stored in rows:
            found.setdefault(int(stored.row.turn.id[1:].split(".")[0]), []).append(stored.seq)
        assert found == outcomes
        (last,) = await log.append(turn_row("end"))
        assert last == Stored(len(rows) + 1, last.at, turn_row("end"))


async def the_log_is_append_only(store):
    """Law 3: what was read once is read again the same, whatever is appended; no row comes in the past."""
    async with store.open_run("r1", create=True) as log:
        before = []
        for n in range(30):
            await log.append(turn_row(n), turn_row(n, member="menu"))
            now = await collect(log.read())
            assert now[: len(before)] == before
            assert len(now) == len(before) + 2
            before = now


ALL = (
    rows_are_numbered_from_one_without_gaps,
    an_append_of_nothing_is_nothing,
    runs_do_not_mix,
    a_run_goes_on_where_it_ended,
    reading_chooses_by_member_kind_and_position,
    a_reader_sees_the_log_as_it_was,
    a_reader_may_be_left_early,
    one_writer_at_a_time,
    unknown_runs_are_refused,
    runs_are_listed_oldest_first,
    a_closed_log_is_refused,
    rows_carry_the_time_of_their_append,
    a_cancelled_append_wrote_nothing,
    appends_of_many_tasks_stay_whole,
    cancelling_anywhere_leaves_an_append_whole_or_absent,
    the_log_is_append_only,
)
