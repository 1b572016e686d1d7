"""Killed at any write, the log opens as a whole number of appends, and the next run goes on from it (law 6)."""

import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from conformance import collect, turn_row

from mob.errors import StoreLocked
from mob.store.committer import Committer
from mob.store.sqlite import SqliteStore

CHILD = Path(__file__).with_name("crash_child.py")


@contextmanager
def child(mode, path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, CHILD, mode, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


async def check_law_06(path, appended, size):
    """The log holds the first so many appends, each with all of its rows, and can be appended to.

    Returns how many. `appended`: names of the appends in order; `size`: how many rows each has.
    """
    store = SqliteStore(path, in_loop=True)
    rows = await collect(store.read_run("r1"))
    assert [stored.seq for stored in rows] == list(range(1, len(rows) + 1))
    assert len(rows) % size == 0, "an append was torn"
    names = [stored.row.turn.id for stored in rows]
    assert names == [f"t{n}.{part}" for n in appended[: len(rows) // size] for part in range(size)]
    (run,) = await store.runs()
    assert (run.rows, run.turns) == (len(rows), len(rows))
    async with store.open_run("r1", create=False) as log:
        (stored,) = await log.append(turn_row("next"))
        assert stored.seq == len(rows) + 1
    return len(rows) // size


async def write_ahead_log_of(path, appends, size):
    """Write so many appends and copy the file and its write-ahead log before they are brought together."""
    async with SqliteStore(path, in_loop=True).open_run("r1", create=True) as log:
        log._writer._committer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        log._writer._committer.connection.execute("PRAGMA wal_autocheckpoint = 0")
        for n in range(appends):
            await log.append(*(turn_row(f"{n}.{part}", text="x" * 900) for part in range(size)))
        base, wal = path.read_bytes(), path.with_name(f"{path.name}-wal").read_bytes()
    return base, wal


async def check_every_cut(directory, appends=4, size=3):
    """Cut the write-ahead log where a killed process can have stopped: between two writes, and inside one.

    SQLite writes the log front to back, a frame (24 bytes and a page of 4096) or part of one at a time, and does not
    touch the file itself: what a kill leaves is a prefix.
    """
    base, wal = await write_ahead_log_of(directory / "whole.sqlite", appends, size)
    found = []
    frames = range(32, len(wal) + 1, 24 + 4096)
    for cut in sorted({0, 16, len(wal), *frames, *(at + 24 for at in frames), *(at + 700 for at in frames)}):
        path = directory / f"cut-{cut}.sqlite"
        path.write_bytes(base)
        path.with_name(f"{path.name}-wal").write_bytes(wal[:cut])
        found.append(await check_law_06(path, range(appends), size))
        for leftover in directory.glob(f"{path.name}*"):
            leftover.unlink()
    assert found == sorted(found)
    assert set(found) == set(range(appends + 1)), "each append begins to count at some cut"


async def test_law_06_every_prefix_of_the_written_log_is_whole(tmp_path):
    await check_every_cut(tmp_path)


async def test_law_06_mutant_row_by_row_is_caught(tmp_path, monkeypatch):
    """The mutant commits each row of an append by itself."""
    commit = Committer.commit

    def commit_each(self, appends):
        for append in appends:
            rows, bodies = append.rows, append.bodies
            stored = ()
            for row, body in zip(rows, bodies, strict=True):
                append.rows, append.bodies = [row], [body]
                commit(self, [append])
                stored += append.stored
            append.rows, append.stored = rows, stored

    monkeypatch.setattr(Committer, "commit", commit_each)
    with pytest.raises(AssertionError, match="torn"):
        await check_every_cut(tmp_path)


@pytest.mark.crash
async def test_law_06_killed_at_each_instruction_of_an_append(tmp_path):
    with child("sweep", tmp_path / "state.sqlite") as process:
        results = [tuple(map(int, line.split())) for line in process.stdout]
    assert process.returncode == 0
    assert len(results) > 30
    assert [killed for _, killed, _ in results] == [1] * (len(results) - 1) + [0]
    rows = [count for _, _, count in results]
    assert set(rows) == {6, 9}
    assert rows == sorted(rows)


@pytest.mark.crash
async def test_law_06_killed_at_any_moment(tmp_path):
    """Each round goes on with the log that the killed process of the round before left."""
    path = tmp_path / "state.sqlite"
    moments = random.Random(6)
    reported = 0
    for _ in range(5):
        with child("append", path) as process:
            for _ in range(moments.randrange(1, 60)):
                reported = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            process.wait()
            rest = process.stdout.read().splitlines()
            reported = int(rest[-1]) if rest else reported
        rows = await collect(SqliteStore(path).read_run("r1"))
        assert len(rows) >= reported, "what was reported as durable is there"
        assert len(rows) % 3 == 0
        assert [stored.row.turn.id for stored in rows] == [f"t{n}.{p}" for n in range(len(rows) // 3) for p in range(3)]


@pytest.mark.crash
async def test_the_lease_ends_with_its_holder(tmp_path):
    """Another process writes the run: refused, naming it. It is killed: the run is free at once."""
    path = tmp_path / "state.sqlite"
    store = SqliteStore(path)
    with child("hold", path) as process:
        assert process.stdout.readline() == "holding\n"
        with pytest.raises(StoreLocked, match=f"process {process.pid}"):
            async with store.open_run("r1", create=False):
                raise AssertionError("opened")
        assert len(await collect(store.read_run("r1"))) == 3
        async with store.open_run("r2", create=True) as other:
            await other.append(turn_row(1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    with trio.fail_after(5):
        async with store.open_run("r1", create=False) as log:
            assert log.last_seq == 3


async def test_a_full_disk_is_typed_and_the_log_goes_on_when_there_is_room(tmp_path):
    """A real refusal by the system, in the writer's thread: the process limits its own files to 200 kB."""
    path = tmp_path / "state.sqlite"
    with child("full", path) as process:
        refusal, state, after = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert str(path) in refusal
    assert "make room" in refusal
    last_seq, failed = map(int, state.split())
    assert failed == 3
    assert last_seq > 30
    assert int(after) == last_seq + 3
    rows = await collect(SqliteStore(path).read_run("r1"))
    assert [stored.seq for stored in rows] == list(range(1, last_seq + 4))
    assert [stored.row.turn.id for stored in rows[-3:]] == ["tafter.0", "tafter.1", "tafter.2"]
