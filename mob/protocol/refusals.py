"""Refusals and faults in the words of Meerkat's contract: an object tagged by `code`, and for a refusal its `reason`.

What its clients have no word for is `config_rejected` with the reason `other` when it was refused and the channel lives
on, and `other` when it ends the channel; our own word stands in it.
"""

from __future__ import annotations

from typing import Any

from mob.errors import (
    CredentialMissing,
    MobError,
    ProviderRefused,
    ProviderUnreachable,
    ReopenRequired,
)

JSON = dict[str, Any]

_KINDS: dict[str, tuple[str, ...]] = {
    "audio_input_format_mismatch": (
        "expected_sample_rate_hz",
        "expected_channels",
        "actual_sample_rate_hz",
        "actual_channels",
    ),
    "image_input_unsupported_mime": ("mime_type",),
    "image_input_content_mismatch": ("mime_type",),
    "image_input_invalid_base64": (),
    "image_input_too_large": ("actual_bytes", "max_bytes"),
    "image_input_idempotency_key_invalid": ("actual_bytes", "max_bytes"),
    "image_input_idempotency_conflict": (),
    "image_input_history_budget_exceeded": ("max_decoded_bytes",),
    "image_input_transport_unsupported": ("transport",),
    "input_backpressured": ("max_pending_bytes",),
    "input_too_large": ("actual_bytes", "max_bytes"),
    "unsupported_input_chunk_variant": (),
    "video_frame_input_not_implemented": (),
}
"""Meerkat's reasons that we give, and the fields that its contract demands with each."""


def refusal_code(error: MobError) -> JSON:
    """The code of an error that leaves the channel as it was."""
    reason = getattr(error, "reason", None) or error.code
    if isinstance(error, ReopenRequired):
        return _rejected({"kind": "other", "detail": f"reopen_required: {', '.join(error.fields)}"})
    details = getattr(error, "details", {})
    fields = _KINDS.get(reason)
    if fields is None or any(name not in details for name in fields):
        return _rejected({"kind": "other", "detail": reason})
    return _rejected({"kind": reason, **{name: details[name] for name in fields}})


def fault_code(word: str) -> JSON:
    """The code of a fault that ended a channel, by our own word for it (`ChannelError.code`, `Disconnected.reason`)."""
    code = _FAULTS.get(word, word)
    return {"code": code} if code in _PLAIN else {"code": "other", "raw": word}


_PLAIN = frozenset(
    {"connection_failed", "connection_lost", "provider_error", "authentication_failed", "internal_error"}
)
"""Meerkat's codes that have no fields."""

_FAULTS: dict[str, str] = {
    ProviderUnreachable.code: "connection_lost",
    ProviderRefused.code: "provider_error",
    CredentialMissing.code: "authentication_failed",
}


def _rejected(reason: JSON) -> JSON:
    return {"code": "config_rejected", "reason": reason}
