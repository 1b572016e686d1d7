"""The pump and the channel its client holds, on a virtual clock."""

from __future__ import annotations

import pytest
import trio
from live_peers import FakeConnector, FakeSession, Reply, make_channel, open_channel, pcm

from mob.errors import (
    BudgetExceeded,
    LiveClosed,
    LiveRejected,
    ProviderRefused,
    ProviderUnreachable,
    StoreFull,
    UsageError,
)
from mob.history.items import Cause, UserMessage
from mob.live import events
from mob.live.ports import ChannelLimits, Prompt
from mob.providers import commands as say, events as wire


async def read_until(channel, kind, *, play=False):
    """Events up to and with the first of this kind."""
    seen = []
    with trio.fail_after(120):
        async for event in channel:
            seen.append(event)
            if play and isinstance(event, events.AudioDelta):
                channel.played(event)
            if isinstance(event, kind):
                return seen
    raise AssertionError(f"no {kind.__name__} in {[type(e).__name__ for e in seen]}")


def ask(text="what is the soup?", item="m1"):
    return Prompt((UserMessage(item, text),), Cause("ask", origin="host"), output="text")


async def test_a_whole_turn_in_order(autojump_clock):
    session, connector = FakeSession(), FakeConnector()
    async with open_channel(session, connector) as channel:
        assert channel.connected
        assert (channel.session_id, channel.epoch, channel.continuity) == ("session_test", 1, "fresh")
        assert channel.input_rate == channel.output_rate == 24000
        await channel.send_text("a table?")
        seen = await read_until(channel, events.TurnCommitted, play=True)
        names = [type(event).__name__ for event in seen]
        assert names[0] == "Connected"
        assert names.index("AgentTranscriptDelta") < names.index("AudioDelta") < names.index("AudioDone")
        assert names[-2:] == ["ResponseDone", "TurnCommitted"]
        assert seen[-1].turn == session.log[0]
        assert session.log[0].status == "done"
        assert session.log[0].items[1].fidelity == "exact"
    assert connector.all_closed
    assert [e for e in session.observed if not isinstance(e, events.AudioDelta)] == session.observed


async def test_the_last_event_is_the_final_disconnect_and_then_iteration_stops(autojump_clock):
    session = FakeSession()
    async with open_channel(session, FakeConnector()) as channel:
        await channel.send_text("hi")
    rest = [event async for event in channel]
    assert [type(event).__name__ for event in rest].count("Disconnected") == 1
    assert isinstance(rest[-1], events.Disconnected)
    assert rest[-1].final
    assert rest[-1].reason == "client_closed"
    assert session.log[0].status == "interrupted"
    assert isinstance(rest[-2], events.TurnCommitted)
    with pytest.raises(LiveClosed):
        await channel.send_text("still there?")
    with pytest.raises(LiveClosed):
        await channel.send_audio(pcm(20))
    channel.played("x", 5)
    await channel.close()


async def test_a_closed_channel_is_readable_for_a_minute(autojump_clock):
    for wait, count in ((59, 2), (61, 0)):
        async with open_channel(FakeSession(), FakeConnector()) as channel:
            pass
        await trio.sleep(wait)
        assert len([event async for event in channel]) == count


async def test_a_prompt_is_run_to_its_commit(autojump_clock):
    session, connector = FakeSession(commit_s=0.5), FakeConnector(replies=[Reply(spoken=False)])
    async with open_channel(session, connector) as channel:
        turn = await channel.prompt(ask())
        assert turn.agent_text == "the table by the window is"
        assert turn.seq == 1
        assert trio.current_time() >= 0.5


async def test_prompts_that_are_refused_raise_why(autojump_clock):
    session = FakeSession(admit_error=BudgetExceeded("no money"))
    async with open_channel(session, FakeConnector()) as channel:
        with pytest.raises(BudgetExceeded):
            await channel.prompt(ask())
    with pytest.raises(LiveClosed):
        await channel.prompt(ask())


async def test_a_prompt_that_waits_when_the_channel_ends_raises(autojump_clock):
    session, connector = FakeSession(), FakeConnector(talks=False)
    async with trio.open_nursery() as nursery, open_channel(session, connector) as channel:
        first, second = [], []

        async def put(results, item):
            try:
                results.append(await channel.prompt(ask(item=item)))
            except LiveClosed as error:
                results.append(error)

        nursery.start_soon(put, first, "m1")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(put, second, "m2")
        await trio.testing.wait_all_tasks_blocked()
        await channel.close()
    # Nobody had begun to answer: both are the session's again, which asks over another channel.
    assert [error.reason for error in (*first, *second)] == ["unanswered", "unanswered"]


async def test_a_cancelled_asker_withdraws_its_turn_and_harms_nothing(autojump_clock):
    session, connector = FakeSession(), FakeConnector(talks=False)
    async with open_channel(session, connector) as channel:
        with trio.move_on_after(1):
            await channel.prompt(ask())
        connector.last.provider.finish()
        connector.talks = True
        connector.replies += [Reply(spoken=False)]
        turn = await channel.prompt(ask(item="m2"))
        assert turn.status == "done"
        assert [t.status for t in session.log] == ["interrupted", "done"]


async def test_audio_goes_straight_through_in_both_directions(autojump_clock):
    session, connector = FakeSession(), FakeConnector(talks=False)
    async with open_channel(session, connector) as channel:
        for _ in range(3):
            await channel.send_audio(pcm(20))
        assert [len(data) for _, data in connector.last.audio] == [960] * 3
        with pytest.raises(LiveRejected):
            await channel.send_audio(b"odd")
        await channel.send_audio(b"")
        assert len(connector.last.audio) == 3


async def test_manual_turns(autojump_clock):
    session, connector = FakeSession(manual=True), FakeConnector()
    async with open_channel(session, connector) as channel:
        with pytest.raises(LiveRejected) as caught:
            await channel.commit()
        assert caught.value.reason == "empty_commit"
        await channel.send_audio(pcm(200))
        await channel.clear()
        await channel.send_audio(pcm(200))
        await channel.commit()
        await read_until(channel, events.TurnCommitted, play=True)
        assert session.log[0].cause.kind == "speech"


# -- law 14 --------------------------------------------------------------------------------------------------------


async def check_law_14(tool_s: float) -> None:
    """While a tool runs, audio passes in both directions at the instant at which it is due."""

    async def slow():
        await trio.sleep(tool_s)
        return "soup"

    session = FakeSession(tools={"keep_look": slow}, commit_s=3.0)
    connector = FakeConnector(talks=False, replies=[Reply(words=0, calls=("keep_look",)), Reply()])
    async with open_channel(session, connector) as channel:
        await channel.send_text("what is the soup?")
        await trio.testing.wait_all_tasks_blocked()
        connection = connector.last
        connection.provider.finish()
        await read_until(channel, events.ToolCall)
        response = wire.ResponseStarted("r_other")
        connection.provider.tell(response)
        for n in range(20):
            due = trio.current_time()
            await channel.send_audio(pcm(20))
            connection.provider.tell(wire.AgentAudio("r_other", "a_other", pcm(40)))
            seen = await read_until(channel, events.AudioDelta)
            assert seen[-1].start_ms == 40 * n
            assert trio.current_time() == due, "audio to the client waited"
            assert connection.audio[-1][0] == due, "audio to the provider waited"
            await trio.sleep(0.02)


@pytest.mark.parametrize("tool_s", [1.0, float("inf")])
async def test_law_14_a_slow_or_hanging_tool_never_delays_audio(autojump_clock, tool_s):
    await check_law_14(tool_s)


async def test_law_14_mutant_a_tool_in_the_reader_is_caught(autojump_clock, monkeypatch):
    from mob.live.pump import Pump

    original = Pump._read

    async def read(self, epoch, connection):
        class Slow:
            async def receive(self):
                if pump._tools:
                    await trio.sleep(1)
                return await connection.receive()

        pump = self
        return await original(self, epoch, Slow())

    monkeypatch.setattr(Pump, "_read", read)
    with pytest.raises(BaseExceptionGroup) as caught:
        await check_law_14(5.0)
    assert caught.group_contains(AssertionError, match="audio to the client waited")


async def test_a_slow_commit_delays_no_audio(autojump_clock):
    session, connector = FakeSession(commit_s=10.0), FakeConnector()
    async with open_channel(session, connector, limits=ChannelLimits(close_timeout_s=20)) as channel:
        await channel.send_text("one")
        await read_until(channel, events.ResponseDone, play=True)
        began = trio.current_time()
        connector.last.provider.tell(wire.InputSpeechStarted("u1"))
        await read_until(channel, events.SpeechStarted)
        assert trio.current_time() == began
        await read_until(channel, events.TurnCommitted)
        assert trio.current_time() == began + 10


# -- tools ---------------------------------------------------------------------------------------------------------


async def test_a_tool_is_run_and_followed_up(autojump_clock):
    async def look():
        return "soup"

    session = FakeSession(tools={"look": look})
    connector = FakeConnector(replies=[Reply(words=0, calls=("look", "external")), Reply(spoken=False)])
    async with open_channel(session, connector) as channel:
        await channel.send_text("what is there?")
        calls = await read_until(channel, events.ToolCall)
        calls += await read_until(channel, events.ToolCall)
        (external,) = [c for c in calls if isinstance(c, events.ToolCall) and c.external]
        await channel.send_tool_result(external.call_id, "bread")
        with pytest.raises(LiveRejected):
            await channel.send_tool_result(external.call_id, "twice")
        await read_until(channel, events.TurnCommitted)
        outputs = {c.output for c in connector.last.commands if isinstance(c, say.AddToolResult)}
        assert outputs == {"soup", "bread"}


async def test_interruption_cancels_a_tool_in_its_scope(autojump_clock):
    session = FakeSession(tools={"look": trio.sleep_forever})
    connector = FakeConnector(replies=[Reply(words=0, calls=("look",))])
    async with open_channel(session, connector) as channel:
        await channel.send_text("what is there?")
        await read_until(channel, events.ToolCall)
        await channel.interrupt()
        await read_until(channel, events.TurnCommitted)
        assert list(session.ended_tools.values()) == ["cancelled"]
        assert session.log[0].status == "interrupted"


# -- opening, losing, ending ---------------------------------------------------------------------------------------


async def test_a_refused_opening_raises_what_the_provider_said(autojump_clock):
    refusal = ProviderRefused("no such key", recovery="fatal", status=401, provider_code="invalid_api_key")
    channel = make_channel(FakeSession(), FakeConnector(errors=[refusal]))
    with pytest.raises(ProviderRefused) as caught:
        await channel.run()
    assert caught.value is refusal
    rest = [event async for event in channel]
    assert [type(event) for event in rest] == [events.ChannelError, events.Disconnected]
    assert rest[0].code == "invalid_api_key"


async def test_a_provider_that_cannot_be_reached_is_tried_twice(autojump_clock):
    gone = [ProviderUnreachable("nobody", recovery="reopen") for _ in range(5)]
    connector = FakeConnector(errors=gone)
    with pytest.raises(ProviderUnreachable):
        await make_channel(FakeSession(), connector).run()
    assert len(connector.errors) == 3


async def test_a_dial_that_hangs_is_given_up_in_time(autojump_clock):
    connector = FakeConnector(connect_s=1000)
    with pytest.raises(ProviderUnreachable, match="within 10 s"):
        await make_channel(FakeSession(), connector).run()
    assert trio.current_time() < 25


async def test_a_lost_connection_is_replaced_and_told(autojump_clock):
    session, connector = FakeSession(), FakeConnector()
    async with open_channel(session, connector) as channel:
        await channel.send_text("one")
        await read_until(channel, events.TurnCommitted, play=True)
        connector.last.reset()
        seen = await read_until(channel, events.Connected)
        (lost,) = [event for event in seen if isinstance(event, events.Disconnected)]
        assert not lost.final
        assert (channel.epoch, channel.continuity) == (2, "transcript_only")
        assert [c.text for c in connector.last.commands if isinstance(c, say.AddMessage)] == [
            "one",
            session.log[0].agent_text,
        ]
        assert connector.connections[0].closed


async def test_a_full_disk_ends_the_channel_with_its_reason(autojump_clock):
    session = FakeSession(commit_error=StoreFull("no room"))
    connector = FakeConnector(replies=[Reply(spoken=False)])
    async with trio.open_nursery() as nursery:
        channel = make_channel(session, connector)
        await nursery.start(channel.run)
        with pytest.raises(StoreFull):
            await channel.prompt(ask())
        seen = await read_until(channel, events.Disconnected)
        assert [e.code for e in seen if isinstance(e, events.ChannelError)] == ["store_full"]
        assert seen[-1].final


async def test_a_client_that_does_not_read_ends_its_channel_and_not_its_memory(autojump_clock):
    session, connector = FakeSession(), FakeConnector(talks=False)
    async with open_channel(session, connector, limits=ChannelLimits(max_client_events=50)) as channel:
        for n in range(200):
            connector.last.provider.tell(wire.InputSpeechStopped(f"u{n}"))
        await trio.testing.wait_all_tasks_blocked()
        seen = [event async for event in channel]
        assert "client_too_slow" in [e.code for e in seen if isinstance(e, events.ChannelError)]
        assert len(seen) < 60


async def test_audio_that_the_client_does_not_take_is_dropped_counted_and_reported(autojump_clock):
    session, connector = FakeSession(), FakeConnector(replies=[Reply(words=17)])
    limits = ChannelLimits(max_client_audio_bytes=48000)
    async with open_channel(session, connector, limits=limits) as channel:
        await channel.send_text("go on")
        await trio.sleep(0.1)
        dropped = channel.statistics().buffer.audio_dropped
        assert dropped > 0
        assert channel.statistics().buffer.audio_bytes <= 48000
        seen = await read_until(channel, events.TurnCommitted)
        assert "audio_dropped" in [e.code for e in seen if isinstance(e, events.ChannelError)]
        assert [e.turn.items[1].fidelity for e in seen if isinstance(e, events.TurnCommitted)] == ["unknown"]


async def test_played_takes_an_event_or_a_position(autojump_clock):
    async with open_channel(FakeSession(), FakeConnector()) as channel:
        with pytest.raises(UsageError):
            channel.played("item")  # type: ignore[call-overload]


async def test_the_channel_ends_with_its_ttl(autojump_clock):
    async with open_channel(FakeSession(), FakeConnector(), ttl_s=5.0) as channel:
        seen = await read_until(channel, events.Disconnected)
        assert seen[-1].reason == "ttl"
        assert trio.current_time() >= 5


async def test_a_crash_of_the_session_ends_the_channel_and_comes_out(autojump_clock):
    class Broken(FakeSession):
        async def admit_turn(self, cause):
            raise RuntimeError("a bug")

    session, connector = Broken(), FakeConnector()
    channel = make_channel(session, connector)

    async def live():
        async with trio.open_nursery() as nursery:
            await nursery.start(channel.run)
            await channel.send_text("hi")

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert caught.group_contains(RuntimeError)
    assert connector.all_closed
    assert [event async for event in channel][-1].final


# -- law 24 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, 32))
async def test_law_24_cancelled_at_every_step_of_opening_nothing_is_left(autojump_clock, step):
    """Cancel the whole channel after so many of its task steps: no connection, tool or waiter is left."""
    session = FakeSession(tools={"look": trio.sleep_forever}, commit_s=0.01)
    connector = FakeConnector(replies=[Reply(words=0, calls=("look",))], connect_s=0.01, close_s=0.01)
    channel = make_channel(session, connector)
    cancelled = trio.CancelScope()

    class Counter(trio.abc.Instrument):
        steps = 0

        def before_task_step(self, task):
            self.steps += 1
            if self.steps == step:
                cancelled.cancel()

    async def live():
        with cancelled:
            async with trio.open_nursery() as nursery:
                await nursery.start(channel.run)
                await channel.send_text("hi")
                await trio.sleep(1)
                await channel.close()

    before = trio.lowlevel.current_statistics().tasks_living
    instrument = Counter()
    trio.lowlevel.add_instrument(instrument)
    try:
        with trio.fail_after(10):
            await live()
    finally:
        trio.lowlevel.remove_instrument(instrument)
    assert connector.all_closed
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert session.reserved == session.settled
    if session.log:
        assert session.log[0].status == "interrupted"


@pytest.mark.parametrize("hangs", ["commit", "tool", "close"])
async def test_law_24_closing_takes_no_longer_than_its_bound(autojump_clock, hangs):
    async def stubborn():
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)
        return "late"

    session = FakeSession(tools={"look": stubborn}, commit_s=1e9 if hangs == "commit" else 0.0)
    connector = FakeConnector(
        replies=[Reply(words=0, calls=("look",) if hangs == "tool" else ())], close_s=1.9 if hangs == "close" else 0.0
    )
    async with open_channel(session, connector) as channel:
        await channel.send_text("hi")
        await trio.sleep(0.2)
        began = trio.current_time()
        await channel.close()
        assert trio.current_time() - began <= 3 * 2.0
    assert connector.all_closed


async def test_two_closers_and_a_reader_all_come_out(autojump_clock):
    async with open_channel(FakeSession(), FakeConnector(close_s=0.5)) as channel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.close)
            nursery.start_soon(channel.close)
            nursery.start_soon(read_until, channel, events.Disconnected)
    assert not channel.connected
