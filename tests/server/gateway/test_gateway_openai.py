"""The official `openai` package, over real loopback, talks with members of a team as with the vendor's models."""

from __future__ import annotations

import base64

import pytest
from gateway_doors import open_doors, play, spoken, typed, until
from openai import AsyncOpenAI

from mob.rehearsal.voice import hear

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
