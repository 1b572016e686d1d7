"""Members that are reached by request/response: written to, spoken to, and read out when they have a voice."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import trio
from attrs import evolve
from gateway_doors import MS, alone, dialled, open_doors

from mob.definition.model import Profile
from mob.definition.parse import parse_definition
from mob.errors import UsageError
from mob.rehearsal import espeak
from mob.rehearsal.voice import ToneVoice, hear, speak
from mob.server.gateway import door
from mob.server.gateway.g711 import inwards, outwards

MENU = "gpt-4.1-mini"
OPEN = "We are open from noon to eleven."
PARK = "There is free parking behind the house."


def voiced():
    return alone(MENU, voice="tone")


async def test_it_answers_in_text(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        assert wire.events[0]["session"]["output_modalities"] == ["text"]
        response = await wire.ask("When are you open?")
        assert response["output"][0]["content"] == [{"type": "output_text", "text": OPEN}]
        assert len(wire.of("response.output_text.delta")) > 3, "as it is written"
        assert response["usage"]["output_tokens"] > 0
        (turn,) = doors.history()
        assert (turn.user_text, turn.agent_text) == ("When are you open?", OPEN)


async def test_it_has_no_voice_where_none_is_configured(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        wire.send("session.update", session={"type": "realtime", "output_modalities": ["audio"]})
        error = (await wire.until("error"))["error"]
        assert (error["code"], error["param"]) == ("unsupported_by_member", "session.output_modalities")
        wire.send("response.create", response={"output_modalities": ["audio"]})
        assert (await wire.until("error"))["error"]["param"] == "response.output_modalities"


async def test_it_is_read_out_where_it_has_a_voice(autojump_clock):
    async with open_doors(voiced()) as doors, dialled(doors) as wire:
        await wire.ask("Tell me about yourself.")
        whole = f"I am the host. {OPEN} {PARK}"
        assert wire.transcript() == whole
        assert hear(wire.pcm()) == whole
        assert doors.history()[0].agent_text == whole


async def test_it_understands_tone_speech(autojump_clock):
    async with open_doors(voiced()) as doors, dialled(doors) as wire:
        wire.say("Where can I park?")
        await wire.until("response.done")
        kinds = [kind for kind in wire.kinds() if not kind.endswith(".delta")]
        assert kinds[1:7] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
        ]
        assert hear(wire.pcm()) == PARK
        assert doors.history()[0].user_text == "Where can I park?"


async def test_manual_turns(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"turn_detection": None}})
        wire.say("When are you open?")
        wire.send("input_audio_buffer.commit")
        wire.send("response.create")
        response = (await wire.until("response.done"))["response"]
        assert response["output"][0]["content"][0]["text"] == OPEN


async def test_of_other_sound_it_says_that_it_hears_none(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        wire.sound(b"\x00\x20\x00\xe0" * (24 * 300) + bytes(700 * MS))
        failed = await wire.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "member_hears_no_sound"
        assert (await wire.until("error"))["error"]["code"] == "member_hears_no_sound"
        await wire.settle()
        assert "response.created" not in wire.kinds()
        assert not doors.history()
        assert (await wire.ask("When are you open?"))["status"] == "completed"


async def test_speech_cuts_what_is_read_out(autojump_clock):
    async with open_doors(voiced()) as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        await wire.until("response.output_audio.delta", 3)
        wire.say("Where can I park?")
        cut = (await wire.until("response.done"))["response"]
        assert cut["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert (await wire.until("response.done"))["response"]["status"] == "completed"
        assert doors.history()[-1].agent_text == PARK


async def test_cancel_interrupts_the_turn(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        await wire.until("response.output_text.delta", 2)
        wire.send("response.cancel")
        assert (await wire.until("response.done"))["response"]["status"] == "cancelled"
        await wire.settle(5)
        assert doors.history()[0].status == "interrupted"
        assert (await wire.ask("When are you open?"))["status"] == "completed"


async def test_it_speaks_first_when_asked_to(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        wire.send("response.create", response={"instructions": "Greet the user."})
        assert (await wire.until("response.done"))["response"]["status"] == "completed"
        wire.send("response.create")
        assert (await wire.until("response.done"))["response"]["status"] == "completed"
        assert len(doors.history()) == 2


async def test_instructions_are_told_once(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        await wire.session(instructions="The wifi password is olive.")
        await wire.ask("When are you open?")
        await wire.ask("Where can I park?")
        first, second = doors.history()
        assert "olive" in str(first.items[0])
        assert "olive" not in str(second.items)


async def test_a_failure_is_a_failed_response(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        hosted = doors.realm.mobs[0]
        await hosted.mob.retire("host")
        response = await wire.ask("When are you open?")
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "member_not_running"


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
async def test_by_telephone(autojump_clock, law):
    async with open_doors(voiced()) as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"format": {"type": law}}, "output": {"format": {"type": law}}})
        call = outwards(law).turn(speak("Where can I park?") + bytes(800 * MS))
        for at in range(0, len(call), 160):
            wire.send("input_audio_buffer.append", audio=base64.b64encode(call[at : at + 160]).decode())
        await wire.until("response.done")
        assert doors.history()[0].user_text == "Where can I park?"
        assert hear(inwards(law).turn(wire.pcm()) + bytes(480)) == PARK


async def test_what_another_member_asks_is_not_heard(autojump_clock):
    async with open_doors(alone(MENU)) as doors, dialled(doors) as wire:
        member = doors.realm.mobs[0].mob.member("host")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.ask, "Where can I park?")
            await trio.sleep(0.01)
            response = await wire.ask("When are you open?")
        assert response["output"][0]["content"][0]["text"] == OPEN
        assert len(doors.history()) == 2


@pytest.mark.parametrize("model", [MENU, "gpt-realtime-2"])
async def test_speech_in_the_middle_of_a_written_answer_is_answered_after_it(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        await wire.session(output_modalities=["text"])
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        await wire.until("response.output_text.delta")
        wire.say("Where can I park?")
        await wire.until("response.done", 2)
        assert [event["response"]["status"] for event in wire.of("response.done")] == ["completed", "completed"]
        await wire.settle()
        assert [turn.user_text for turn in doors.history()] == ["Tell me about yourself.", "Where can I park?"]


TEAM = """
[mob]
id = "house"
entry = "clerk"

[profiles.clerk]
model = "gpt-4.1-mini"
voice = "tone"
instructions = "You are the clerk.\\nA bill can be paid in cash."
"""


async def test_a_team_file_gives_it_a_voice(autojump_clock):
    definition, findings = parse_definition(TEAM, base_dir=Path(), read_file=lambda _: "")
    assert not findings
    async with open_doors(definition) as doors, dialled(doors, "clerk") as wire:
        await wire.ask("How can a bill be paid?")
        assert hear(wire.pcm()) == "A bill can be paid in cash."


def test_which_voice_reads(monkeypatch):
    tone = Profile("host", MENU, voice="tone")
    assert isinstance(door._voice_of(tone), ToneVoice)
    assert door._voice_of(evolve(tone, voice=None)) is None
    monkeypatch.setattr(door, "find_espeak", lambda: None)
    assert isinstance(door._voice_of(evolve(tone, voice="espeak")), ToneVoice)
    monkeypatch.setattr(door, "find_espeak", lambda: "/bin/true")
    monkeypatch.setattr(espeak, "find_espeak", lambda: "/bin/true")
    assert isinstance(door._voice_of(evolve(tone, voice="espeak")), espeak.EspeakVoice)


async def test_a_voice_that_fails_leaves_the_words(autojump_clock, monkeypatch):
    class Hoarse:
        decodable = False

        async def say(self, text: str, rate: int) -> bytes:
            raise UsageError("espeak-ng failed")

    monkeypatch.setattr(door, "_voice_of", lambda _: Hoarse())
    async with open_doors(voiced()) as doors, dialled(doors) as wire:
        response = await wire.ask("When are you open?")
        assert response["status"] == "completed"
        assert response["output"][0]["content"][0]["transcript"] == OPEN
        assert wire.of("error")[0]["error"]["code"] == "bad_usage"
