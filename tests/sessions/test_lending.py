"""Tools of an outside client: offered beside the member's own while the client is there, and taken away with it."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
from desks import tool
from far_end import calls, open_stage, says
from test_live_session import _next_turn, open_stage as open_live_stage

from mob.errors import MemberNotRunning, UsageError
from mob.history.items import ToolResult
from mob.history.rows import ToolEnded, ToolStarted
from mob.values import ToolSchema


async def answers(arguments, context):
    """Answers at once."""
    return "blue"


async def hangs(arguments, context):
    """Never answers."""
    await trio.sleep_forever()


def results(turn):
    return [item for item in turn.items if isinstance(item, ToolResult)]


async def test_a_lent_tool_is_offered_called_and_in_the_ledger_and_gone_afterwards(autojump_clock):
    """By request and response: each request offers what there is at that moment."""
    script = [calls("colour"), says("It is blue."), says("No tools.")]
    async with open_stage(*script, tools=[tool(answers, "own")]) as stage:
        async with stage.session.lend_tools([tool(answers, "colour")]):
            answer = await stage.session.ask("which colour?")
        await stage.session.ask("and now?")
        assert [result.output for result in results(answer.turn)] == ["blue"]
        offered = [[each.name for each in request.tools] for request in stage.requests]
        rows = [row.kind for row in await stage.rows() if isinstance(row, ToolStarted | ToolEnded)]
    assert offered == [["own", "colour"], ["own", "colour"], ["own"]]
    assert rows == ["tool_started", "tool_ended"]


@pytest.mark.parametrize("effect", ["read", "write"])
async def test_a_call_that_runs_when_its_client_goes_is_cancelled_and_the_model_told(autojump_clock, effect):
    """The turn goes on with that."""
    async with open_stage(calls("colour"), says("Then not.")) as stage:
        given = []

        async def ask():
            given.append(await stage.session.ask("which colour?"))

        async with trio.open_nursery() as nursery:
            async with stage.session.lend_tools([tool(hangs, "colour", effect=effect, keeps_running=True)]):
                nursery.start_soon(ask)
                await trio.sleep(1)
        (result,) = results(given[0].turn)
    assert result.status == "cancelled"
    assert "client that offered it has gone" in result.output
    assert ("not known" in result.output) == (effect == "write")
    assert given[0].text == "Then not."


async def test_a_name_that_is_taken_is_refused_and_nothing_is_lent(autojump_clock):
    """The member's own, another client's, the same twice, and what no tool can be called."""
    async with open_stage(tools=[tool(answers, "own")]) as stage:
        session = stage.session
        async with session.lend_tools([tool(answers, "colour")]):
            for names in (["fine", "own"], ["fine", "colour"], ["fine", "fine"], ["fine", "no spaces"]):
                with pytest.raises(UsageError, match=names[1]):
                    async with session.lend_tools([tool(answers, name) for name in names]):
                        pass
            assert [each.name for each in session.tools] == ["own", "colour"]
        assert [each.name for each in session.tools] == ["own"]
    with pytest.raises(MemberNotRunning):
        async with session.lend_tools([tool(answers, "late")]):
            pass


async def test_a_tool_that_comes_under_the_name_of_a_lent_one_waits_for_its_end(autojump_clock):
    """The client's stays; what stands behind it appears when the client has gone."""
    async with open_stage() as stage:
        box = stage.session.tools
        async with stage.session.lend_tools([tool(answers, "colour")]):
            lent = box.get("colour")
            late = tool(hangs, "colour")
            box.add(late)
            assert box.get("colour") is lent
            assert box.schemas == (ToolSchema("colour", "colour"),)
            assert box.standing == (late,)
        assert box.get("colour") is late


async def test_an_open_live_channel_is_told_when_lent_tools_come_and_go(autojump_clock):
    """Also when the client leaves by cancellation."""
    async with open_live_stage(tools=[]) as stage, stage.session.open_live() as channel:
        config = channel._machine.context
        with trio.CancelScope() as scope:
            async with stage.session.lend_tools([tool(answers, "look")]):
                assert config.tool_names == {"look"}
                await channel.send_text("look")
                turn = await _next_turn(channel)
                assert [result.output for result in results(turn)] == ["blue"]
                scope.cancel()
                await trio.sleep_forever()
        assert config.tool_names == frozenset()


async def test_a_channel_that_is_opened_while_tools_are_lent_offers_them(autojump_clock):
    """And loses them when they go."""
    async with open_live_stage() as stage, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def client():
            with scope:
                async with stage.session.lend_tools([tool(answers, "look")]):
                    await trio.sleep_forever()

        nursery.start_soon(client)
        await trio.lowlevel.checkpoint()
        async with stage.session.open_live() as channel:
            assert channel._machine.context.tool_names == {"look"}
            scope.cancel()
            await trio.sleep(1)
            assert channel._machine.context.tool_names == frozenset()
