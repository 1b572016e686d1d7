"""What is asked while a client holds the channel is answered, also when the client goes before."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

import mob

DEFINITIONS = Path(__file__).resolve().parents[2] / "definitions"
QUESTION = "Which days are you open?"


async def ask_while_a_client_talks_and_goes(after_s: float) -> tuple[mob.Answer, tuple[mob.Turn, ...]]:
    """The client types, somebody else asks, and the client goes `after_s` later."""
    answers: list[mob.Answer] = []

    async def ask(host: mob.MemberHandle) -> None:
        answers.append(await host.ask(QUESTION))

    async with mob.open_mob(mob.load(DEFINITIONS / "front-desk.toml"), rehearse=True, seed=3) as team:
        host = team.member("host")
        async with trio.open_nursery() as nursery:
            async with host.open_live() as live:
                await live.send_text("What does the olive oil cake cost?")
                nursery.start_soon(ask, host)
                await trio.sleep(after_s)
        return answers[0], host.history()


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.6, 1.5])
async def test_a_question_outlives_the_client_over_whose_channel_it_went(autojump_clock, after_s):
    answer, history = await ask_while_a_client_talks_and_goes(after_s)

    assert "Monday" in answer.text
    asked = [turn for turn in history if turn.user_text == QUESTION]
    assert [turn.status for turn in asked] == ["done"]


async def test_a_question_put_to_a_channel_that_is_closing_is_asked_over_another(autojump_clock):
    """Whatever word the client closed it with."""
    async with mob.open_mob(mob.load(DEFINITIONS / "front-desk.toml"), rehearse=True, seed=3) as team:
        host = team.member("host")
        answers: list[mob.Answer] = []

        async def ask() -> None:
            answers.append(await host.ask(QUESTION))

        async with host.open_live() as live, trio.open_nursery() as nursery:
            await live.send_text("What does the olive oil cake cost?")
            await trio.sleep(0.5)
            nursery.start_soon(live.close, "good night")
            nursery.start_soon(ask)
            await trio.sleep(0.01)
            nursery.start_soon(ask)
        assert [("Monday" in answer.text) for answer in answers] == [True, True]


@settings(deadline=None, max_examples=40)
@given(st.floats(0.0, 4.0))
def test_law_16_whenever_the_client_goes_the_question_is_answered_once(after_s):
    async def main() -> None:
        answer, history = await ask_while_a_client_talks_and_goes(after_s)
        assert answer.text
        assert [turn.user_text for turn in history].count(QUESTION) == 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
