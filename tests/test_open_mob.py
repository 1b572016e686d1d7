"""What comes out of `mob.open_mob`: what its block raises, and what it promises to raise, never a group of them."""

from pathlib import Path

import pytest

import mob
from mob.store.memory import MemoryStore

FRONT_DESK = Path(__file__).resolve().parents[1] / "definitions" / "front-desk.toml"
TEAM = Path(__file__).resolve().parents[1] / "definitions" / "newsroom.toml"


async def test_what_the_block_raises_comes_out_bare(autojump_clock):
    store = MemoryStore()
    with pytest.raises(ZeroDivisionError):
        async with mob.open_mob(mob.load(TEAM), rehearse=True, store=store):
            raise ZeroDivisionError
    (run,) = await store.runs()
    assert [row.row async for row in store.read_run(run.run_id)][-1].reason == "failed"


async def test_what_keeps_a_run_from_opening_comes_out_bare(autojump_clock):
    with pytest.raises(mob.RunUnknown):
        async with mob.open_mob(mob.load(TEAM), rehearse=True, run_id="run_nobody", resume=True):
            raise AssertionError("there is no such run")


async def test_members_that_are_spawned_are_rehearsed_as_their_profile(autojump_clock):
    async with mob.open_mob(mob.load(FRONT_DESK), rehearse=True) as team:
        cook = await team.spawn("second_menu", profile="menu")
        assert "6 euros" in (await cook.ask("What does the tomato soup cost?")).text
        twin = await team.spawn("second_host", profile="host")
        async with twin.open_live() as live:
            assert live.connected
        assert "Harbour Street" in (await twin.ask("Where do I find you?")).text
        await team.retire("second_menu")
        back = await team.respawn("second_host")
        assert "Olive Tree" in (await back.ask("hello")).text
