"""Live channels over JSON-RPC, in virtual time: Meerkat's guide, every refusal, and what is left when a client goes."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from meerkat import MeerkatClient
from rpc_peer import HOST, LIVE, RpcFailed, check_history, join, open_server

from mob.live.ports import ChannelOptions
from mob.rehearsal.faults import parse_fault
from mob.rehearsal.voice import speak
from mob.server.rpc.door import LiveDoor
from mob.values import TurnDetection

SPEAKS = {"model": "gpt-realtime-2", "system_prompt": HOST, "prompt": "Ready.", "session_events": False}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
STEP = 9600


async def begin(peer, **options):
    """A started session, and its open channel."""
    session_id = (await peer("session/create", **SPEAKS))["session_id"]
    return session_id, await peer("live/open", session_id=session_id, **options)


async def say(peer, channel_id, text):
    pcm = speak(text)
    for at in range(0, len(pcm), STEP):
        data = base64.b64encode(pcm[at : at + STEP]).decode()
        chunk = {"kind": "audio", "data": data, "sample_rate_hz": 24000, "channels": 1}
        assert await peer("live/send_input", channel_id=channel_id, chunk=chunk) == {"status": "sent"}
        await trio.sleep(len(data) * 3 / 4 / 48000)


async def rows_until(peer, session_id, count):
    """The history, as soon as it has so many rows."""
    while True:
        page = await peer("session/history", session_id=session_id)
        if page["message_count"] >= count:
            return check_history(page)
        await trio.sleep(0.1)


@pytest.mark.parametrize("mode", [{}, {"turning_mode": "explicit_commit"}], ids=["unsaid", "explicit"])
async def test_the_guide_from_opening_to_history(autojump_clock, mode):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id, opened = await begin(peer, **mode)
        result = MeerkatClient._parse_live_open_result(opened, "live/open")
        assert result.continuity == {"mode": "transcript_only"}
        url = urlsplit(opened["transport"]["url"])
        query = {name: value[0] for name, value in parse_qs(url.query).items()}
        assert f"{url.scheme}://{url.netloc}" == LIVE.url
        assert url.path == "/live/ws"
        assert query == {
            "token": opened["transport"]["token"],
            "channel": opened["channel_id"],
            "format": "pcm_24k_mono",
        }
        channel_id = opened["channel_id"]
        await say(peer, channel_id, "When are you open?")
        assert await peer("live/commit_input", channel_id=channel_id) == {"status": "committed"}
        rows = await rows_until(peer, session_id, 5)
        assert rows[3].content == "When are you open?"
        (block,) = rows[4].blocks
        assert (block.block_type, block.text) == ("transcript", "We are open from noon to eleven.")
        assert rows[4].raw["blocks"][0]["data"]["fidelity"] == "estimated"
        status = await peer("live/status", channel_id=channel_id)
        MeerkatClient._parse_live_status_result(status, "live/status")
        assert status["status"] == {"status": "ready"}
        for _ in range(2):
            assert await peer("live/close", channel_id=channel_id) == {"status": "closed"}
        closed = await peer("live/status", channel_id=channel_id)
        MeerkatClient._parse_live_status_result(closed, "live/status")
        assert closed["status"]["status"] == "closed"
        await trio.sleep(realm.limits.keep_closed_s + 1)
        with pytest.raises(RpcFailed, match="no live channel"):
            await peer("live/status", channel_id=channel_id)


async def test_how_a_commit_ends_a_turn_is_the_channels_own_not_an_earlier_ones(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id, opened = await begin(peer)
        await peer("live/close", channel_id=opened["channel_id"])
        by_hand = ChannelOptions(turn_detection=TurnDetection(mode="manual"))
        held = await realm.channels.open(realm.session(session_id), by_hand)
        await say(peer, held.channel_id, "When are you open?")
        assert await peer("live/commit_input", channel_id=held.channel_id) == {"status": "committed"}
        with trio.fail_after(30):
            await rows_until(peer, session_id, 5)
        with pytest.raises(RpcFailed):
            await peer("live/commit_input", channel_id=held.channel_id)


async def test_law_08_a_session_has_one_channel_and_none_opens_by_itself(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id, opened = await begin(peer)
        with pytest.raises(RpcFailed, match="has an open live channel") as refused:
            await peer("live/open", session_id=session_id)
        assert (refused.value.number, refused.value.code) == (-32602, "INVALID_PARAMS")
        await peer("live/close", channel_id=opened["channel_id"])
        again = await peer("live/open", session_id=session_id, seed_max_chars=1)
        assert again["continuity"] == {"mode": "degraded"}
        assert again["channel_id"] != opened["channel_id"]


async def test_who_cannot_have_a_channel_is_told_why(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        writes = (await peer("session/create", prompt="", model="gpt-4.1-mini"))["session_id"]
        idle = (await peer("session/create", prompt="", model="gpt-realtime-2", initial_turn="deferred"))["session_id"]
        speaks = (await peer("session/create", **SPEAKS))["session_id"]
        for params, words in [
            ({"session_id": writes}, "not reached over a live channel"),
            ({"session_id": idle}, "start a turn"),
            ({"session_id": speaks, "transport": "webrtc"}, "no WebRTC here"),
            ({"session_id": speaks, "transport": "pigeon"}, "must be one of"),
            ({"session_id": speaks, "turning_mode": "never"}, "must be one of"),
            ({"session_id": speaks, "seed_max_chars": 0}, "must be between"),
        ]:
            with pytest.raises(RpcFailed, match=words) as refused:
                await peer("live/open", **params)
            assert (refused.value.number, refused.value.code) == (-32602, "INVALID_PARAMS")
        with pytest.raises(RpcFailed) as refused:
            await peer("live/open", session_id="nowhere")
        assert refused.value.number == -32001
        assert len(tuple(realm.channels)) == 0


async def test_without_a_transport_there_are_no_live_methods(autojump_clock):
    async with open_server(live=None) as (realm, methods), join(realm, methods) as peer:
        names = (await peer("initialize"))["methods"]
        assert not [name for name in names if "live" in name]
        with pytest.raises(RpcFailed) as refused:
            await peer("live/open", session_id="x")
        assert refused.value.number == -32601
    async with open_server(live=LiveDoor(None, webrtc=True)) as (realm, methods), join(realm, methods) as peer:
        session_id = (await peer("session/create", **SPEAKS))["session_id"]
        for method in ("live/open", "live/webrtc/answer"):
            with pytest.raises(RpcFailed, match="no WebRTC here"):
                await peer(method, session_id=session_id)


async def test_law_11_and_12_what_is_refused_is_refused_alone(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id, opened = await begin(peer, turning_mode="provider_managed")
        channel_id = opened["channel_id"]
        picture = {"kind": "image", "idempotency_key": "k", "mime": "image/png"}
        png = base64.b64encode(PNG).decode()
        for chunk, reason in [
            ({"kind": "audio", "data": "", "sample_rate_hz": 8000, "channels": 2}, "audio_input_format_mismatch"),
            ({"kind": "smell"}, "unsupported_input_chunk_variant"),
            (
                {"kind": "video_frame", "codec": "h264", "data": "", "timestamp_ms": 1},
                "video_frame_input_not_implemented",
            ),
            ({**picture, "data": "%%"}, "image_input_invalid_base64"),
            ({**picture, "data": png, "mime": "image/gif"}, "image_input_unsupported_mime"),
            ({**picture, "data": png, "mime": "image/jpeg"}, "image_input_content_mismatch"),
            ({**picture, "data": png, "idempotency_key": ""}, "image_input_idempotency_key_invalid"),
        ]:
            with pytest.raises(RpcFailed) as refused:
                await peer("live/send_input", channel_id=channel_id, chunk=chunk)
            error = refused.value
            assert (error.number, error.code) == (-32602, "INVALID_PARAMS")
            assert error.data["error_code"]["code"] == "config_rejected"
            assert error.data["error_code"]["reason"]["kind"] == reason
            assert "details" not in error.data
        for method, more in [
            ("live/commit_input", {}),
            ("live/truncate", {"item_id": "none", "content_index": 0, "audio_played_ms": 1}),
        ]:
            with pytest.raises(RpcFailed) as refused:
                await peer(method, channel_id=channel_id, **more)
            assert refused.value.data["error_code"]["reason"]["kind"] == "other"
        with pytest.raises(RpcFailed, match="nothing was said under"):
            await peer("live/playback_complete", channel_id=channel_id, output_id="none")
        assert (await peer("live/status", channel_id=channel_id))["status"] == {"status": "ready"}
        assert await peer("live/interrupt", channel_id=channel_id) == {"status": "interrupted"}
        assert await peer("live/refresh", channel_id=channel_id) == {"status": "queued"}
        said = {"kind": "text", "text": "When are you open?"}
        await peer("live/send_input", channel_id=channel_id, chunk=said)
        await rows_until(peer, session_id, 5)


async def test_a_picture_goes_with_the_next_turn_once(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id, opened = await begin(peer)
        channel_id = opened["channel_id"]
        image = {"kind": "image", "idempotency_key": "k", "mime": "image/png", "data": base64.b64encode(PNG).decode()}
        for _ in range(2):
            await peer("live/send_input", channel_id=channel_id, chunk=image)
        other = {**image, "data": base64.b64encode(PNG + b"x").decode()}
        with pytest.raises(RpcFailed) as refused:
            await peer("live/send_input", channel_id=channel_id, chunk=other)
        assert refused.value.data["error_code"]["reason"]["kind"] == "image_input_idempotency_conflict"
        await peer("live/send_input", channel_id=channel_id, chunk={"kind": "text", "text": "What is this?"})
        rows = await rows_until(peer, session_id, 5)
        pictures = [b for row in rows if isinstance(row.content, list) for b in row.content if b["type"] == "image"]
        assert [base64.b64decode(b["data"]) for b in pictures] == [PNG]


async def test_an_answer_in_the_modality_that_the_commit_asks_for(autojump_clock):
    async with open_server() as (realm, methods), join(realm, methods) as peer:
        session_id, opened = await begin(peer, turning_mode="explicit_commit")
        await say(peer, opened["channel_id"], "When are you open?")
        wanted = {"modality": "text"}
        await peer("live/commit_input", channel_id=opened["channel_id"], response_modality=wanted)
        rows = await rows_until(peer, session_id, 5)
        assert [block.block_type for block in rows[4].blocks] == ["text"]


async def test_a_provider_that_is_not_to_be_had_leaves_nothing(autojump_clock):
    faults = (parse_fault("drop-socket@all"),)
    async with open_server(faults=faults) as (realm, methods), join(realm, methods) as peer:
        session_id = (await peer("session/create", **{**SPEAKS, "prompt": ""}))["session_id"]
        with pytest.raises(RpcFailed) as refused:
            await peer("live/open", session_id=session_id)
        assert (refused.value.number, refused.value.code) == (-32603, "INTERNAL_ERROR")
        assert refused.value.data["error"]["code"].startswith("provider")
        assert len(tuple(realm.channels)) == 0
        assert len(realm.tokens) == 0


async def test_law_24_a_channel_that_nobody_uses_ends_with_its_client(autojump_clock):
    async with open_server() as (realm, methods):
        async with join(realm, methods) as peer:
            session_id, opened = await begin(peer)
        held = realm.channels.get(opened["channel_id"])
        assert (held.status, held.reason) == ("closed", "client_disconnected")
        async with join(realm, methods) as other:
            await other("live/open", session_id=session_id)
