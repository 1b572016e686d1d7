"""The live socket: who is let in, what is told and done on it, and how it ends."""

from __future__ import annotations

import base64
import json

import pytest
import trio
import trio.testing
from live_sockets import FULL, PLAIN, attached, open_channel, open_door, query_of, started

from mob.errors import LiveRejected
from mob.live import events as live
from mob.live.transport import TransportClosed
from mob.protocol import frames
from mob.protocol.observations import event_of
from mob.protocol.shapes import error_of
from mob.rehearsal.faults import Fault
from mob.rehearsal.voice import hear, speak
from mob.server.limits import DoorLimits
from mob.values import Image, TurnDetection

BINARY = f"{FULL}&audio=binary"
RECEIPTS = f"{BINARY}&receipts=1"
PNG = b"\x89PNG\r\n\x1a\npicture"
MEERKAT = {
    "ready",
    "user_transcript_final",
    "assistant_text_delta",
    "assistant_transcript_delta",
    "assistant_audio_chunk",
    "assistant_transcript_final",
    "assistant_transcript_truncated",
    "user_content_committed",
    "tool_call_requested",
    "turn_interrupted",
    "turn_completed",
    "turn_failed",
    "status_changed",
    "command_rejected",
    "error",
    "unknown",
}


def sound_in(client) -> bytes:
    """All speech that came, as JSON."""
    return b"".join(base64.b64decode(frame["data"]) for frame in client.of("assistant_audio_chunk"))


# -- a talk ------------------------------------------------------------------------------------------------------------


async def test_a_plain_client_talks_as_meerkats_do(autojump_clock):
    async with open_channel() as (door, held), attached(door, held, PLAIN) as client:
        for at in range(0, len(pcm := speak("What time is it?")), 4800):
            piece = base64.b64encode(pcm[at : at + 4800]).decode()
            chunk = {"kind": "audio", "data": piece, "sample_rate_hz": 24000, "channels": 1}
            client.transport.send_nowait(json.dumps(chunk))
        await trio.testing.wait_all_tasks_blocked()
        await held.live.commit()
        await client.until("turn_completed")
        await client.settle(10)

        assert client.frames[0] == {"observation": "ready"}
        assert {frame["observation"] for frame in client.frames} <= MEERKAT
        assert not any({"seq", "t", "epoch"} & set(frame) for frame in client.frames)
        (turn,) = held.ref.member.history()
        assert hear(sound_in(client)) == turn.agent_text == client.of("assistant_transcript_final")[0]["text"]
        assert client.of("user_transcript_final")[0]["text"] == "What time is it?"
        assert turn.items[-1].fidelity == "estimated"

        await held.close("client_requested")
        assert await client.until_closed() == (1000, "client_requested")
        assert client.frames[-1] == {"observation": "status_changed", "status": {"status": "closed"}}


async def test_speech_goes_both_ways_as_bytes_and_receipts_say_what_was_heard(autojump_clock):
    async with open_channel() as (door, held), attached(door, held, RECEIPTS) as client:
        first = client.frames[0]
        assert (first["observation"], first["status"], first["input_rate"]) == ("attached", "ready", 24000)
        client.transport.send_nowait(speak("What time is it?"))
        client.say(frames.Commit(), "turn 1")
        done = await client.until("audio_done")
        client.say(frames.Played(done["item_id"], 1500))
        await client.settle(1)
        client.say(frames.Interrupt(), 2)
        frame = await client.until("turn_committed")

        assert hear(b"".join(piece.pcm for piece in client.speech)).startswith("I know the time.")
        (message,) = [item for item in frame["turn"]["items"] if item["type"] == "agent"]
        assert (message["heard_ms"], message["fidelity"], message["interrupted"]) == (1500, "exact", True)
        heard = hear(b"".join(piece.pcm for piece in client.speech)[: 1500 * 48])
        assert heard.startswith(message["spoken_text"])
        assert message["spoken_text"] == "I know the time. It"
        assert [reply["id"] for reply in client.of("command_accepted")] == ["turn 1", 2]


async def test_every_event_can_be_rebuilt_and_is_numbered_once(autojump_clock):
    async with open_channel() as (door, held), attached(door, held, FULL) as client:
        follower = held.follow(after=0)
        client.say(frames.TextChunk("What time is it?", "text"))
        client.say(frames.TextChunk("And when is lunch?", "audio"))
        await client.until(lambda frame: len(client.of("turn_committed")) == 2)
        client.say(frames.Close("enough"))
        await client.until_closed()
        told = [(found.seq, found.event) async for found in follower]

        channel_id = client.frames[0]["channel_id"]
        rebuilt = [(frame["seq"], event_of(frame, channel_id)) for frame in client.frames[1:] if "seq" in frame]
        assert rebuilt == told
        assert client.numbers[1:] == list(range(1, len(told) + 1))
        assert isinstance(told[-1][1], live.Disconnected)
        assert held.reason == "enough"


async def test_a_client_finds_the_turn_in_progress_but_no_old_ones(autojump_clock):
    async with open_channel() as (door, held):
        await held.send_text("What time is it?", "text")
        await trio.sleep(5)
        await held.send_text("And when is lunch?")
        await trio.sleep(0.2)
        async with door.attach(held) as client:
            await client.until("turn_committed")
        assert [frame["cause"] for frame in client.of("turn_started")] == ["text"]
        assert hear(sound_in(client)) == held.ref.member.history()[-1].agent_text
        assert client.frames[0]["seq"] == client.frames[1]["seq"] - 1


async def test_each_verb_is_done(autojump_clock):
    async with open_channel() as (door, held), attached(door, held, RECEIPTS) as client:
        client.transport.send_nowait(speak("Forget this."))
        client.say(frames.Clear(), 1)
        client.say(frames.Commit(), 2)
        client.say(frames.Ping(), 3)
        client.say(frames.Refresh(), 4)
        client.say(frames.Refresh(auto_respond=False, turn_detection=TurnDetection(mode="manual")), 5)
        client.say(frames.ImageChunk("k", "image/png", PNG), 6)
        client.say(frames.TextChunk("What is this?", item_id="mine"), 7)
        client.say(frames.Respond("text"), 8)
        client.say(frames.ToolOutput("call", "out"), 9)
        client.say(frames.Truncate("item", 3), 10)
        client.say(frames.PlaybackComplete("item"), 11)
        await client.until("user_content_committed")

        assert [frame["id"] for frame in client.of("command_accepted")] == [1, 4, 5, 6, 7, 8]
        assert [frame["id"] for frame in client.of("pong")] == [3]
        rejected = {frame["id"]: frame["error"]["details"]["reason"] for frame in client.of("command_rejected")}
        assert rejected == {2: "empty_commit", 9: "unknown_call", 10: "nothing_to_truncate", 11: "unknown_item"}
        (turn,) = client.of("turn_committed")
        assert "mine" in [item["id"] for item in turn["turn"]["items"]]


async def test_a_refusal_comes_as_the_error_that_it_is(autojump_clock):
    async with open_channel() as (door, held), attached(door, held, FULL) as client:
        client.say(frames.Commit(), 1)
        frame = await client.until("command_rejected")
        error = error_of(frame["error"])
        assert type(error) is LiveRejected
        assert (error.reason, error.message) == ("empty_commit", frame["message"])
        assert frame["code"] == {"code": "config_rejected", "reason": {"kind": "other", "detail": "empty_commit"}}


async def test_a_picture_too_large_for_a_frame_is_left_out_of_the_turn(autojump_clock):
    limits = DoorLimits(max_frame_bytes=20_000)
    async with open_channel(limits) as (door, held), attached(door, held, FULL) as client:
        await held.send_image("k", Image("image/png", PNG + bytes(30_000)))
        await held.send_text("What is this?", "text")
        frame = await client.until("turn_committed")
        assert frame["pictures_left_out"] is True
        assert [image["data"] for item in frame["turn"]["items"] for image in item.get("images", [])] == [""]
        assert event_of(frame, "x") is not None


# -- who is let in -----------------------------------------------------------------------------------------------------


async def refusal(door, query):
    async with door.visit(query) as client:
        closed = await client.until_closed()
    (frame,) = client.frames
    assert closed[0] == 1008
    return frame["error"], frame["reason"]


async def test_law_25_a_token_lets_in_once_in_time_at_its_channel_only(autojump_clock):
    async with open_channel() as (door, held):
        other = await door.realm.channels.open(await started(door.realm))
        token = held.mint_token()
        assert await refusal(door, query_of(other, token=token)) == ("invalid_token", "other_channel")
        assert await refusal(door, query_of(held, resume=token) + "&control=1") == ("invalid_token", "not_found")
        assert await refusal(door, query_of(held, token=token[:-1])) == ("invalid_token", "not_found")
        assert await refusal(door, query_of(held)) == ("invalid_token", "not_found")
        async with door.visit(query_of(held, token=token) + "&control=1") as client:
            await client.until("attached")
        assert await refusal(door, query_of(held, token=token)) == ("invalid_token", "already_consumed")
        late = other.mint_token()
        await trio.sleep(door.realm.limits.token_s)
        assert await refusal(door, query_of(other, token=late)) == ("invalid_token", "expired")
        gone = other.mint_token()
        await other.close()
        assert await refusal(door, query_of(other, token=gone)) == ("invalid_token", "channel_not_bound")


async def test_a_second_client_is_refused_and_the_first_is_untouched(autojump_clock):
    async with open_channel() as (door, held), attached(door, held, FULL) as client:
        token = held.mint_token()
        for _ in range(2):
            word, why = await refusal(door, query_of(held, token=token))
            assert word == "session_already_bound"
            assert "one at a time" in why
        client.say(frames.Ping(), 1)
        await client.until("pong")
        client.say(frames.Close())
        await client.until_closed()


@pytest.mark.parametrize(
    ("terms", "word"),
    [
        ("format=mp3", "bad_request"),
        ("format=pcm_16k_mono", "bad_request"),
        ("audio=opus", "bad_request"),
        ("control=maybe", "bad_request"),
        ("receipts=1", "bad_request"),
        ("after=3", "bad_request"),
        ("control=1&after=-1", "bad_request"),
        ("control=1&after=99999", "bad_request"),
        ("control=1&after=1e3", "bad_request"),
    ],
)
async def test_terms_that_cannot_be_are_refused_and_the_token_is_not_spent(autojump_clock, terms, word):
    async with open_channel() as (door, held):
        token = held.mint_token()
        found, why = await refusal(door, query_of(held, token=token) + "&" + terms)
        assert found == word
        assert terms.split("&")[-1].split("=")[0] in why
        async with door.visit(query_of(held, token=token)) as client:
            await client.until("ready")


async def test_there_is_room_for_so_many_sockets(autojump_clock):
    async with open_channel(DoorLimits(max_sockets=1)) as (door, held), attached(door, held, FULL):
        other = await door.realm.channels.open(await started(door.realm))
        token = other.mint_token()
        assert (await refusal(door, query_of(other, token=token)))[0] == "door_full"
        door.realm.tokens.peek(token, "live", now=trio.current_time())


async def test_a_channel_that_nobody_opened_is_not_found(autojump_clock):
    async with open_door() as door:
        assert await refusal(door, "channel=none&token=none") == ("invalid_token", "not_found")
        assert (await refusal(door, "token=none"))[0] == "bad_request"


# -- how it ends -------------------------------------------------------------------------------------------------------


async def test_a_plain_client_that_is_lost_ends_its_channel(autojump_clock):
    async with open_channel() as (door, held):
        async with door.attach(held, PLAIN) as client:
            await client.until("ready")
            await client.drop()
            await trio.sleep(1)
        assert (held.status, held.reason) == ("closed", "client_disconnected")


async def test_a_goodbye_ends_the_channel_of_any_client(autojump_clock):
    async with open_channel() as (door, held):
        async with door.attach(held, FULL) as client:
            await client.until("attached")
            await client.transport.aclose(1000)
        await trio.sleep(1)
        assert (held.status, held.reason) == ("closed", "client_disconnected")


@pytest.mark.parametrize("message", ["nonsense", "[]", '{"control": "ping"}', '{"kind": "audio"}', "[" * 50_000])
async def test_what_a_plain_client_sends_and_nobody_can_read_ends_its_channel(autojump_clock, message):
    async with open_channel() as (door, held), attached(door, held, PLAIN) as client:
        client.transport.send_nowait(message)
        closed = await client.until_closed()
        assert client.frames[-1]["error"] == "unsupported_command"
        assert client.frames[-1]["reason"]
        assert closed[0] == 1008
        await held.wait_closed()
        assert held.reason == "unsupported_command"


async def test_bytes_without_a_format_are_refused(autojump_clock):
    async with open_channel() as (door, held):
        async with door.attach(held, "control=1") as client:
            client.transport.send_nowait(bytes(480))
            frame = await client.until("command_rejected")
            assert "format" in frame["message"]
            client.say(frames.Ping(), 1)
            await client.until("pong")
            client.say(frames.Close())
            await client.until_closed()
        again = await door.realm.channels.open(held.ref)
        async with door.visit(query_of(again, token=again.mint_token())) as client:
            client.transport.send_nowait(bytes(480))
            await client.until_closed()
            assert client.frames[-1]["error"] == "unsupported_command"


@pytest.mark.parametrize("terms", [PLAIN, FULL])
async def test_law_12_a_scoped_refusal_leaves_the_channel_ready(autojump_clock, terms):
    async with open_channel() as (door, held), attached(door, held, terms) as client:
        wrong = {"kind": "audio", "data": "AAAA", "sample_rate_hz": 16000, "channels": 1}
        client.transport.send_nowait(json.dumps(wrong))
        client.transport.send_nowait(b"odd")
        if terms == PLAIN:
            picture = {"kind": "image", "idempotency_key": "k", "mime": "image/png", "data": "AAAA"}
            client.transport.send_nowait(json.dumps(picture))
        client.transport.send_nowait(speak("What time is it?"))
        await trio.testing.wait_all_tasks_blocked()
        await held.live.commit()
        await client.until("turn_completed")

        reasons = [frame["code"]["reason"] for frame in client.of("command_rejected")]
        assert reasons[0] == {
            "kind": "audio_input_format_mismatch",
            "expected_sample_rate_hz": 24000,
            "expected_channels": 1,
            "actual_sample_rate_hz": 16000,
            "actual_channels": 1,
        }
        assert reasons[1]["detail"] == "wrong_format"
        if terms == PLAIN:
            assert reasons[2] == {"kind": "image_input_transport_unsupported", "transport": "websocket"}
        assert held.status == "ready"


@pytest.mark.parametrize("terms", [PLAIN, FULL])
async def test_law_12_a_terminal_error_ends_it_once_and_its_reason_comes_before_the_close(autojump_clock, terms):
    faults = [Fault("drop-socket", at=at) for at in range(12, 60)]
    async with open_channel(None, *faults) as (door, held):
        async with door.attach(held, terms) as client:
            await held.send_text("What time is it?")
            code, reason = await client.until_closed(600)
        assert code == 1000
        assert reason == held.reason == "connection_lost"
        if terms == PLAIN:
            assert [frame["code"] for frame in client.of("error")] == [{"code": "connection_lost"}]
            assert client.frames[-1]["status"] == {"status": "closed"}
        else:
            fatal = [frame for frame in client.of("channel_error") if frame["recovery"] == "fatal"]
            assert [frame["code"] for frame in fatal] == ["connection_lost"]
            assert [frame["final"] for frame in client.of("disconnected")][-1] is True
            assert client.frames[-1]["reason"] == reason


async def test_law_13_every_event_carries_the_epoch_of_its_connection(autojump_clock):
    async with open_channel(None, Fault("drop-socket", at=20)) as (door, held):
        async with door.attach(held, FULL) as client:
            await held.send_text("What time is it?")
            await client.until(lambda frame: frame.get("observation") == "connected" and frame["epoch"] == 2, 600)
            client.say(frames.TextChunk("And when is lunch?"))
            await client.until("turn_committed")
            epochs = [frame["epoch"] for frame in client.frames if "epoch" in frame]
            assert epochs == sorted(epochs)
            before, after = (
                {frame["response_id"] for frame in client.frames if frame.get("epoch") == n and "response_id" in frame}
                for n in (1, 2)
            )
            assert not before & after
            assert [frame["final"] for frame in client.of("disconnected")] == [False]


async def test_a_silent_dead_client_is_found_out(autojump_clock):
    async with open_channel() as (door, held):
        async with door.attach(held, FULL) as client:
            await client.until("attached")
            await trio.sleep(60)
            assert held.statistics().attached is False
            with pytest.raises(TransportClosed):
                await client.until("never")
        await trio.sleep(11)
        assert held.status == "closed"
