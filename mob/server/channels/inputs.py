"""What a client may say on a live channel that a door holds: sound of one format, so much text, pictures once.

Pictures carry an idempotency key, since a client that has lost its connection does not know whether one arrived. The
keys are kept for the session, across its channels: the same key with the same picture is taken again and does nothing,
with another picture it is refused. The refusals have the words and fields of Meerkat's contract, as its clients do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from attrs import define, field

from mob.errors import LiveRejected
from mob.server.limits import DoorLimits
from mob.server.pictures import PictureRefused, check_picture
from mob.values import Image


class InputRefused(LiveRejected):
    """A piece of input that was refused; the channel lives on. `details`: what the reason is about, by field."""

    def __init__(self, message: str, *, reason: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message, reason=reason)
        self.details = dict(details or {})


def check_format(rate: int, channels: int, *, expected: int) -> None:
    """Refuse sound that is not mono at the channel's rate. InputRefused."""
    if rate != expected or channels != 1:
        raise InputRefused(
            f"audio of {rate} Hz with {channels} channels was sent; this channel takes s16le mono at {expected} Hz",
            reason="audio_input_format_mismatch",
            details={
                "expected_sample_rate_hz": expected,
                "expected_channels": 1,
                "actual_sample_rate_hz": rate,
                "actual_channels": channels,
            },
        )


def check_text(text: str, waiting: int, limits: DoorLimits) -> None:
    """Refuse more than a channel may have waiting: `waiting` turns stand in its line. InputRefused."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limits.max_text_bytes:
        raise InputRefused(
            f"a text of {size} bytes; the most is {limits.max_text_bytes}",
            reason="input_too_large",
            details={"actual_bytes": size, "max_bytes": limits.max_text_bytes},
        )
    if waiting >= limits.max_turns_waiting:
        raise InputRefused(
            f"{waiting} turns wait for their answers already; wait until some have been answered",
            reason="input_backpressured",
            details={"max_pending_bytes": limits.max_turns_waiting * limits.max_text_bytes},
        )


@define(slots=True)
class PictureBook:
    """The pictures that one session was shown by doors. Only their digests are kept."""

    _limits: DoorLimits
    _digests: dict[str, bytes] = field(factory=dict)
    _total: int = 0

    def check(self, key: str, image: Image) -> bool:
        """Whether this picture is new. InputRefused for one that may not be shown."""
        limits = self._limits
        size = len(key.encode("utf-8", "surrogatepass"))
        if not 0 < size <= limits.max_image_key_bytes:
            raise InputRefused(
                f"an idempotency key has 1 to {limits.max_image_key_bytes} bytes, not {size}",
                reason="image_input_idempotency_key_invalid",
                details={"actual_bytes": size, "max_bytes": limits.max_image_key_bytes},
            )
        try:
            check_picture(image, limits, mime_field="mime", data_field="data")
        except PictureRefused as error:
            raise InputRefused(error.what, reason=f"image_input_{error.reason}", details=error.details) from None
        known = self._digests.get(key)
        if known is not None and known != _digest(image):
            raise InputRefused(
                f"another picture was shown with the key {key!r}; a new picture needs a new key",
                reason="image_input_idempotency_conflict",
            )
        full = self._total + len(image.data) > limits.max_images_bytes or len(self._digests) >= limits.max_images
        if known is None and full:
            raise InputRefused(
                f"a session is shown pictures of {limits.max_images_bytes} bytes, and {limits.max_images} of them, "
                "at most",
                reason="image_input_history_budget_exceeded",
                details={"max_decoded_bytes": limits.max_images_bytes},
            )
        return known is None

    def note(self, key: str, image: Image) -> None:
        """The picture was shown."""
        self._digests[key] = _digest(image)
        self._total += len(image.data)


def _digest(image: Image) -> bytes:
    return hashlib.sha256(image.mime.encode() + b"\0" + image.data).digest()
