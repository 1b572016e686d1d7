"""The frames of the live socket: what is written is read back, both ways, and rubbish is named."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import ClassVar

import attrs
import pytest
from hypothesis import example, given, settings, strategies as st
from test_shapes import LIVE_EVENTS, by_type, drawn

from mob.errors import LiveRejected, ProviderUnreachable, ReopenRequired, WireError
from mob.live import events as live
from mob.protocol import frames
from mob.protocol.frames import ClientFrame, FrameRefused, decode_frame, encode_frame
from mob.protocol.observations import ContentCommitted, event_of, observation_of
from mob.protocol.plain import Plain, status_json
from mob.protocol.refusals import fault_code, refusal_code
from mob.protocol.speech import pack_audio, unpack_audio, write_audio
from mob.values import ToolSchema, TurnDetection

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

pcm = st.binary(max_size=60).map(lambda data: data[: len(data) // 2 * 2])
any_event = st.one_of(*map(drawn, LIVE_EVENTS))
our_events = st.one_of(any_event, drawn(ContentCommitted))
pieces = st.builds(
    live.AudioDelta,
    channel_id=st.just("live_1"),
    epoch=st.integers(0, 2**32 - 1),
    t=st.floats(0, 1e9),
    item_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    response_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    pcm=pcm,
    start_ms=st.integers(0, 2**32 - 1),
)


def told(event: live.LiveEvent) -> dict:
    """The frame as it arrives."""
    return json.loads(json.dumps(observation_of(event)))


def read_or_refused(frame: dict) -> tuple[live.LiveEvent | None, WireError | None]:
    try:
        return event_of(frame, "live_1"), None
    except WireError as error:
        return None, error


# -- what the server tells ---------------------------------------------------------------------------------------------


@settings(max_examples=600)
@given(any_event)
def test_every_event_can_be_rebuilt_from_its_frame(event):
    frame = told(event)

    assert event_of(frame, event.channel_id) == event
    assert (frame["t"], frame["epoch"]) == (event.t, event.epoch)


@pytest.mark.parametrize("cls", LIVE_EVENTS)
def test_no_class_of_events_is_without_a_frame(cls):
    @settings(max_examples=20)
    @given(drawn(cls))
    def check(event):
        assert event_of(told(event), event.channel_id) == event

    check()


def test_what_the_server_adds_is_no_event_of_the_channel():
    common = {"channel_id": "live_1", "epoch": 1, "t": 0.0}
    committed = ContentCommitted(idempotency_key="k", item_id="item_1", media_type="image/png", **common)

    assert told(committed)["idempotency_key"] == "k"
    assert event_of(told(committed), "live_1") is None
    assert event_of({"observation": "attached"}, "live_1") is None


@given(any_event, st.data())
def test_a_frame_with_a_wrong_or_missing_field_is_refused_by_name(event, data):
    frame = told(event)
    name = data.draw(st.sampled_from([key for key in frame if key not in UNREAD]))
    broken = dict(frame)
    broken[name] = data.draw(st.sampled_from([[], {"a": 1}, [3]])) if name != "turn" else 3

    again, refused = read_or_refused(broken)
    assert (refused is not None and refused.field) or again is None or name in ("usage", "expires_at")


UNREAD = {
    "sample_rate_hz",
    "channels",
    "content_index",
    "stop_reason",
    "failure",
    "arguments",
    "unreported",
    "seq",
}


@given(any_event)
def test_a_frame_may_have_more_fields(event):
    assert event_of({**told(event), "new": 1}, event.channel_id) == event


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_law_26_any_object_is_an_event_or_a_named_error(value):
    for name in ("assistant_audio_chunk", "turn_committed", "turn_completed", "connected", value):
        frame = {"observation": name, "data": value, "turn": value, "usage": value, "t": value}
        _, refused = read_or_refused(frame)
        assert refused is None or refused.field


# -- speech ------------------------------------------------------------------------------------------------------------


@given(pieces, st.integers(0, 2**32 - 1))
def test_binary_speech_is_read_back_and_its_samples_are_aligned(event, seq):
    frame = pack_audio(event, seq)

    assert unpack_audio(frame, "live_1") == (seq, event)
    assert (len(frame) - len(event.pcm)) % 2 == 0
    assert frame[len(frame) - len(event.pcm) :] == event.pcm


@given(pieces, st.none() | st.integers(0, 2**40), st.sampled_from([16000, 24000]))
def test_speech_written_by_hand_is_the_observation(event, seq, rate):
    written = json.loads(write_audio(event, rate, seq))
    whole = {**observation_of(event, rate), "seq": seq}

    if seq is None:
        assert written == {key: whole[key] for key in written}
        assert not {"seq", "t", "epoch", "start_ms"} & set(written)
    else:
        assert written == whole
        assert event_of(written, "live_1") == event


def test_what_does_not_fit_into_a_header_is_not_packed():
    event = live.AudioDelta(
        channel_id="live_1", epoch=1, t=0.0, item_id="i" * 256, response_id="r", pcm=b"", start_ms=0
    )

    assert pack_audio(event, 1) is None
    assert pack_audio(attrs.evolve(event, item_id="i"), 2**32) is None
    assert pack_audio(attrs.evolve(event, item_id="i", start_ms=2**32), 1) is None


@given(st.binary(max_size=80))
@example(b"\x01")
@example(b"\x01\xff" + b"\0" * 22)
def test_law_26_any_bytes_are_speech_or_a_named_error(frame):
    with suppress(WireError):
        _, event = unpack_audio(frame, "live_1")
        assert len(event.pcm) % 2 == 0


# -- plain -------------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.lists(our_events, max_size=20))
def test_plain_clients_are_told_only_what_they_know(events):
    plain = Plain(epoch=0)
    for event in events:
        for frame in plain.tell(event):
            assert frame["observation"] in MEERKAT
            assert not {"seq", "t", "epoch"} & set(frame)
            json.dumps(frame)


def test_a_fault_that_ended_the_channel_is_told_before_the_end():
    common = {"channel_id": "live_1", "epoch": 1, "t": 0.0}
    plain = Plain(epoch=1)
    fault = live.ChannelError(code=ProviderUnreachable.code, message="gone", recovery="fatal", **common)
    frames_told = [
        *plain.tell(fault),
        *plain.tell(live.Disconnected(reason=fault.code, final=True, **common)),
    ]

    assert [frame["observation"] for frame in frames_told] == ["turn_failed", "error", "status_changed"]
    assert frames_told[1]["code"] == {"code": "connection_lost"}
    assert frames_told[2]["status"] == {"status": "closed"}


def test_an_ordinary_end_is_no_error_and_a_pause_is_degraded():
    common = {"channel_id": "live_1", "t": 0.0}
    plain = Plain(epoch=1)
    pause = plain.tell(live.Disconnected(reason="expired", final=False, epoch=1, **common))
    back = plain.tell(live.Connected(continuity="transcript_only", epoch=2, **common))
    again = plain.tell(live.Connected(continuity="transcript_only", epoch=2, **common))
    end = plain.tell(live.Disconnected(reason="client_closed", final=True, epoch=2, **common))

    assert pause == [{"observation": "status_changed", "status": status_json("degraded")}]
    assert back == [{"observation": "status_changed", "status": {"status": "ready"}}]
    assert again == []
    assert end == [{"observation": "status_changed", "status": {"status": "closed"}}]


# -- what the client sends ---------------------------------------------------------------------------------------------

SCHEMAS = st.builds(
    ToolSchema,
    name=st.text(max_size=5),
    description=st.text(max_size=5),
    parameters=st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.lists(st.text(max_size=2))),
)
COMMANDS = st.one_of(
    *(drawn(cls) for cls in (frames.AudioChunk, frames.TextChunk, frames.ImageChunk)),
    *(drawn(cls) for cls in frames._VERBS.values() if cls is not frames.Refresh),
    st.builds(
        frames.Refresh,
        **{
            field.name: by_type(field.type)
            for field in attrs.fields(attrs.resolve_types(frames.Refresh))
            if field.name not in ("tools", "turn_detection")
        },
        tools=st.none() | st.lists(SCHEMAS, max_size=2).map(tuple),
        turn_detection=st.none() | st.builds(TurnDetection, threshold=st.none() | st.floats(0, 1)),
    ),
)
IDS = st.none() | st.text(max_size=20) | st.integers(-(2**52), 2**52)


@settings(max_examples=400)
@given(COMMANDS, IDS)
def test_every_frame_of_a_client_is_read_as_it_was_meant(command, frame_id):
    frame = ClientFrame(command, frame_id)

    assert decode_frame(encode_frame(frame), control=True) == frame


@given(COMMANDS)
def test_a_plain_socket_knows_chunks_and_no_verbs(command):
    text = encode_frame(ClientFrame(command, 7))
    if isinstance(command, frames.Chunk):
        assert decode_frame(text, control=False) == ClientFrame(command)
    else:
        with pytest.raises(FrameRefused) as refused:
            decode_frame(text, control=False)
        assert refused.value.field == "kind"


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("nonsense", None, "unsupported_input_chunk_variant"),
        ("[1]", None, "unsupported_input_chunk_variant"),
        ('{"kind": NaN}', None, "unsupported_input_chunk_variant"),
        ("[" * 100_000, None, "unsupported_input_chunk_variant"),
        ('{"kind": "smell"}', "kind", "unsupported_input_chunk_variant"),
        ('{"kind": "video_frame"}', "kind", "video_frame_input_not_implemented"),
        ('{"kind": "text"}', "text.text", "unsupported_command"),
        (
            '{"kind": "audio", "data": "!", "sample_rate_hz": 1, "channels": 1}',
            "data",
            "unsupported_input_chunk_variant",
        ),
        ('{"kind": "audio", "data": "", "sample_rate_hz": true, "channels": 1}', "sample_rate_hz", None),
        ('{"kind": "audio", "data": "", "sample_rate_hz": 1}', "channels", None),
        ('{"kind": "audio", "data": 3}', "data", None),
        (
            '{"kind": "image", "idempotency_key": "a", "mime": "image/png", "data": "!!"}',
            "image.data",
            "image_input_invalid_base64",
        ),
        ('{"control": "dance"}', "control", "unsupported_command"),
        ('{"control": "truncate", "item_id": "a"}', "truncate.audio_played_ms", "unsupported_command"),
        ('{"control": "refresh", "tools": [{}]}', "tools[0]", "unsupported_command"),
        ('{"control": "refresh", "tools": 3}', "tools", "unsupported_command"),
        ('{"control": "ping", "id": []}', "id", None),
        ('{"control": "ping", "id": "' + "x" * 129 + '"}', "id", None),
    ],
)
def test_what_cannot_be_read_is_named(text, field, reason):
    with pytest.raises(FrameRefused) as refused:
        decode_frame(text, control=True)

    assert refused.value.field == field
    assert refused.value.reason == reason or reason is None


def test_a_refused_frame_keeps_its_id():
    with pytest.raises(FrameRefused) as refused:
        decode_frame('{"control": "dance", "id": 7}', control=True)

    assert refused.value.id == 7


@settings(max_examples=500)
@given(COMMANDS, st.data())
def test_law_26_mutated_frames_are_read_or_refused(command, data):
    text = list(encode_frame(ClientFrame(command, 1)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(text) - 1, 0)))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.text(max_size=2))
    for control in (True, False):
        try:
            read = decode_frame("".join(text), control=control)
        except FrameRefused:
            continue
        assert decode_frame(encode_frame(read), control=True) == read


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_refusals_have_meerkats_words_where_it_has_one():
    class Detailed(LiveRejected):
        details: ClassVar = {"mime_type": "image/gif"}

    unknown = {"code": "config_rejected", "reason": {"kind": "other", "detail": "empty_commit"}}
    assert refusal_code(LiveRejected("no", reason="empty_commit")) == unknown
    assert refusal_code(Detailed("no", reason="image_input_unsupported_mime"))["reason"] == {
        "kind": "image_input_unsupported_mime",
        "mime_type": "image/gif",
    }
    assert "voice" in refusal_code(ReopenRequired("no", fields=("voice",)))["reason"]["detail"]
    assert fault_code("client_too_slow") == {"code": "other", "raw": "client_too_slow"}
