"""The official `openai` package talks with members of a team as with models."""

from __future__ import annotations

import json
import time

import openai
import pytest
import trio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessage
from rest_doors import SECRET, open_doors, play

from mob.errors import TokenRefused
from mob.history.items import ToolCall, ToolResult
from mob.server.front.auth import Gatekeeper

pytestmark = pytest.mark.real_socket

RISOTTO = "What does the risotto cost?"


async def test_a_member_answers_whole():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            said = [{"role": "user", "content": RISOTTO}]
            whole = await client.chat.completions.create(model="menu", messages=said)
            (choice,) = whole.choices
            assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
            assert "14 euros" in choice.message.content
            assert whole.usage.total_tokens > 0

        await play(doors, scenario)
        (turn,) = doors.realm.mob("front-desk").member("menu").history()
        assert turn.user_text == RISOTTO


async def test_a_member_answers_word_by_word():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            stream = await client.chat.completions.create(
                model="front-desk/menu",
                messages=[{"role": "user", "content": RISOTTO}],
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
            assert len([text for text in said if text]) > 3
            assert "14 euros" in "".join(said)
            assert chunks[-1].usage.completion_tokens > 0

        await play(doors, scenario)


async def test_a_realtime_member_answers_in_text():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            said = [{"role": "user", "content": "Where can I park?"}]
            whole = await client.chat.completions.create(model="host", messages=said)
            assert "parking" in whole.choices[0].message.content

        await play(doors, scenario)


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city: sun, rain or snow, and the temperature outside.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.mark.parametrize("member", ["menu", "host"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_member_uses_a_tool_of_the_client(member, stream):
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            messages = [{"role": "user", "content": "What is the weather outside in the city?"}]
            called = await answer_of(client, stream, model=member, messages=messages, tools=[WEATHER])
            (call,) = called.tool_calls
            assert call.function.name == "weather"
            assert "city" in json.loads(call.function.arguments)
            messages += [called.model_dump(exclude_none=True)]
            messages += [{"role": "tool", "tool_call_id": call.id, "content": "It rains in Oslo, at seven degrees."}]
            answer = await answer_of(client, stream, model=member, messages=messages, tools=[WEATHER])
            assert answer.tool_calls is None
            assert "seven degrees" in answer.content

        await play(doors, scenario)
        handle = doors.realm.mob("front-desk").member(member)
        (turn,) = handle.history()
        assert [type(item) for item in turn.items][1:3] == [ToolCall, ToolResult]
        assert turn.status == "done"
        assert "weather" not in {tool.name for tool in handle.session.tools.schemas}, "it went with its client"


async def answer_of(client: AsyncOpenAI, stream: bool, **request) -> ChatCompletionMessage:
    """The answer's message, put together from its parts when it is streamed."""
    if not stream:
        whole = await client.chat.completions.create(**request)
        return whole.choices[0].message
    text, calls = "", []
    async for chunk in await client.chat.completions.create(**request, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            calls += [
                {"id": call.id, "type": "function", "function": call.function.model_dump()}
                for call in choice.delta.tool_calls or []
            ]
    return ChatCompletionMessage.model_validate(
        {"role": "assistant", "content": text or None, "tool_calls": calls or None}
    )


async def test_a_picture_reaches_the_member():
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            parts = [
                {"type": "text", "text": "What is in this picture?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}},
            ]
            whole = await client.chat.completions.create(model="menu", messages=[{"role": "user", "content": parts}])
            assert whole.choices[0].message.content

        await play(doors, scenario)
        (turn,) = doors.realm.mob("front-desk").member("menu").history()
        assert turn.items[0].images[0].mime == "image/png"


async def test_errors_are_those_that_the_client_knows():
    async with open_doors(gatekeeper=Gatekeeper(SECRET)) as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            said = [{"role": "user", "content": RISOTTO}]
            with pytest.raises(openai.NotFoundError) as unknown:
                await client.chat.completions.create(model="gpt-4", messages=said)
            assert unknown.value.code == "model_not_found"
            assert "host" in unknown.value.message
            with pytest.raises(openai.BadRequestError) as several:
                await client.chat.completions.create(model="menu", messages=said, n=2)
            assert (several.value.param, several.value.code) == ("n", "unsupported_parameter")
            with pytest.raises(openai.BadRequestError, match="at least one message"):
                await client.chat.completions.create(model="menu", messages=[])
            with pytest.raises(openai.AuthenticationError):
                await client.with_options(api_key="another").chat.completions.create(model="menu", messages=said)

        await play(doors, scenario, key=SECRET)


async def test_models_are_the_members():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            models = [model async for model in client.models.list()]
            assert [model.id for model in models] == ["host", "manager", "menu", "bookings", "front-desk"]
            assert {model.owned_by for model in models} == {"front-desk"}
            assert (await client.models.retrieve("menu")) == models[2]
            assert (await client.models.retrieve("front-desk/menu")).id == "front-desk/menu"
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("gpt-4")

        await play(doors, scenario)


async def test_client_secrets_are_made_with_a_session_and_a_lifetime():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            session = {"type": "realtime", "model": "host", "instructions": "Be brief.", "output_modalities": ["text"]}
            made = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 30}, session=session
            )
            assert made.value.startswith("ek_")
            assert abs(made.expires_at - time.time() - 30) < 5
            assert (made.session.type, made.session.model, made.session.output_modalities) == (
                "realtime",
                "host",
                ["text"],
            )
            secrets.append(made.value)
            plain = await client.realtime.client_secrets.create()
            assert abs(plain.expires_at - time.time() - 600) < 5
            for wrong, param in (
                ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
                ({"session": {"type": "realtime", "output_modalities": ["smell"]}}, "session.output_modalities"),
                ({"session": {"type": "realtime", "colour": 1}}, "session.colour"),
            ):
                with pytest.raises(openai.BadRequestError) as refused:
                    await client.realtime.client_secrets.create(**wrong)
                assert refused.value.param == param
            with pytest.raises(openai.NotFoundError):
                await client.realtime.client_secrets.create(session={"type": "realtime", "model": "cook"})

        secrets: list[str] = []
        await play(doors, scenario)
        payload = doors.realm.tokens.peek(secrets[0], "realtime", now=trio.current_time())
        assert payload["instructions"] == "Be brief."
        with pytest.raises(TokenRefused):
            doors.realm.tokens.peek(secrets[0], "realtime", now=trio.current_time() + 31)


async def test_a_client_that_closes_its_stream_interrupts_the_member():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            said = [{"role": "user", "content": RISOTTO}]
            stream = await client.chat.completions.create(model="menu", messages=said, stream=True)
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    break
            await stream.close()

        await play(doors, scenario)
        await doors.realm.mob("front-desk").mob.wait_quiet()
        (turn,) = doors.realm.mob("front-desk").member("menu").history()
        assert turn.status == "interrupted"


async def test_a_client_secret_opens_realtime_sessions_and_nothing_else():
    async with open_doors(gatekeeper=Gatekeeper(SECRET)) as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            session = {"type": "realtime", "output_modalities": ["text"]}
            secret = (await client.realtime.client_secrets.create(session=session)).value
            browser = client.with_options(api_key=secret)
            with pytest.raises(openai.AuthenticationError):
                await browser.chat.completions.create(model="menu", messages=[{"role": "user", "content": RISOTTO}])
            with pytest.raises(openai.AuthenticationError):
                await browser.realtime.client_secrets.create()
            for _ in range(2):  # until it expires, as often as its holder likes
                async with browser.realtime.connect(model="host") as connection:
                    event = await connection.recv()
                    assert event.type == "session.created"
                    assert event.session.output_modalities == ["text"]

        await play(doors, scenario, key=SECRET)
