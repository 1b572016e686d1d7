"""Audio as the OpenAI Realtime wire carries it: base64 of little-endian signed 16-bit samples.

We write the standard alphabet with padding. We read the standard and the URL-safe alphabet, padded or not, since
peers send both. With pybase64 installed the work is several times faster and the result is the same.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

from mob.errors import WireError

Decoder = Callable[[str | bytes], bytes]
Encoder = Callable[[bytes], str]

_URL_SAFE = str.maketrans("-_", "+/")


def _stdlib_decode(payload: str | bytes) -> bytes:
    if payload[-3:] in {"===", b"==="}:  # binascii takes four of them after a whole group; pybase64 does not
        raise binascii.Error("excess padding")
    return binascii.a2b_base64(payload, strict_mode=True)


def _stdlib_encode(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _choose() -> tuple[Decoder, Encoder]:
    try:
        import pybase64  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return _stdlib_decode, _stdlib_encode

    def decode(payload: str | bytes) -> bytes:
        data: bytes = pybase64.b64decode(payload, validate=True)
        return data

    def encode(data: bytes) -> str:
        text: str = pybase64.b64encode_as_string(data)
        return text

    return decode, encode


_decode, encode_base64 = _choose()


def decode_standard(payload: str | bytes) -> bytes | None:
    """The bytes of a padded, standard-alphabet payload; None when it is anything else."""
    if len(payload) % 4:
        return None
    try:
        return _decode(payload)
    except ValueError:  # binascii.Error is one, and so is the refusal of a string that is not ASCII
        return None


def decode_base64(payload: str, *, field: str) -> bytes:
    """The bytes of `payload` in either alphabet, padded or not. WireError naming `field` when it is not base64."""
    data = decode_standard(payload)
    if data is None:
        digits = payload.rstrip("=").translate(_URL_SAFE)
        data = decode_standard(digits + "=" * (-len(digits) % 4))
    if data is None:
        raise WireError(f"{field} is not base64.", field=field)
    return data
