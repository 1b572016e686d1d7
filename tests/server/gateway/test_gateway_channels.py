"""The channels of the gateway's members among those of all doors: counted, found, and nobody else's to talk over."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from attrs import evolve
from gateway_doors import alone, dialled, open_doors

from mob.errors import AlreadyOpen, DoorFull, LiveRejected
from mob.server.limits import DoorLimits
from mob.server.rest.metrics import realm_metrics, render


def session_of(doors, mob_id="house"):
    return doors.realm.session_of(doors.realm.mob(mob_id), "host")


def other():
    return evolve(alone(), id="other")


async def test_law_08_the_gateways_channel_is_the_sessions_one_channel(autojump_clock):
    async with open_doors() as doors:
        ref, channels = session_of(doors), doors.realm.channels
        async with dialled(doors) as wire:
            (held,) = channels
            assert channels.of_session(ref.session_id) is held
            assert channels.get(held.channel_id) is held
            assert held.status == "ready"
            assert 'mob_live_channels{status="ready"} 1' in render(realm_metrics(doors.realm))
            with pytest.raises(AlreadyOpen):
                await channels.open(ref)
            assert (await wire.ask("When are you open?"))["status"] == "completed"
        await trio.testing.wait_all_tasks_blocked()
        assert list(channels) == []
        assert channels.get(held.channel_id).status == "closed"
        await (await channels.open(ref)).close()


async def test_a_client_that_comes_back_at_once_is_let_in_when_the_channel_that_it_left_has_ended(autojump_clock):
    async with open_doors() as doors:
        for _ in range(5):
            async with dialled(doors):
                assert len(list(doors.realm.channels)) == 1


async def test_it_counts_among_the_channels_that_a_server_takes(autojump_clock):
    async with open_doors(alone(), other(), limits=DoorLimits(max_channels=1)) as doors:
        channels = doors.realm.channels
        async with dialled(doors, "house/host"):
            with pytest.raises(DoorFull):
                await channels.open(session_of(doors, "other"))
            async with dialled(doors, "other/host", greet=False) as refused:
                await refused.until_closed()
                assert refused.events[-1]["error"]["code"] == "door_full"
        await trio.testing.wait_all_tasks_blocked()
        async with dialled(doors, "other/host"):
            assert len(list(channels)) == 1


async def test_nobody_else_talks_over_it_but_anybody_may_end_it(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        (held,) = doors.realm.channels
        for say in (
            lambda: held.send_audio(bytes(480), 24000),
            lambda: held.send_text("Hello"),
            held.commit,
            held.refresh,
        ):
            with pytest.raises(LiveRejected) as refused:
                await say()
            assert refused.value.reason == "not_yours"
        with pytest.raises(LiveRejected):
            held.mint_token()
        assert (await wire.ask("When are you open?"))["status"] == "completed"
        await held.close("enough")
        assert (await wire.until_closed())[0] == 1011
        assert (held.status, held.reason) == ("closed", "enough")


@pytest.mark.parametrize("after", [0, 0.001, 0.01, 0.03, 0.1])
async def test_law_24_a_client_that_goes_while_it_opens_leaves_nothing(autojump_clock, after):
    async with open_doors() as doors:
        async with dialled(doors, greet=False):
            await trio.sleep(after)
            with trio.fail_after(30):
                await doors.realm.channels.close_all("server_stopped")
        await trio.testing.wait_all_tasks_blocked()
        assert list(doors.realm.channels) == []
        async with dialled(doors) as wire:
            assert (await wire.ask("When are you open?"))["status"] == "completed"
