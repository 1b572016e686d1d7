"""What a refusal by an OpenAI-family server means for us: one table, four doors to it.

An error is looked up by its code, then by its type (some servers put the code there), then by what its message says.
What no table knows is harmless when it is a scoped error of an open session, which the vendor says usually lives on,
and worth one more try when a response failed by it.

Doors: `classify_error` for an `error` event, `classify_response_error` for the error inside `response.done`,
`classify_close` for a WebSocket close, `classify_handshake` for an HTTP answer instead of a WebSocket.
Sources: OpenAI Realtime reference (errors, close codes), Mesh API error list, behaviour reported by other clients.
"""

from __future__ import annotations

import re
from typing import Final

from mob.errors import WireError
from mob.providers.events import ProviderFault
from mob.providers.fields import Fields
from mob.providers.frames import clean_text, load_frame
from mob.values import Recovery

MAX_MESSAGE: Final = 1000
"""Characters of a provider's message that we keep."""

_RECOVERY_BY_CODE: Final[dict[str, Recovery]] = {
    # Races: what was asked had already happened, or its object is gone.
    "response_cancel_not_active": "benign",
    "input_audio_buffer_commit_empty": "benign",
    "item_not_found": "benign",
    "unsupported_content_type": "benign",
    "unknown_or_invalid_event": "benign",
    # Ask again after response.done.
    "conversation_already_has_active_response": "defer",
    # Ask again later, on this connection.
    "rate_limit_exceeded": "retry",
    "rate_limit_error": "retry",
    "inference_rate_limit_exceeded": "retry",
    "server_error": "retry",
    "overloaded_error": "retry",
    "tool_parsing_error": "retry",
    # The connection is of no further use; a new one is.
    "session_expired": "reopen",
    "cannot_update_voice": "reopen",
    "context_length_exceeded": "reopen",
    "connection_timeout": "reopen",
    "idle_timeout": "reopen",
    "provider_error": "reopen",
    "provider_not_available": "reopen",
    "internal_error": "reopen",
    "max_duration": "reopen",
    # Something that we configured is not known there.
    "unknown_parameter": "reconfigure",
    "invalid_value": "reconfigure",
    "invalid_type": "reconfigure",
    "missing_required_parameter": "reconfigure",
    "integer_below_min_value": "reconfigure",
    "integer_above_max_value": "reconfigure",
    "decimal_below_min_value": "reconfigure",
    "decimal_above_max_value": "reconfigure",
    "string_above_max_length": "reconfigure",
    "array_above_max_length": "reconfigure",
    # Nothing that we can do by ourselves.
    "insufficient_quota": "fatal",
    "billing_hard_limit_reached": "fatal",
    "invalid_api_key": "fatal",
    "account_deactivated": "fatal",
    "model_not_found": "fatal",
    "authentication_error": "fatal",
    "permission_error": "fatal",
    "beta_api_shape_disabled": "fatal",
    "OpperationNotSupported": "fatal",  # the vendor's spelling
    "session_token_cap_exceeded": "fatal",
    "concurrent_sessions_exceeded": "fatal",
    "feature_not_enabled": "fatal",
    "spend_limit_exceeded": "fatal",
}

_STALE_ITEM: Final = re.compile(r"item_[a-z]+_invalid_(previous_)?item_id")

_RECOVERY_BY_MESSAGE: Final[tuple[tuple[re.Pattern[str], Recovery], ...]] = (
    (re.compile(r"already shorter than"), "benign"),
    (re.compile(r"only model output audio messages can be truncated", re.IGNORECASE), "benign"),
    (re.compile(r"\bitem\b.*\b(does not exist|not found)\b", re.IGNORECASE), "benign"),
    (re.compile(r"no active response", re.IGNORECASE), "benign"),
    (re.compile(r"buffer too small", re.IGNORECASE), "benign"),
    (re.compile(r"active response in progress", re.IGNORECASE), "defer"),
    (re.compile(r"maximum (session )?duration", re.IGNORECASE), "reopen"),
    (re.compile(r"exceeded your current quota", re.IGNORECASE), "fatal"),
)
"""Messages that say more than their code does: the vendor uses `invalid_value` for some races too."""

_RESPONSE_ID: Final = re.compile(r"\bresp_[A-Za-z0-9_-]+")
_TRY_AGAIN: Final = re.compile(r"try again in (\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m)\b", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_WORD: Final = re.compile(r"[A-Za-z_]+")

_CLOSE_CODES: Final[dict[int, tuple[str, Recovery]]] = {
    1000: ("closed", "reopen"),
    1001: ("going_away", "reopen"),
    1002: ("protocol_error", "reopen"),
    1003: ("unsupported_data", "fatal"),
    1005: ("closed_without_code", "reopen"),
    1006: ("connection_lost", "reopen"),
    1007: ("invalid_payload", "reconfigure"),
    1008: ("policy_violation", "fatal"),
    1009: ("frame_too_large", "fatal"),
    1011: ("server_error", "reopen"),
    1012: ("service_restart", "reopen"),
    1013: ("try_again_later", "reopen"),
    1015: ("tls_failed", "reopen"),
    4402: ("insufficient_quota", "fatal"),
}

_STATUS_CODES: Final[dict[int, tuple[str, Recovery]]] = {
    400: ("bad_request", "reconfigure"),
    401: ("invalid_api_key", "fatal"),
    402: ("insufficient_quota", "fatal"),
    403: ("forbidden", "fatal"),
    404: ("not_found", "fatal"),
    408: ("timeout", "retry"),
    409: ("conflict", "retry"),
    426: ("upgrade_required", "fatal"),
    429: ("rate_limit_exceeded", "retry"),
}


def classify_error(error: Fields, *, ref: str | None = None) -> ProviderFault:
    """The fault of an `error` event's `error` object. Unknown ones are benign: the session usually lives on."""
    return _fault(error, ref=ref, otherwise="benign")


def classify_response_error(error: Fields) -> ProviderFault:
    """The fault of a failed response's `status_details.error`. Unknown ones are worth a retry."""
    return _fault(error, ref=None, otherwise="retry")


def classify_close(code: int | None, reason: str = "") -> ProviderFault:
    """The fault of a WebSocket close that we did not ask for. `code` None: the connection broke without one.

    A known error code inside `reason` ("invalid_request_error.beta_api_shape_disabled") says more than the number.
    """
    status = 1006 if code is None else code
    name: str
    recovery: Recovery
    name, recovery = _CLOSE_CODES.get(status, (f"close_{status}", "fatal" if status >= 3000 else "reopen"))
    message = clean_text(reason)[:MAX_MESSAGE]
    named = _code_within(message) or ("session_expired" if _by_message(message) == "reopen" else None)
    if named is not None:
        name, recovery = named, _RECOVERY_BY_CODE[named]
        # A rate limit that closed the connection leaves nothing to retry on.
        recovery = "reopen" if recovery in {"retry", "benign", "defer"} else recovery
    said = f": {message}" if message else ""
    return ProviderFault(name, f"The provider closed the connection (code {status}){said}.", recovery)


def classify_handshake(status: int, body: bytes = b"", *, retry_after: str | None = None) -> ProviderFault:
    """The fault of an HTTP answer to the WebSocket handshake. `retry_after` is that header, seconds or a date.

    Retry means: dial again after a pause.
    """
    name, recovery = _STATUS_CODES.get(status, _status_class(status))
    error = _body_error(body)
    code = error.maybe_text("code") or error.maybe_text("type") or ""
    said = (error.maybe_text("message") or "")[:MAX_MESSAGE]
    if code:
        # The body knows a quota from a rate; for the rest the status is the surer word.
        name = code[:80]
        recovery = "fatal" if _RECOVERY_BY_CODE.get(code) == "fatal" else recovery
    message = f"The provider refused with HTTP {status}"
    return ProviderFault(
        name,
        f"{message}: {said}" if said else f"{message}.",
        recovery,
        retry_after_s=_header_seconds(retry_after) or _seconds_to_wait(said),
    )


def _fault(error: Fields, *, ref: str | None, otherwise: Recovery) -> ProviderFault:
    code, kind = error.maybe_text("code"), error.maybe_text("type")
    message = (error.maybe_text("message") or "")[:MAX_MESSAGE]
    name = code or kind or "unknown_error"
    recovery = _by_message(message) or _by_code(code) or _by_code(kind) or otherwise
    param = error.maybe_text("param")
    if recovery == "reconfigure" and param is not None and not param.startswith("session"):
        recovery = "benign"  # one command was wrong, not the session's configuration
    named = _RESPONSE_ID.search(message)
    return ProviderFault(
        code=name[:80],
        message=message,
        recovery=recovery,
        ref=ref,
        response_id=named.group() if named else None,
        retry_after_s=_seconds_to_wait(message),
    )


def _by_code(code: str | None) -> Recovery | None:
    if code is None:
        return None
    if _STALE_ITEM.fullmatch(code):
        return "benign"
    return _RECOVERY_BY_CODE.get(code)


def _by_message(message: str) -> Recovery | None:
    return next((recovery for pattern, recovery in _RECOVERY_BY_MESSAGE if pattern.search(message)), None)


def _code_within(text: str) -> str | None:
    return next((word for word in _WORD.findall(text) if "_" in word and word in _RECOVERY_BY_CODE), None)


def _seconds_to_wait(message: str) -> float | None:
    found = _TRY_AGAIN.search(message)
    return float(found.group(1)) * _SECONDS[found.group(2).lower()] if found else None


def _header_seconds(value: str | None) -> float | None:
    # The header's other form is a date, which takes a clock to read; the caller's own back-off serves there.
    return float(value) if value and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value) else None


def _status_class(status: int) -> tuple[str, Recovery]:
    if status >= 500:
        return "server_error", "retry"
    return (f"http_{status}", "fatal")


def _body_error(body: bytes) -> Fields:
    """The error object of a JSON body; for one of some other form, an object with only a message."""
    said = body[:MAX_MESSAGE].decode("utf-8", "replace").strip()
    try:
        data = load_frame(body)
    except WireError:
        return Fields({"message": said})
    match data.get("error", data):
        case dict() as error if error.keys() & {"message", "code", "type"}:
            return Fields(error)
        case str() as words:
            return Fields({"message": words})
        case _:
            detail = data.get("detail")
            return Fields({"message": detail if isinstance(detail, str) else said if data else None})
