"""Sessions with a realtime model: asked without a human, opened, taken over, interrupted, closed; no team around."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from attrs import define, evolve, field
from desks import tool
from far_end import MODEL, Dialler
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock

from mob.definition.catalogue import catalogue
from mob.definition.model import Limits, Member, MobDefinition, Profile, RehearsalRule
from mob.errors import (
    AlreadyOpen,
    CredentialMissing,
    LiveClosed,
    MemberNotRunning,
    MobError,
    NotRealtime,
    ProviderUnreachable,
    ReopenRequired,
    TurnTimedOut,
    UsageError,
)
from mob.history.fold import History
from mob.history.items import AgentMessage, Cause, ToolResult
from mob.history.rows import ChannelOpened, ToolEnded, ToolStarted
from mob.ids import Ids
from mob.live import events as live
from mob.live.watchdog import Watchdog
from mob.rehearsal.serve import open_rehearsal
from mob.sessions.budget import BudgetMeter
from mob.sessions.connect import connect_realtime
from mob.sessions.events import RunEvent
from mob.sessions.session import Session
from mob.sessions.tools import ToolBox, ToolFunction
from mob.store.memory import MemoryStore
from mob.store.port import RunLog
from mob.testing import MemoryNetwork
from mob.values import ToolSchema

LIVE = catalogue()["gpt-realtime-2"]

RULES = (
    RehearsalRule("hello", say="Welcome to the house."),
    RehearsalRule("long", say="one two three four five six seven eight nine ten " * 6),
    RehearsalRule("look", call="look"),
    RehearsalRule("write", call="write"),
    RehearsalRule("", say="I see."),
)


def team(*, limits: Limits | None = None, model: str = LIVE.id, **profile) -> MobDefinition:
    return MobDefinition(
        "team",
        {"greeter": Profile("greeter", model, instructions="You greet.", **profile)},
        {"host": Member("host", "greeter")},
        limits=limits or Limits(),
        rehearsal={"greeter": RULES},
        models={MODEL.id: MODEL},
    )


class CountingNetwork(MemoryNetwork):
    """Counts the sockets that the client's side holds: `held` now, `most` at once."""

    held = most = 0

    async def connect(self, host, port):
        stream = await super().connect(host, port)
        closing = stream.send_stream.close_hook

        def closed():
            self.held -= 1
            stream.send_stream.close_hook = closing
            closing()

        stream.send_stream.close_hook = closed
        self.held += 1
        self.most = max(self.most, self.held)
        return stream


@define(eq=False)
class Stage:
    """A running session, and the rehearsed provider it dials over memory streams."""

    session: Session
    network: CountingNetwork
    log: RunLog
    nursery: trio.Nursery
    budget: BudgetMeter
    events: list[RunEvent] = field(factory=list)

    def told(self, kind: str) -> list[RunEvent]:
        return [event for event in self.events if event.type == kind]

    async def rows(self) -> list:
        return [stored.row async for stored in self.log.read()]


@asynccontextmanager
async def open_stage(
    *, tools: Sequence[ToolFunction] = (), definition: MobDefinition | None = None, store: MemoryStore | None = None
) -> AsyncIterator[Stage]:
    definition = definition or team()
    profile = definition.profile_of("host")
    model = LIVE if profile.model == LIVE.id else MODEL
    events: list[RunEvent] = []
    store = store or MemoryStore(wall=trio.current_time)
    async with (
        open_rehearsal(definition, seed=3) as rehearsal,
        store.open_run("run", create=True) as log,
        trio.open_nursery() as far,
        trio.open_nursery() as near,
    ):
        network = CountingNetwork(far)
        network.listen_default(rehearsal.serve_stream)
        budget = BudgetMeter("team", definition.budget)
        history = History.of("host", [stored async for stored in log.read()])
        watchdog = Watchdog()
        session = Session(
            "host",
            1,
            profile,
            model,
            definition=definition,
            log=log,
            history=history,
            tools=ToolBox(tools),
            dialler=_HostDialler(network),
            ids=Ids(5 + len(history.turns)),
            budget=budget.child("host"),
            publish=events.append,
            wall=trio.current_time,
            watchdog=watchdog,
        )
        near.start_soon(watchdog.run)
        await near.start(session.run)
        try:
            yield Stage(session, network, log, near, budget, events)
            await session.stop()
        finally:
            near.cancel_scope.cancel()
            far.cancel_scope.cancel()


class _HostDialler(Dialler):
    """Both wires of the host's own rehearsed model."""

    async def endpoint(self, identity, profile, model):
        endpoint = await super().endpoint(identity, profile, model)
        return evolve(endpoint, base_url=f"http://far.end:{1 if model.realtime else 2}/host/v1")


async def test_a_realtime_member_is_asked_without_a_human(autojump_clock):
    """Over a channel of its own, in text; the next question goes over the same one."""
    async with open_stage() as stage:
        answer = await stage.session.ask("hello", cause=Cause("ask", origin="menu"))
        assert (await stage.session.ask("and you?")).text == "I see."
        assert stage.network.statistics().opened == 1
        assert stage.session.channel is not None
        rows = await stage.rows()
    assert answer.text == "Welcome to the house."
    assert answer.turn.cause == Cause("ask", origin="menu")
    message = answer.turn.items[-1]
    assert isinstance(message, AgentMessage)
    assert (message.display_text, message.spoken_text) == ("Welcome to the house.", "")
    assert [row.continuity for row in rows if isinstance(row, ChannelOpened)] == ["fresh"]
    assert len(stage.told("channel_opened")) == 1
    assert len(stage.told("channel_closed")) == 1
    assert [event.agent for event in stage.told("turn_committed")] == ["Welcome to the house.", "I see."]
    assert answer.turn.usage.cost_usd
    assert stage.budget.usage.requests == 2
    assert stage.session.channel is None


async def test_a_client_takes_the_sessions_own_channel_over(autojump_clock):
    """There is one channel, and one client of it."""
    async with open_stage() as stage:
        await stage.session.ask("hello")
        own = stage.session.channel
        async with stage.session.open_live() as channel:
            assert channel is own
            with pytest.raises(AlreadyOpen):
                async with stage.session.open_live():
                    pass
            await channel.send_text("and you?")
            committed = await _next_turn(channel)
            assert committed.agent_text == "I see."
            answer = await stage.session.ask("hello", cause=Cause("ask", origin="menu"))
            assert answer.text == "Welcome to the house."
        assert stage.session.channel is None
        assert stage.network.held == 0
        assert [turn.user_text for turn in stage.session.history()] == ["hello", "and you?", "hello"]
        with pytest.raises(LiveClosed):
            await channel.send_text("too late")
        await stage.session.ask("hello")
        assert stage.network.statistics().opened == 2


async def _next_turn(channel, *, play: bool = True):
    async for event in channel:
        match event:
            case live.AudioDelta() if play:
                channel.played(event)
            case live.TurnCommitted(turn=turn):
                return turn
    raise AssertionError("the channel ended")


async def test_a_spoken_turn_is_committed_as_heard(autojump_clock):
    """Typed in, spoken out, with receipts: the history has the words, and says how it knows."""
    async with open_stage() as stage, stage.session.open_live() as channel:
        await channel.send_text("hello")
        turn = await _next_turn(channel)
    (message,) = [item for item in turn.items if isinstance(item, AgentMessage)]
    assert message.spoken_text == "Welcome to the house."
    assert (message.interrupted, message.display_text) == (False, "")
    states = [event.state for event in stage.told("member_changed")]
    assert "speaking" in states
    assert states[-1] == "idle"
    assert stage.told("agent_transcript")


async def test_an_open_that_fails_leaves_nothing(autojump_clock):
    """Law 8: no slot, no task, no socket; the next open works."""
    async with open_stage() as stage:
        stage.network.refuse()
        tasks = trio.lowlevel.current_statistics().tasks_living
        with pytest.raises(ProviderUnreachable):
            async with stage.session.open_live():
                pass
        with pytest.raises(ProviderUnreachable):
            await stage.session.ask("hello")
        assert stage.session.channel is None
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        stage.network.refuse(refusing=False)
        async with stage.session.open_live() as channel:
            assert channel.connected


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["open", "ask", "refuse", "cancelled open"]), st.integers(0, 3), st.integers(0, 3)),
        min_size=1,
        max_size=5,
    )
)
def test_law_08_there_is_never_a_second_channel(actions):
    """Whoever opens and asks at once, whatever fails: at most one socket at any instant, and none in the end."""

    async def main():
        async with open_stage() as stage:

            async def act(kind, begins, lasts):
                await trio.sleep(begins)
                try:
                    match kind:
                        case "open":
                            async with stage.session.open_live():
                                await trio.sleep(lasts)
                        case "ask":
                            await stage.session.ask("hello")
                        case "refuse":
                            stage.network.refuse()
                            await trio.sleep(lasts)
                            stage.network.refuse(refusing=False)
                        case "cancelled open":
                            with trio.move_on_after(lasts / 100):
                                async with stage.session.open_live():
                                    await trio.sleep_forever()
                except MobError:
                    pass

            async with trio.open_nursery() as acting:
                for action in actions:
                    acting.start_soon(act, *action)
            assert stage.network.most <= 1
            await stage.session.stop()
            assert stage.network.held == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_law_14_a_hanging_tool_delays_no_sound_and_no_turn(autojump_clock):
    """The human goes on while it runs, and is answered; the call ends at its timeout, and its place is filled."""
    started = trio.Event()

    async def look(arguments, context):
        started.set()
        await trio.sleep_forever()

    tools = [tool(look, "look", timeout_s=20, effect="write", keeps_running=True)]
    async with open_stage(tools=tools) as stage, stage.session.open_live() as channel:
        await channel.send_text("look at this")
        await started.wait()
        began = trio.current_time()
        await channel.send_text("hello")
        while (turn := await _next_turn(channel)).user_text != "hello":
            pass
        assert turn.agent_text == "Welcome to the house."
        assert trio.current_time() - began < 15
        await trio.sleep(30)
        results = [item for turn in stage.session.history() for item in turn.items if isinstance(item, ToolResult)]
        assert [(result.name, result.status) for result in results] == [("look", "timed_out")]


async def test_a_tool_of_a_live_member_is_in_the_ledger(autojump_clock):
    """Started before it runs, ended before the model hears of it, and in the turn."""

    async def look(arguments, context):
        return "a red door"

    async with open_stage(tools=[tool(look)]) as stage:
        answer = await stage.session.ask("look")
        rows = [row for row in await stage.rows() if isinstance(row, ToolStarted | ToolEnded)]
    assert [row.kind for row in rows] == ["tool_started", "tool_ended"]
    assert [item.output for item in answer.turn.items if isinstance(item, ToolResult)] == ["a red door"]
    assert [event.type for event in stage.events if event.type.startswith("tool_")] == ["tool_call", "tool_result"]


async def test_an_asker_who_gives_up_frees_a_live_member(autojump_clock):
    """The turn is cut or dropped, and the next question is answered."""
    async with open_stage() as stage:
        with pytest.raises(TurnTimedOut):
            await stage.session.ask("long", timeout=0.2)
        answer = await stage.session.ask("hello")
        assert answer.text == "Welcome to the house."
        cut, done = stage.session.history()
        assert cut.status in ("interrupted", "cancelled")
        assert (done.user_text, done.status) == ("hello", "done")


async def test_a_session_that_stops_closes_its_clients_channel(autojump_clock):
    """The client is told, and the block ends as it should."""
    async with open_stage() as stage:
        async with stage.session.open_live() as channel:
            await channel.send_text("long")
            await trio.sleep(1)
            await stage.session.stop()
            last = [event async for event in channel][-1]
            assert isinstance(last, live.Disconnected)
            assert last.final
        assert stage.network.held == 0
        assert [turn.user_text for turn in stage.session.history()] == ["long"]
        with pytest.raises(MemberNotRunning):
            await stage.session.ask("hello")


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["hello", "long", "look", "write"]), st.floats(0, 4), st.booleans(), st.booleans())
def test_law_24_stopping_a_live_member_is_bounded_and_leaves_nothing(text, moment, client, cancel):
    """At any moment of a turn, with and without a client, stopped or cancelled."""

    async def forever(arguments, context):
        await trio.sleep_forever()

    async def main():
        before = trio.lowlevel.current_statistics().tasks_living
        tools = [tool(forever, "look"), tool(forever, "write", effect="write", keeps_running=True)]
        async with open_stage(tools=tools) as stage:
            with trio.CancelScope(shield=True):
                await _talk_and_stop(stage, text, moment, client=client, cancel=cancel)
        assert trio.lowlevel.current_statistics().tasks_living == before

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def _talk_and_stop(stage: Stage, text: str, moment: float, *, client: bool, cancel: bool) -> None:
    async def talk():
        with suppress(MobError):
            if not client:
                await stage.session.ask(text)
                return
            async with stage.session.open_live() as channel:
                await channel.send_text(text)
                async for event in channel:
                    if isinstance(event, live.AudioDelta):
                        channel.played(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        await trio.sleep(moment)
        began = trio.current_time()
        if cancel:
            stage.session.cancel(within_s=1)
        await stage.session.stop()
        assert trio.current_time() - began <= Limits().shutdown_timeout_s
        nursery.cancel_scope.cancel()
    assert stage.network.held == 0
    rows = await stage.rows()
    ended = [row.call_id for row in rows if isinstance(row, ToolEnded)]
    assert sorted(ended) == sorted(row.call_id for row in rows if isinstance(row, ToolStarted))


async def test_a_model_can_change_from_live_to_text_and_back(autojump_clock):
    """One history, whatever delivers it."""
    async with open_stage(definition=team(model=MODEL.id)) as stage:
        await stage.session.ask("hello")
        stage.session.rebind(evolve(stage.session.profile, model=LIVE.id), LIVE)
        assert (await stage.session.ask("and you?")).text == "I see."
        rows = await stage.rows()
        assert [row.continuity for row in rows if isinstance(row, ChannelOpened)] == ["transcript_only"]
        stage.session.rebind(evolve(stage.session.profile, model=MODEL.id), MODEL)
        await stage.session.ask("hello")
        with pytest.raises(NotRealtime):
            async with stage.session.open_live():
                pass
        assert [turn.agent_text for turn in stage.session.history()] == [
            "Welcome to the house.",
            "I see.",
            "Welcome to the house.",
        ]


async def test_a_model_cannot_change_under_a_client(autojump_clock):
    """Refused, and the error names what to do."""
    async with open_stage() as stage, stage.session.open_live():
        with pytest.raises(ReopenRequired, match="close it") as caught:
            stage.session.rebind(evolve(stage.session.profile, model=MODEL.id), MODEL)
        assert caught.value.fields == ("model",)
        stage.session.rebind(evolve(stage.session.profile, instructions="Be brief."), LIVE)
        assert stage.session.profile.instructions == "Be brief."


async def test_a_text_fallback_takes_over_when_no_channel_can_be_had(autojump_clock):
    """The question is answered over the other wire."""
    async with open_stage(definition=team(fallback=(MODEL.id,))) as stage:
        stage.network.listen("far.end", 2, stage.network._default)
        stage.network.listen_default(None)
        assert (await stage.session.ask("hello")).text == "Welcome to the house."
        assert [event.error_class for event in stage.told("error")][:1] == ["provider_unreachable"]


# No team: connect_realtime.


@asynccontextmanager
async def lone(**options) -> AsyncIterator[tuple]:
    async with open_rehearsal(team(), seed=3, member="host") as rehearsal, trio.open_nursery() as far:
        network = CountingNetwork(far)
        network.listen_default(rehearsal.serve_stream)
        try:
            async with connect_realtime(
                model=LIVE.id, base_url="http://far.end:1/v1", network=network, environ={}, **options
            ) as channel:
                yield channel, network
            assert network.held == 0
        finally:
            far.cancel_scope.cancel()


async def test_a_channel_with_no_team(autojump_clock):
    """Open, talk, close; nothing is left."""
    async with lone(instructions="You greet.", voice="marin", ttl_s=600) as (channel, _):
        await channel.send_text("hello")
        assert (await _next_turn(channel)).agent_text == "Welcome to the house."


async def test_a_lone_channel_runs_callables_and_leaves_schemas_to_its_client(autojump_clock):
    """Both are tools to the model."""

    def look() -> str:
        """Look."""
        return "a red door"

    async with lone(tools=[look, ToolSchema("write", "Write.", {"type": "object"})]) as (channel, _):
        await channel.send_text("look")
        turn = await _next_turn(channel)
        assert [item.output for item in turn.items if isinstance(item, ToolResult)] == ["a red door"]
        await channel.send_text("write")
        async for event in channel:
            match event:
                case live.ToolCall(external=True, call_id=call_id):
                    await channel.send_tool_result(call_id, "written")
                case live.AudioDelta():
                    channel.played(event)
                case live.TurnCommitted(turn=turn):
                    break
        assert [item.output for item in turn.items if isinstance(item, ToolResult)] == ["written"]


async def test_what_goes_wrong_in_the_block_comes_out_as_it_is(autojump_clock):
    """Not in a group."""
    async with lone() as (_, network), trio.open_nursery():
        with pytest.raises(ZeroDivisionError):
            async with connect_realtime(model=LIVE.id, base_url="http://far.end:1/v1", network=network, environ={}):
                raise ZeroDivisionError


async def test_a_lone_channel_needs_a_realtime_model_a_key_and_an_address():
    """Each is a typed error, before anything is dialled."""
    with pytest.raises(CredentialMissing, match="OPENAI_API_KEY"):
        async with connect_realtime(model=LIVE.id, environ={}):
            pass
    with pytest.raises(NotRealtime):
        async with connect_realtime(model="gpt-5.6-terra", environ={"OPENAI_API_KEY": "x"}):
            pass
    with pytest.raises(UsageError, match="mob models"):
        async with connect_realtime(model="unheard-of", provider="nobody", environ={}):
            pass
    unheard_of = evolve(LIVE, id="unheard-of", provider="nobody")
    with pytest.raises(UsageError, match="nobody"):
        async with connect_realtime(model=unheard_of, environ={}):
            pass


async def test_a_model_that_the_catalogue_does_not_know_comes_with_its_capabilities(autojump_clock):
    """Capability is data, never guessed from a name."""
    unheard_of = evolve(LIVE, id="unheard-of", provider="nobody")
    async with lone() as (_, network):
        async with connect_realtime(
            model=unheard_of, base_url="http://far.end:1/v1", network=network, environ={}
        ) as channel:
            assert channel.capabilities.id == "unheard-of"
            await channel.send_text("hello")
            assert (await _next_turn(channel)).agent_text == "Welcome to the house."
