"""Telling a member something without asking for an answer: in the history, in every prompt, and free of charge."""

from __future__ import annotations

import pytest
import trio
from far_end import hangs, open_stage, says, team
from test_live_session import _next_turn, open_stage as open_live_stage

from mob.definition.model import Budget, Limits
from mob.errors import BudgetExceeded, MailboxFull, MemberNotRunning, UsageError
from mob.history.items import Note
from mob.history.rows import TurnRow
from mob.store.memory import MemoryStore

WORDS = "The kitchen is closed."


async def test_what_is_injected_is_durable_and_in_the_next_prompt(autojump_clock):
    """As a note of the kind that was named; nothing is requested for it."""
    async with open_stage(says("Sorry.")) as stage:
        turn = await stage.session.inject(WORDS, kind="kitchen")
        assert stage.requests == []
        (row,) = [row for row in await stage.rows() if isinstance(row, TurnRow)]
        assert row.turn.items == turn.items
        await stage.session.ask("soup?")
        said = [message.text for message in stage.requests[0].messages]
        assert said[-2:] == [WORDS, "soup?"]
        assert [event.type for event in stage.events][:2] == ["turn_started", "turn_committed"]
    (note,) = turn.items
    assert isinstance(note, Note)
    assert (note.kind, turn.cause.kind, turn.status, turn.seq) == ("kitchen", "context", "done", 1)


async def test_it_waits_its_place_among_the_turns(autojump_clock):
    """Behind the turn that runs and what was said before it."""
    async with open_stage(says("one", every=1), says("two", every=1)) as stage:
        stage.session.tell_nowait("first")
        stage.session.tell_nowait("second")
        await stage.session.inject(WORDS)
        assert [turn.cause.kind for turn in stage.session.history()] == ["text", "text", "context"]


async def test_an_open_live_channel_is_told_and_answers_with_it(autojump_clock):
    """At once: the provider confirms it; and again with the seed of a channel that is opened later."""
    async with open_live_stage() as stage:
        async with stage.session.open_live() as channel:
            confirmed = channel.statistics().machine.counts.get("acknowledged", 0)
            await stage.session.inject(WORDS)
            await trio.sleep(0.1)
            assert channel.statistics().machine.counts["acknowledged"] == confirmed + 1
            await channel.send_text("hello")
            assert (await _next_turn(channel)).agent_text == "Welcome to the house."
            assert stage.session.seed().items[0].text == WORDS
        async with stage.session.open_live() as channel:
            assert channel.continuity == "transcript_only"


async def test_it_is_free(autojump_clock):
    """Turns are counted for what they ask of a model, also after a resume."""
    store, definition = MemoryStore(wall=trio.current_time), team(budget=Budget(max_turns=2))
    async with open_stage(says("one"), definition=definition, store=store) as stage:
        for _ in range(3):
            await stage.session.inject(WORDS)
        await stage.session.ask("first")
        assert stage.budget.turns == 1
    async with open_stage(says("two"), definition=definition, store=store) as stage:
        await stage.session.ask("second")
        await stage.session.inject(WORDS)
        with pytest.raises(BudgetExceeded):
            await stage.session.ask("third")


async def test_nobody_is_told_nothing(autojump_clock):
    """Refused before anything is taken; so is what has no room, and a member that does not run."""
    limits = Limits(max_mailbox=1)
    async with open_stage(hangs, definition=team(limits=limits)) as stage:
        with pytest.raises(UsageError):
            await stage.session.inject("  ")
        stage.session.tell_nowait("hangs")
        await trio.sleep(1)
        stage.session.tell_nowait("waits")
        with pytest.raises(MailboxFull):
            await stage.session.inject(WORDS)
        session = stage.session
    with pytest.raises(MemberNotRunning):
        await session.inject(WORDS)


async def test_who_gives_up_before_its_place_has_told_nothing(autojump_clock):
    """And the member goes on."""
    async with open_stage(says("one", every=5), says("two")) as stage:
        stage.session.tell_nowait("first")
        await trio.sleep(0.1)
        with trio.move_on_after(1):
            await stage.session.inject(WORDS)
        assert (await stage.session.ask("second")).text == "two"
        assert [turn.cause.kind for turn in stage.session.history()] == ["text", "text"]


async def test_a_member_that_stops_tells_whoever_waits(autojump_clock):
    """Nobody hangs."""
    refused = []
    async with open_stage(hangs, definition=team(limits=Limits(shutdown_timeout_s=1))) as stage:
        stage.session.tell_nowait("first")

        async def inject():
            try:
                await stage.session.inject(WORDS)
            except MemberNotRunning as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(inject)
            await trio.sleep(0.1)
            await stage.session.stop()
    assert len(refused) == 1
