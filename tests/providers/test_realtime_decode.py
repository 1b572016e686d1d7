"""Server frames to neutral events: the life cycles of the reference, and the odd things that real servers write."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from realtime_support import names, pcm

from mob.errors import WireError
from mob.providers import events as n
from mob.providers.openai_realtime import RealtimeClient
from mob.values import Usage

IDS = {"response_id": "resp_1", "item_id": "item_a", "output_index": 0, "content_index": 0}
MESSAGE = {"id": "item_a", "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
CALL = {"id": "item_f", "type": "function_call", "name": "book", "call_id": "call_1", "arguments": ""}


def heard(*events: dict[str, Any], client: RealtimeClient | None = None) -> list[n.WireEvent]:
    """What a client makes of these events, each in a frame of its own."""
    client = client or RealtimeClient()
    return [event for frame in events for event in client.decode(json.dumps(frame))]


def item_event(stage: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{stage}", "response_id": "resp_1", "output_index": 0, "item": item}


def done(**response: Any) -> dict[str, Any]:
    return {"type": "response.done", "event_id": "e", "response": {"id": "resp_1", **response}}


def audio(sound: bytes, name: str = "response.output_audio.delta") -> dict[str, Any]:
    return {"type": name, "event_id": "e", **IDS, "delta": base64.b64encode(sound).decode()}


def test_a_spoken_turn_with_server_vad() -> None:
    user = {"id": "item_u", "type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}
    said = {**MESSAGE, "content": [{"type": "output_audio", "transcript": "Hello"}], "status": "completed"}

    events = heard(
        {"type": "input_audio_buffer.speech_started", "event_id": "1", "item_id": "item_u", "audio_start_ms": 120},
        {"type": "input_audio_buffer.speech_stopped", "event_id": "2", "item_id": "item_u", "audio_end_ms": 900},
        {"type": "input_audio_buffer.committed", "event_id": "3", "item_id": "item_u", "previous_item_id": None},
        {"type": "conversation.item.added", "event_id": "4", "previous_item_id": None, "item": user},
        {"type": "conversation.item.done", "event_id": "5", "previous_item_id": None, "item": user},
        {"type": "response.created", "event_id": "6", "response": {"id": "resp_1", "status": "in_progress"}},
        {
            "type": "response.output_item.added",
            "event_id": "7",
            "response_id": "resp_1",
            "output_index": 0,
            "item": MESSAGE,
        },
        {"type": "conversation.item.added", "event_id": "8", "previous_item_id": "item_u", "item": MESSAGE},
        {"type": "response.content_part.added", "event_id": "9", **IDS, "part": {"type": "audio", "transcript": ""}},
        {"type": "response.output_audio_transcript.delta", "event_id": "a", **IDS, "delta": "Hello"},
        audio(pcm(20)),
        {"type": "response.output_audio.done", "event_id": "b", **IDS},
        {"type": "response.output_audio_transcript.done", "event_id": "c", **IDS, "transcript": "Hello"},
        {
            "type": "response.content_part.done",
            "event_id": "d",
            **IDS,
            "part": {"type": "audio", "transcript": "Hello"},
        },
        {"type": "conversation.item.done", "event_id": "f", "item": said},
        {
            "type": "response.output_item.done",
            "event_id": "g",
            "response_id": "resp_1",
            "output_index": 0,
            "item": said,
        },
        done(status="completed", status_details=None, usage=None),
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "event_id": "h",
            "item_id": "item_u",
            "content_index": 0,
            "transcript": "Hi",
            "usage": {"type": "duration", "seconds": 1},
        },
    )

    assert events == [
        n.InputSpeechStarted("item_u", 120),
        n.InputSpeechStopped("item_u", 900),
        n.InputCommitted("item_u", None),
        n.ItemAdded("item_u", None, "user"),
        n.ItemDone("item_u"),
        n.ResponseStarted("resp_1"),
        n.OutputItemStarted("resp_1", "item_a", "assistant"),
        n.ItemAdded("item_a", "item_u", "assistant"),
        n.AgentTranscriptPart("resp_1", "item_a", "Hello"),
        n.AgentAudio("resp_1", "item_a", pcm(20)),
        n.AgentAudioEnded("resp_1", "item_a"),
        n.AgentTranscriptFinal("resp_1", "item_a", "Hello"),
        n.ItemDone("item_a"),
        n.OutputItemEnded("resp_1", "item_a"),
        n.ResponseEnded("resp_1", "completed"),
        n.UserTranscriptFinal("item_u", "Hi"),
    ]


def test_beta_names_mean_what_their_ga_names_mean() -> None:
    events = heard(
        {"type": "conversation.item.created", "event_id": "1", "previous_item_id": "x", "item": MESSAGE},
        {"type": "response.text.delta", **IDS, "delta": "a"},
        {"type": "response.text.done", **IDS, "text": "ab"},
        {"type": "response.audio_transcript.delta", **IDS, "delta": "c"},
        {"type": "response.audio_transcript.done", **IDS, "transcript": "cd"},
        audio(pcm(1), "response.audio.delta"),
        {"type": "response.audio.done", **IDS},
    )

    assert events == [
        n.ItemAdded("item_a", "x", "assistant"),
        n.AgentTextPart("resp_1", "item_a", "a"),
        n.AgentTextFinal("resp_1", "item_a", "ab"),
        n.AgentTranscriptPart("resp_1", "item_a", "c"),
        n.AgentTranscriptFinal("resp_1", "item_a", "cd"),
        n.AgentAudio("resp_1", "item_a", pcm(1)),
        n.AgentAudioEnded("resp_1", "item_a"),
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "Hello"},
        {"type": "output_text", "text": "Hello"},
        {"type": "input_text", "text": "Hello"},
        {"type": "audio", "transcript": "Hello"},
        {"type": "output_audio", "transcript": "Hello", "audio": None, "text": None},
    ],
)
def test_an_items_text_is_found_whatever_its_part_is_called(part: dict[str, Any]) -> None:
    item = {**MESSAGE, "content": [part, None, "rubbish", {"type": "input_image"}]}

    assert heard({"type": "conversation.item.added", "event_id": "e", "item": item}) == [
        n.ItemAdded("item_a", None, "assistant", "Hello")
    ]


def test_a_message_and_two_calls_in_one_response() -> None:
    second = {**CALL, "id": "item_g", "call_id": "call_2"}
    opened = [
        {"type": "response.output_item.added", "response_id": "resp_1", "item": i} for i in (MESSAGE, CALL, second)
    ]
    arguments = {"type": "response.function_call_arguments.done", "response_id": "resp_1", "output_index": 1}

    events = heard(
        *opened,
        {**arguments, "item_id": "item_f", "call_id": "call_1", "name": "book", "arguments": '{"a":1}'},
        {**arguments, "item_id": "item_g", "call_id": "call_2", "name": "book", "arguments": ""},
        {"type": "response.output_item.done", "response_id": "resp_1", "item": {**CALL, "status": "completed"}},
    )

    assert names(events[:3]) == ["OutputItemStarted"] * 3
    assert events[3:] == [
        n.ToolCallReady("resp_1", "item_f", "call_1", "book", '{"a":1}'),
        n.ToolCallReady("resp_1", "item_g", "call_2", "book", "{}"),
        n.OutputItemEnded("resp_1", "item_f"),
    ]


def test_the_name_of_a_call_comes_from_its_output_item_when_the_arguments_do_not_repeat_it() -> None:
    events = heard(
        {"type": "response.output_item.added", "response_id": "resp_1", "item": CALL},
        {
            "type": "response.function_call_arguments.done",
            "response_id": "resp_1",
            "item_id": "item_f",
            "call_id": "call_1",
            "arguments": "{}",
            "name": None,
        },
    )

    assert events[1:] == [n.ToolCallReady("resp_1", "item_f", "call_1", "book", "{}")]


@pytest.mark.parametrize(("status", "calls"), [("completed", 1), (None, 1), ("incomplete", 0)])
def test_a_call_whose_arguments_are_never_done_is_taken_from_its_complete_item(status: str | None, calls: int) -> None:
    events = heard(
        {"type": "response.output_item.added", "response_id": "resp_1", "item": CALL},
        {
            "type": "response.output_item.done",
            "response_id": "resp_1",
            "item": {**CALL, "arguments": '{"a":1}', "status": status},
        },
    )

    assert names(events[1:]) == ["ToolCallReady"] * calls + ["OutputItemEnded"]


def test_the_book_of_open_calls_is_bounded() -> None:
    client = RealtimeClient()
    for number in range(1000):
        item = {**CALL, "id": f"item_{number}"}
        heard({"type": "response.output_item.added", "response_id": "r", "item": item}, client=client)

    assert len(client._calls._open) == 256


def test_argument_deltas() -> None:
    delta = {"type": "response.function_call_arguments.delta", "response_id": "resp_1", "item_id": "item_f"}

    assert heard({**delta, "call_id": "call_1", "delta": '{"a'}) == [
        n.ToolCallPart("resp_1", "item_f", "call_1", '{"a')
    ]


def test_usage_is_read_from_the_response_or_from_beside_it() -> None:
    usage = {
        "total_tokens": 45,
        "input_tokens": 30,
        "output_tokens": 15,
        "input_token_details": {
            "text_tokens": 8,
            "audio_tokens": 20,
            "image_tokens": 2,
            "cached_tokens": 6,
            "cached_tokens_details": {"audio_tokens": 5},
        },
        "output_token_details": {"audio_tokens": 11, "text_tokens": None},
    }
    expected = Usage(30, 15, 6, 20, 11, 2, 5, requests=1)

    (inside,) = heard(done(status="completed", usage=usage))
    (beside,) = heard({**done(status="completed", usage=None), "usage": usage})
    (partial,) = heard(done(status="cancelled", usage={"input_tokens": 3, "input_token_details": None}))
    (absent,) = heard(done(status="completed"))

    assert inside == beside == n.ResponseEnded("resp_1", "completed", usage=expected)
    assert isinstance(partial, n.ResponseEnded)
    assert partial.usage == Usage(input_tokens=3, requests=1)
    assert absent == n.ResponseEnded("resp_1", "completed", usage=None)


@pytest.mark.parametrize(
    ("response", "status", "reason"),
    [
        (
            {"status": "cancelled", "status_details": {"type": "cancelled", "reason": "turn_detected"}},
            "cancelled",
            "turn_detected",
        ),
        ({"status": "cancelled", "status_details": "client_cancelled"}, "cancelled", "client_cancelled"),
        ({"status": "canceled", "status_details": None}, "cancelled", None),
        (
            {"status": "incomplete", "status_details": {"reason": "max_output_tokens"}},
            "incomplete",
            "max_output_tokens",
        ),
        ({"status": "in_progress"}, "incomplete", "in_progress"),
        ({"status": None, "status_details": []}, "completed", None),
        ({}, "completed", None),
    ],
)
def test_how_a_response_ended(response: dict[str, Any], status: str, reason: str | None) -> None:
    (ended,) = heard(done(**response))

    assert isinstance(ended, n.ResponseEnded)
    assert (ended.status, ended.reason, ended.fault) == (status, reason, None)


@pytest.mark.parametrize(
    ("details", "code", "recovery"),
    [
        (
            {"type": "failed", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "m"}},
            "rate_limit_exceeded",
            "retry",
        ),
        ({"error": {"type": "server_error"}}, "server_error", "retry"),
        ({"error": {"code": "insufficient_quota"}}, "insufficient_quota", "fatal"),
        ({"error": None}, "unknown_error", "retry"),
        ("the model fell over", "unknown_error", "retry"),
        (None, "unknown_error", "retry"),
    ],
)
def test_a_failed_response_carries_its_fault(details: Any, code: str, recovery: str) -> None:
    (ended,) = heard(done(status="failed", status_details=details))

    assert isinstance(ended, n.ResponseEnded)
    assert ended.fault is not None
    assert (ended.fault.code, ended.fault.recovery) == (code, recovery)


def test_a_response_may_end_that_never_began_and_duplicates_are_passed_on() -> None:
    twice = {"type": "conversation.item.added", "event_id": "e", "item": MESSAGE}

    assert names(heard(done(status="completed"), twice, twice)) == ["ResponseEnded", "ItemAdded", "ItemAdded"]


def test_unknown_events_are_ignored_and_counted_within_a_bound() -> None:
    client = RealtimeClient()

    assert heard({"type": "response.hologram.delta", "delta": 1}, client=client) == [
        n.Ignored("response.hologram.delta")
    ]
    for number in range(200):
        heard({"type": f"odd.{number}"}, client=client)
    ignored = client.statistics().ignored
    assert ignored["response.hologram.delta"] == 1
    assert len(ignored) == 65
    assert ignored["(others)"] == 200 - 63
    (long,) = heard({"type": "x" * 10_000})
    assert long == n.Ignored("x" * 80)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.added", "item": {"type": "message", "role": "user"}},
        {"type": "response.created", "response": {"id": None}},
        {"type": "response.done", "response": {"status": "completed"}},
    ],
)
def test_what_lacks_an_optional_id_that_we_need_is_ignored(event: dict[str, Any]) -> None:
    assert heard(event) == [n.Ignored(event["type"])]


@pytest.mark.parametrize(
    "name",
    [
        "conversation.created",
        "response.content_part.added",
        "output_audio_buffer.started",
        "mcp_list_tools.completed",
        "response.mcp_call_arguments.delta",
        "input_audio_buffer.dtmf_event_received",
    ],
)
def test_known_events_without_meaning_for_a_channel_give_nothing(name: str) -> None:
    client = RealtimeClient()

    assert heard({"type": name}, client=client) == []
    assert client.statistics().ignored == {}


def test_null_in_optional_fields_and_fields_we_do_not_know() -> None:
    created = {"type": "session.created", "event_id": None, "session": {"id": None, "expires_at": None, "novelty": {}}}
    spoken = {"type": "input_audio_buffer.speech_started", "item_id": None, "audio_start_ms": None, "x": [1]}
    limits = {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": None, "remaining": 1}]}

    assert heard(created, spoken, limits) == [n.SessionOpened(None), n.InputSpeechStarted(None)]


def test_session_events() -> None:
    session = {"id": "sess_1", "expires_at": 1756310470, "model": "gpt-realtime", "type": "realtime"}

    assert heard({"type": "session.created", "session": session}, {"type": "session.updated", "session": session}) == [
        n.SessionOpened("sess_1", 1756310470.0, "gpt-realtime"),
        n.SessionConfigured(1756310470.0),
    ]


def test_transcription_events() -> None:
    prefix = "conversation.item.input_audio_transcription"
    error = {"type": "t", "code": "c", "message": "Too quiet", "param": None}

    assert heard(
        {"type": f"{prefix}.delta", "item_id": "u", "delta": "Hel"},
        {"type": f"{prefix}.delta", "item_id": "u", "delta": None, "content_index": None},
        {"type": f"{prefix}.completed", "item_id": "u", "content_index": 1, "transcript": "Hello", "usage": {}},
        {"type": f"{prefix}.failed", "item_id": "u", "content_index": 0, "error": error},
        {"type": f"{prefix}.failed", "item_id": "u", "content_index": 0, "error": None},
        {"type": f"{prefix}.segment", "item_id": "u", "text": "Hello", "speaker": "A", "id": "s", "start": 0, "end": 1},
    ) == [
        n.UserTranscriptPart("u", "Hel"),
        n.UserTranscriptFinal("u", "Hello", 1),
        n.UserTranscriptFailed("u", "Too quiet"),
        n.UserTranscriptFailed("u", ""),
    ]


def test_the_smallest_share_of_the_rate_counts() -> None:
    limits = [
        {"name": "requests", "limit": 100, "remaining": 50, "reset_seconds": 1},
        {"name": "tokens", "limit": 1000, "remaining": 100, "reset_seconds": 30.5},
        {"name": "odd", "limit": 0, "remaining": 5},
        "rubbish",
    ]

    assert heard({"type": "rate_limits.updated", "rate_limits": limits}) == [n.RateLimited(0.1, 30.5)]


def test_input_and_item_events() -> None:
    assert heard(
        {"type": "input_audio_buffer.cleared", "event_id": "e"},
        {"type": "input_audio_buffer.timeout_triggered", "item_id": "u", "audio_start_ms": 1, "audio_end_ms": 2},
        {"type": "conversation.item.deleted", "item_id": "a"},
        {"type": "conversation.item.truncated", "item_id": "a", "content_index": 0, "audio_end_ms": 1500.0},
        {"type": "conversation.item.done", "item": {**MESSAGE, "status": "incomplete"}},
        {"type": "conversation.item.added", "item": {**CALL}},
        {"type": "conversation.item.added", "item": {"id": "r", "type": "function_call_output", "output": "ok"}},
        {"type": "conversation.item.added", "item": {"id": "m", "type": "mcp_call"}},
    ) == [
        n.InputCleared(),
        n.InputIdle("u"),
        n.ItemDeleted("a"),
        n.ItemTruncated("a", 1500),
        n.ItemDone("item_a", "incomplete"),
        n.ItemAdded("item_f", None, "tool_call"),
        n.ItemAdded("r", None, "tool_result", "ok"),
        n.ItemAdded("m", None, "other"),
    ]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({}, "type"),
        ({"type": 5}, "type"),
        ({"type": "session.created"}, "session"),
        ({"type": "session.created", "session": "x"}, "session"),
        ({"type": "response.done", "response": []}, "response"),
        ({"type": "conversation.item.deleted", "item_id": 4}, "item_id"),
        ({"type": "conversation.item.truncated", "item_id": "a", "audio_end_ms": True}, "audio_end_ms"),
        ({"type": "conversation.item.truncated", "item_id": "a", "audio_end_ms": 10**30}, "audio_end_ms"),
        ({"type": "rate_limits.updated", "rate_limits": None}, "rate_limits"),
        ({"type": "error", "error": None}, "error"),
        ({"type": "response.output_audio.delta", **IDS, "delta": "*"}, "delta"),
        ({"type": "response.output_audio.delta", **IDS, "delta": "AA=="}, "delta"),
        ({"type": "response.output_text.delta", "item_id": "a", "delta": "x"}, "response_id"),
    ],
)
def test_a_wrong_required_field_is_named(event: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as caught:
        heard(event)
    assert caught.value.field == field
    assert field in caught.value.message


@pytest.mark.parametrize(
    ("frame", "offset"),
    [
        ("", 0),
        ("hello", 0),
        ('{"type": "x"', 12),
        ("[]", 0),
        ("null", 0),
        (b"\xff\xfe", 0),
        (b'{"type": "\xff"}', 10),
        ('{"type": "x", "n": NaN}', None),
        ('{"type": "x", "n": 1e999}', None),
        ('{"type": "x", "n": ' + "9" * 5000 + "}", None),
        ('{"type": "x", "n": ' + "[" * 100_000 + "]" * 100_000 + "}", None),
        ('{"type": "x", "n": ' + '{"a":' * 80 + "1" + "}" * 80 + "}", None),
        (" " * (16 * 1024 * 1024 + 1), 16 * 1024 * 1024),
        ("é" * (9 * 1024 * 1024), 16 * 1024 * 1024),
        (b"x" * (16 * 1024 * 1024 + 1), 16 * 1024 * 1024),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_event_at_all_is_a_wire_error(frame: str | bytes, offset: int | None) -> None:
    with pytest.raises(WireError) as caught:
        RealtimeClient().decode(frame)
    assert caught.value.offset == offset


def test_lone_surrogates_become_replacement_characters() -> None:
    (part,) = RealtimeClient().decode(
        '{"type":"response.text.delta","response_id":"r","item_id":"i","delta":"a\\ud83d"}'
    )
    (whole,) = RealtimeClient().decode(
        '{"type":"response.text.delta","response_id":"r","item_id":"i","delta":"\\ud83d\\ude00"}'
    )

    assert part == n.AgentTextPart("r", "i", "a\ufffd")
    assert whole == n.AgentTextPart("r", "i", "\U0001f600")


def test_statistics() -> None:
    client = RealtimeClient()
    heard({"type": "error", "error": {"message": "m", "type": "t"}}, client=client)
    heard(audio(pcm(10)), client=client)

    statistics = client.statistics()

    assert (statistics.frames_in, statistics.faults, statistics.audio_bytes) == (2, 1, 480)
    assert statistics.events == {"ProviderFault": 1, "AgentAudio": 1}
