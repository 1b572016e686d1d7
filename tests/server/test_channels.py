"""Live channels that doors hold: one for each session, kept until it ends, read by whoever follows."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from mob.definition.model import Member, MobDefinition, Profile
from mob.errors import AlreadyOpen, ChannelUnknown, LiveClosed, NotRealtime, SessionIdle
from mob.live.events import AudioDelta, Connected, Disconnected, TurnCommitted
from mob.rehearsal.voice import speak
from mob.server.channel_inputs import InputRefused
from mob.server.limits import DoorLimits
from mob.server.realm import AGENT, Realm, RealmSettings, SessionRef, open_realm
from mob.server.ring import Gap, Numbered
from mob.values import Image

REHEARSED = RealmSettings("test", rehearse=True, seed=1)
PNG = Image("image/png", b"\x89PNG\r\n\x1a\n" + b"picture")


def definition(model: str = "gpt-realtime-2", turns: str = "manual") -> MobDefinition:
    from mob.values import TurnDetection

    instructions = "You know the time. It is noon. Lunch is served at one."
    profile = Profile(AGENT, model, instructions=instructions, turn_detection=TurnDetection(mode=turns))
    return MobDefinition("session", {AGENT: profile}, {AGENT: Member(AGENT, AGENT)})


async def started(realm: Realm, **how: str) -> SessionRef:
    ref = realm.add_session(definition(**how))
    await ref.hosted.start()
    return ref


async def test_a_channel_is_opened_held_spoken_on_and_closed(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        ref = await started(realm)
        held = await realm.channels.open(ref)
        follower = held.follow(after=0)
        assert held.status == "ready"
        assert realm.channels.get(held.channel_id) is held
        assert realm.channels.of_session(ref.session_id) is held

        await held.send_audio(speak("What time is it?"), 24000)
        await held.live.commit()
        seen = []
        async for found in follower:
            assert isinstance(found, Numbered)
            seen.append(found.event)
            if isinstance(found.event, TurnCommitted):
                break
        assert isinstance(seen[0], Connected)
        assert any(isinstance(event, AudioDelta) for event in seen)
        assert "noon" in seen[-1].turn.agent_text

        await held.close("client_requested")
        assert held.status == "closed"
        assert held.reason == "client_requested"
        assert realm.channels.of_session(ref.session_id) is None
        assert [found.event.reason async for found in follower if isinstance(found.event, Disconnected)] == [
            "client_requested"
        ]
        assert [turn.user_text for turn in ref.member.history()] == ["What time is it?"]
