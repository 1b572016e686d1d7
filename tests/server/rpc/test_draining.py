"""A mob that is being stopped takes nothing new over JSON-RPC, and its doors speak to members as anybody does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from mob_peer import RpcFailed, open_crew, spawn

import mob

SERVER = Path(mob.__file__).parent / "server"
WHO = {"mob_id": "crew", "agent_identity": "ann"}
SAYS = {
    "turn/start": lambda session: {"session_id": session, "prompt": "And?"},
    "session/inject_context": lambda session: {"session_id": session, "content": {"type": "text", "text": "Rain."}},
    "mob/turn_start": lambda _session: {**WHO, "prompt": "And?"},
    "mob/member_send": lambda _session: {**WHO, "content": "And?", "handling_mode": "queue"},
    "mob/append_system_context": lambda _session: {**WHO, "text": "Rain."},
    "mob/respawn": lambda _session: {**WHO, "initial_message": "Again!"},
}


@pytest.mark.parametrize("method", SAYS)
async def test_law_24_a_mob_that_is_being_stopped_takes_nothing_new(autojump_clock, method):
    async with open_crew() as (realm, peer), trio.open_nursery() as nursery:
        await spawn(peer, "ann")
        hosted = realm.mob("crew")
        session = hosted.session_id("ann")
        team = hosted.mob
        team.member("ann").tell("slow")
        await team.wait_until(lambda: team.member("ann").state == "thinking")
        nursery.start_soon(hosted.stop)
        await team.wait_until(lambda: team.state == "draining")

        with pytest.raises(RpcFailed) as refused:
            await peer(method, **SAYS[method](session))
        assert "draining" in refused.value.message
        await hosted.wait_gone(team)
        history = await realm.history(realm.session_of(hosted, "ann"))
        assert [turn.user_text for turn in history] == ["slow"]


async def test_a_turn_can_be_cut_while_its_mob_is_being_stopped(autojump_clock):
    async with open_crew() as (realm, peer), trio.open_nursery() as nursery:
        await spawn(peer, "ann")
        hosted = realm.mob("crew")
        team = hosted.mob
        team.member("ann").tell("slow")
        await team.wait_until(lambda: team.member("ann").state == "thinking")
        nursery.start_soon(hosted.stop)
        await team.wait_until(lambda: team.state == "draining")
        assert (await peer("turn/interrupt", session_id=hosted.session_id("ann")))["interrupted"]


async def test_what_a_client_sent_is_known_to_the_team(autojump_clock):
    async with open_crew() as (realm, peer):
        await spawn(peer, "ann")
        team = realm.mob("crew").mob
        await peer("mob/member_send", **WHO, content="slow", handling_mode="queue")
        assert [letter.ended for letter in team._crew.host("ann")._letters] == [False]


def test_the_doors_reach_no_session_behind_its_members_back():
    """A handle knows that its mob is being stopped, and a host who is busy; the session behind them knows neither."""
    past = re.compile(r"\.session\.(ask|tell_nowait|inject|interrupt|rebind)\b")
    found = [str(path) for path in sorted(SERVER.rglob("*.py")) if past.search(path.read_text())]
    assert found == []
