"""The realm: mobs and sessions that come, run, stop, go on and go, without touching one another."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

import mob
from mob.definition.model import MobDefinition, Profile
from mob.errors import DoorFull, MemberNotRunning, MobExists, MobUnknown, SessionIdle, SessionUnknown
from mob.server.limits import DoorLimits
from mob.server.realm.realm import AGENT, Realm, RealmSettings, open_realm
from mob.store.memory import MemoryStore

DEFINITIONS = Path(__file__).resolve().parents[2] / "definitions"
REHEARSED = RealmSettings("test", rehearse=True)


def desk() -> MobDefinition:
    return mob.load(DEFINITIONS / "front-desk.toml")


def alone(model: str = "gpt-4.1-mini") -> MobDefinition:
    profile = Profile(AGENT, model, instructions="You know the time. It is noon.")
    return MobDefinition("session", {AGENT: profile}, {AGENT: mob_member(AGENT)})


def mob_member(name: str):
    from mob.definition.model import Member

    return Member(name, name)


async def test_a_mob_runs_stops_and_goes_on_with_its_histories(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        hosted = realm.add_mob(desk())
        team = await hosted.start()
        await team.member("menu").ask("What is in the risotto?")
        before = await realm.history(realm.session_of(hosted, "menu"))
        await hosted.stop()

        assert hosted.state == "stopped"
        with pytest.raises(MemberNotRunning, match="resume it first"):
            _ = hosted.mob
        assert await realm.history(realm.session_of(hosted, "menu")) == before

        again = await hosted.start()
        assert again is not team
        assert again.member("menu").history() == before
        assert again.member("menu").generation == 2


async def test_what_stopped_in_one_process_goes_on_in_the_next(autojump_clock):
    store = MemoryStore()
    async with open_realm(REHEARSED, store=store) as realm:
        first = realm.add_mob(desk())
        await first.start()
        await first.member("menu").ask("What is in the risotto?")
        session = first.session_id("menu")
    async with open_realm(REHEARSED, store=store) as realm:
        second = realm.add_mob(desk(), run_id=first.run_id, began=True)
        assert len(await realm.history(realm.session(session))) == 1
        await second.start()
        assert len(second.member("menu").history()) == 1


async def test_a_stand_alone_session_is_no_mob_and_idle_until_started(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        ref = realm.add_session(alone())
        assert realm.mobs == ()
        assert [each.session_id for each in realm.sessions()] == [ref.session_id]
        with pytest.raises(SessionIdle, match="start a turn"):
            _ = ref.member
        assert await realm.history(ref) == ()

        await ref.hosted.start()
        await ref.member.ask("What time is it?")
        assert len(await realm.history(realm.session(ref.session_id))) == 1


async def test_unknown_ids_are_refused_by_name(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        realm.add_mob(desk())
        with pytest.raises(MobExists):
            realm.add_mob(desk())
        with pytest.raises(MobUnknown, match="front-desk"):
            realm.mob("back-desk")
        with pytest.raises(SessionUnknown):
            realm.session("00000000-0000-0000-0000-000000000000")


async def test_there_are_only_so_many(autojump_clock):
    limits = evolve(DoorLimits(), max_mobs=1, max_sessions=1)
    async with open_realm(REHEARSED, limits=limits) as realm:
        realm.add_mob(desk())
        realm.add_session(alone())
        with pytest.raises(DoorFull):
            realm.add_mob(desk(), mob_id="second")
        with pytest.raises(DoorFull):
            realm.add_session(alone())


async def test_a_mob_that_cannot_be_opened_is_as_it_was(autojump_clock):
    settings = RealmSettings("test", rehearse=False, environ={})
    async with open_realm(settings) as realm:
        hosted = realm.add_mob(desk())
        for _ in range(2):
            with pytest.raises(mob.CredentialMissing):
                await hosted.start()
            assert (hosted.state, hosted.began, hosted.running) == ("stopped", False, False)


async def test_law_22_a_mob_that_crashes_takes_no_other_with_it(autojump_clock, caplog):
    async with open_realm(REHEARSED) as realm:
        bad = realm.add_mob(desk(), mob_id="bad")
        good = realm.add_mob(desk(), mob_id="good")
        await bad.start()
        await good.start()
        bad.mob._tree.root.start_soon(crash)  # a fault of ours, in the middle of the run
        with trio.fail_after(60):
            await bad._gone.wait()
        assert bad.state == "failed"
        assert (await good.member("menu").ask("What is in the risotto?")).text
        assert "on purpose" in bad.reason


async def crash() -> None:
    raise RuntimeError("on purpose")


async def test_law_24_nothing_is_left_of_a_realm(autojump_clock):
    async with trio.open_nursery() as nursery:
        async with open_realm(REHEARSED) as realm:
            await fill(realm)
        assert not nursery.child_tasks


async def fill(realm: Realm) -> None:
    hosted = realm.add_mob(desk())
    ref = realm.add_session(alone())
    await hosted.start()
    await ref.hosted.start()
    await realm.end_mob(hosted)
    with pytest.raises(MobUnknown):
        await hosted.start()
    await realm.end_mob(hosted)  # again: nothing happens


async def test_what_the_block_raises_comes_out_bare(autojump_clock):
    async def use() -> None:
        async with open_realm(REHEARSED) as realm:
            await realm.add_mob(desk()).start()
            raise KeyError

    with pytest.raises(KeyError):
        await use()
