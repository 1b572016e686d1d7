"""A mob that is stopped, by whomever, and whoever gives up waiting for that: it runs or not, and can be started."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
import trio

import mob
from mob.errors import MobError
from mob.history.rows import RunStopped
from mob.server.limits import DoorLimits
from mob.server.params import Params
from mob.server.realm.realm import RealmSettings, open_realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Methods
from mob.server.rpc.mobs.life import mob_methods
from mob.server.rpc.team.methods import team_methods

DEFINITIONS = Path(__file__).resolve().parents[2] / "definitions"
SERVER = Path(mob.__file__).parent / "server"
REHEARSED = RealmSettings("test", rehearse=True, seed=1)
QUESTION = "What is in the risotto?"


class NoLink:
    """A client that says nothing and hears nothing."""

    async def receive(self):
        await trio.sleep_forever()

    async def send(self, message):
        pass


def ways(realm):
    """All that stop a mob."""
    client = RpcClient(NoLink(), Methods().call, DoorLimits())
    methods = {**mob_methods(realm, sessions={}, live=None), **team_methods(realm)}

    def call(method, **params):
        return lambda: methods[method](client, Params({"mob_id": "front-desk", **params}))

    return {
        "team/stop": call("team/stop"),
        "team/stop, at once": call("team/stop", drain=False),
        "mob/lifecycle stop": call("mob/lifecycle", action="stop"),
        "mob/lifecycle reset": call("mob/lifecycle", action="reset"),
        "HostedMob.stop": lambda: realm.mob("front-desk").stop(),
        "Mob.stop": realm.mob("front-desk").mob.stop,
    }


WAYS = ("team/stop", "team/stop, at once", "mob/lifecycle stop", "mob/lifecycle reset", "HostedMob.stop", "Mob.stop")


async def given_up(stop, *, after_s: float, steps: int) -> None:
    """Begin to stop, and give it up after so long and so many steps of the loop."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(swallowed, stop)
        await trio.sleep(after_s)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def swallowed(stop) -> None:
    with suppress(MobError):
        await stop()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after_s", [0.0, 0.1, 3.0])
async def test_law_24_a_mob_whose_stopping_was_given_up_at_any_step_can_be_started(autojump_clock, way, after_s):
    async with open_realm(REHEARSED) as realm:
        hosted = realm.add_mob(mob.load(DEFINITIONS / "front-desk.toml"))
        for steps in (0, 1, 2, 3, 5, 8, 13, 30):
            with trio.fail_after(120):
                team = await hosted.start()
                team.member("menu").tell(QUESTION)
                await given_up(ways(realm)[way], after_s=after_s, steps=steps)
                again = await hosted.start()
                assert (await again.member("menu").ask(QUESTION)).text


async def test_law_24_a_mob_that_its_holder_stopped_is_stopped(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        hosted = realm.add_mob(mob.load(DEFINITIONS / "front-desk.toml"))
        team = await hosted.start()
        await team.stop()
        with trio.fail_after(60):
            await hosted.wait_gone(team)
        assert hosted.state == "stopped"
        assert not hosted.running


async def test_why_a_mob_was_stopped_is_in_its_log(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        hosted = realm.add_mob(mob.load(DEFINITIONS / "front-desk.toml"))
        await hosted.start()
        await hosted.stop("for the night")
        rows = [stored.row async for stored in realm.store.read_run(hosted.run_id)]
        assert rows[-1] == RunStopped("for the night")


async def test_a_mob_begins_anew_only_when_it_does_not_run(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        hosted = realm.add_mob(mob.load(DEFINITIONS / "front-desk.toml"))
        team = await hosted.start()
        await team.member("menu").ask(QUESTION)
        with pytest.raises(RuntimeError, match="stop it"):
            hosted.begin_anew("run_new")
        await hosted.stop()
        hosted.begin_anew("run_new")
        assert (hosted.began, hosted.state) == (False, "stopped")
        again = await hosted.start()
        assert again.run_id == "run_new"
        assert again.member("menu").history() == ()


def test_only_a_hosted_mob_writes_what_it_is():
    writes = re.compile(r"\bhosted\.(run_id|began|tried|created_at|definition|document|state|reason)(, [\w.]+)* = ")
    found = [path.name for path in SERVER.rglob("*.py") if writes.search(path.read_text())]
    assert found == []
