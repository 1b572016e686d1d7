"""What a client says, as Meerkat's clients write it: plain text, or a list of blocks of text and pictures."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any, Final

from attrs import frozen

from mob.errors import CapabilityUnavailable
from mob.server.limits import DoorLimits
from mob.server.params import Params
from mob.server.pictures import check_together, read_picture
from mob.values import Image

_MAX_BLOCKS: Final = 256
_MAX_TEXT: Final = 4_000_000


@frozen(slots=True)
class Content:
    """A text and pictures."""

    text: str = ""
    images: tuple[Image, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.images)

    def digest(self) -> bytes:
        """What stands for it where it need not be kept: the same for the same text and pictures, and for no others."""
        parts = [self.text.encode()]
        for image in self.images:
            parts += [image.mime.encode(), image.data]
        whole = hashlib.sha256()
        for part in parts:
            whole.update(len(part).to_bytes(8, "big"))
            whole.update(part)
        return whole.digest()


def content(params: Params, name: str, limits: DoorLimits) -> Content:
    """What must be there, though it may be empty. RequestInvalid, CapabilityUnavailable."""
    found = maybe_content(params, name, limits)
    if found is None:
        raise params.wrong(name, "is missing")
    return found


def maybe_content(params: Params, name: str, limits: DoorLimits) -> Content | None:
    """What was said, or None when it is not given. RequestInvalid, CapabilityUnavailable."""
    value = params.values.get(name)
    return None if value is None else read_content(params, name, value, limits)


def contents(params: Params, name: str, limits: DoorLimits) -> list[Content]:
    """A list of such, empty when it is not given."""
    values = enumerate(params.items(name, most=_MAX_BLOCKS))
    return [read_content(params, f"{name}[{i}]", value, limits) for i, value in values]


def read_content(params: Params, name: str, value: Any, limits: DoorLimits) -> Content:
    """What this value says, that stands at `name` of `params`."""
    if isinstance(value, str):
        return Content(_text(params, name, value))
    if not isinstance(value, list):
        raise params.wrong(name, "must be a string, or a list of content blocks")
    if len(value) > _MAX_BLOCKS:
        raise params.wrong(name, f"has {len(value)} blocks; the most is {_MAX_BLOCKS}")
    texts: list[str] = []
    images: list[Image] = []
    for index, entry in enumerate(value):
        at = f"{name}[{index}]"
        if not isinstance(entry, dict):
            raise params.wrong(at, "must be a content block, an object with a `type`")
        block = Params(entry, params.where(at))
        kind = block.text("type")
        if kind == "text":
            texts.append(_text(block, "text", block.maybe_text("text", most=_MAX_TEXT) or ""))
        elif kind == "image":
            images.append(_image(block, limits))
        elif kind in ("video", "audio"):
            raise CapabilityUnavailable(
                f"`{block.path}`: this server takes no {kind} here; send speech over a live channel",
                field=block.path,
            )
        else:
            raise block.wrong("type", f"must be text or image, not {kind[:60]!r}")
    check_together(images, limits, field=params.where(name))
    return Content("\n".join(texts), tuple(images))


def _text(params: Params, name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise params.wrong(name, f"has half a surrogate pair at character {error.start}") from None
    return text


def _image(block: Params, limits: DoorLimits) -> Image:
    source = block.text("source")
    if source == "blob":
        raise CapabilityUnavailable(
            f"`{block.path}`: this server keeps no blobs; send the picture inline", field=block.path
        )
    if source != "inline":
        raise block.wrong("source", f"must be inline or blob, not {source[:60]!r}")
    return read_picture(
        block.text("media_type"),
        block.text("data", most=limits.max_request_bytes),
        limits,
        mime_field=block.where("media_type"),
        data_field=block.where("data"),
    )


def decoded(params: Params, name: str, *, most: int) -> bytes:
    """Base64 that must be there, as bytes. RequestInvalid, also for more than `most` of them."""
    text = params.text(name, most=most * 2)
    if len(text) * 3 // 4 > most + 3:
        raise params.wrong(name, f"is about {len(text) * 3 // 4} bytes; the most is {most}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise params.wrong(name, "is not base64") from None
