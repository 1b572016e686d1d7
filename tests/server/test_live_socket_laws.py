"""The laws of the doors at the live socket: whatever comes in, however slow a client or a tool is."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import suppress

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import HealthCheck, given, settings, strategies as st
from live_sockets import FULL, attached, definition, open_channel, open_door, query_of, started

from mob.definition.model import RehearsalRule
from mob.live.events import AudioDelta, ToolCall, ToolFinished
from mob.live.transport import TransportClosed
from mob.live.transport_port import HandshakeRefused
from mob.protocol import frames
from mob.protocol.frames import ClientFrame, encode_frame
from mob.rehearsal.voice import speak
from mob.server.limits import DoorLimits
from mob.server.livesocket.telling import Teller
from mob.server.realm.realm import AGENT
from mob.server.rest.metrics import realm_metrics, render
from mob.sessions.tools import ToolFunction
from mob.values import ToolSchema

CLOCK = {"autojump_threshold": 0}
FRAMES = [
    encode_frame(ClientFrame(command, 1))
    for command in (
        frames.AudioChunk(bytes(480), 24000, 1),
        frames.TextChunk("Hello", "text"),
        frames.ImageChunk("k", "image/png", b"\x89PNG\r\n\x1a\n"),
        frames.Commit("text"),
        frames.Respond(),
        frames.Truncate("item", 100),
        frames.Refresh(voice="cedar", tools=(ToolSchema("look", "Look."),)),
        frames.Played("item", 5),
        frames.PlaybackComplete("item"),
        frames.ToolOutput("call", "out"),
        frames.Ping(),
    )
]


def mutate(draw) -> str | bytes:
    """A frame that was damaged, or was never one."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=60)) if draw(st.booleans()) else draw(st.text(max_size=60))
    text = list(draw(st.sampled_from(FRAMES)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        text[at : at + draw(st.integers(0, 3))] = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=3))
    return "".join(text)


damaged = st.composite(mutate)()


# -- law 26 ------------------------------------------------------------------------------------------------------------


async def send_rubbish(messages):
    """All of it to one channel; then that one and another still talk, and the logs hold nothing of it."""
    async with open_channel() as (door, held):
        other = await door.realm.channels.open(await started(door.realm))
        async with attached(door, held) as client, attached(door, other) as neighbour:
            for message in messages:
                client.transport.send_nowait(message)
            client.say(frames.Ping(), "last")
            await client.until(lambda frame: frame.get("id") == "last" and frame["observation"] == "pong")
            for frame in client.of("command_rejected"):
                assert frame["code"]["code"]
                assert frame["error"]["code"]
                assert frame["message"]
            neighbour.say(frames.TextChunk("What time is it?", "text"))
            await neighbour.until("turn_committed")
            assert (held.status, other.status) == ("ready", "ready")
            for each in (client, neighbour):
                each.say(frames.Close())
                await each.until_closed()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(damaged, max_size=30))
def test_law_26_damaged_frames_are_refused_and_nothing_else_happens(messages):
    trio.run(send_rubbish, messages, clock=trio.testing.MockClock(**CLOCK))


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=80))
def test_law_26_any_query_is_refused_by_name(query):
    async def main():
        async with open_door() as door:
            with suppress(HandshakeRefused):
                async with door.visit(query) as client:
                    assert (await client.until_closed())[0] == 1008
                (frame,) = client.frames
                assert frame["error"] in ("invalid_token", "bad_request")
            assert len(door.realm.tokens) == 0

    trio.run(main, clock=trio.testing.MockClock(**CLOCK))


async def test_law_26_a_frame_that_is_too_large_closes_that_socket_only(autojump_clock):
    async with open_channel(DoorLimits(max_frame_bytes=10_000)) as (door, held):
        async with attached(door, held) as client:
            client.transport.send_nowait(bytes(20_000))
            code, _ = await client.until_closed()
            assert code == 1009
        async with door.resume(held, client.frames[0]["resume"], 1) as client:
            await client.until("attached")


# -- law 14 ------------------------------------------------------------------------------------------------------------


async def check_law_14():
    """While a call runs the user says something else: it is heard at once, and its answer is heard at once."""
    rule = RehearsalRule("weather", call="look")
    async with open_door() as door:
        ref = door.realm.add_session(evolve(definition(turns="server_vad"), rehearsal={AGENT: (rule,)}))
        await ref.hosted.start()

        async def look(arguments, context):
            await trio.sleep(20)
            return "rain"

        schema = ToolSchema("look", "Look out of the window.", {"type": "object", "properties": {}})
        async with ref.member.lend_tools([ToolFunction(schema, look, timeout_s=60, keeps_running=True)]):
            held = await door.realm.channels.open(ref)
            async with attached(door, held) as client:
                client.say(frames.TextChunk("How is the weather?"))
                await client.until("tool_call_requested")
                began = trio.current_time()
                pcm = speak("What time is it?") + bytes(48_000)
                for at in range(0, len(pcm), 960):
                    client.transport.send_nowait(pcm[at : at + 960])
                    await trio.sleep(0.02)
                await client.settle(3)
                assert client.of("speech_started")[-1]["t"] - began < 2, "the ear waited"
                assert client.of("assistant_audio_chunk"), "the mouth waited"
                assert not client.of("tool_finished")
                await client.until("tool_finished")
                assert trio.current_time() - began >= 19


async def test_law_14_a_slow_tool_delays_sound_in_neither_direction(autojump_clock):
    await check_law_14()


async def test_law_14_mutant_waiting_for_the_tool_is_caught(autojump_clock, monkeypatch):
    original = Teller._tell
    waiting: list = []

    def tell(self, seq, event):
        if isinstance(event, ToolCall):
            waiting.append(None)
        elif isinstance(event, ToolFinished):
            waiting.clear()
        if waiting and isinstance(event, AudioDelta):
            waiting.append((seq, event))
            return 1
        return original(self, seq, event)

    monkeypatch.setattr(Teller, "_tell", tell)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        await check_law_14()


# -- slow clients ------------------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_delays_nobody_and_costs_what_is_kept(autojump_clock):
    limits = DoorLimits(max_kept_events=60, max_kept_audio_bytes=48_000)
    async with open_channel(limits) as (door, held):
        other = await door.realm.channels.open(await started(door.realm))
        async with door.attach(held, narrow=True) as slow, attached(door, other) as quick:
            await slow.until("attached")
            times = []
            for _ in range(4):
                await held.send_text("What time is it?")
                began = trio.current_time()
                quick.say(frames.TextChunk("What time is it?", "text"))
                await quick.until("turn_committed")
                times.append(trio.current_time() - began)
                await trio.sleep(8)
            kept = held.statistics().ring
            assert max(times) < 1
            assert kept.control <= 60
            assert kept.audio_bytes <= 48_000
            assert held.status == "ready"
            assert len(held.ref.member.history()) == 4
            code, reason = await slow.until_closed()
            assert (code, reason) == (1008, "slow_reader")
            assert slow.frames[-1]["error"] == "slow_reader"


async def test_lost_sound_is_told_and_the_history_does_not_claim_that_it_was_heard(autojump_clock):
    async with open_channel(DoorLimits(max_kept_audio_bytes=24_000)) as (door, held):
        async with door.attach(held, narrow=True) as client:
            await client.until("attached")
            await held.send_text("What time is it?")
            await trio.sleep(1)
            frame = await client.until("turn_committed")
            lost = client.of("audio_lost")
            assert sum(gap["audio_bytes"] for gap in lost) > 24_000
            assert {name for gap in lost for name in gap["item_ids"]} == {frame["turn"]["items"][-1]["id"]}
            assert frame["turn"]["items"][-1]["fidelity"] == "unknown"
            assert [error["code"] for error in client.of("channel_error")] == ["audio_dropped"]
        await trio.testing.wait_all_tasks_blocked()
        counts = door.realm.channels.sockets
        assert (counts.open, counts.attached, counts.refused) == (0, 1, 0)
        assert counts.lost_audio_bytes >= sum(gap["audio_bytes"] for gap in lost)
        told = render(realm_metrics(door.realm))
        assert f"mob_live_audio_lost_bytes_total {counts.lost_audio_bytes}" in told


async def test_a_client_that_is_behind_hears_of_the_cut_and_not_of_the_cut_sound(autojump_clock):
    async with open_channel() as (door, held):
        async with door.attach(held, narrow=True) as client:
            await client.until("attached")
            await held.send_text("What time is it?")
            await trio.sleep(1)
            await held.live.interrupt()
            await client.until("turn_interrupted")
            assert len(client.of("assistant_audio_chunk")) < 30
            assert not client.of("audio_lost")


# -- law 24 ------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.floats(0, 2), st.sampled_from(["drop", "close", "held", "mob"]), st.sampled_from([FULL, "format=pcm_24k_mono"])
)
def test_law_24_whatever_ends_it_whenever_nothing_is_left(after, how, terms):
    async def main():
        async with open_door() as door:
            realm = door.realm
            ref = await started(realm)
            await trio.testing.wait_all_tasks_blocked()
            before = len(realm._nursery.child_tasks)
            held = await realm.channels.open(ref)
            async with door.attach(held, terms) as client:
                await held.send_text("What time is it?")
                with suppress(TransportClosed):
                    await client.settle(after)
                match how:
                    case "drop":
                        await client.drop()
                    case "close":
                        await client.transport.aclose(1000)
                    case "held":
                        await held.close()
                    case "mob":
                        await ref.hosted.stop()
            with trio.fail_after(20):
                await held.wait_closed()
            await trio.sleep(realm.limits.keep_closed_s + 61)
            realm.tokens.mint("x", "live", now=trio.current_time(), ttl_s=1)
            assert len(realm.tokens) == 1
            assert list(realm.channels) == []
            assert held.statistics().followers == 0
            assert held.place.client is None
            assert realm.channels.watchdog.statistics().watched == 0
            assert not door.nursery.child_tasks
            if how != "mob":
                assert len(realm._nursery.child_tasks) == before

    trio.run(main, clock=trio.testing.MockClock(**CLOCK))
    gc.collect()


# -- the hot path ------------------------------------------------------------------------------------------------------


class Steps(trio.abc.Instrument):
    """Counts how often each task is run, by its name."""

    def __init__(self):
        self.counts = Counter()

    def before_task_step(self, task):
        self.counts[task.name.rpartition(".")[2]] += 1


async def test_a_piece_of_speech_costs_few_task_steps(autojump_clock):
    """The task that reads the channel is run once a piece, and a few times more for what is told between them."""
    async with open_channel() as (door, held), attached(door, held, f"{FULL}&audio=binary") as client:
        steps = Steps()
        client.say(frames.TextChunk("What time is it?"))
        await client.until("binary")
        trio.lowlevel.add_instrument(steps)
        before = len(client.speech)
        await client.until("audio_done")
        trio.lowlevel.remove_instrument(steps)
        pieces = len(client.speech) - before
        assert pieces > 20
        assert steps.counts["_hold"] < 2 * pieces


async def test_tokens_are_in_no_log_and_in_no_repr(autojump_clock, caplog):
    async with open_channel() as (door, held):
        token = held.mint_token()
        for _ in range(2):
            async with door.visit(query_of(held, token=token)) as client:
                await client.read()
        assert token not in caplog.text
        assert token not in repr([vars(held), vars(door.realm.tokens)])
