"""Chat completions in virtual time: what reaches the member, turns that span requests, and clients that go."""

from __future__ import annotations

import json

import pytest
import trio
from attrs import evolve
from hypothesis import example, given, settings, strategies as st
from rest_doors import Doors, Got, Http, ask, desk, open_doors
from trio.testing import MockClock, wait_all_tasks_blocked

from mob.definition.catalogue import lookup
from mob.history.items import Cause, Note, ToolCall, ToolResult
from mob.providers.openai_chat.sse import SseDecoder
from mob.rehearsal.brain import Brain, PlannedCall, Reply
from mob.rehearsal.faults import Fault
from mob.server.limits import DoorLimits
from mob.sessions.tools import BadArguments, ToolContext

CHAT = "/v1/chat/completions"
RISOTTO = "What does the risotto cost?"
WEATHER = "What is the weather outside in the city?"
PNG = "iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city: sun, rain or snow, and the temperature outside.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def said(*texts: str, model: str = "menu", **more) -> dict:
    """A request whose messages are these, the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    return {"model": model, "messages": messages, **more}


def answer_of(got: Got) -> dict:
    assert got.status == 200, got.text
    return got.json["choices"][0]


def chunks_of(text: str) -> list[dict | str]:
    """A stream's chunks, `[DONE]` as it is."""
    events = SseDecoder().feed(text.encode())
    return [event.data if event.data == "[DONE]" else json.loads(event.data) for event in events]


def menu(doors: Doors):
    return doors.realm.mob("front-desk").member("menu")


# -- what reaches the member -------------------------------------------------------------------------------------------


async def test_only_what_is_new_is_said(autojump_clock):
    async with open_doors() as doors:
        first = answer_of(await ask(doors, "POST", CHAT, said(RISOTTO)))["message"]["content"]
        await ask(doors, "POST", CHAT, said(RISOTTO, first, "And the soup?"))
        await ask(doors, "POST", CHAT, said("Never said.", "Nor this.", "And the cake?"))
        assert [turn.user_text for turn in menu(doors).history()] == [RISOTTO, "And the soup?", "And the cake?"]


async def test_what_stands_before_is_told_once(autojump_clock):
    async with open_doors() as doors:
        request = said(RISOTTO)
        request["messages"].insert(0, {"role": "system", "content": "The guest is called Ada."})
        await ask(doors, "POST", CHAT, request)
        await ask(doors, "POST", CHAT, request)
        request["messages"].insert(1, {"role": "developer", "content": "It is her birthday."})
        await ask(doors, "POST", CHAT, request)
        notes = [[item.text for item in turn.items if isinstance(item, Note)] for turn in menu(doors).history()]
        assert notes == [["The guest is called Ada."], [], ["It is her birthday."]]


async def test_a_mob_as_a_model_is_whoever_has_the_floor(autojump_clock):
    async with open_doors() as doors:
        mob = doors.realm.mob("front-desk").mob
        await ask(doors, "POST", CHAT, said("I want to complain to the manager.", model="front-desk"))
        await mob.wait_quiet()
        assert mob.floor == "manager"
        await ask(doors, "POST", CHAT, said("My soup was cold.", model="front-desk"))
        assert mob.member("host").history()[-1].user_text == "I want to complain to the manager."
        assert mob.member("manager").history()[-1].user_text == "My soup was cold."


async def test_two_mobs_with_one_name_are_told_apart(autojump_clock):
    async with open_doors(desk(), evolve(desk(), id="second")) as doors:
        refused = await ask(doors, "POST", CHAT, said(RISOTTO))
        assert (refused.status, refused.json["error"]["param"]) == (400, "model")
        assert "second/menu" in refused.json["error"]["message"]
        answer_of(await ask(doors, "POST", CHAT, said(RISOTTO, model="second/menu")))
        assert len(doors.realm.mob("second").member("menu").history()) == 1
        names = [model["id"] for model in (await ask(doors, "GET", "/v1/models")).json["data"]]
        assert "front-desk/menu" in names
        assert "menu" not in names


async def test_max_tokens_cuts_the_answer_and_the_member(autojump_clock):
    async with open_doors() as doors:
        choice = answer_of(await ask(doors, "POST", CHAT, said(RISOTTO, max_tokens=3)))
        assert choice["finish_reason"] == "length"
        assert len(choice["message"]["content"]) == 12
        await doors.realm.mob("front-desk").mob.wait_quiet()
        assert menu(doors).history()[0].status == "interrupted"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"logprobs": True}, "logprobs"),
        ({"stop": ["."]}, "stop"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL] * 200}, "tools"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    ],
)
async def test_what_a_member_cannot_honour_is_refused(autojump_clock, change, param):
    async with open_doors() as doors:
        refused = await ask(doors, "POST", CHAT, {**said(RISOTTO), **change})
        assert (refused.status, refused.json["error"]["param"]) == (400, param)
        assert menu(doors).history() == ()


@pytest.mark.parametrize(
    "url",
    ["https://x/y.png", "data:image/gif;base64,aaaa", "data:image/png;base64,%%", f"data:image/jpeg;base64,{PNG}"],
)
async def test_pictures_come_as_data(autojump_clock, url):
    async with open_doors() as doors:
        content = [{"type": "image_url", "image_url": {"url": url}}]
        refused = await ask(doors, "POST", CHAT, {**said(""), "messages": [{"role": "user", "content": content}]})
        assert (refused.status, refused.json["error"]["param"]) == (400, "messages")


async def test_a_blind_member_is_shown_nothing(autojump_clock):
    definition = desk()
    blind = evolve(lookup("gpt-5.6-terra"), input_modalities=("text",))
    async with open_doors(evolve(definition, models={"gpt-5.6-terra": blind})) as doors:
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        refused = await ask(doors, "POST", CHAT, {**said(""), "messages": [{"role": "user", "content": [picture]}]})
        assert (refused.status, refused.json["error"]["param"]) == (400, "messages")
        assert "sees no images" in refused.json["error"]["message"]
        images = {"images": [{"mime": "image/png", "data": PNG}]}
        refused = await ask(doors, "POST", "/mobs/front-desk/members/menu/turns", images)
        assert (refused.status, refused.json["error"]["param"]) == (400, "images")
        assert "sees no images" in refused.json["error"]["message"]
        assert menu(doors).history() == ()


# -- when it fails -----------------------------------------------------------------------------------------------------


async def test_a_turn_that_failed_is_not_asked_again_by_its_client(autojump_clock):
    async with open_doors(faults=(Fault("http-529", at=None),)) as doors:
        refused = await ask(doors, "POST", CHAT, said(RISOTTO))
        assert (refused.status, refused.json["error"]["code"]) == (502, "provider_refused")
        assert refused.headers["x-should-retry"] == "false"
        assert [turn.status for turn in menu(doors).history()] == ["failed"]


async def test_a_stream_that_breaks_says_so(autojump_clock):
    async with open_doors(faults=(Fault("sse-error"),)) as doors:
        got = await ask(doors, "POST", CHAT, said(RISOTTO, stream=True))
        assert got.status == 200
        *_, last = chunks_of(got.text)
        assert last["error"]["code"] == "provider_refused"


# -- the client's tools ------------------------------------------------------------------------------------------------


async def call_weather(doors: Doors, **more) -> tuple[dict, dict]:
    """A request to which the member answers with a call; the request, and the call."""
    request = said(WEATHER, tools=[TOOL], **more)
    choice = answer_of(await ask(doors, "POST", CHAT, request))
    assert choice["finish_reason"] == "tool_calls"
    request["messages"].append(choice["message"])
    (call,) = choice["message"]["tool_calls"]
    return request, call


def with_result(request: dict, call: dict, text: str = "It rains, at seven degrees.") -> dict:
    result = {"role": "tool", "tool_call_id": call["id"], "content": text}
    return {**request, "messages": [*request["messages"], result]}


def lent(doors: Doors) -> set[str]:
    return {tool.name for tool in menu(doors).session.tools.schemas}


async def test_a_turn_waits_for_its_client_and_goes_on(autojump_clock):
    async with open_doors() as doors:
        request, call = await call_weather(doors)
        assert "weather" in lent(doors)
        await trio.sleep(20)
        choice = answer_of(await ask(doors, "POST", CHAT, with_result(request, call)))
        assert choice["finish_reason"] == "stop"
        assert "seven degrees" in choice["message"]["content"]
        assert "weather" not in lent(doors)
        assert len(menu(doors).history()) == 1


async def test_a_client_that_stays_away_ends_its_turn(autojump_clock):
    async with open_doors(limits=evolve(DoorLimits(), client_tool_s=10)) as doors:
        request, call = await call_weather(doors)
        await trio.sleep(11)
        assert "weather" not in lent(doors)
        (turn,) = menu(doors).history()
        assert turn.status == "interrupted"
        late = await ask(doors, "POST", CHAT, with_result(request, call))
        assert (late.status, late.json["error"]["param"]) == (400, "messages")
        assert "later than 10 s" in late.json["error"]["message"]


async def test_results_go_to_the_turn_that_asked_for_them_alone(autojump_clock):
    async with open_doors() as doors:
        request, call = await call_weather(doors)
        stranger = {**call, "id": "call_of_somebody_else"}
        other = {**request, "messages": [request["messages"][0], {"role": "assistant", "tool_calls": [stranger]}]}
        refused = await ask(doors, "POST", CHAT, with_result(other, stranger))
        assert refused.status == 400
        both = {**request, "messages": [*request["messages"]]}
        both = with_result(both, call)
        both["messages"].append({"role": "user", "content": "Hurry!"})
        assert (await ask(doors, "POST", CHAT, both)).status == 400
        answer_of(await ask(doors, "POST", CHAT, with_result(request, call)))


async def test_two_clients_with_one_tool_go_one_after_the_other(autojump_clock):
    async with open_doors() as doors:
        request, call = await call_weather(doors)
        second = Http(doors)
        await second.send("POST", CHAT, said(WEATHER, tools=[TOOL]))
        await wait_all_tasks_blocked()
        assert "seven" in answer_of(await ask(doors, "POST", CHAT, with_result(request, call)))["message"]["content"]
        assert (await second.head()).status == 200
        assert json.loads(await second.piece())["choices"][0]["finish_reason"] == "tool_calls"
        await second.stream.aclose()


async def test_a_tool_that_the_member_has_already_is_refused(autojump_clock):
    async with open_doors() as doors:
        own = json.loads(json.dumps(TOOL))
        own["function"]["name"] = "free_tables"
        refused = await ask(doors, "POST", CHAT, said(WEATHER, model="bookings", tools=[own]))
        assert (refused.status, refused.json["error"]["code"]) == (400, "bad_usage")


async def test_tools_are_not_offered_when_none_is_to_be_called(autojump_clock):
    async with open_doors() as doors:
        choice = answer_of(await ask(doors, "POST", CHAT, said(WEATHER, tools=[TOOL], tool_choice="none")))
        assert choice["finish_reason"] == "stop"


def calls_of(choice: dict) -> dict[str, dict]:
    """The calls that the client is to make, by their city."""
    return {json.loads(call["function"]["arguments"])["city"]: call for call in choice["message"]["tool_calls"]}


@pytest.fixture
def asks_thrice(monkeypatch):
    """A member that asks for the weather of three cities at once."""
    reply = Brain.reply

    def thrice(brain: Brain, scene: object) -> Reply:
        whole = reply(brain, scene)
        return evolve(whole, calls=tuple(PlannedCall("weather", {"city": city}) for _ in whole.calls for city in "abc"))

    monkeypatch.setattr(Brain, "reply", thrice)


async def test_calls_are_told_together(autojump_clock, asks_thrice):
    async with open_doors() as doors:
        request = said(WEATHER, tools=[TOOL])
        choice = answer_of(await ask(doors, "POST", CHAT, request))
        calls = calls_of(choice)
        assert set(calls) == {"a", "b", "c"}
        request["messages"].append(choice["message"])
        request = with_result(request, calls["a"], "one")
        assert (await ask(doors, "POST", CHAT, request)).status == 400  # not all of them
        request = with_result(with_result(request, calls["c"], "three"), calls["b"], "")
        assert answer_of(await ask(doors, "POST", CHAT, request))["finish_reason"] == "stop"
        assert results_of(doors) == {"a": "one", "b": "", "c": "three"}


async def test_calls_are_told_one_by_one_where_the_client_wants_it(autojump_clock, asks_thrice):
    async with open_doors(limits=evolve(DoorLimits(), client_tool_s=10)) as doors:
        request = said(WEATHER, tools=[TOOL], parallel_tool_calls=False, stream=True)
        for _ in range(3):
            told = chunks_of((await ask(doors, "POST", CHAT, request)).text)
            deltas = [chunk["choices"][0]["delta"] for chunk in told[:-1] if chunk["choices"]]
            (call,) = [call for delta in deltas for call in delta.get("tool_calls", ())]
            city = json.loads(call["function"]["arguments"])["city"]
            await trio.sleep(6)  # the time of one call is not that of the others
            request["messages"].append({"role": "assistant", "tool_calls": [call]})
            request = with_result(request, call, f"in {city}")
        texts = chunks_of((await ask(doors, "POST", CHAT, request)).text)[:-1]
        said_first = next(chunk["choices"][0]["delta"]["content"] for chunk in texts if said_in(chunk))
        assert not said_first.startswith("\n")  # a request's first text begins no new line
        assert results_of(doors) == {city: f"in {city}" for city in "abc"}


def said_in(chunk: dict) -> bool:
    return bool(chunk["choices"]) and bool(chunk["choices"][0]["delta"].get("content"))


def results_of(doors: Doors) -> dict[str, str]:
    """What the member was told of its calls, by their city."""
    (turn,) = menu(doors).history()
    calls = {item.call_id: json.loads(item.arguments)["city"] for item in turn.items if isinstance(item, ToolCall)}
    return {calls[item.call_id]: item.output for item in turn.items if isinstance(item, ToolResult)}


async def test_a_turn_of_somebody_else_is_told_that_the_tool_is_not_for_it(autojump_clock):
    async with open_doors() as doors:
        request, call = await call_weather(doors)
        tool = menu(doors).session.tools.get("weather")
        assert tool.effect == "write"  # law 18: nobody says what a client's function does
        with pytest.raises(BadArguments, match="another conversation"):
            await tool.call({}, ToolContext("d", "menu", "t2", Cause("text", message_id="m2")))
        answer_of(await ask(doors, "POST", CHAT, with_result(request, call)))


# -- clients that go ---------------------------------------------------------------------------------------------------


async def test_a_client_that_hangs_up_interrupts_the_member(autojump_clock):
    async with open_doors() as doors:
        http = Http(doors)
        await http.send("POST", CHAT, said(RISOTTO, stream=True))
        await http.head()
        seen = b""
        while b'"content":"The' not in seen.replace(b": ", b":"):
            seen += await http.piece()
        await http.stream.aclose()
        await doors.realm.mob("front-desk").mob.wait_quiet()
        (turn,) = menu(doors).history()
        assert turn.status == "interrupted"
        assert turn.agent_text
        assert turn.agent_text.startswith("The")


async def test_a_client_that_hangs_up_in_the_queue_was_never_there(autojump_clock):
    async with open_doors() as doors:
        first, second = Http(doors), Http(doors)
        await first.send("POST", CHAT, said(RISOTTO))
        await wait_all_tasks_blocked()
        await second.send("POST", CHAT, said("And the soup?"))
        await wait_all_tasks_blocked()
        await second.stream.aclose()
        assert (await first.head()).status == 200
        await doors.realm.mob("front-desk").mob.wait_quiet()
        assert [turn.user_text for turn in menu(doors).history()] == [RISOTTO]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 0.6), st.booleans(), st.booleans()), min_size=1, max_size=5))
@example([(0.1, True, True), (0.0, False, False), (0.3, True, False)])
def test_law_24_clients_that_go_at_any_moment_leave_nothing(clients):
    """Each stays so long, streams or not, offers a tool or not."""

    async def main() -> None:
        async with open_doors() as doors:
            for stay_s, stream, tool in clients:
                more = {"tools": [TOOL]} if tool else {}
                http = Http(doors)
                await http.send("POST", CHAT, said(WEATHER if tool else RISOTTO, stream=stream, **more))
                await trio.sleep(stay_s)
                await http.stream.aclose()
            await trio.sleep(doors.realm.limits.client_tool_s + 1)
            await doors.realm.mob("front-desk").mob.wait_quiet()
            assert doors.front.statistics().open == 0
            assert lent(doors) == {tool.name for tool in menu(doors).session.tools}
            assert "weather" not in lent(doors)
            assert "mob_chat_turns 0" in (await ask(doors, "GET", "/metrics")).text
            ended = [(turn.status, turn.error) for turn in menu(doors).history()]
            assert {status for status, _ in ended} <= {"done", "interrupted"}, ended
            answer_of(await ask(doors, "POST", CHAT, said(RISOTTO)))

    trio.run(main, clock=MockClock(autojump_threshold=0))


# -- law 26 ------------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(("model", "messages", "tools", "stream", "stream_options", "n", "max_tokens", "content"))


@st.composite
def mutated(draw) -> bytes:
    """A good request with something wrong in it, or anything at all."""
    request = said(RISOTTO, tools=[TOOL])
    for _ in range(draw(st.integers(1, 3))):
        messages = request["messages"]
        first = messages[0] if isinstance(messages, list) and messages and isinstance(messages[0], dict) else request
        draw(st.sampled_from([request, first]))[draw(NAMES)] = draw(JSON_VALUES)
    body = json.dumps(request).encode()
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(body)))
        body = body[:cut] + draw(st.binary(max_size=4)) + body[cut + draw(st.integers(0, 3)) :]
    return body


@settings(deadline=None, max_examples=150)
@given(st.lists(mutated(), min_size=1, max_size=4))
def test_law_26_mutated_requests_get_typed_answers_and_harm_nobody(bodies):
    async def main() -> None:
        async with open_doors() as doors:
            for body in bodies:
                got = await ask(doors, "POST", CHAT, body)
                assert got.status in (200, 400, 404)
                if got.status != 200:
                    assert got.json["error"]["message"]
            assert "mob_chat_turns 0" in (await ask(doors, "GET", "/metrics")).text
            answer_of(await ask(doors, "POST", CHAT, said(RISOTTO)))

    trio.run(main, clock=MockClock(autojump_threshold=0))
