"""What a client's items hold: pictures in data URIs."""

from __future__ import annotations

from mob.errors import RequestInvalid
from mob.providers.openai_realtime.base64audio import decode_base64
from mob.values import Image


def image_of(uri: str, *, max_bytes: int) -> Image:
    """The picture in a `data:image/…;base64,` URI, whose beginning the protocol has looked at. RequestInvalid."""
    head, _, payload = uri.partition(",")
    mime = head.removeprefix("data:").removesuffix(";base64")
    if len(payload) * 3 // 4 > max_bytes:
        raise RequestInvalid(f"the picture has more than {max_bytes} bytes; send a smaller one", field="image_url")
    try:
        data = decode_base64(payload, field="image_url")
    except ValueError:
        data = b""
    if not data:
        raise RequestInvalid("the picture is empty", field="image_url")
    return Image(mime, data)
