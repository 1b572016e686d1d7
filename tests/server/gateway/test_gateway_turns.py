"""Turns of one client with a realtime member, in virtual time: what is said, in which order, and what is kept of it."""

from __future__ import annotations

import base64

import pytest
import trio
from gateway_doors import HOST, MS, alone, desk, dialled, manual, open_doors

from mob.history.items import AgentMessage, UserMessage
from mob.rehearsal.voice import hear, said_within, speak
from mob.server.gateway.g711 import inwards, outwards
from mob.server.limits import DoorLimits

PARK = "There is free parking behind the house."
OPEN = "We are open from noon to eleven."
WHOLE = "I am the host. We are open from noon to eleven. There is free parking behind the house."


def said(turn) -> AgentMessage:
    return [item for item in turn.items if isinstance(item, AgentMessage)][-1]


async def test_the_session_is_the_members(autojump_clock):
    definition = alone(voice="cedar", turn_detection=manual())
    async with open_doors(definition) as doors, dialled(doors) as wire:
        (created,) = wire.of("session.created")
        session = created["session"]
        assert (session["model"], session["output_modalities"]) == ("host", ["audio"])
        assert session["audio"]["output"]["voice"] == "cedar"
        assert session["audio"]["input"]["turn_detection"] is None
        assert session["audio"]["input"]["transcription"] is not None
        assert (session["instructions"], session["tools"]) == ("", [])


async def test_a_spoken_turn_has_the_vendors_order(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.say("Where can I park?")
        await wire.until("response.done")
        await wire.settle()
        kinds = [kind for kind in wire.kinds() if not kind.endswith(".delta")]
        user = [kind for kind in kinds if "transcription" not in kind]
        assert user[:6] == [
            "session.created",
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        assert user[6:] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        ids = {event["item_id"] for event in wire.events if event["type"].startswith("input_audio_buffer.")}
        (transcribed,) = wire.of("conversation.item.input_audio_transcription.completed")
        assert ids == {transcribed["item_id"]}
        assert transcribed["transcript"] == "Where can I park?"
        assert hear(wire.pcm()) == wire.transcript() == PARK
        assert doors.history()[0].agent_text == PARK


async def test_a_typed_turn_in_text_and_one_in_sound(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        response = await wire.ask("When are you open?", output_modalities=["text"])
        assert response["output"][0]["content"] == [{"type": "output_text", "text": OPEN}]
        assert response["usage"]["output_tokens"] > 0
        response = await wire.ask("Where can I park?")
        assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": PARK}]
        assert hear(wire.pcm()) == PARK
        await wire.settle()
        assert [turn.agent_text for turn in doors.history()] == [OPEN, PARK]


async def test_the_clients_item_id_stands_in_the_history(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.type("When are you open?", id="mine_1")
        wire.send("response.create", response={"output_modalities": ["text"]})
        await wire.until("response.done")
        await wire.settle(1)
        (asked,) = [item for item in doors.history()[0].items if isinstance(item, UserMessage)]
        assert asked.id == "mine_1"


async def test_the_next_answer_does_not_wait_until_the_one_before_is_played(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.ask("Tell me about yourself.")
        began = trio.current_time()
        await wire.ask("Where can I park?", output_modalities=["text"])
        assert trio.current_time() - began < 1
        assert doors.history()[0].status == "done"
        assert said(doors.history()[0]).text == WHOLE


async def test_manual_turns_wait_for_commit_and_create(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"turn_detection": None}})
        wire.say("When are you open?")
        wire.send("input_audio_buffer.commit")
        await wire.settle()
        assert "response.created" not in wire.kinds()
        assert "input_audio_buffer.speech_started" not in wire.kinds()
        wire.send("response.create")
        await wire.until("response.done")
        assert hear(wire.pcm()) == OPEN
        await wire.settle()
        (transcribed,) = wire.of("conversation.item.input_audio_transcription.completed")
        assert transcribed["item_id"] == wire.of("input_audio_buffer.committed")[0]["item_id"]
        assert doors.history()[0].user_text == "When are you open?"


async def test_commit_and_create_at_once(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"turn_detection": None}})
        wire.say("When are you open?")
        wire.send("input_audio_buffer.commit")
        wire.send("response.create")
        await wire.until("response.done")
        assert hear(wire.pcm()) == OPEN
        assert len(wire.of("response.created")) == 1


async def test_what_was_cleared_is_not_heard(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"turn_detection": None}})
        wire.say("Where can I park?")
        wire.send("input_audio_buffer.clear")
        wire.say("When are you open?")
        wire.send("input_audio_buffer.commit")
        wire.send("response.create")
        await wire.until("response.done")
        await wire.settle()
        assert doors.history()[0].user_text == "When are you open?"


async def test_detected_speech_is_not_answered_when_the_client_will_ask_itself(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        detection = {"type": "server_vad", "create_response": False}
        await wire.session(audio={"input": {"turn_detection": detection}})
        wire.say("When are you open?")
        await wire.settle()
        assert "response.created" not in wire.kinds()
        wire.send("response.create")
        await wire.until("response.done")
        assert hear(wire.pcm()) == OPEN


async def test_an_answer_cut_by_truncate_is_kept_as_it_was_heard(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        first = await wire.until("response.output_audio.delta", 6)
        wire.send("response.cancel")
        done = await wire.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        heard_ms = 500
        wire.send("conversation.item.truncate", item_id=first["item_id"], content_index=0, audio_end_ms=heard_ms)
        await wire.until("conversation.item.truncated")
        await wire.settle()
        (turn,) = doors.history()
        message = said(turn)
        assert (turn.status, message.heard_ms, message.fidelity) == ("interrupted", heard_ms, "exact")
        heard = hear(wire.pcm()[: heard_ms * MS])
        assert heard == said_within(WHOLE, heard_ms)
        assert WHOLE.startswith(message.text)
        assert len(message.text) <= len(heard)


async def test_an_answer_that_was_cancelled_and_never_truncated_is_settled_by_the_clock(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        await wire.until("response.output_audio.delta")
        await trio.sleep(0.3)
        wire.send("response.cancel")
        await wire.settle()
        message = said(doors.history()[0])
        assert message.fidelity == "estimated"
        assert 290 <= message.heard_ms <= 310


async def test_speech_cuts_an_answer_and_truncate_says_where(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        first = await wire.until("response.output_audio.delta", 4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.say_slowly, "Where can I park?")
            await wire.until("input_audio_buffer.speech_started")
            done = await wire.until("response.done")
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            wire.send("conversation.item.truncate", item_id=first["item_id"], content_index=0, audio_end_ms=300)
            answered = await wire.until("response.done")
            assert answered["response"]["status"] == "completed"
        await wire.settle()
        cut, answer = doors.history()
        assert (said(cut).heard_ms, said(cut).fidelity) == (300, "exact")
        assert (answer.user_text, answer.agent_text) == ("Where can I park?", PARK)


async def test_speech_cuts_what_is_still_played_though_it_was_all_sent(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.ask("Tell me about yourself.")
        item = wire.of("response.output_audio.delta")[0]["item_id"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.say_slowly, "Where can I park?")
            await wire.until("input_audio_buffer.speech_started")
            wire.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
            await wire.until("response.done")
        await wire.settle()
        cut, answer = doors.history()
        assert (cut.status, said(cut).heard_ms, said(cut).fidelity) == ("interrupted", 700, "exact")
        assert answer.agent_text == PARK


async def test_speech_does_not_cut_an_answer_of_a_client_that_wants_none_cut(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        detection = {"type": "server_vad", "interrupt_response": False, "create_response": False}
        await wire.session(audio={"input": {"turn_detection": detection}})
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        await wire.until("response.output_audio.delta")
        wire.sound(b"\x00\x20" * (24 * 300))
        done = await wire.until("response.done")
        assert done["response"]["status"] == "completed"


async def test_two_utterances_at_once_are_two_items(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.say("When are you open?")
        wire.say("Where can I park?")
        await wire.settle(60)
        started = [event["item_id"] for event in wire.of("input_audio_buffer.speech_started")]
        committed = [event["item_id"] for event in wire.of("input_audio_buffer.committed")]
        assert started == committed
        assert len(set(committed)) == 2
        texts = {
            e["item_id"]: e["transcript"] for e in wire.of("conversation.item.input_audio_transcription.completed")
        }
        assert [texts[item] for item in committed] == ["When are you open?", "Where can I park?"]


async def test_the_members_own_tools_and_colleagues_stay_inside_one_response(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        response = await wire.ask("What does the risotto cost?")
        assert response["status"] == "completed"
        assert len(wire.of("response.created")) == 1
        assert {item["type"] for item in response["output"]} == {"message"}
        assert "14 euros" in wire.transcript()
        assert "14 euros" in hear(wire.pcm())
        assert not [kind for kind in wire.kinds() if "function_call" in kind]


async def test_the_clients_instructions_stand_below_the_members_own(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(instructions="The wifi password is olive.")
        response = await wire.ask("What is the wifi password?", output_modalities=["text"])
        assert "olive" in response["output"][0]["content"][0]["text"]
        response = await wire.ask("When are you open?", output_modalities=["text"])
        assert response["output"][0]["content"][0]["text"] == OPEN
        response = await wire.ask("Where is the cat?", output_modalities=["text"], instructions="The cat is upstairs.")
        assert "upstairs" in response["output"][0]["content"][0]["text"]


async def test_a_system_message_is_known_to_the_next_answer(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.type("The user's name is Ada.", role="system")
        response = await wire.ask("When are you open?", output_modalities=["text"])
        assert response["status"] == "completed"
        await wire.settle(1)
        assert "Ada" in str(doors.history()[0].items[0])


async def test_a_second_client_of_a_member_is_refused_and_the_first_is_untouched(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        async with dialled(doors, greet=False) as second:
            assert await second.until_closed() == (4000, "invalid_request_error.already_open")
            assert [event["error"]["code"] for event in second.events] == ["already_open"]
        assert (await wire.ask("When are you open?"))["status"] == "completed"


async def test_the_double_update_of_the_agents_sdk_is_harmless(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(tracing="auto")
        await wire.session(model="host", tracing="auto", instructions=HOST, tools=[], tool_choice="auto")
        assert (await wire.ask("When are you open?"))["status"] == "completed"
        assert not wire.of("error")


async def test_transcripts_are_for_those_who_want_them(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"transcription": None}})
        wire.say("Where can I park?")
        await wire.settle()
        assert not [kind for kind in wire.kinds() if "transcription" in kind]
        assert doors.history()[0].user_text == "Where can I park?"


async def test_by_telephone(autojump_clock):
    law = {"type": "audio/pcmu"}
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"format": law}, "output": {"format": law}})
        call = outwards("audio/pcmu").turn(speak("Where can I park?") + bytes(800 * MS))
        for at in range(0, len(call), 160):
            wire.send("input_audio_buffer.append", audio=base64.b64encode(call[at : at + 160]).decode())
        await wire.until("response.done")
        assert hear(inwards("audio/pcmu").turn(wire.pcm()) + bytes(480)) == PARK
        item = wire.of("response.output_audio.delta")[0]["item_id"]
        wire.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=300)
        await wire.settle()
        assert said(doors.history()[0]).heard_ms == 300


async def test_bounds_of_what_one_client_says(autojump_clock):
    limits = DoorLimits(max_text_bytes=100, max_client_tools=1, max_realtime_items=4)
    tool = {"type": "function", "name": "a", "parameters": {}}
    async with open_doors(limits=limits) as doors, dialled(doors) as wire:
        wire.type("x" * 101)
        assert (await wire.until("error"))["error"]["code"] == "string_above_max_length"
        wire.send("session.update", session={"type": "realtime", "instructions": "ä" * 51})
        assert (await wire.until("error"))["error"]["code"] == "string_above_max_length"
        wire.send("session.update", session={"type": "realtime", "tools": [tool, {**tool, "name": "b"}]})
        assert (await wire.until("error"))["error"]["code"] == "array_above_max_length"
        for _ in range(4):
            assert (await wire.ask("When are you open?", output_modalities=["text"]))["status"] == "completed"
        first = wire.of("conversation.item.added")[0]["item"]["id"]
        wire.send("conversation.item.retrieve", item_id=first)
        assert "does not exist" in (await wire.until("error"))["error"]["message"]


@pytest.mark.parametrize("model", ["gpt-realtime-2", "gpt-4.1-mini"])
async def test_a_client_that_only_tells_is_told_to_ask(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        for _ in range(300):
            wire.type("The user is in a hurry.", role="system")
        await wire.until("error")
        assert wire.events[-1]["error"]["code"] == "limit_reached"
        response = await wire.ask("When are you open?", output_modalities=["text"])
        assert response["status"] == "completed", response


async def test_a_truncation_alone_ends_the_answer_that_it_cuts(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        first = await wire.until("response.output_audio.delta", 2)
        wire.send("conversation.item.truncate", item_id=first["item_id"], content_index=0, audio_end_ms=100)
        done = (await wire.until("response.done"))["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        await wire.settle()
        assert said(doors.history()[0]).heard_ms == 100
