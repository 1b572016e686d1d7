"""Tools of a client, lent to a member of a served mob: they run here, and end as they would there."""

from __future__ import annotations

import pytest
import trio
from served import HTTP, LINES, crew, serving

import mob
from mob.definition.model import Limits, RehearsalRule
from mob.errors import LiveRejected, RouteRefused
from mob.history.items import ToolResult
from mob.sessions.session import Session
from mob.sessions.tools import python_tool

CALLS = {
    "weather": ("weather", {"city": "Paris"}),
    "wrong": ("weather", {"town": "Paris"}),
    "broken": ("broken", {}),
    "forbidden": ("forbidden", {}),
    "endless": ("endless", {}),
    "list": ("listing", {}),
}
RULES = tuple(RehearsalRule(when=word, call=name, arguments=arguments) for word, (name, arguments) in CALLS.items())


class Tools:
    """The tools, and what became of them."""

    def __init__(self):
        self.calls = []
        self.cancelled = 0

    def all(self):
        return [
            python_tool(self.weather),
            python_tool(self.broken, effect="write"),
            python_tool(self.forbidden),
            python_tool(self.endless, timeout_s=3.0),
            python_tool(self.listing),
        ]

    async def weather(self, city: str, context: mob.ToolContext) -> str:
        """The weather in a city.

        Args:
            city: which
        """
        self.calls.append((context.member, context.cause.kind, city))
        await trio.sleep(0.5)
        return f"It rains in {city}."

    def broken(self) -> str:
        """A tool with a bug."""
        raise ZeroDivisionError("a bug")

    async def forbidden(self) -> str:
        """A tool that may not."""
        raise RouteRefused("not you")

    async def endless(self) -> str:
        """A tool that never ends."""
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled += 1

    def listing(self) -> list[dict[str, int]]:
        """A tool that gives data."""
        return [{"one": 1}]


async def use(team, tools):
    """What the results of each call are, and what is refused."""
    told = []
    bob = team.member("bob")
    async with bob.lend_tools(tools.all()):
        for word in CALLS:
            await bob.ask(f"{word}, please")
        for wrong in (tools.all()[:1], [python_tool(tools.listing, name="x" * 80)]):
            with pytest.raises(mob.UsageError) as refused:
                async with bob.lend_tools(wrong):
                    pass
            told.append(refused.value.message)
    await bob.ask("weather, please")
    for turn in bob.history():
        told += [(item.name, item.status, item.output) for item in turn.items if isinstance(item, ToolResult)]
    return [*told, tools.calls, tools.cancelled]


@pytest.mark.parametrize("url", [HTTP, LINES])
async def test_lent_tools_do_the_same_here_and_at_a_server(url, autojump_clock):
    async with mob.open_mob(crew(rules=RULES), rehearse=True, seed=1) as team:
        here = await use(team, Tools())
    async with serving(crew(rules=RULES), seed=1) as server, server.connect(url) as team:
        there = await use(team, Tools())
    for one, other in zip(here, there, strict=True):
        assert one == other


async def test_a_call_whose_turn_is_cut_is_given_up_here(autojump_clock):
    rules = (RehearsalRule(when="endless", call="endless"),)
    tools = Tools()
    async with serving(crew(rules=rules)) as server, server.connect() as team:
        bob = team.member("bob")
        async with bob.lend_tools([python_tool(tools.endless)]):
            with trio.move_on_after(2):
                await bob.ask("endless, please")
            await team.wait_quiet()
            await trio.sleep(1)
            assert tools.cancelled == 1


async def test_a_client_that_goes_takes_its_tools_along(autojump_clock):
    """Law 24: the call under way ends as cancelled, and the tool is offered no longer."""
    rules = (RehearsalRule(when="endless", call="endless"),)
    tools = Tools()
    limits = Limits(turn_timeout_s=30.0)
    async with serving(crew(rules=rules, limits=limits)) as server:
        async with server.connect() as team:
            bob = team.member("bob")
            async with bob.lend_tools([python_tool(tools.endless)]):
                bob.tell("endless, please")
                await trio.sleep(2)
                assert "endless" in [tool.name for tool in server.mob.member("bob").session.tools]
                server.network.connections[0].reset()
                await trio.sleep(1)
        await server.mob.wait_quiet()
        (result,) = [
            item for turn in server.mob.member("bob").history() for item in turn.items if isinstance(item, ToolResult)
        ]
        assert result.status == "cancelled"
        assert "endless" not in [tool.name for tool in server.mob.member("bob").session.tools]
        assert tools.cancelled == 1
        assert server.network.statistics().open_now == 0


@pytest.mark.parametrize("moment", [0.0, 0.001, 0.01, 0.3])
async def test_lending_cancelled_at_any_moment_leaves_nothing(moment, autojump_clock):
    async with serving(crew()) as server, server.connect() as team:
        with trio.move_on_after(moment):
            async with team.member("bob").lend_tools(Tools().all()):
                await trio.sleep(0.1)
        await trio.sleep(1)
        assert "weather" not in [tool.name for tool in server.mob.member("bob").session.tools]
        async with team.member("bob").lend_tools(Tools().all()):
            assert "weather" in [tool.name for tool in server.mob.member("bob").session.tools]


async def test_law_22_tools_that_cannot_be_taken_back_in_order_end_nothing_else(autojump_clock, monkeypatch, caplog):
    """The provider of an open live channel may refuse to hear that the tools have gone."""
    async with serving(crew()) as server, server.connect() as team:
        bob = team.member("bob")
        with monkeypatch.context() as patch:
            async with bob.lend_tools(Tools().all()):
                patch.setattr(Session, "_tell_tools", refuse)
        assert "tools have gone" in caplog.text
        assert "weather" not in [tool.name for tool in server.mob.member("bob").session.tools]
        assert (await bob.ask("Hello?")).text


async def refuse(_session):
    raise LiveRejected("no", reason="session_update_refused")


async def test_law_18_a_tool_of_which_nothing_is_said_counts_as_one_that_writes(autojump_clock):
    async with serving(crew()) as server, server.connect() as team:
        bob = team.member("bob")
        whose = {"mob": crew().id, "member": "bob"}
        await bob._connection.call("team/lend_tools", {**whose, "loan": "x", "tools": [{"name": "weather"}]})
        (tool,) = [tool for tool in server.mob.member("bob").session.tools if tool.name == "weather"]
        assert tool.effect == "write"
