"""The official `openai` package talks with members of a team as with models."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI
from rest_doors import open_doors, play

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
