"""A team as it is in earnest: loopback sockets, SQLite, the system's clock. And: the same seed, the same run."""

import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from mob._compose import open_mob
from mob.definition.load import load
from mob.history.rows import FloorMoved, RunStarted, TurnRow
from mob.live.events import AudioDelta
from mob.store.memory import MemoryStore
from mob.store.sqlite import SqliteStore

DEFINITIONS = Path(__file__).resolve().parents[2] / "definitions"


def open_files():
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sorted(str(path.readlink()) for path in links)


async def play_at_once(line):
    async for member, event in line:
        if isinstance(event, AudioDelta):
            line.played(member, event.item_id, round(event.start_ms + len(event.pcm) / 48))


async def talk(team, *words):
    async with team.open_line() as line, trio.open_nursery() as nursery:
        nursery.start_soon(play_at_once, line)
        for each in words:
            await line.send_text(each)
            await team.wait_quiet()
        nursery.cancel_scope.cancel()


@pytest.mark.real_socket
async def test_law_24_no_thread_socket_or_file_is_left(tmp_path):
    def ours():
        return [t.name for t in threading.enumerate() if not t.name.startswith("Trio thread")]

    definition = load(DEFINITIONS / "panel.toml")
    files, threads = open_files(), ours()
    async with open_mob(definition, rehearse=True, store=tmp_path / "state.sqlite") as team:
        run_id = team.run_id
        assert len(open_files()) > len(files)
        await talk(team, "What does the planner think?")
        assert team.floor == "planner"
        began = trio.current_time()
    assert trio.current_time() - began <= definition.limits.shutdown_timeout_s
    assert ours() == threads
    assert open_files() == files
    async with open_mob(definition, rehearse=True, store=tmp_path / "state.sqlite", run_id=run_id, resume=True) as team:
        assert team.floor == "planner"
        assert team.member("chair").generation == 2
    (run,) = await SqliteStore(tmp_path / "state.sqlite").runs()
    assert run.stopped


async def said_in_one_run(definition):
    store = MemoryStore()
    async with open_mob(definition, rehearse=True, store=store, seed=11) as team:
        await talk(team, "hello", "What does the planner think?", "and the botanist?")
    (run,) = await store.runs()
    rows = [stored.row async for stored in store.read_run(run.run_id)]
    return [
        (row.member, row.turn.id, row.turn.user_text, row.turn.agent_text) if isinstance(row, TurnRow) else row
        for row in rows
        if isinstance(row, TurnRow | FloorMoved | RunStarted)
    ]


def test_the_same_seed_gives_the_same_run():
    definition = load(DEFINITIONS / "panel.toml")
    first, second = (
        trio.run(said_in_one_run, definition, clock=trio.testing.MockClock(autojump_threshold=0)) for _ in range(2)
    )
    assert first == second
    assert any(isinstance(row, FloorMoved) and row.to == "botanist" for row in first)
