"""The names and limits of the OpenAI Realtime wire, in one place for both roles.

Source of every rule: the OpenAI Realtime GA reference; the beta names are those of the retired preview, which other
servers still speak.
"""

from __future__ import annotations

from typing import Final

AUDIO_RATE: Final = 24_000
"""Hz of `audio/pcm`, in and out; the vendor refuses any other."""

BYTES_PER_MS: Final = AUDIO_RATE * 2 // 1000
"""Bytes of PCM16 mono in a millisecond."""

MAX_APPEND_BYTES: Final = 15 * 1024 * 1024
"""The longest `audio` field of one append, in base64 characters."""

MIN_COMMIT_MS: Final = 100
"""Less input audio than this cannot be committed."""

MAX_ITEM_ID: Final = 32
"""Characters of an item id that the client chooses."""

BETA_NAMES: Final[dict[str, str]] = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}
"""Names of the beta (and its GA-typed twin of `added`) to the GA names they mean."""

AUDIO_DELTA: Final = "response.output_audio.delta"

BETA_DISABLED: Final = "beta_api_shape_disabled"
OPENING_CLOSE_CODE: Final = 4000
