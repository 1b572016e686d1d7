"""Turns over request/response, against the real wire's server role on memory streams."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from desks import tool
from far_end import MODEL, SPARE, calls, hangs, open_stage, refuses, says, team
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock

from mob.definition.model import Budget, Limits
from mob.errors import (
    BudgetExceeded,
    LimitReached,
    MemberFailed,
    MemberNotRunning,
    MobError,
    ProviderRefused,
    ProviderUnreachable,
    TurnTimedOut,
    UsageError,
)
from mob.history.items import AgentMessage, Cause, Note, ToolCall, ToolResult, UserMessage
from mob.values import Usage


def seconds(amount: float, answer: str = "looked"):
    async def function(arguments, context):
        await trio.sleep(amount)
        return answer

    return function


async def test_a_question_is_answered_committed_and_told(autojump_clock):
    """The whole way: wire, turn, log, events."""
    async with open_stage(says("Good ", "evening.", every=0.5)) as stage:
        answer = await stage.session.ask("Hello?")
        (turn,) = stage.session.history()
        assert answer.turn == turn
        assert (await stage.rows())[0].turn.items == turn.items
        assert stage.session.statistics().desk.committed == 1
    assert answer.text == "Good evening."
    assert turn.status == "done"
    assert turn.cause == Cause("text")
    assert [type(item) for item in turn.items] == [UserMessage, AgentMessage]
    assert turn.usage == Usage(input_tokens=10, output_tokens=5, requests=1)
    assert (turn.timings.first_token_ms, turn.timings.total_ms) == (0, 1000)
    assert [event.delta for event in stage.told("agent_text_delta")] == ["Good ", "evening."]
    assert [event.text for event in stage.told("agent_text")] == ["Good evening."]
    assert [event.state for event in stage.told("member_changed")] == ["thinking", "idle"]
    (committed,) = stage.told("turn_committed")
    assert (committed.user, committed.agent, committed.member) == ("Hello?", "Good evening.", "host")
    (request,) = stage.requests
    assert request.model == MODEL.id
    assert [(message.role, message.text) for message in request.messages] == [
        ("system", "You write."),
        ("user", "Hello?"),
    ]


async def test_the_next_turn_is_told_of_the_one_before(autojump_clock):
    """And notes come as the system's words."""
    async with open_stage(says("One."), says("Two.")) as stage:
        await stage.session.ask("First?", cause=Cause("ask", origin="menu"))
        await stage.session.ask("Second?", context=[Note("n1", "The floor is yours.")])
    assert [(message.role, message.text) for message in stage.requests[1].messages[1:]] == [
        ("user", "First?"),
        ("assistant", "One."),
        ("system", "The floor is yours."),
        ("user", "Second?"),
    ]
    assert stage.session.history()[0].items[0].author == "menu"


async def test_calls_run_side_by_side_and_their_results_come_back(autojump_clock):
    """Both take a second; together they take one."""
    tools = [tool(seconds(1, "soup"), "menu"), tool(seconds(1, "full"), "book")]
    async with open_stage(calls("menu", "book", text="Let me see."), says("Done."), tools=tools) as stage:
        answer = await stage.session.ask("Hello?")
        assert trio.current_time() == 1.0
    kinds = [type(item) for item in answer.turn.items]
    assert kinds == [UserMessage, AgentMessage, ToolCall, ToolCall, ToolResult, ToolResult, AgentMessage]
    assert answer.text == "Let me see.\nDone."
    second = stage.requests[1].messages
    assert [(message.role, message.text) for message in second[2:]] == [
        ("assistant", "Let me see."),
        ("tool", "soup"),
        ("assistant", ""),
        ("tool", "full"),
    ]
    assert [schema.name for schema in stage.requests[0].tools] == ["menu", "book"]
    assert answer.turn.usage.requests == 2
    assert [event.state for event in stage.told("member_changed")] == ["thinking", "tool", "thinking", "idle"]


async def test_a_bad_call_teaches_the_model(autojump_clock):
    """Unknown tools and rubbish arguments are results; the turn goes on."""
    script = [calls("meno"), calls("menu", arguments="{"), says("Sorry.")]
    async with open_stage(*script, tools=[tool(seconds(0), "menu")]) as stage:
        answer = await stage.session.ask("Hello?")
    assert answer.text == "Sorry."
    results = [item for item in answer.turn.items if isinstance(item, ToolResult)]
    assert [result.status for result in results] == ["denied", "failed"]
    assert "Did you mean menu?" in stage.requests[1].messages[-1].text


async def test_a_tool_that_ends_the_turn_ends_it(autojump_clock):
    """After a hand-over the model is not asked for more."""
    tools = [tool(seconds(0, "handed over"), "hand_off_to_menu", ends_turn=True)]
    async with open_stage(calls("hand_off_to_menu"), says("Too much."), tools=tools) as stage:
        answer = await stage.session.ask("Hello?")
    assert (answer.turn.status, answer.text) == ("done", "")
    assert len(stage.requests) == 1


async def test_a_tool_that_should_end_the_turn_and_fails_does_not(autojump_clock):
    """The model must say something then."""
    async with open_stage(calls("hand_off_to_gone"), says("I am still here.")) as stage:
        answer = await stage.session.ask("Hello?")
    assert answer.text == "I am still here."


async def test_a_server_that_counts_its_calls_anew_runs_each_of_them(autojump_clock):
    """The same id in another answer is another call; the log has it under an id of its own."""
    ran = []

    async def look(arguments, context):
        ran.append(context.call_id)
        return "x"

    script = [calls("look", ids=["call_0"]), calls("look", ids=["call_0"]), says("Done.")]
    async with open_stage(*script, tools=[tool(look)]) as stage:
        await stage.session.ask("Hello?")
        assert len(stage.session.folded.calls) == 2
    assert ran[0] == "call_0"
    assert len(set(ran)) == 2


async def test_calls_without_end_fail_the_turn(autojump_clock):
    """Bounded by max_tool_rounds; the error names the limit."""
    definition = team(limits=Limits(max_tool_rounds=2))
    async with open_stage(*[calls("look")] * 9, tools=[tool(seconds(0))], definition=definition) as stage:
        with pytest.raises(LimitReached, match="max_tool_rounds"):
            await stage.session.ask("Hello?")
        (turn,) = stage.session.history()
    assert len(stage.requests) == 3
    assert turn.status == "failed"
    assert "max_tool_rounds" in turn.error
    assert [event.error_class for event in stage.told("error")] == ["limit_reached"]


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (refuses(401, "bad key"), ProviderRefused, "bad key"),
        (refuses(429, "quota", code="insufficient_quota"), ProviderRefused, "quota"),
        (says(""), MemberFailed, "answered with nothing"),
    ],
)
async def test_a_refusal_fails_the_turn_with_its_error(autojump_clock, step, error, words):
    """Typed for the asker, a sentence in the history, and the session goes on."""
    async with open_stage(step, says("Hello.")) as stage:
        with pytest.raises(error, match=words):
            await stage.session.ask("Hello?")
        assert (await stage.session.ask("Again?")).text == "Hello."
        failed, done = stage.session.history()
    assert (failed.status, done.status) == ("failed", "done")
    assert words in failed.error
    assert failed.items[0].text == "Hello?"


async def test_what_may_pass_is_tried_again(autojump_clock):
    """429 waits as long as it says, 5xx backs off; at most twice."""
    script = [refuses(429, "slow down", headers=[("retry-after", "3")]), refuses(503), says("Hello.")]
    async with open_stage(*script) as stage:
        assert (await stage.session.ask("Hello?")).text == "Hello."
        assert trio.current_time() == 4.0
        assert [event.recovery for event in stage.told("error")] == ["retry", "retry"]
    async with open_stage(*[refuses(503)] * 5) as stage:
        with pytest.raises(ProviderRefused):
            await stage.session.ask("Hello?")
        assert len(stage.requests) == 3


async def test_an_answer_that_breaks_off_is_kept_as_a_cut_message(autojump_clock):
    """Nothing that was shown is lost, and it is not asked for again."""

    async def breaks(exchange):
        await exchange.say("Half of ")
        await exchange.break_off("overloaded")

    async with open_stage(breaks) as stage:
        with pytest.raises(ProviderRefused):
            await stage.session.ask("Hello?")
        (turn,) = stage.session.history()
    assert len(stage.requests) == 1
    message = turn.items[-1]
    assert (message.text, message.interrupted) == ("Half of ", True)


async def test_a_connection_that_breaks_in_the_middle_is_typed(autojump_clock):
    """What was shown is kept."""

    async def resets(exchange):
        await exchange.say("Half")
        await trio.sleep(1)
        stage.network.connections[0].reset()

    async with open_stage(resets) as stage:
        with pytest.raises(ProviderUnreachable):
            await stage.session.ask("Hello?")
        (turn,) = stage.session.history()
    assert turn.items[-1].text == "Half"


async def test_an_answer_cut_by_its_length_is_an_answer(autojump_clock):
    """With a word about it; one without any text is a failure."""

    async def long(exchange):
        await exchange.say("As far as I")
        await exchange.finish(reason="length")

    async def filtered(exchange):
        await exchange.finish(reason="content_filter")

    async with open_stage(long, filtered) as stage:
        assert (await stage.session.ask("Hello?")).text == "As far as I"
        assert [event.recovery for event in stage.told("error")] == ["benign"]
        with pytest.raises(ProviderRefused, match="content_filter"):
            await stage.session.ask("Hello?")


async def test_a_provider_that_never_answers_costs_its_timeout(autojump_clock):
    """And is tried again within the turn's own deadline, which is typed as well."""
    definition = team(limits=Limits(connect_timeout_s=1, response_timeout_s=4, turn_timeout_s=60))
    async with open_stage(hangs, hangs, hangs, definition=definition) as stage:
        with pytest.raises(ProviderUnreachable, match="sent nothing"):
            await stage.session.ask("Hello?")
    definition = team(limits=Limits(turn_timeout_s=7))
    async with open_stage(hangs, definition=definition) as stage:
        began = trio.current_time()
        with pytest.raises(TurnTimedOut, match="turn_timeout_s"):
            await stage.session.ask("Hello?")
        assert trio.current_time() - began == 7
        assert stage.session.history()[0].status == "failed"


async def test_a_fallback_takes_over_when_the_first_cannot_be_reached(autojump_clock):
    """And stays for a while, so that not every turn pays for the attempt."""
    definition = team(fallback=(SPARE.id,))
    async with open_stage(says("Spare one."), says("Spare two."), says("First."), definition=definition) as stage:
        listening = stage.network._handlers.pop(("far.end", 2))
        assert (await stage.session.ask("Hello?")).text == "Spare one."
        stage.network._handlers["far.end", 2] = listening
        assert (await stage.session.ask("Hello?")).text == "Spare two."
        await trio.sleep(31)
        assert (await stage.session.ask("Hello?")).text == "First."
        assert stage.budget.statistics().unreported == 0
    assert [request.model for request in stage.requests] == [SPARE.id, SPARE.id, MODEL.id]
    assert len(stage.session.history()) == 3


async def test_a_wire_that_is_not_built_is_typed(autojump_clock):
    """Before anything is dialled."""
    other = evolve(MODEL, wire="openai-responses")
    async with open_stage(definition=team(model=other), model=other) as stage:
        with pytest.raises(UsageError, match="openai-responses, which mob does not speak"):
            await stage.session.ask("Hello?")
        assert stage.network.statistics().opened == 0


async def test_nobody_reachable_is_typed(autojump_clock):
    """After every fallback."""
    async with open_stage(definition=team(fallback=(SPARE.id,))) as stage:
        stage.network.refuse()
        with pytest.raises(ProviderUnreachable):
            await stage.session.ask("Hello?")
        assert stage.session.history()[0].status == "failed"


async def test_interrupting_keeps_what_was_shown(autojump_clock):
    """Cut, marked as cut, and the model is told so the next time."""
    async with open_stage(says(*"abcdef", every=1), says("Yes.")) as stage:
        letter = stage.session.tell_nowait("Hello?")
        await trio.sleep(2.5)
        assert await stage.session.interrupt()
        answer = await letter.wait()
        await stage.session.ask("Go on?")
        assert not await stage.session.interrupt()
    assert (answer.turn.status, answer.text) == ("interrupted", "abc")
    message = answer.turn.items[-1]
    assert message.interrupted
    assert "cut off" in stage.requests[1].messages[2].text


async def test_interrupting_gives_up_reads_and_keeps_writes(autojump_clock):
    """The write's result comes late into its place; the read is cancelled; nothing runs on."""
    tools = [
        tool(seconds(5, "booked"), "book", effect="write", keeps_running=True),
        tool(seconds(5, "never"), "menu"),
    ]
    async with open_stage(calls("book", "menu"), says("And now?"), tools=tools) as stage:
        letter = stage.session.tell_nowait("Hello?")
        await trio.sleep(1)
        await stage.session.interrupt()
        turn = (await letter.wait()).turn
        assert [item.name for item in turn.items if isinstance(item, ToolResult)] == ["menu"]
        await stage.session.ask("And now?")
        tellings = {
            message.tool_call_id: message.text for message in stage.requests[1].messages if message.tool_call_id
        }
        assert sorted(tellings.values()) == [
            "This call is still running; its result is not known yet.",
            "menu was given up: its turn was interrupted.",
        ]
        await trio.sleep(5)
        late = [item for item in stage.session.history()[0].items if isinstance(item, ToolResult)]
        assert {(item.name, item.status, item.output) for item in late} == {
            ("book", "done", "booked"),
            ("menu", "cancelled", "menu was given up: its turn was interrupted."),
        }


async def test_a_member_can_change_its_model_between_turns(autojump_clock):
    """The history stays, and the other model is told of it."""
    async with open_stage(says("One."), says("Two.")) as stage:
        await stage.session.ask("First?")
        stage.session.rebind(evolve(stage.session.profile, model=SPARE.id), SPARE)
        await stage.session.ask("Second?")
        assert stage.session.model is SPARE
    assert [request.model for request in stage.requests] == [MODEL.id, SPARE.id]
    assert [message.text for message in stage.requests[1].messages[1:]] == ["First?", "One.", "Second?"]


async def test_the_budget_stops_the_next_request_not_this_one(autojump_clock):
    """Law 23 on the wire: one request over at most, and the error names the bound."""
    definition = team(budget=Budget(max_tokens=20))
    async with open_stage(*[says("x")] * 5, definition=definition) as stage:
        await stage.session.ask("1")
        await stage.session.ask("2")
        with pytest.raises(BudgetExceeded, match="max_tokens"):
            await stage.session.ask("3")
        assert stage.budget.usage.total_tokens == 30
    assert len(stage.requests) == 2


async def test_a_budget_that_ends_within_a_turn_fails_it(autojump_clock):
    """What was said until then is kept."""
    definition = team(budget=Budget(max_tokens=15))
    async with open_stage(calls("look"), says("x"), tools=[tool(seconds(0))], definition=definition) as stage:
        with pytest.raises(BudgetExceeded):
            await stage.session.ask("1")
        (turn,) = stage.session.history()
    assert turn.status == "failed"
    assert any(isinstance(item, ToolResult) for item in turn.items)


async def test_missing_usage_is_not_taken_for_free(autojump_clock):
    """The turn says that nobody said."""
    async with open_stage(says("x", usage=None)) as stage:
        answer = await stage.session.ask("1")
        assert stage.budget.statistics().unreported == 1
    assert not answer.turn.usage.reported


async def test_a_session_that_does_not_run_refuses(autojump_clock):
    """Typed, at once."""
    async with open_stage(run=False) as stage:
        with pytest.raises(MemberNotRunning):
            await stage.session.ask("Hello?")
        with pytest.raises(MemberNotRunning):
            stage.session.check_room()
        assert stage.session.history() == ()
        await stage.session.stop()


# Law 16, the request/response part: never nothing.


async def _hangs_in_the_middle(exchange) -> None:
    await exchange.say("Hm")
    await trio.sleep_forever()


async def _breaks_off(exchange) -> None:
    await exchange.break_off("no")


BEHAVIOURS = {
    "says": says("Hello."),
    "says nothing": says(""),
    "calls": calls("look"),
    "calls and fails": calls("nobody"),
    "refuses": refuses(400),
    "is busy": refuses(503),
    "hangs": hangs,
    "hangs in the middle": _hangs_in_the_middle,
    "breaks off": _breaks_off,
}


@settings(deadline=None, max_examples=80)
@given(st.lists(st.sampled_from(sorted(BEHAVIOURS)), max_size=6), st.integers(0, 30))
def test_law_16_every_question_leads_to_an_answer_or_a_typed_failure(script, look_takes):
    """Within the turn's deadline, whatever the provider and the tool do; and the turn is in the log."""

    async def main():
        definition = team(limits=Limits(turn_timeout_s=20, max_tool_rounds=3))
        steps = [BEHAVIOURS[name] for name in script]
        async with open_stage(*steps, tools=[tool(seconds(look_takes))], definition=definition) as stage:
            try:
                answer = await stage.session.ask("Hello?")
            except MobError as error:
                said = error.message
            else:
                said = answer.text or [item for item in answer.turn.items if isinstance(item, ToolCall)]
            assert said
            assert trio.current_time() <= 20
            (turn,) = stage.session.history()
            assert turn.status in ("done", "failed")
            assert bool(turn.error) == (turn.status == "failed")

    trio.run(main, clock=MockClock(autojump_threshold=0))
