"""The official `openai` package, over real loopback, talks with the rehearsed provider as with the vendor."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable

import openai
import pytest
import trio
from openai import AsyncOpenAI

from mob.rehearsal.serve import open_rehearsal
from mob.rehearsal.voice import hear, said_within, speak

pytestmark = pytest.mark.real_socket

HOST = "You are the host.\nWe are open from noon to eleven.\nThere is free parking behind the house."
MS = 48
MENU = {
    "type": "function",
    "name": "ask_menu",
    "description": "Ask menu: dishes and prices.",
    "parameters": {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
}
Scenario = Callable[[AsyncOpenAI], Awaitable[None]]


async def play(scenario: Scenario, **options) -> None:
    """Run an asyncio scenario in a thread against a rehearsal in this loop."""

    async def main(url: str) -> None:
        async with AsyncOpenAI(base_url=url, api_key="rehearsed", max_retries=2) as client:
            await asyncio.wait_for(scenario(client), 20)

    async with open_rehearsal(None, pace=40.0, strict_auth=True, **options) as rehearsal:
        url = rehearsal.base_url()
        await trio.to_thread.run_sync(asyncio.run, main(url))
        assert rehearsal.statistics()["connections"] >= 1


async def until(connection, kind: str, sound: list[bytes] | None = None):
    """Read events until one of the kind; collects audio."""
    async for event in connection:
        assert event.type != "error", event
        if event.type == "response.output_audio.delta" and sound is not None:
            sound.append(base64.b64decode(event.delta))
        if event.type == kind:
            return event
    raise AssertionError(f"closed before {kind}")


async def configure(connection, **session) -> None:
    await connection.session.update(session={"type": "realtime", "instructions": HOST, **session})
    await until(connection, "session.updated")


async def typed(connection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def spoken(connection, text: str) -> None:
    pcm = speak(text) + bytes(700 * MS)
    for at in range(0, len(pcm), 200 * MS):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[at : at + 200 * MS]).decode())


async def test_a_text_turn():
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await configure(connection, output_modalities=["text"])
            await typed(connection, "When are you open?")
            await connection.response.create()
            done = await until(connection, "response.done")
            assert done.response.status == "completed"
            assert done.response.output[0].content[0].text == "We are open from noon to eleven."
            assert done.response.usage.output_tokens > 0

    await play(scenario)


async def test_a_spoken_turn_with_server_vad():
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await configure(connection, audio={"input": {"transcription": {"model": "whisper-1"}}})
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

    await play(scenario)


async def test_a_spoken_turn_with_manual_turns():
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await configure(connection, audio={"input": {"turn_detection": None}})
            await spoken(connection, "When are you open?")
            await connection.input_audio_buffer.commit()
            await until(connection, "conversation.item.done")
            await connection.response.create()
            sound: list[bytes] = []
            await until(connection, "response.done", sound)
            assert hear(b"".join(sound)) == "We are open from noon to eleven."

    await play(scenario)


async def test_a_tool_turn():
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await configure(connection, tools=[MENU])
            await typed(connection, "What does the soup cost?")
            await connection.response.create()
            call = await until(connection, "response.function_call_arguments.done")
            assert call.arguments == '{"question": "What does the soup cost?"}'
            await until(connection, "response.done")
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "6 euros"}
            await connection.conversation.item.create(item=output)
            await connection.response.create()
            sound: list[bytes] = []
            await until(connection, "response.done", sound)
            assert hear(b"".join(sound)) == "I asked menu. 6 euros."

    await play(scenario)


async def test_an_interrupted_turn_by_voice():
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await configure(connection)
            await typed(connection, "Tell me about yourself.")
            await connection.response.create()
            sound: list[bytes] = []
            first = await until(connection, "response.output_audio.delta", sound)
            await spoken(connection, "Stop!")
            done = await until(connection, "response.done", sound)
            assert done.response.status == "cancelled"
            assert done.response.status_details.reason == "turn_detected"
            heard_ms = min(600, len(b"".join(sound)) // MS)
            whole = "I am the host. We are open from noon to eleven. There is free parking behind the house."
            assert hear(b"".join(sound)[: heard_ms * MS]) == said_within(whole, heard_ms)
            await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=heard_ms)
            truncated = await until(connection, "conversation.item.truncated")
            assert truncated.audio_end_ms == heard_ms
            assert (await until(connection, "response.done")).response.status == "completed"

    await play(scenario)


async def test_an_interrupted_turn_by_cancel_and_truncate():
    async def scenario(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime-2") as connection:
            await configure(connection, audio={"input": {"turn_detection": None}})
            await typed(connection, "Tell me about yourself.")
            await connection.response.create()
            first = await until(connection, "response.output_audio.delta")
            await connection.response.cancel(response_id=first.response_id)
            done = await until(connection, "response.done")
            assert done.response.status_details.reason == "client_cancelled"
            await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=50)
            await until(connection, "conversation.item.truncated")
            await typed(connection, "Where can I park?")
            await connection.response.create()
            sound: list[bytes] = []
            await until(connection, "response.done", sound)
            assert hear(b"".join(sound)) == "There is free parking behind the house."

    await play(scenario)


MESSAGES = [{"role": "system", "content": HOST}, {"role": "user", "content": "When are you open?"}]
TOOL = {"type": "function", "function": {key: value for key, value in MENU.items() if key != "type"}}


async def test_a_chat_completion():
    async def scenario(client: AsyncOpenAI) -> None:
        whole = await client.chat.completions.create(model="any", messages=MESSAGES)
        assert whole.choices[0].message.content == "We are open from noon to eleven."
        assert whole.choices[0].finish_reason == "stop"
        assert whole.usage.total_tokens > 0
        cut = await client.chat.completions.create(model="any", messages=MESSAGES, max_completion_tokens=2)
        assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("We are o", "length")
        assert [model.id async for model in client.models.list()] == ["rehearsed"]

    await play(scenario)


async def test_a_streamed_chat_completion_with_usage():
    async def scenario(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(
            model="any", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
        assert "".join(said) == "We are open from noon to eleven."
        assert sum(1 for text in said if text) == 7
        assert chunks[-1].usage.completion_tokens > 0

    await play(scenario)


async def test_a_streamed_tool_call_and_its_result():
    async def scenario(client: AsyncOpenAI) -> None:
        asked = [MESSAGES[0], {"role": "user", "content": "What does the soup cost?"}]
        stream = await client.chat.completions.create(model="any", messages=asked, tools=[TOOL], stream=True)
        deltas = [choice.delta async for chunk in stream for choice in chunk.choices]
        calls = [call for delta in deltas for call in delta.tool_calls or []]
        arguments = "".join(call.function.arguments for call in calls)
        assert (calls[0].function.name, arguments) == ("ask_menu", '{"question": "What does the soup cost?"}')
        function = {"name": "ask_menu", "arguments": arguments}
        called = {"role": "assistant", "tool_calls": [{"id": calls[0].id, "type": "function", "function": function}]}
        result = {"role": "tool", "tool_call_id": calls[0].id, "content": "6 euros"}
        answer = await client.chat.completions.create(model="any", messages=[*asked, called, result], tools=[TOOL])
        assert answer.choices[0].message.content == "I asked menu. 6 euros."

    await play(scenario)


async def test_refusals_have_the_vendors_shape():
    async def scenario(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="at least one message"):
            await client.chat.completions.create(model="any", messages=[])
        with pytest.raises(openai.NotFoundError, match="Nothing is served"):
            await client.post("/embeddings", cast_to=object, body={})
        nameless = {"Authorization": openai.Omit()}
        with pytest.raises(openai.AuthenticationError, match="API key"):
            await client.chat.completions.create(model="any", messages=MESSAGES, extra_headers=nameless)

    await play(scenario)
