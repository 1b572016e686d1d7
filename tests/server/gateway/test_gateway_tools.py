"""The client's own functions beside the member's tools: given, answered, gone on with, and forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio.testing
from gateway_doors import alone, desk, dialled, open_doors

from mob.definition.parse import parse_definition
from mob.history.items import ToolCall, ToolResult
from mob.live import events as live
from mob.providers.openai_realtime import RealtimeServer
from mob.server.gateway.answering import Answering
from mob.server.lending import NOT_YOURS, Call
from mob.values import ToolSchema

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city: sun, rain or snow, and the temperature outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTION = "What is the weather like in Paris: sun, rain or snow?"
MEMBERS = ["gpt-realtime-2", "gpt-4.1-mini"]


async def called(wire) -> dict:
    """Ask for the weather; the function call, with its response done."""
    await wire.session(tools=[WEATHER])
    response = await wire.ask(QUESTION, output_modalities=["text"])
    assert response["status"] == "completed"
    (call,) = [item for item in response["output"] if item["type"] == "function_call"]
    return call


def answer(wire, call: dict, output: str) -> None:
    item = {"type": "function_call_output", "call_id": call["call_id"], "output": output}
    wire.send("conversation.item.create", item=item)


def calls(turn) -> list:
    return [item for item in turn.items if isinstance(item, ToolCall | ToolResult)]


@pytest.mark.parametrize("model", MEMBERS)
async def test_a_function_is_called_answered_and_gone_on_with(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        call = await called(wire)
        assert call["name"] == "weather"
        assert "city" in json.loads(call["arguments"])
        kinds = wire.kinds()
        assert kinds.index("response.function_call_arguments.done") < kinds.index("response.done")
        answer(wire, call, "It is sunny in Paris.")
        await wire.until("conversation.item.done")
        await wire.settle(5)
        assert len(wire.of("response.created")) == 1, "the member does not go on before it may"
        wire.send("response.create", response={"output_modalities": ["text"]})
        response = (await wire.until("response.done"))["response"]
        assert "It is sunny in Paris." in response["output"][0]["content"][0]["text"]
        await wire.settle(1)
        (turn,) = doors.history()
        made, result = calls(turn)
        assert (made.call_id, made.name) == (call["call_id"], "weather")
        assert (result.status, result.output) == ("done", "It is sunny in Paris.")
        assert turn.user_text == QUESTION


@pytest.mark.parametrize("model", MEMBERS)
async def test_a_client_that_goes_on_without_an_answer_is_answered(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        await called(wire)
        wire.send("response.create", response={"output_modalities": ["text"]})
        assert (await wire.until("response.done"))["response"]["status"] == "completed"
        await wire.settle(1)
        _, result = calls(doors.history()[0])
        assert "without an answer" in result.output


@pytest.mark.parametrize("model", MEMBERS)
async def test_a_client_that_never_answers_keeps_nobody_waiting_for_ever(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        call = await called(wire)
        await wire.settle(120)
        (turn,) = doors.history()
        assert calls(turn)[1].status in ("timed_out", "cancelled")
        answer(wire, call, "It is sunny.")
        assert (await wire.until("error"))["error"]["code"] == "call_not_waiting"
        assert (await wire.ask("When are you open?", output_modalities=["text"]))["status"] == "completed"


@pytest.mark.parametrize("model", MEMBERS)
async def test_a_client_that_says_something_else_is_answered_that(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        await called(wire)
        response = await wire.ask("When are you open?", output_modalities=["text"])
        assert response["status"] == "completed"
        await wire.settle(1)
        first, second = doors.history()
        assert calls(first)[1].status == "cancelled"
        assert second.user_text == "When are you open?"


@pytest.mark.parametrize("model", MEMBERS)
async def test_the_functions_are_gone_with_the_connection(autojump_clock, model):
    async with open_doors(alone(model)) as doors:
        async with dialled(doors) as wire:
            await called(wire)
            member = doors.realm.mobs[0].mob.member("host")
            assert "weather" in {schema.name for schema in member.session.tools.schemas}
        await trio.testing.wait_all_tasks_blocked(0.5)
        assert "weather" not in {schema.name for schema in member.session.tools.schemas}
        (turn,) = doors.history()
        assert calls(turn)[1].status == "cancelled"
        async with dialled(doors) as wire:
            response = await wire.ask(QUESTION, output_modalities=["text"])
            assert {item["type"] for item in response["output"]} == {"message"}


@pytest.mark.parametrize("model", MEMBERS)
async def test_other_functions_take_the_place_of_those_before(autojump_clock, model):
    async with open_doors(alone(model)) as doors, dialled(doors) as wire:
        await wire.session(tools=[WEATHER])
        await wire.session(tools=[WEATHER])
        await wire.session(tools=[{**WEATHER, "name": "forecast"}])
        member = doors.realm.mobs[0].mob.member("host")
        assert {schema.name for schema in member.session.tools.schemas} == {"forecast"}
        await wire.session(tools=[])
        assert not member.session.tools.schemas


async def test_a_name_that_the_member_has_already_is_refused(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        before = doors.realm.mobs[0].mob.member("host").session.tools.schemas
        tools = [WEATHER, {**WEATHER, "name": "ask_menu"}]
        wire.send("session.update", session={"type": "realtime", "tools": tools}, event_id="mine")
        error = (await wire.until("error"))["error"]
        assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", "session.tools[1].name", "mine")
        assert doors.realm.mobs[0].mob.member("host").session.tools.schemas == before


async def test_a_function_beside_a_colleague(autojump_clock):
    """The member asks its colleague in between, and the client sees neither that nor its call."""
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        await wire.session(tools=[WEATHER])
        response = await wire.ask("What does the risotto cost?", output_modalities=["text"])
        assert "14 euros" in response["output"][-1]["content"][0]["text"]
        call = [item for item in (await wire.ask(QUESTION))["output"] if item["type"] == "function_call"][-1]
        assert call["name"] == "weather"


ASKED = """
[mob]
id = "house"
entry = "host"

[profiles.host]
model = "gpt-realtime-2"
instructions = "You are the host."

[profiles.clerk]
model = "gpt-4.1-mini"
instructions = "You are the clerk."

[wiring]
routes = [{ from = "clerk", to = "host" }]

[[rehearsal.clerk]]
when = "/weather/"
call = "ask_host"
"""


async def test_what_another_member_asks_does_not_come_to_the_client(autojump_clock):
    """The host calls the client's function in a turn that the clerk began: it is told to go on without it."""
    definition, _ = parse_definition(ASKED, base_dir=Path(), read_file=lambda _: "")
    async with open_doors(definition) as doors, dialled(doors) as wire:
        await wire.session(tools=[WEATHER])
        await doors.realm.mobs[0].mob.member("clerk").ask(QUESTION)
        await wire.settle(5)
        assert not [kind for kind in wire.kinds() if kind.startswith("response.")]
        (turn,) = doors.history("host")
        assert [(item.status, item.output) for item in turn.items if isinstance(item, ToolResult)] == [
            ("failed", NOT_YOURS)
        ]


class Box:
    """What Answering writes to and asks."""

    def __init__(self) -> None:
        self.server = RealtimeServer("host")
        self.lent = (ToolSchema("weather", ""),)
        self.refused: list[str] = []

    def refuse(self, call_id: str) -> None:
        self.refused.append(call_id)


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("early", [True, False])
def test_a_call_and_the_word_of_it_may_come_in_either_order(shown, early):
    box = Box()
    answering = Answering(box, box, None)
    place = {"channel_id": "c", "epoch": 1, "t": 0.0}
    call = Call("call_1", "weather", "{}")
    answering.apply(live.TurnBegan(turn="t", cause="text", prompted=not shown, **place))
    said = live.ToolCall(call_id="call_1", name="weather", arguments="{ }", **place)
    if early:
        assert answering.take_call(call), "nobody knows yet"
        answering.apply(said)
        assert box.refused == ([] if shown else ["call_1"])
    else:
        answering.apply(said)
        assert answering.take_call(call) == shown
    answering.apply(live.ResponseDone(response_id="r", status="completed", usage=None, **place))
    events = [json.loads(frame) for frame in box.server.data_to_send()]
    given = [e["arguments"] for e in events if e["type"] == "response.function_call_arguments.done"]
    assert given == (["{ }"] if shown else [])
    assert [e["type"] for e in events][-1:] == (["response.done"] if shown else [])
