"""Pictures as clients of any door send them, judged once: by kind, size, and what the bytes say that they are.

A refusal says which of these it is (`PictureRefused.reason`), so that a door can put it into the words of its own
protocol. Whether a member's model sees pictures at all is asked here too: a model that sees none would be shown
nothing, and its member's answer would be a lie.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from mob.errors import CapabilityUnavailable, RequestInvalid
from mob.server.limits import DoorLimits
from mob.team.handles import MemberHandle
from mob.values import Image

PictureFault = Literal["unsupported_mime", "invalid_base64", "too_large", "content_mismatch"]

_SIGNATURES: Final = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_ALIASES: Final = {"image/jpg": "image/jpeg"}


class PictureRefused(RequestInvalid):
    """A picture that is not taken. `details`: what the reason is about, by field."""

    def __init__(
        self, what: str, *, field: str, reason: PictureFault, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"`{field}`: {what}", field=field)
        self.what = what
        self.reason = reason
        self.details = dict(details or {})


def read_picture(mime: str, text: str, limits: DoorLimits, *, mime_field: str, data_field: str) -> Image:
    """The picture whose kind is `mime` and whose base64 is `text`; the fields are where they stand. PictureRefused."""
    _check_kind(mime, mime_field)
    if len(text) * 3 // 4 > limits.max_image_bytes + 3:  # before it is decoded
        raise _too_large(len(text) * 3 // 4, limits, data_field)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PictureRefused("the picture is not base64", field=data_field, reason="invalid_base64") from None
    return check_picture(Image(mime, data), limits, mime_field=mime_field, data_field=data_field)


def read_data_uri(uri: str, limits: DoorLimits, *, field: str) -> Image:
    """The picture in a `data:image/…;base64,` URI; nothing is fetched. PictureRefused."""
    head, comma, text = uri.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64").casefold()
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise PictureRefused(
            "pictures come as data URLs, data:image/png;base64,… or image/jpeg; none is fetched",
            field=field,
            reason="unsupported_mime",
            details={"mime_type": head[:60]},
        )
    return read_picture(_ALIASES.get(kind, kind), text, limits, mime_field=field, data_field=field)


def check_picture(image: Image, limits: DoorLimits, *, mime_field: str, data_field: str) -> Image:
    """The picture, which is what it says that it is, and no larger than it may be. PictureRefused."""
    _check_kind(image.mime, mime_field)
    if len(image.data) > limits.max_image_bytes:
        raise _too_large(len(image.data), limits, data_field)
    if not image.data.startswith(_SIGNATURES[image.mime]):
        raise PictureRefused(
            f"these bytes are no {image.mime}",
            field=data_field,
            reason="content_mismatch",
            details={"mime_type": image.mime},
        )
    return image


def check_together(images: Iterable[Image], limits: DoorLimits, *, field: str) -> None:
    """Refuse more than may be shown at once. PictureRefused."""
    size = sum(len(image.data) for image in images)
    if size > limits.max_images_bytes:
        raise PictureRefused(
            f"{size} bytes of pictures; the most is {limits.max_images_bytes} together",
            field=field,
            reason="too_large",
            details={"actual_bytes": size, "max_bytes": limits.max_images_bytes},
        )


def check_sees(member: MemberHandle, images: Sequence[Image], *, field: str) -> None:
    """CapabilityUnavailable for pictures that the member's model does not see; it would be said nothing of them."""
    if images and "image" not in member.model.input_modalities:
        raise CapabilityUnavailable(
            f"`{field}`: {member.identity} speaks with {member.model.id}, which sees no images", field=field
        )


def _check_kind(mime: str, field: str) -> None:
    if mime not in _SIGNATURES:
        raise PictureRefused(
            f"pictures are {' or '.join(_SIGNATURES)}, not {mime[:60]!r}",
            field=field,
            reason="unsupported_mime",
            details={"mime_type": mime},
        )


def _too_large(size: int, limits: DoorLimits, field: str) -> PictureRefused:
    most = limits.max_image_bytes
    return PictureRefused(
        f"a picture of {size} bytes; the most is {most}",
        field=field,
        reason="too_large",
        details={"actual_bytes": size, "max_bytes": most},
    )
