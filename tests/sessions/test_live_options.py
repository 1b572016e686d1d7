"""What a client may wish of its channel, on a running session over the rehearsed wire."""

from __future__ import annotations

import pytest
import trio
from test_live_session import _next_turn, open_stage

from mob.errors import UsageError
from mob.history.items import AgentMessage
from mob.live.ports import ChannelOptions
from mob.values import TurnDetection


async def test_the_past_is_told_within_its_bound_and_the_rest_is_owned_up_to(autojump_clock):
    """Whole turns, the newest; the instructions do not count."""
    async with open_stage() as stage:
        for text in ("hello", "and you?", "and now?"):
            await stage.session.ask(text)
        newest = len("and now?I see.")
        seed = stage.session.seed(newest + 1)
        assert [item.text for item in seed.items] == ["and now?", "I see."]
        assert seed.continuity == "degraded"
        assert stage.session.seed(newest - 1).items == ()
        assert stage.session.seed(1000).continuity == "transcript_only"
    async with open_stage() as stage:
        async with stage.session.open_live() as channel:
            await channel.send_text("hello")
            await _next_turn(channel)
        async with stage.session.open_live(ChannelOptions(seed_max_chars=5)) as channel:
            assert channel.continuity == "degraded"
        async with stage.session.open_live(ChannelOptions(seed_max_chars=5000)) as channel:
            assert channel.continuity == "transcript_only"


async def test_a_channel_that_does_not_respond_by_itself_waits_for_respond(autojump_clock):
    """Typed twice, answered once, in the modality that was asked for."""
    async with open_stage() as stage, stage.session.open_live(ChannelOptions(auto_respond=False)) as channel:
        await channel.send_text("hello")
        await channel.send_text("again, hello")
        await channel.respond(output="text")
        turn = await _next_turn(channel)
    assert turn.user_text == "hello\nagain, hello"
    (message,) = [item for item in turn.items if isinstance(item, AgentMessage)]
    assert (message.display_text, message.spoken_text) == ("Welcome to the house.", "")


async def test_wishes_that_the_model_cannot_fulfil_open_nothing(autojump_clock):
    """They are named, and no socket is opened for them."""
    async with open_stage() as stage:
        for options in (ChannelOptions(voice="nobody"), ChannelOptions(turn_detection=TurnDetection("sense"))):
            with pytest.raises(UsageError, match=r"nobody|sense"):
                async with stage.session.open_live(options):
                    pass
        assert stage.network.statistics().opened == 0
        assert stage.session.channel is None


async def test_a_channel_of_the_sessions_own_is_opened_anew_for_a_client_that_wants_it_otherwise(autojump_clock):
    """Its options are not ignored; the same options take the channel over as it is."""
    async with open_stage() as stage:
        await stage.session.ask("hello")
        own = stage.session.channel
        async with stage.session.open_live(ChannelOptions()) as channel:
            assert channel is own
        await stage.session.ask("hello")
        own = stage.session.channel
        async with stage.session.open_live(ChannelOptions(output="text", auto_respond=False)) as channel:
            assert channel is not own
            await channel.send_text("and you?")
            await channel.respond()
            turn = await _next_turn(channel)
            answer = await stage.session.ask("hello")
            assert answer.text == "Welcome to the house."
        assert turn.items[-1].display_text == "I see."
        assert stage.network.most == 1


async def test_what_is_asked_over_the_sessions_own_channel_is_answered_before_it_is_closed(autojump_clock):
    """The asker does not pay for the client's wishes."""
    answers = []
    async with open_stage() as stage:
        await stage.session.ask("hello")

        async def ask():
            answers.append((await stage.session.ask("long")).turn.status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            async with stage.session.open_live(ChannelOptions(seed_max_chars=10)) as channel:
                assert answers == ["done"]
                assert channel.continuity == "degraded"


async def test_a_client_that_gives_up_waiting_for_its_own_channel_leaves_the_sessions(autojump_clock):
    """Cancelled while it waits, it has closed nothing."""
    async with open_stage() as stage:
        await stage.session.ask("hello")
        own = stage.session.channel
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.session.ask, "long")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0):
                async with stage.session.open_live(ChannelOptions(output="text")):
                    raise AssertionError("it opened")
        assert stage.session.channel is own
        await stage.session.ask("hello")
