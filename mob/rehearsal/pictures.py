"""What the rehearsed model can tell of a picture: its kind and its size, from the first bytes of the file."""

from __future__ import annotations

import base64
import binascii
import struct

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})


def describe_picture(url: str) -> str:
    """A few words about the picture behind a `data:` URL; about the URL when it is another kind."""
    head, comma, payload = url.partition(",")
    if not comma or not head.startswith("data:") or ";base64" not in head:
        return "a picture at an address I cannot open"
    try:
        data = base64.b64decode(payload + "=" * (-len(payload) % 4), validate=False)
    except (binascii.Error, ValueError):
        return "a picture that cannot be read"
    kind, size = _kind_and_size(data)
    weight = f"{len(data)} bytes" if len(data) < 10_000 else f"{len(data) // 1000} kB"
    return f"{kind} of {size[0]} by {size[1]} pixels, {weight}" if size else f"{kind}, {weight}"


def _kind_and_size(data: bytes) -> tuple[str, tuple[int, int] | None]:
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return "a PNG picture", (width, height)
    if data.startswith(b"\xff\xd8"):
        return "a JPEG picture", _jpeg_size(data)
    return "a picture of a kind I do not know", None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk the segments to the frame header."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] in _JPEG_SIZES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None
