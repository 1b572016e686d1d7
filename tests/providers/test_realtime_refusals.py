"""The server role refuses as the vendor refuses: each refusal names its code, its field and the event to blame."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from realtime_support import Pair, pcm

from mob.providers import events as n

TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SOUND = base64.b64encode(pcm(10)).decode()


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def create(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": {**TEXT, **fields}}


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "missing_required_parameter", "type"),
    ({"type": 4}, "invalid_value", "type"),
    ({"type": "session.burn"}, "invalid_value", "type"),
    ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    ({"type": "transcription_session.update", "session": {}}, "invalid_value", "type"),
    ({"type": "input_audio_buffer.clear", "extra": 1}, "unknown_parameter", "extra"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": []}, "invalid_type", "session"),
    ({"type": "session.update", "session": {"instructions": "x"}}, "missing_required_parameter", "session.type"),
    ({"type": "session.update", "session": {"type": "transcription"}}, "invalid_value", "session.type"),
    (session(model="gpt-other"), "invalid_value", "session.model"),
    (session(temperature=0.8), "unknown_parameter", "session.temperature"),
    (session(voice="ash"), "unknown_parameter", "session.voice"),
    (session(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
    (session(output_modalities=[]), "invalid_value", "session.output_modalities"),
    (session(instructions=None), "invalid_type", "session.instructions"),
    (session(max_output_tokens=0), "integer_below_min_value", "session.max_output_tokens"),
    (session(max_output_tokens=9999), "integer_above_max_value", "session.max_output_tokens"),
    (session(max_output_tokens="lots"), "invalid_value", "session.max_output_tokens"),
    (session(tools=[{"type": "function"}]), "missing_required_parameter", "session.tools[0].name"),
    (session(tools=[{"name": "f"}]), "missing_required_parameter", "session.tools[0].type"),
    (
        session(tools=[{"type": "function", "name": "f", "strict": True}]),
        "unknown_parameter",
        "session.tools[0].strict",
    ),
    (session(tool_choice="always"), "invalid_value", "session.tool_choice"),
    (session(parallel_tool_calls="yes"), "invalid_type", "session.parallel_tool_calls"),
    (session(audio={"output": {"voice": "karl"}}), "invalid_value", "session.audio.output.voice"),
    (session(audio={"output": {"speed": 2}}), "decimal_above_max_value", "session.audio.output.speed"),
    (
        session(audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}}}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (session(audio={"input": {"format": "pcm16"}}), "invalid_type", "session.audio.input.format"),
    (
        session(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": -1}}}),
        "decimal_below_min_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        session(audio={"input": {"turn_detection": {"type": "semantic_vad", "threshold": 0.1}}}),
        "unknown_parameter",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        session(audio={"input": {"turn_detection": {"threshold": 0.1}}}),
        "missing_required_parameter",
        "session.audio.input.turn_detection.type",
    ),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "*"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AA=="}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": [1]}, "invalid_type", "audio"),
    (
        {"type": "input_audio_buffer.append", "audio": "A" * (15 * 1024 * 1024 + 4)},
        "string_above_max_length",
        "audio",
    ),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    (create(id="x" * 33), "string_above_max_length", "item.id"),
    (create(id=""), "string_below_min_length", "item.id"),
    (create(role="narrator"), "invalid_value", "item.role"),
    (create(role="assistant"), "invalid_value", "item.content[0].type"),
    (
        create(role="assistant", content=[{"type": "output_audio", "audio": SOUND}]),
        "invalid_value",
        "item.content[0].type",
    ),
    (
        create(content=[{"type": "input_image", "image_url": "https://x/y.png"}]),
        "invalid_value",
        "item.content[0].image_url",
    ),
    (create(content=[{"type": "input_image", "image_url": 4}]), "invalid_type", "item.content[0].image_url"),
    (create(content=[{"type": "input_audio", "audio": "*"}]), "invalid_value", "item.content[0].audio"),
    (create(content="hi"), "invalid_type", "item.content"),
    ({**create(), "previous_item_id": "nowhere"}, "item_create_invalid_previous_item_id", "previous_item_id"),
    (create(type="mcp_call"), "invalid_value", "item.type"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id", "item_id"),
    ({"type": "conversation.item.delete"}, "missing_required_parameter", "item_id"),
    ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id", "item_id"),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 0},
        "item_truncate_invalid_item_id",
        "item_id",
    ),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": -1},
        "integer_below_min_value",
        "audio_end_ms",
    ),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
    ({"type": "response.cancel", "response_id": "resp_x"}, "response_cancel_not_active", None),
    ({"type": "response.create", "response": {"conversation": "new"}}, "invalid_value", "response.conversation"),
    (
        {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "x"}]}},
        "invalid_value",
        "response.input[0].id",
    ),
    (
        {"type": "response.create", "response": {"metadata": {f"k{i}": "v" for i in range(17)}}},
        "array_above_max_length",
        "response.metadata",
    ),
    ({"type": "response.create", "response": {"metadata": {"k": 1}}}, "invalid_type", "response.metadata.k"),
    ({"type": "response.create", "response": {"metadata": [1]}}, "invalid_type", "response.metadata"),
]


@pytest.mark.parametrize(
    ("event", "code", "param"), REFUSED, ids=[f"{i}-{code}-{param}" for i, (_, code, param) in enumerate(REFUSED)]
)
def test_a_refusal_names_what_is_wrong_and_changes_nothing(event: dict[str, Any], code: str, param: str | None) -> None:
    pair = Pair()
    before = pair.server.session.echo()

    (answer,) = pair.raw({**event, "event_id": "mine"})

    assert answer["type"] == "error"
    error = answer["error"]
    assert (error["code"], error["param"], error["event_id"]) == (code, param, "mine")
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert pair.requests == []
    assert (pair.server.session.echo(), pair.server.items, pair.server.busy_with) == (before, (), None)


def test_a_frame_that_is_no_json_is_answered_with_an_error() -> None:
    pair = Pair()

    assert pair.server.receive("{") == []
    (fault,) = pair.hear()
    assert isinstance(fault, n.ProviderFault)
    assert fault.code == "invalid_json"
    assert pair.server.statistics().refused == {"invalid_json": 1}
