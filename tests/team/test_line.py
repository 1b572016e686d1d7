"""The human's line to members that are reached by request/response: typing, cutting in, hand-overs, talking aside."""

import pytest
import trio
from scripted_team import REFUSES, open_team, says

from mob.errors import AlreadyOpen, MemberNotRunning, MemberUnknown, NotRealtime
from mob.live.events import Text, TextDelta, TurnCommitted
from mob.sessions.events import ErrorOccurred, FloorChanged


class Listener:
    """Reads the line and keeps what came."""

    def __init__(self):
        self.heard = []

    async def listen(self, line):
        async for pair in line:
            self.heard.append(pair)

    def of(self, kind):
        return [(member, event) for member, event in self.heard if isinstance(event, kind)]


async def talk(mob, body):
    listener = Listener()
    async with mob.open_line() as line, trio.open_nursery() as nursery:
        nursery.start_soon(listener.listen, line)
        await body(line)
        await mob.wait_quiet()
        nursery.cancel_scope.cancel()
    return listener


async def test_a_text_holder_is_heard_as_a_live_one_would_be(autojump_clock):
    async with open_team() as mob:
        listener = await talk(mob, lambda line: line.send_text("hello"))
        assert [(member, event.delta) for member, event in listener.of(TextDelta)] == [("ann", "ann 1")]
        assert [(member, event.text) for member, event in listener.of(Text)] == [("ann", "ann 1")]
        ((member, committed),) = listener.of(TurnCommitted)
        assert committed.turn == mob.member(member).history()[0]
        assert committed.turn.user_text == "hello"


async def test_typing_while_it_answers_cuts_in(autojump_clock):
    scripts = {"ann": [[("say", "one "), ("wait", 5.0), ("say", "two")], says("yes?")]}
    async with open_team(scripts=scripts) as mob:

        async def body(line):
            await line.send_text("tell me all")
            await trio.sleep(1)
            await line.send_text("stop")

        await talk(mob, body)
        cut, answer = mob.member("ann").history()
        assert (cut.status, cut.agent_text) == ("interrupted", "one ")
        assert (answer.user_text, answer.agent_text) == ("stop", "yes?")


async def test_interrupting_cuts_the_answer_and_nothing_else(autojump_clock):
    scripts = {"ann": [[("say", "one "), ("wait", 5.0), ("say", "two")]]}
    async with open_team(scripts=scripts) as mob:

        async def body(line):
            assert await line.interrupt() is False
            await line.send_text("tell me all")
            await trio.sleep(1)
            assert await line.interrupt() is True

        await talk(mob, body)
        (cut,) = mob.member("ann").history()
        assert (cut.status, cut.agent_text) == ("interrupted", "one ")


async def test_what_is_typed_while_a_hand_over_is_pending_goes_to_the_new_holder(autojump_clock):
    bye = [("say", "bye "), ("call", ("hand_off_to_bob", {"reason": "x"})), ("call", ("ask_cyd", {"question": "?"}))]
    scripts = {"ann": [bye], "cyd": [says("slow", after=6.0)]}
    async with open_team(scripts=scripts) as mob:

        async def body(line):
            await line.send_text("I want bob")
            await trio.sleep(1)
            assert mob.floor == "ann"
            await line.send_text("are you bob?")
            assert line.holder == "bob"

        listener = await talk(mob, body)
        assert mob.floor == "bob"
        said = [turn.user_text for turn in mob.member("bob").history()]
        assert "are you bob?" in said
        assert "are you bob?" not in [turn.user_text for turn in mob.member("ann").history()]
        assert [event.to for _member, event in listener.of(FloorChanged)] == ["bob"]


async def test_the_user_hands_over_and_talks_aside(autojump_clock):
    async with open_team() as mob:

        async def body(line):
            await line.hand_off("cyd")
            line.say_to("bob", "psst")
            await line.send_text("hello cyd")
            with pytest.raises(MemberUnknown, match="ann, bob, cyd"):
                line.say_to("zoe", "psst")

        listener = await talk(mob, body)
        assert [turn.user_text for turn in mob.member("bob").history()] == ["psst"]
        assert [turn.user_text for turn in mob.member("cyd").history()] == ["hello cyd"]
        assert {member for member, _event in listener.of(TextDelta)} == {"cyd"}, "only the holder is heard"


async def test_a_text_holder_hears_no_sound(autojump_clock):
    async with open_team() as mob, mob.open_line() as line:
        with pytest.raises(NotRealtime, match="ann"):
            await line.send_audio(bytes(960))
        assert (line.input_rate, line.output_rate) == (24000, 24000)
        line.played("ann", "item", 100)


async def test_errors_come_over_the_line(autojump_clock):
    async with open_team(scripts={"ann": [REFUSES]}) as mob:
        listener = await talk(mob, lambda line: line.send_text("hello"))
        assert [event.error_class for _member, event in listener.of(ErrorOccurred)]


async def test_there_is_one_line_at_a_time_and_it_ends_with_its_block(autojump_clock):
    async with open_team() as mob:
        async with mob.open_line() as line:
            with pytest.raises(AlreadyOpen):
                await mob.open_line().__aenter__()
        assert [pair async for pair in line] == []
        async with mob.open_line() as again:
            await again.send_text("hello")
            await mob.wait_quiet()
        assert len(mob.member("ann").history()) == 1
        with pytest.raises(LookupError):
            async with mob.open_line():
                raise LookupError


async def test_a_mob_that_stops_ends_the_line(autojump_clock):
    async with open_team() as mob:
        async with mob.open_line() as line:
            await mob.stop()
            with pytest.raises(MemberNotRunning):
                await line.send_text("anybody?")
            with pytest.raises(MemberNotRunning):
                await mob.ask("anybody?")
