"""Live channels of a served mob: the same as here, also when the socket is lost, and nothing is left of them."""

from __future__ import annotations

import functools

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given, settings, strategies as st
from served import HTTP, LINES, crew, desk, serving
from talking import Listener, refused, say

import mob
from mob.live import events as live
from mob.rehearsal.voice import hear
from mob.remote.live_socket import LiveSocket
from mob.server.limits import DoorLimits
from mob.values import TurnDetection

PICTURE = mob.Image("image/png", b"\x89PNG\r\n\x1a\n" + bytes(200))
MANUAL = mob.ChannelOptions(turn_detection=TurnDetection("manual"))


def about(channel):
    """What a channel says of itself."""
    return (
        channel.channel_id,
        channel.epoch,
        channel.connected,
        channel.capabilities,
        channel.continuity,
        channel.input_rate,
        channel.output_rate,
        channel.expires_at is not None,
        len(channel.session_id),
    )


async def converse(team, see):
    """Speech in and out, a tool, typing that cuts in, and the refusals of a channel with turn detection."""
    host = team.member("host")
    async with host.open_live() as channel, trio.open_nursery() as nursery:
        listener = Listener(channel)
        nursery.start_soon(listener.run)
        see(*about(channel))
        await say(channel, "what is in the risotto")
        await listener.until(live.TurnCommitted)
        await channel.send_text("Hello!")
        await listener.until(live.TurnCommitted, 2)
        see(await refused(channel.commit))
        see(await refused(channel.truncate, "item_nobody", 100))
        see(await refused(channel.send_tool_result, "call_nobody", "x"))
        see(await refused(channel.send_text, ""))
        see(await refused(channel.send_audio, b"123"))
        see(await refused(channel.refresh, model="gpt-realtime-mini"))
        see(await refused(host.open_live().__aenter__))
        see(await refused(team.member("menu").open_live().__aenter__))
        await channel.refresh(instructions="Be brief.")
        await channel.interrupt()
        await channel.clear()
        await channel.close()
        see(await refused(channel.send_text, "too late"), channel.connected)
        await channel.close()
    see(*listener.told(), about(channel)[:2])
    see(len(host.history()), team.floor)


async def take_turns(team, see):
    """Manual turns, a picture, what is answered in text, an answer that is cut where the human stopped listening."""
    async with team.member("host").open_live(MANUAL) as channel, trio.open_nursery() as nursery:
        listener = Listener(channel, plays=0)
        nursery.start_soon(listener.run)
        see(await refused(channel.commit))
        await channel.send_image(PICTURE, item_id="picture_1")
        await channel.send_text("What is on this?", "text", item_id="question_1")
        await listener.until(live.TurnCommitted)
        await say(channel, "are you open", silence_s=0)
        await channel.commit()
        first = await listener.until(live.AudioDelta)
        await trio.sleep(1)
        channel.played(first.item_id, 900)
        await channel.truncate(first.item_id, 900)
        await listener.until(live.TurnCommitted, 2)
        await channel.close()
    see(*listener.told())


async def ask_for_answers(team, see):
    """Nothing is answered until it is asked for."""
    options = evolve(MANUAL, auto_respond=False, output="text", instructions="Answer in French.")
    async with team.member("host").open_live(options) as channel, trio.open_nursery() as nursery:
        listener = Listener(channel)
        nursery.start_soon(listener.run)
        await channel.send_text("One thing.")
        await channel.send_text("And another.")
        await trio.sleep(2)
        see(len(listener.events))
        await channel.respond(instructions="Be brief.")
        await listener.until(live.TurnCommitted)
        await channel.respond("text")
        await listener.until(live.TurnCommitted, 2)
        await channel.close()
    see(*listener.told())


@pytest.mark.parametrize("url", [HTTP, LINES])
@pytest.mark.parametrize("program", [converse, take_turns, ask_for_answers])
async def test_a_program_talks_the_same_here_and_at_a_server(program, url, autojump_clock):
    here, there = [], []
    async with mob.open_mob(desk(), rehearse=True, seed=1) as team:
        await program(team, lambda *what: here.extend(what))
    async with serving(desk(), seed=1) as server, server.connect(url) as team:
        await program(team, lambda *what: there.extend(what))
    for one, other in zip(here, there, strict=True):
        assert one == other


async def test_what_was_heard_is_what_was_played_here(autojump_clock):
    """Law 4 over the doors: the history has no more than the receipts say, and decodes to the same words."""
    async with serving() as server, server.connect() as team:
        async with team.member("host").open_live() as channel, trio.open_nursery() as nursery:
            listener = Listener(channel, plays=0)
            nursery.start_soon(listener.run)
            await channel.send_text("What is in the risotto?")
            piece = await listener.until(live.AudioDelta)
            await trio.sleep(3)
            channel.played(piece.item_id, 2500)
            await channel.send_text("Stop!")
            cut = await listener.until(live.Interrupted)
            await listener.until(live.TurnCommitted)
            nursery.cancel_scope.cancel()
        assert (cut.heard_ms, cut.fidelity) == (2500, "exact")
        turn = team.member("host").history()[0]
        (answer,) = [item for item in turn.items if isinstance(item, mob.AgentMessage) and item.text]
        played = hear(listener.pcm[answer.id][: 2500 * 48])
        assert played.startswith(answer.text)
        assert " " not in played.removeprefix(answer.text).strip()  # rounded down to a word


# -- a socket that is lost ---------------------------------------------------------------------------------------------


def live_connection(server):
    """The network connection of the live socket: the latest, since JSON-RPC came first."""
    return server.network.connections[-1]


async def recorded(server):
    """Everything that the channel tells, read at the server."""
    (held,) = server.realm.channels
    return [numbered.event async for numbered in held.follow(0)]


losses = st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from(["reset", "hang_up"])), min_size=1, max_size=4)


@settings(deadline=None, max_examples=12)
@given(losses=losses)
def test_a_lost_socket_loses_nothing(losses):
    """Whenever the socket is lost, the client that comes back has, in the end, heard exactly what the channel told."""
    trio.run(functools.partial(_lose, losses), clock=trio.testing.MockClock(autojump_threshold=0))


async def _lose(losses):
    async with serving() as server, server.connect() as team, trio.open_nursery() as nursery:
        told = []

        async def record():
            told.extend(await recorded(server))

        async def lose():
            for after, how in losses:
                await trio.sleep(after)
                if server.network.statistics().open_now > 1:
                    getattr(live_connection(server), how)()

        async with team.member("host").open_live() as channel:
            listener = Listener(channel)
            nursery.start_soon(listener.run)
            nursery.start_soon(record)
            nursery.start_soon(lose)
            for number, text in enumerate(["What is in the risotto?", "Hello!", "Are you open?"], 1):
                while (await refused(channel.send_text, text) or ["", ""])[1] == "connection_lost":
                    pass
                await trio.sleep(number)
            await trio.sleep(40)
            await channel.close()
        await listener.ended.wait()
        await trio.sleep(1)
        heard = [event for event in listener.events if not isinstance(event, live.AudioDelta)]
        assert heard == [event for event in told if not isinstance(event, live.AudioDelta)]
        cut = {event.item_id for event in told if isinstance(event, live.Interrupted)}
        for item_id, pcm in _sounds(told).items():
            assert listener.pcm[item_id] == pcm or item_id in cut
        assert channel.statistics().socket.lost_events == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("forgets", [{"after": "0"}, {"after": "100"}])
def test_a_client_that_names_the_wrong_number_is_caught(forgets, monkeypatch):
    """A mutant: it comes back with another number than that of the last event it has."""
    lost = LiveSocket._lost

    def mutant(self):
        lost(self)
        if self._transport is None and self._seq:
            self._query |= forgets

    monkeypatch.setattr(LiveSocket, "_lost", mutant)
    with pytest.raises(BaseException) as caught:
        trio.run(functools.partial(_lose, [(2.0, "reset")]), clock=trio.testing.MockClock(autojump_threshold=0))
    assert caught.group_contains(AssertionError) or isinstance(caught.value, AssertionError)


def _sounds(events):
    sounds = {}
    for event in events:
        if isinstance(event, live.AudioDelta):
            sounds[event.item_id] = sounds.get(event.item_id, b"") + event.pcm
    return sounds


async def test_what_is_said_while_the_socket_is_away_is_said_when_it_is_back(autojump_clock):
    async with serving() as server, server.connect() as team, trio.open_nursery() as nursery:
        async with team.member("host").open_live() as channel:
            listener = Listener(channel, plays=0)
            nursery.start_soon(listener.run)
            await channel.send_text("What is in the risotto?")
            piece = await listener.until(live.AudioDelta)
            await trio.sleep(2)
            server.network.refuse()
            live_connection(server).reset()
            await trio.sleep(0.5)
            channel.played(piece.item_id, 1000)
            channel.played(piece.item_id, 500)
            await say(channel, "hello there", silence_s=1.0)
            server.network.refuse(refusing=False)
            await channel.interrupt()
            await say(channel, "", silence_s=1.0)
            assert (await listener.until(live.UserTranscript)).text == "hello there"
            assert (await listener.until(live.Interrupted)).heard_ms >= 1000
            assert channel.statistics().socket.resumed == 1
        nursery.cancel_scope.cancel()


async def test_a_command_whose_answer_was_lost_is_not_done_twice(autojump_clock):
    async with serving() as server, server.connect() as team, trio.open_nursery() as nursery:
        async with team.member("host").open_live() as channel:
            nursery.start_soon(Listener(channel).run)
            stream = live_connection(server).theirs.send_stream
            stream.send_all_hook = stream.close_hook = None  # what it says is lost, to the end
            ends = []

            async def send():
                ends.append(await refused(channel.send_text, "Hello!"))

            nursery.start_soon(send)
            await trio.sleep(1)
            live_connection(server).reset()
            await trio.sleep(10)
            assert ends[0][:2] == (mob.LiveRejected, "connection_lost")
            assert [turn.user_text for turn in team.member("host").history()] == ["Hello!"]
        nursery.cancel_scope.cancel()


async def test_a_socket_that_stays_away_ends_the_channel(autojump_clock):
    async with serving() as server, server.connect() as team:
        async with team.member("host").open_live() as channel:
            listener = Listener(channel)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.run)
                await trio.sleep(1)
                server.network.refuse()
                live_connection(server).reset()
                began = trio.current_time()
                await listener.ended.wait()
            assert 9 < trio.current_time() - began < 12
            last = listener.events[-1]
            assert isinstance(last, live.Disconnected)
            assert (last.reason, last.final) == ("connection_lost", True)
            for call in (channel.send_text, channel.commit):
                with pytest.raises(mob.LiveClosed) as closed:
                    await call(*(["x"] if call == channel.send_text else []))
                assert closed.value.reason == "connection_lost"
            channel.played("item", 3)
        await trio.sleep(1)
        assert list(server.realm.channels) == []


async def test_a_half_open_socket_is_found_out(autojump_clock):
    async with serving() as server, server.connect() as team, trio.open_nursery() as nursery:
        async with team.member("host").open_live() as channel:
            listener = Listener(channel)
            nursery.start_soon(listener.run)
            await trio.sleep(1)
            live_connection(server).silence()
            await trio.sleep(45)
            await channel.send_text("Are you there?")
            await listener.until(live.TurnCommitted)
            assert channel.statistics().socket.resumed == 1
        nursery.cancel_scope.cancel()


async def test_what_was_lost_on_the_way_is_said(autojump_clock):
    limits = DoorLimits(max_kept_events=8, max_kept_audio_bytes=20_000)
    async with serving(limits=limits) as server, server.connect() as team, trio.open_nursery() as nursery:
        async with team.member("host").open_live() as channel:
            listener = Listener(channel)
            nursery.start_soon(listener.run)
            await trio.sleep(1)
            server.network.refuse()
            live_connection(server).reset()
            await server.mob.member("host").session.channel.send_text("What is in the risotto?")
            await trio.sleep(5)
            server.network.refuse(refusing=False)
            await trio.sleep(30)
            codes = [event.code for event in listener.events if isinstance(event, live.ChannelError)]
            assert "gap" in codes
            assert channel.statistics().socket.lost_audio_bytes > 0
            assert channel.connected
        nursery.cancel_scope.cancel()


# -- what is left ------------------------------------------------------------------------------------------------------


async def nothing_left(server, tasks):
    await trio.sleep(70)
    assert list(server.realm.channels) == []
    assert server.realm.channels.of_session(server.hosted.session_id("host")) is None
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@settings(deadline=None, max_examples=25)
@given(after=st.floats(0.0, 2.0), inside=st.booleans())
def test_law_24_cancelled_at_any_moment_a_live_channel_leaves_nothing(after, inside):
    async def main():
        async with serving() as server, server.connect() as team:
            async with team.member("host").open_live():
                pass
            await trio.sleep(70)
            tasks = trio.lowlevel.current_statistics().tasks_living
            with trio.move_on_after(after / 100 if not inside else after):
                async with team.member("host").open_live() as channel, trio.open_nursery() as nursery:
                    nursery.start_soon(Listener(channel).run)
                    await channel.send_text("What is in the risotto?")
                    await trio.sleep(10)
            await nothing_left(server, tasks)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_client_that_vanishes_leaves_no_channel(autojump_clock):
    async with serving() as server:
        async with server.connect() as team, team.member("host").open_live() as channel:
            await channel.send_text("Hello!")
            server.network.connections[0].reset()
            await trio.sleep(1)
            with pytest.raises(mob.ServerGone):
                await team.ask("Are you there?")
        await trio.sleep(30)
        assert list(server.realm.channels) == []
        assert server.network.statistics().open_now == 0


async def test_a_refused_channel_is_the_same_error_and_leaves_nothing(autojump_clock):
    async with serving(crew()) as server, server.connect() as team:
        with pytest.raises(mob.NotRealtime):
            async with team.member("ann").open_live():
                pass
        old = team.member("ann")
        await team.respawn("ann")
        with pytest.raises(mob.StaleGeneration):
            async with old.open_live():
                pass
        assert list(server.realm.channels) == []


async def test_all_channels_at_once(autojump_clock):
    async with serving() as server, server.connect() as team:
        async with team.open_channels() as channels:
            assert sorted(channels) == ["host", "manager"]
            assert len(list(server.realm.channels)) == 2
        await trio.sleep(1)
        assert list(server.realm.channels) == []
