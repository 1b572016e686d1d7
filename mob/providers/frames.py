"""JSON text frames, read with suspicion and written plainly. Both roles of every wire use this and nothing else.

What `load_frame` gives can be walked, stored and written again without surprises: it is an object, at most
`MAX_DEPTH` levels deep, every number is finite, every string can be encoded as UTF-8. Anything else is a
WireError, and nothing but a WireError comes out of here whatever the frame holds.
"""

from __future__ import annotations

import json
from typing import Any, cast

from mob.errors import WireError
from mob.jsontext import read_json

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The largest frame either role reads: the vendor permits appends of 15 MiB, and an event has a head besides."""

JsonObject = dict[str, Any]


def load_frame(frame: str | bytes) -> JsonObject:
    """Read one frame. Raises WireError (with `offset` where it is known) and nothing else.

    A lone surrogate, which JSON escapes can spell and UTF-8 cannot, becomes U+FFFD.
    """
    text = _as_text(frame)
    try:
        value = read_json(text)
    except json.JSONDecodeError as error:
        raise WireError(f"The frame is not JSON: {error.msg} at character {error.pos}.", offset=error.pos) from None
    except ValueError as error:
        raise WireError(f"The frame cannot be read; it {error}.") from None
    if not isinstance(value, dict):
        raise WireError(f"The frame is JSON but no object: it holds {kind_of(value)}.", offset=0)
    if not text.isascii() or "\\u" in text:
        value = _without_surrogates(value)
    return cast("JsonObject", value)


def dump_frame(event: JsonObject) -> str:
    """Write one frame: compact, UTF-8 encodable. Raises WireError when `event` holds what JSON cannot say."""
    try:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(
            f"The event {event.get('type')!r} cannot be written as JSON: {error}. Give plain strings, finite numbers, "
            "lists and tables.",
            recovery="reconfigure",
        ) from None
    return text if text.isascii() else clean_text(text)


def clean_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD (a pair of them becomes the character it spells)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def kind_of(value: object) -> str:
    """What a JSON value is, in words: for messages."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _as_text(frame: str | bytes) -> str:
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError(f"The frame has {len(frame)} bytes; {MAX_FRAME_BYTES} are allowed.", offset=MAX_FRAME_BYTES)
    if isinstance(frame, str):
        # A character takes up to four bytes, so only a long frame can hide a longer encoding.
        if len(frame) * 4 > MAX_FRAME_BYTES and len(frame.encode("utf-8", "surrogatepass")) > MAX_FRAME_BYTES:
            raise WireError(f"The frame has more than {MAX_FRAME_BYTES} bytes.", offset=MAX_FRAME_BYTES)
        return frame
    try:
        return frame.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"The frame is not UTF-8: {error.reason}.", offset=error.start) from None


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return clean_text(value)
        case dict():
            return {clean_text(key): _without_surrogates(child) for key, child in value.items()}
        case list():
            return [_without_surrogates(child) for child in value]
        case _:
            return value
