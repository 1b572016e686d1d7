"""Token counts: the wire's `response.usage` and our `Usage`, both ways."""

from __future__ import annotations

from mob.providers.fields import Fields
from mob.providers.frames import JsonObject
from mob.values import Usage


def read_usage(usage: Fields) -> Usage | None:
    """The usage of one response; None when the provider said nothing (which is not the same as zero)."""
    if not usage.data:
        return None
    given = usage.maybe_child("input_token_details")
    made = usage.maybe_child("output_token_details")
    return Usage(
        input_tokens=usage.count("input_tokens"),
        output_tokens=usage.count("output_tokens"),
        cached_tokens=given.count("cached_tokens"),
        input_audio_tokens=given.count("audio_tokens"),
        output_audio_tokens=made.count("audio_tokens"),
        input_image_tokens=given.count("image_tokens"),
        cached_audio_tokens=given.maybe_child("cached_tokens_details").count("audio_tokens"),
        requests=1,
    )


def write_usage(usage: Usage | None) -> JsonObject | None:
    """The `usage` object of `response.done`; null for None or for a usage that nobody reported."""
    if usage is None or not usage.reported:
        return None
    return {
        "total_tokens": usage.total_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_token_details": {
            "text_tokens": max(0, usage.input_tokens - usage.input_audio_tokens - usage.input_image_tokens),
            "audio_tokens": usage.input_audio_tokens,
            "image_tokens": usage.input_image_tokens,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": {
                "text_tokens": max(0, usage.cached_tokens - usage.cached_audio_tokens),
                "audio_tokens": usage.cached_audio_tokens,
                "image_tokens": 0,
            },
        },
        "output_token_details": {
            "text_tokens": max(0, usage.output_tokens - usage.output_audio_tokens),
            "audio_tokens": usage.output_audio_tokens,
        },
    }
