"""A client goes along when the member it talks with hands it over."""

from __future__ import annotations

from pathlib import Path

import trio
from gateway_doors import desk, dialled, open_doors

from mob.definition.parse import parse_definition
from mob.history.items import UserMessage
from mob.rehearsal.voice import hear

TEAM = """
[mob]
id = "house"
entry = "{entry}"

[profiles.host]
model = "gpt-realtime-2"
instructions = "You are the host.\\nWe are open from noon to eleven."

[profiles.clerk]
model = "gpt-4.1-mini"
peer_description = "The clerk: bills and receipts."
instructions = "You are the clerk.\\nA bill can be paid in cash."

[wiring]
routes = [
  {{ from = "host", to = "clerk", via = ["hand_off"] }},
  {{ from = "clerk", to = "host", via = ["hand_off"] }},
]

[[rehearsal.host]]
when = "/clerk|bill/"
hand_off = "clerk"

[[rehearsal.clerk]]
when = "/host/"
hand_off = "host"
"""


def mixed(entry: str):
    definition, findings = parse_definition(TEAM.format(entry=entry), base_dir=Path(), read_file=lambda _: "")
    assert definition is not None, findings
    return definition


async def test_the_next_holder_speaks_on_the_same_connection_and_hears_what_comes_next(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        handed = await wire.ask("I want to complain to the manager: my soup was cold.")
        assert handed["metadata"] is None
        greeting = (await wire.until("response.done"))["response"]
        assert greeting["metadata"] == {"member": "manager"}
        assert greeting["status"] == "completed"
        item = greeting["output"][0]["id"]
        assert hear(wire.pcm(item)) == greeting["output"][0]["content"][0]["transcript"]
        wire.say("How long is lost property kept?")
        answer = (await wire.until("response.done"))["response"]
        assert "thirty days" in answer["output"][0]["content"][0]["transcript"]
        await wire.settle(60)
        heard = [turn.user_text for turn in doors.history("manager") if turn.user_text]
        assert heard == ["How long is lost property kept?"]
        assert len(doors.history("host")) == 1
        assert not wire.of("error")


async def test_and_back_again(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        await wire.ask("I want to complain to the manager.")
        await wire.until("response.done")
        await wire.settle()
        await wire.ask("Thank you, back to the host please.")
        back = (await wire.until("response.done"))["response"]
        assert back["metadata"] is None, "the client is with the member that it called"
        await wire.settle()
        response = await wire.ask("When are you open?", output_modalities=["text"])
        assert "noon" in response["output"][0]["content"][0]["text"]
        assert doors.realm.mobs[0].mob.floor == "host"


async def test_to_a_member_without_sound_and_back(autojump_clock):
    async with open_doors(mixed("host")) as doors, dialled(doors) as wire:
        await wire.session(output_modalities=["text"])
        await wire.ask("The bill please, let me talk to the clerk.")
        greeting = (await wire.until("response.done"))["response"]
        assert greeting["metadata"] == {"member": "clerk"}
        assert greeting["output"][0]["content"][0]["text"]
        response = await wire.ask("How can a bill be paid?")
        assert "cash" in response["output"][0]["content"][0]["text"]
        await wire.ask("Back to the host please.")
        await wire.until("response.done")
        await wire.settle()
        assert doors.realm.mobs[0].mob.floor == "host"
        said = [turn.user_text for turn in doors.history("clerk") if turn.user_text]
        assert said[0] == "How can a bill be paid?"


async def test_from_a_member_without_sound_to_one_with_it(autojump_clock):
    async with open_doors(mixed("clerk")) as doors, dialled(doors, "clerk") as wire:
        await wire.ask("Let me talk to the host.")
        greeting = (await wire.until("response.done"))["response"]
        assert greeting["metadata"] == {"member": "host"}
        response = await wire.ask("When are you open?")
        assert "noon" in response["output"][0]["content"][0]["text"]


async def test_a_client_that_cannot_follow_is_told(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors, "manager") as other, dialled(doors) as wire:
        await wire.ask("I want to complain to the manager.")
        error = (await wire.until("error"))["error"]
        assert error["code"] == "not_followed"
        assert "manager" in error["message"]
        await wire.settle()
        assert (await wire.ask("When are you open?", output_modalities=["text"]))["status"] == "completed"
        assert not other.of("error")


async def test_the_floor_of_others_moves_nobody(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors, "menu") as wire:
        team = doors.realm.mobs[0].mob
        await team.hand_off("manager")
        await wire.settle()
        response = await wire.ask("What does the risotto cost?")
        assert "14 euros" in response["output"][0]["content"][0]["text"]
        assert not wire.of("error")


async def test_the_clients_functions_go_along(autojump_clock):
    weather = {"type": "function", "name": "weather", "description": "The weather of a city.", "parameters": {}}
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        await wire.session(tools=[weather])
        await wire.ask("I want to complain to the manager.")
        await wire.until("response.done")
        await wire.settle()
        team = doors.realm.mobs[0].mob
        offered = {
            name: {schema.name for schema in team.member(name).session.tools.schemas} for name in ("host", "manager")
        }
        assert "weather" in offered["manager"]
        assert "weather" not in offered["host"]


async def test_words_that_were_begun_are_heard_by_the_next_holder(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        await wire.session(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
        team = doors.realm.mobs[0].mob
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.say_slowly, "How long is lost property kept?")
            await wire.until("input_audio_buffer.speech_started")
            await trio.sleep(0.5)
            await team.hand_off("manager")
        await wire.settle(60)
        said = [item.text for turn in doors.history("manager") for item in turn.items if isinstance(item, UserMessage)]
        assert said == ["How long is lost property kept?"]
        assert len(wire.of("input_audio_buffer.committed")) == 1


async def test_a_client_of_the_mob_talks_with_whoever_has_the_floor(autojump_clock):
    async with open_doors(desk()) as doors:
        async with dialled(doors, "front-desk") as wire:
            wire.say("I want to complain to the manager.")
            handed = (await wire.until("response.done"))["response"]
            assert handed["metadata"] == {"member": "host"}
            assert (await wire.until("response.done"))["response"]["metadata"] == {"member": "manager"}
            await wire.settle()
        async with dialled(doors, "front-desk") as wire:
            response = await wire.ask("How long is lost property kept?", output_modalities=["text"])
            assert "thirty days" in response["output"][0]["content"][0]["text"]
