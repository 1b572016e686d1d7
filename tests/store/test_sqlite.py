"""What is particular to the SQLite store: its file, its thread, its errors and its price."""

import os
import sqlite3
import stat
import threading
from contextlib import closing

import pytest
import trio
from conformance import STARTED, collect, turn_row
from hypothesis import HealthCheck, given, settings, strategies as st

from mob.errors import RunUnknown, StoreCorrupt, StoreError, StoreFull, StoreLocked, UsageError
from mob.store.committer import Committer
from mob.store.sqlite import SqliteStore


async def write_some(path, run_id="r1", count=3):
    async with SqliteStore(path, in_loop=True).open_run(run_id, create=True) as log:
        for n in range(count):
            await log.append(turn_row(n))


async def open_and_close(store, run_id="r1", *, create=True):
    async with store.open_run(run_id, create=create) as log:
        return log.last_seq


def connection_of(log):
    return log._writer._committer.connection


# -- the file


async def test_the_files_are_the_owners_alone(tmp_path):
    old = os.umask(0)
    try:
        async with SqliteStore(tmp_path / "state.sqlite").open_run("r1", create=True) as log:
            await log.append(STARTED)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}, modes


async def test_reading_makes_no_file(tmp_path):
    store = SqliteStore(tmp_path / "state.sqlite")
    assert await store.runs() == ()
    with pytest.raises(RunUnknown):
        await collect(store.read_run("r1"))
    with pytest.raises(RunUnknown):
        await open_and_close(store, create=False)
    assert list(tmp_path.iterdir()) == []


async def test_closing_leaves_one_file_and_no_thread(tmp_path):
    """Law 24, this room's part: leaving the block ends the thread, the lease and the write-ahead log."""
    before = set(threading.enumerate())
    async with SqliteStore(tmp_path / "state.sqlite").open_run("r1", create=True) as log:
        await log.append(STARTED)
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.sqlite"]


async def test_durability_is_what_was_asked_for(tmp_path):
    for durability, level in [("full", 2), ("normal", 1)]:
        store = SqliteStore(tmp_path / f"{durability}.sqlite", durability=durability, in_loop=True)
        async with store.open_run("r1", create=True) as log:
            assert connection_of(log).execute("PRAGMA synchronous").fetchone() == (level,)
            assert connection_of(log).execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("name", ["state.sqlite", "with space?#%41.db", "über.sqlite"])
async def test_any_name_will_do(tmp_path, name):
    await write_some(tmp_path / name)
    assert (tmp_path / name).exists()
    (run,) = await SqliteStore(tmp_path / name).runs()
    assert run.rows == 3


async def test_a_file_by_two_names_has_one_lease(tmp_path):
    (tmp_path / "other.sqlite").symlink_to(tmp_path / "state.sqlite")
    async with SqliteStore(tmp_path / "state.sqlite").open_run("r1", create=True):
        with pytest.raises(StoreLocked):
            await open_and_close(SqliteStore(tmp_path / "other.sqlite"))


async def test_a_lock_file_that_stayed_behind_means_nothing(tmp_path):
    await write_some(tmp_path / "state.sqlite")
    (tmp_path / "state.sqlite.run-1.lock").write_text("12345")
    assert await open_and_close(SqliteStore(tmp_path / "state.sqlite")) == 3


# -- what is not a log (law 26)


async def check_refused(path, error, words):
    """Refused with this error by every door, and not a byte of the file was changed."""
    before = path.read_bytes() if path.is_file() else None
    store = SqliteStore(path)
    doors = [
        lambda: open_and_close(store),
        lambda: open_and_close(store, create=False),
        store.runs,
        lambda: collect(store.read_run("r1")),
    ]
    for door in doors:
        with pytest.raises(error, match=words) as caught:
            await door()
        assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_law_26_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "team.toml"
    path.write_text("[mob]\nid = 'front-desk'\n" * 100)
    await check_refused(path, StoreCorrupt, "not a whole SQLite file")


async def test_law_26_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "browser.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    await check_refused(path, StoreCorrupt, "of another program")


async def test_law_26_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "state.sqlite"
    await write_some(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await check_refused(path, StoreCorrupt, "format 2")


async def test_law_26_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "state.sqlite"
    await write_some(path, count=100)
    path.write_bytes(path.read_bytes()[: 4096 * 2])
    await check_refused(path, StoreCorrupt, "not a whole SQLite file")


async def test_law_26_rubbish_in_a_row_is_named(tmp_path):
    path = tmp_path / "state.sqlite"
    await write_some(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            'UPDATE log SET body = replace(body, \'"text":"hello"\', \'"text":7\') WHERE place % 1024 = 2'
        )
        connection.execute("UPDATE log SET body = CAST(body AS BLOB)")
    with pytest.raises(
        StoreCorrupt, match=r"run 'r1', row 2: a string is expected, not 7 @ turn\.turn\.items\[0\]\.text"
    ):
        await collect(SqliteStore(path).read_run("r1"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE log SET body = 'text'", "something else than a time and bytes"),
        ("UPDATE log SET at = 'noon'", "something else than a time and bytes"),
        ("UPDATE log SET body = x'ff00'", "not JSON"),
        ("UPDATE runs SET rows = 9223372036854775807", "its log ends elsewhere"),
        ("UPDATE runs SET turns = 'many'", "something else than a run"),
        ("UPDATE runs SET started_at = 'today'", "something else than a run"),
    ],
)
async def test_law_26_a_log_that_was_tampered_with_is_refused(tmp_path, change, words):
    path = tmp_path / "state.sqlite"
    await write_some(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    with pytest.raises(StoreCorrupt, match=words):
        await collect(SqliteStore(path).read_run("r1", member="host"))


async def test_law_26_a_log_with_a_hole_is_refused(tmp_path):
    path = tmp_path / "state.sqlite"
    await write_some(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM log WHERE place % 1024 = 2")
    with pytest.raises(StoreCorrupt, match="lacks rows"):
        await collect(SqliteStore(path).read_run("r1"))


async def test_law_26_a_run_that_ends_elsewhere_than_it_says_is_not_written_to(tmp_path):
    path = tmp_path / "state.sqlite"
    await write_some(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM log WHERE place % 1024 = 3")
    with pytest.raises(StoreCorrupt, match="counts 3 rows"):
        await open_and_close(SqliteStore(path))
    assert not (tmp_path / "state.sqlite.run-1.lock").exists()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_law_26_damaged_bytes_give_rows_or_a_typed_error(tmp_path, data):
    """Whatever happened to the file's bytes: what is read is right in form, or StoreError says what is wrong."""
    path = tmp_path / "damaged.sqlite"
    if not (tmp_path / "whole.sqlite").exists():
        trio.run(write_some, tmp_path / "whole.sqlite", "r1", 40)
    content = bytearray((tmp_path / "whole.sqlite").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    path.write_bytes(content)

    async def read():
        try:
            rows = await collect(SqliteStore(path, in_loop=True).read_run("r1"))
            assert [stored.seq for stored in rows] == list(range(1, len(rows) + 1))
            await open_and_close(SqliteStore(path, in_loop=True))
        except StoreError:
            pass

    trio.run(read)


async def test_law_26_places_that_cannot_be(tmp_path):
    for path, words in [
        (tmp_path, "is a directory"),
        (tmp_path / "nowhere" / "state.sqlite", "does not exist"),
    ]:
        with pytest.raises(StoreError, match=words):
            await open_and_close(SqliteStore(path))
    for run_id in ["", "x" * 201, "a\nb", "\ud800"]:
        with pytest.raises(UsageError, match="cannot name a run"):
            await open_and_close(SqliteStore(tmp_path / "state.sqlite"), run_id)
    assert list(tmp_path.iterdir()) == []


async def test_law_26_a_directory_is_no_log(tmp_path):
    await check_refused(tmp_path, StoreError, "directory")


# -- faults


async def test_a_full_disk_leaves_the_log_whole(tmp_path):
    """An append that does not fit fails alone; the same log takes the next one when there is room."""
    async with SqliteStore(tmp_path / "state.sqlite", in_loop=True).open_run("r1", create=True) as log:
        await log.append(STARTED)
        pages = connection_of(log).execute("PRAGMA page_count").fetchone()[0]
        connection_of(log).execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(StoreFull, match="no room"):
            await log.append(turn_row(1), turn_row(2, text="x" * 100_000))
        assert log.last_seq == 1
        await log.append(turn_row(3))
        connection_of(log).execute("PRAGMA max_page_count = 1000000")
        await log.append(turn_row(1), turn_row(2, text="x" * 100_000))
        assert [stored.seq async for stored in log.read()] == [1, 2, 3, 4]


class Stuck:
    """Holds a thread writer inside a commit until it is let go."""

    def __init__(self, monkeypatch, fail=()):
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.batches = []
        commit = Committer.commit

        def slow_commit(committer, appends):
            self.batches.append(len(appends))
            self.entered.set()
            assert self.go_on.wait(10)
            if any(append.rows[0] in fail for append in appends):
                raise StoreFull("no room")
            commit(committer, appends)

        monkeypatch.setattr(Committer, "commit", slow_commit)

    async def wait_entered(self):
        while not self.entered.is_set():
            await trio.lowlevel.checkpoint()


async def test_what_waits_is_committed_together(tmp_path, monkeypatch):
    """Group commit: while one append is being flushed, nine more gather, and share the next flush."""
    stuck = Stuck(monkeypatch)
    async with SqliteStore(tmp_path / "state.sqlite", in_loop=False).open_run("r1", create=True) as log:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.append, turn_row(0))
            await stuck.wait_entered()
            for n in range(1, 10):
                nursery.start_soon(log.append, turn_row(n))
            while log.statistics().waiting < 9:
                await trio.lowlevel.checkpoint()
            stuck.go_on.set()
        statistics = log.statistics()
    assert stuck.batches == [1, 9]
    assert (statistics.appends, statistics.transactions, statistics.largest_batch) == (10, 2, 9)


async def test_one_append_that_fails_does_not_fail_its_batch(tmp_path, monkeypatch):
    stuck = Stuck(monkeypatch, fail=[turn_row(2)])
    outcomes = {}

    async def write(n):
        try:
            outcomes[n] = [stored.seq for stored in await log.append(turn_row(n))]
        except StoreFull:
            outcomes[n] = "full"

    async with SqliteStore(tmp_path / "state.sqlite", in_loop=False).open_run("r1", create=True) as log:
        async with trio.open_nursery() as nursery:
            for n in range(4):
                nursery.start_soon(write, n)
                await trio.testing.wait_all_tasks_blocked()
                if n == 0:
                    await stuck.wait_entered()
            stuck.go_on.set()
        assert outcomes == {0: [1], 1: [2], 2: "full", 3: [3]}
        assert log.last_seq == 3
        assert log.statistics().failed == 1


async def test_a_cancelled_append_that_waits_is_withdrawn_and_one_that_is_taken_is_written(tmp_path, monkeypatch):
    stuck = Stuck(monkeypatch)
    scopes = {}
    returned = []

    async def write(n):
        with trio.CancelScope() as scopes[n]:
            await log.append(turn_row(n))
            returned.append(n)

    async with SqliteStore(tmp_path / "state.sqlite", in_loop=False).open_run("r1", create=True) as log:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, "taken")
            await stuck.wait_entered()
            nursery.start_soon(write, "waiting")
            await trio.testing.wait_all_tasks_blocked()
            scopes["waiting"].cancel()
            scopes["taken"].cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert scopes["waiting"].cancelled_caught
            assert not scopes["taken"].cancelled_caught
            stuck.go_on.set()
        assert returned == ["taken"]
        assert [stored.row async for stored in log.read()] == [turn_row("taken")]
        assert log.statistics().withdrawn == 1
        await log.append(turn_row("next"))
        assert log.last_seq == 2


async def test_a_disk_that_hangs_holds_nobody_for_ever(tmp_path, monkeypatch):
    """A cancelled append and the closing of the run give up in their time; the rows are there later, wholly."""
    monkeypatch.setattr("mob.store.writer._GRACE_S", 0.05)
    monkeypatch.setattr("mob.store.writer._CLOSE_S", 0.05)
    stuck = Stuck(monkeypatch)
    store = SqliteStore(tmp_path / "state.sqlite", in_loop=False)
    logs = []

    async def write_and_close():
        async with store.open_run("r1", create=True) as log:
            logs.append(log)
            with trio.move_on_after(0.05) as scope:
                await log.append(turn_row(1), turn_row(2))
            assert scope.cancelled_caught

    with pytest.raises(StoreError, match="did not answer"):
        await write_and_close()
    stuck.go_on.set()
    logs[0]._writer._thread.join(10)
    assert [stored.row for stored in await collect(store.read_run("r1"))] == [turn_row(1), turn_row(2)]
    await open_and_close(store)


async def test_closing_writes_what_waits(tmp_path, monkeypatch):
    stuck = Stuck(monkeypatch)
    store = SqliteStore(tmp_path / "state.sqlite", in_loop=False)
    async with trio.open_nursery() as nursery:
        async with store.open_run("r1", create=True) as log:
            for n in range(3):
                nursery.start_soon(log.append, turn_row(n))
            await stuck.wait_entered()
            stuck.go_on.set()
    assert len(await collect(store.read_run("r1"))) == 3


async def test_a_held_file_is_waited_for_within_bounds(tmp_path, monkeypatch):
    """Another program holds the file: StoreLocked after the busy timeout; nothing is lost, and then it goes on."""
    monkeypatch.setattr("mob.store.database.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("mob.store.sqlite.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "state.sqlite"
    async with SqliteStore(path).open_run("r1", create=True) as log:
        await log.append(STARTED)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreLocked, match="another process holds the file"):
                await log.append(turn_row(1))
            with pytest.raises(StoreLocked):
                await open_and_close(SqliteStore(path), "r2")
            assert len(await collect(log.read())) == 1, "reading goes on meanwhile"
            other.execute("ROLLBACK")
        await log.append(turn_row(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreLocked):
            await SqliteStore(path).runs()
    assert len(await SqliteStore(path).runs()) == 1


async def test_a_row_that_cannot_be_written_fails_its_append_alone(tmp_path):
    async with SqliteStore(tmp_path / "state.sqlite").open_run("r1", create=True) as log:
        with pytest.raises(ValueError, match="JSON compliant"):
            await log.append(turn_row(1), STARTED.__class__("mob", "digest", float("nan")))
        await log.append(turn_row(2))
        assert log.last_seq == 1


# -- the price


async def test_an_append_costs_the_same_at_any_length(tmp_path):
    """Counted in instructions of SQLite's machine and in pages written, not seconds."""
    async with SqliteStore(tmp_path / "state.sqlite", in_loop=True).open_run("r1", create=True) as log:
        connection = connection_of(log)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        wal = tmp_path / "state.sqlite-wal"

        async def price():
            """The median of some appends: now and then one begins a new page."""
            prices = []
            for n in range(15):
                instructions = 0

                def count():
                    nonlocal instructions
                    instructions += 1

                size = wal.stat().st_size
                connection.set_progress_handler(count, 1)
                await log.append(turn_row(n, text="x" * 400))
                connection.set_progress_handler(None, 0)
                prices.append((instructions, (wal.stat().st_size - size) // 4120))
            return sorted(prices)[7]

        await log.append(*(turn_row(n, text="x" * 400) for n in range(10)))
        short = await price()
        for _ in range(10):
            await log.append(*(turn_row(n, text="x" * 400) for n in range(1000)))
        long = await price()
    assert long[0] == short[0]
    assert long[1] <= short[1] <= 3


async def test_the_write_ahead_log_stays_bounded(tmp_path):
    """It is brought into the file every thousand pages, also while somebody reads."""
    async with SqliteStore(tmp_path / "state.sqlite", in_loop=True, durability="normal").open_run(
        "r1", create=True
    ) as log:
        for n in range(700):
            await log.append(turn_row(n, text="x" * 12_000))
            if n % 50 == 0:
                await anext(log.read())
        assert (tmp_path / "state.sqlite-wal").stat().st_size < 6 * 1024 * 1024


async def test_reading_a_member_never_holds_the_loop_for_the_whole_log(tmp_path):
    """A sparse reader of a long log lets other tasks run at least every 64 rows."""
    async with SqliteStore(tmp_path / "state.sqlite", in_loop=True).open_run("r1", create=True) as log:
        await log.append(*(turn_row(n) for n in range(640)))
        await log.append(turn_row("last", member="menu"))
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            assert [stored.seq async for stored in log.read(member="menu")] == [641]
            nursery.cancel_scope.cancel()
        assert turns >= 10


# -- cancelled anywhere


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its task has been scheduled so many times."""

    def __init__(self, scope, steps):
        self.task = trio.lowlevel.current_task()
        self.scope = scope
        self.left = steps

    def before_task_step(self, task):
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


@pytest.mark.parametrize("in_loop", [True, False])
async def test_law_24_cancelled_at_any_step_nothing_is_left(tmp_path, in_loop):
    """Open, append, read and close, cancelled at the first, second, … step until one run is not cancelled."""
    path = tmp_path / "state.sqlite"
    threads = set(threading.enumerate())
    steps, finished = 0, False
    written = 0
    while not finished:
        steps += 1
        with trio.CancelScope() as scope:
            instrument = CancelAtStep(scope, steps)
            trio.lowlevel.add_instrument(instrument)
            try:
                async with SqliteStore(path, in_loop=in_loop).open_run("r1", create=True) as log:
                    assert log.last_seq == written
                    written += len(await log.append(turn_row(1), turn_row(2)))
                    await collect(log.read())
                    written += len(await log.append(turn_row(3)))
                finished = not scope.cancel_called
            finally:
                trio.lowlevel.remove_instrument(instrument)
        assert set(threading.enumerate()) == threads
        assert {file.name for file in tmp_path.iterdir()} <= {"state.sqlite", "state.sqlite-wal", "state.sqlite-shm"}
    assert steps > 4
    assert len(await collect(SqliteStore(path).read_run("r1"))) == written
