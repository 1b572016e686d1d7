"""The official `openai` package, over real loopback, talks with members of a team as with the vendor's models."""

from __future__ import annotations

import base64
import json

import pytest
from gateway_doors import MS, configure, desk, open_doors, play, spoken, typed, until
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mob.history.items import AgentMessage, ToolResult
from mob.rehearsal.voice import hear, said_within
from mob.server.front.auth import Gatekeeper

pytestmark = pytest.mark.real_socket


async def test_a_typed_turn():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as connection:
                await until(connection, "session.created")
                await typed(connection, "When are you open?")
                await connection.response.create(response={"output_modalities": ["text"]})
                done = await until(connection, "response.done")
                assert done.response.status == "completed"
                assert done.response.output[0].content[0].text == "We are open from noon to eleven."
                assert done.response.usage.output_tokens > 0

        await play(doors, scenario)
        (turn,) = doors.history()
        assert (turn.user_text, turn.agent_text) == ("When are you open?", "We are open from noon to eleven.")


async def test_a_spoken_turn():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as connection:
                await spoken(connection, "Where can I park?")
                sound: list[bytes] = []
                awaited = {"response.done", "conversation.item.input_audio_transcription.completed"}
                while awaited:
                    event = await connection.recv()
                    awaited -= {event.type}
                    if event.type == "response.output_audio.delta":
                        sound.append(base64.b64decode(event.delta))
                    elif event.type.endswith("transcription.completed"):
                        assert event.transcript == "Where can I park?"
                assert hear(b"".join(sound)) == "There is free parking behind the house."

        await play(doors, scenario)
        (turn,) = doors.history()
        assert turn.user_text == "Where can I park?"


async def test_manual_turns():
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as connection:
                await configure(connection, audio={"input": {"turn_detection": None}})
                await spoken(connection, "When are you open?")
                await connection.input_audio_buffer.commit()
                await until(connection, "conversation.item.done")
                await connection.response.create()
                sound: list[bytes] = []
                await until(connection, "response.done", sound)
                assert hear(b"".join(sound)) == "We are open from noon to eleven."

        await play(doors, scenario)


WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city: sun, rain or snow, and the temperature outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def test_functions_of_the_client_beside_the_members_own_colleagues():
    async with open_doors(desk()) as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as connection:
                await configure(connection, tools=[WEATHER], output_modalities=["text"])
                await typed(connection, "What is the weather like in Paris: sun, rain or snow?")
                await connection.response.create()
                call = await until(connection, "response.function_call_arguments.done")
                assert "city" in json.loads(call.arguments)
                await until(connection, "response.done")
                output = {"type": "function_call_output", "call_id": call.call_id, "output": "It is sunny."}
                await connection.conversation.item.create(item=output)
                await connection.response.create()
                done = await until(connection, "response.done")
                assert "It is sunny." in done.response.output[0].content[0].text
                await typed(connection, "What does the risotto cost?")
                await connection.response.create()
                done = await until(connection, "response.done")
                assert "14 euros" in done.response.output[0].content[0].text
                assert {item.type for item in done.response.output} == {"message"}

        await play(doors, scenario)
        results = [item.name for turn in doors.history() for item in turn.items if isinstance(item, ToolResult)]
        assert results == ["weather", "ask_menu"]


async def test_an_interruption_with_truncate_and_the_history_says_what_was_heard():
    heard_ms = 500
    heard: list[str] = []
    async with open_doors() as doors:

        async def scenario(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as connection:
                await configure(connection, audio={"input": {"turn_detection": None}})
                await typed(connection, "Tell me about yourself.")
                await connection.response.create()
                sound: list[bytes] = []
                first = await until(connection, "response.output_audio.delta", sound)
                while len(b"".join(sound)) < heard_ms * MS:
                    await until(connection, "response.output_audio.delta", sound)
                await connection.response.cancel()
                done = await until(connection, "response.done", sound)
                assert done.response.status_details.reason == "client_cancelled"
                await connection.conversation.item.truncate(
                    item_id=first.item_id, content_index=0, audio_end_ms=heard_ms
                )
                await until(connection, "conversation.item.truncated")
                heard.append(hear(b"".join(sound)[: heard_ms * MS]))
                await typed(connection, "Where can I park?")
                await connection.response.create()
                await until(connection, "response.done")

        await play(doors, scenario)
        turn = doors.history()[0]
        (message,) = [item for item in turn.items if isinstance(item, AgentMessage)]
        assert (turn.status, message.heard_ms, message.fidelity) == ("interrupted", heard_ms, "exact")
        whole = "I am the host. We are open from noon to eleven. There is free parking behind the house."
        assert heard == [said_within(whole, heard_ms)]
        assert heard[0].startswith(message.text)


async def test_two_members_on_two_connections():
    async with open_doors(desk()) as doors:

        def ask(member: str, question: str, words: str):
            async def scenario(client: AsyncOpenAI) -> None:
                async with client.realtime.connect(model=member) as connection:
                    await configure(connection, output_modalities=["text"])
                    await typed(connection, question)
                    await connection.response.create()
                    done = await until(connection, "response.done")
                    assert words in done.response.output[0].content[0].text

            return scenario

        await play(
            doors,
            ask("host", "When are you open?", "noon"),
            ask("menu", "What does the risotto cost?", "14 euros"),
            ask("front-desk/manager", "How long is lost property kept?", "thirty days"),
        )


async def test_refusals():
    async with open_doors(gatekeeper=Gatekeeper("a-secret-of-the-tests-0123456789")) as doors:

        async def nobody(client: AsyncOpenAI) -> None:
            with pytest.raises(InvalidStatus) as refused:
                await client.realtime.connect(model="host").enter()
            assert refused.value.response.status_code == 401

        await play(doors, nobody, key="sk-wrong")

        async def no_model(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="gpt-realtime") as connection:
                error = await until(connection, "error")
                assert error.error.code == "model_not_found"
                assert "host" in error.error.message, "the models that there are"
                with pytest.raises(ConnectionClosed) as closed:
                    await connection.recv()
                assert closed.value.rcvd.code == 4000

        async def second(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as first:
                await until(first, "session.created")
                async with client.realtime.connect(model="host") as other:
                    error = await until(other, "error")
                    assert error.error.code == "already_open"
                    with pytest.raises(ConnectionClosed) as closed:
                        await other.recv()
                    assert closed.value.rcvd.code == 4000
                await first.conversation.item.delete(item_id="item_x", event_id="mine")
                error = await until(first, "error")
                assert (error.error.code, error.error.event_id) == ("unsupported_by_member", "mine")
                await typed(first, "When are you open?")
                await first.response.create()
                assert (await until(first, "response.done")).response.status == "completed"

        await play(doors, no_model, second, key="a-secret-of-the-tests-0123456789")


async def test_a_client_secret_of_a_browser():
    async with open_doors(gatekeeper=Gatekeeper("a-secret-of-the-tests-0123456789"), rest=True) as doors:
        secrets: list[str] = []

        async def server(client: AsyncOpenAI) -> None:
            made = await client.realtime.client_secrets.create(
                session={"type": "realtime", "model": "host", "output_modalities": ["text"]},
                expires_after={"anchor": "created_at", "seconds": 60},
            )
            secrets.append(made.value)

        async def browser(client: AsyncOpenAI) -> None:
            async with client.realtime.connect(model="host") as connection:
                created = await until(connection, "session.created")
                assert created.session.output_modalities == ["text"]

        await play(doors, server, key="a-secret-of-the-tests-0123456789")
        await play(doors, browser, key=secrets[0])
