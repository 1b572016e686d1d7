"""What refusals mean: every row of the reference's error list, and the odd places where servers put their codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mob.providers.events import ProviderFault
from mob.providers.openai_realtime import RealtimeClient, classify_close, classify_handshake


def fault(error: dict[str, Any]) -> ProviderFault:
    (event,) = RealtimeClient().decode(json.dumps({"type": "error", "event_id": "e", "error": error}))
    assert isinstance(event, ProviderFault)
    return event


@pytest.mark.parametrize(
    ("code", "recovery"),
    [
        ("conversation_already_has_active_response", "defer"),
        ("response_cancel_not_active", "benign"),
        ("input_audio_buffer_commit_empty", "benign"),
        ("unsupported_content_type", "benign"),
        ("item_retrieve_invalid_item_id", "benign"),
        ("item_truncate_invalid_item_id", "benign"),
        ("item_delete_invalid_item_id", "benign"),
        ("item_create_invalid_previous_item_id", "benign"),
        ("invalid_value", "reconfigure"),
        ("unknown_parameter", "reconfigure"),
        ("missing_required_parameter", "reconfigure"),
        ("integer_below_min_value", "reconfigure"),
        ("cannot_update_voice", "reopen"),
        ("session_expired", "reopen"),
        ("context_length_exceeded", "reopen"),
        ("inference_rate_limit_exceeded", "retry"),
        ("rate_limit_exceeded", "retry"),
        ("insufficient_quota", "fatal"),
        ("billing_hard_limit_reached", "fatal"),
        ("invalid_api_key", "fatal"),
        ("account_deactivated", "fatal"),
        ("beta_api_shape_disabled", "fatal"),
        ("something_new", "benign"),
    ],
)
def test_by_code_whether_it_stands_in_code_or_in_type(code: str, recovery: str) -> None:
    usual = fault({"type": "invalid_request_error", "code": code, "message": "m", "param": None, "event_id": "r"})
    misplaced = fault({"type": code, "message": "m"})

    assert (usual.code, usual.recovery, usual.ref) == (code, recovery, "r")
    assert (misplaced.code, misplaced.recovery, misplaced.ref) == (code, recovery, None)


@pytest.mark.parametrize(
    ("error", "recovery"),
    [
        ({"code": "invalid_value", "message": "Audio content of 3700ms is already shorter than 3760ms"}, "benign"),
        ({"code": None, "type": "invalid_request_error", "message": "Item 'x' does not exist"}, "benign"),
        ({"type": "invalid_request_error", "message": "Only model output audio messages can be truncated"}, "benign"),
        ({"type": "invalid_request_error", "message": "Error: buffer too small. Expected 100ms"}, "benign"),
        ({"type": "server_error", "message": "The server had an error"}, "retry"),
        ({"code": "invalid_value", "param": "session.audio.output.voice", "message": "no"}, "reconfigure"),
        ({"code": "invalid_value", "param": "item.content[0].type", "message": "no"}, "benign"),
        ({"code": 500, "type": None, "message": None}, "benign"),
        ({}, "benign"),
    ],
)
def test_by_message_type_and_param(error: dict[str, Any], recovery: str) -> None:
    assert fault(error).recovery == recovery


def test_the_active_response_is_named_and_a_wait_is_read() -> None:
    active = fault(
        {
            "code": "conversation_already_has_active_response",
            "message": "Conversation already has an active response in progress: resp_ABC123. Wait until …",
        }
    )
    waits = [
        fault({"code": "rate_limit_exceeded", "message": f"Please try again in {wait}."}).retry_after_s
        for wait in ("1.5s", "20ms", "2m", "a while")
    ]

    assert active.response_id == "resp_ABC123"
    assert waits == [1.5, 0.02, 120.0, None]


def test_a_message_is_kept_within_bounds() -> None:
    assert len(fault({"code": "c" * 500, "message": "item " * 100_000}).message) == 1000
    assert len(fault({"code": "c" * 500}).code) == 80


@pytest.mark.parametrize(
    ("code", "reason", "name", "recovery"),
    [
        (1001, "Your session hit the maximum duration of 60 minutes.", "session_expired", "reopen"),
        (1001, "", "going_away", "reopen"),
        (1000, "", "closed", "reopen"),
        (1005, "", "closed_without_code", "reopen"),
        (None, "", "connection_lost", "reopen"),
        (1006, "", "connection_lost", "reopen"),
        (1007, "", "invalid_payload", "reconfigure"),
        (1008, "policy", "policy_violation", "fatal"),
        (1008, "session_expired", "session_expired", "reopen"),
        (1011, "", "server_error", "reopen"),
        (1011, "upstream: rate_limit_exceeded", "rate_limit_exceeded", "reopen"),
        (1012, "", "service_restart", "reopen"),
        (1013, "", "try_again_later", "reopen"),
        (4000, "invalid_request_error.beta_api_shape_disabled", "beta_api_shape_disabled", "fatal"),
        (4402, "", "insufficient_quota", "fatal"),
        (4999, "?", "close_4999", "fatal"),
        (1016, "", "close_1016", "reopen"),
        (3000, "\ud800", "close_3000", "fatal"),
    ],
)
def test_a_close(code: int | None, reason: str, name: str, recovery: str) -> None:
    closed = classify_close(code, reason)

    assert (closed.code, closed.recovery) == (name, recovery)
    closed.message.encode()


def body(code: str | None, message: str = "Because.") -> bytes:
    return json.dumps({"error": {"code": code, "type": "x", "message": message, "param": None}}).encode()


@pytest.mark.parametrize(
    ("status", "content", "name", "recovery"),
    [
        (401, b"", "invalid_api_key", "fatal"),
        (401, body("invalid_api_key"), "invalid_api_key", "fatal"),
        (403, b"<html>", "forbidden", "fatal"),
        (404, body("model_not_found"), "model_not_found", "fatal"),
        (429, b"", "rate_limit_exceeded", "retry"),
        (429, body("insufficient_quota"), "insufficient_quota", "fatal"),
        (400, body("OpperationNotSupported"), "OpperationNotSupported", "fatal"),
        (400, b'{"detail": "no"}', "bad_request", "reconfigure"),
        (400, b'{"error": "plain"}', "bad_request", "reconfigure"),
        (426, b"", "upgrade_required", "fatal"),
        (301, b"", "http_301", "fatal"),
        (418, b"", "http_418", "fatal"),
        (408, b"", "timeout", "retry"),
        (500, b"\xff" * 5000, "server_error", "retry"),
        (503, b'{"error": null}', "server_error", "retry"),
    ],
)
def test_a_refused_handshake(status: int, content: bytes, name: str, recovery: str) -> None:
    refused = classify_handshake(status, content)

    assert (refused.code, refused.recovery) == (name, recovery)
    assert str(status) in refused.message


def test_how_long_to_wait_after_a_refused_handshake() -> None:
    assert classify_handshake(429, retry_after="2.5").retry_after_s == 2.5
    assert classify_handshake(429, body(None, "try again in 3s")).retry_after_s == 3.0
    assert classify_handshake(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s is None
    assert "Because." in classify_handshake(401, body("x")).message
    assert "no" in classify_handshake(400, b'{"detail": "no"}').message
