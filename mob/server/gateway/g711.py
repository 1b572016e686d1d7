"""Telephone sound: G.711 of a client, at 8 kHz, and the PCM16 at 24 kHz that members hear and speak.

Theory. G.711 is a table of 256 values, once for µ-law and once for A-law (ITU-T G.711); the way back is a table of all
65536 samples, made from the first by the nearest value. Between the rates lies a factor of three: upwards by straight
lines between the samples, downwards by the mean of each three, which is filter enough for speech. Both ways keep what
is left over between two pieces, so that a stream cut anywhere gives the same sound.
"""

from __future__ import annotations

import functools
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Law = Literal["audio/pcmu", "audio/pcma"]
Samples = npt.NDArray[np.int16]

_RATIO = 3


class Sound(Protocol):
    """One direction of a client's sound."""

    def turn(self, data: bytes) -> bytes:
        """More of it, in the other format."""
        ...


class Plain:
    """Both sides speak PCM16 at 24 kHz: nothing is done to it."""

    def turn(self, data: bytes) -> bytes:
        """As it came."""
        return data


class FromTelephone:
    """G.711 at 8 kHz to PCM16 at 24 kHz."""

    def __init__(self, law: Law) -> None:
        self._table = _decoding(law)
        self._last = 0.0

    def turn(self, data: bytes) -> bytes:
        """Three samples for each byte."""
        if not data:
            return b""
        sound = self._table[np.frombuffer(data, dtype=np.uint8)].astype(np.float64)
        known = np.concatenate([[self._last], sound])
        self._last = float(sound[-1])
        at = np.arange(1, _RATIO * len(sound) + 1) / _RATIO
        return bytes(np.rint(np.interp(at, np.arange(len(known)), known)).astype("<i2").data)


class ToTelephone:
    """PCM16 at 24 kHz to G.711 at 8 kHz."""

    def __init__(self, law: Law) -> None:
        self._table = _encoding(law)
        self._rest = b""

    def turn(self, data: bytes) -> bytes:
        """One byte for each three samples; what does not make three waits for the next piece."""
        data = self._rest + data
        size = len(data) // (2 * _RATIO) * (2 * _RATIO)
        self._rest = data[size:]
        sound = np.frombuffer(data[:size], dtype="<i2").reshape(-1, _RATIO).astype(np.int32)
        means = np.rint(sound.mean(axis=1)).astype(np.int32) if len(sound) else np.zeros(0, np.int32)
        return bytes(self._table[means + 32768].data)


def inwards(format_type: str) -> Sound:
    """From a client that sends `format_type` to a member."""
    return FromTelephone(_law(format_type)) if format_type != "audio/pcm" else Plain()


def outwards(format_type: str) -> Sound:
    """From a member to a client that wants `format_type`."""
    return ToTelephone(_law(format_type)) if format_type != "audio/pcm" else Plain()


def _law(format_type: str) -> Law:
    return "audio/pcma" if format_type == "audio/pcma" else "audio/pcmu"


@functools.cache
def _decoding(law: Law) -> Samples:
    """What each byte stands for, (256,)."""
    code = np.arange(256, dtype=np.int32)
    if law == "audio/pcmu":
        code = ~code & 0xFF
        sign, exponent, mantissa = code & 0x80, (code >> 4) & 7, code & 15
        value = (((mantissa << 3) + 132) << exponent) - 132
        return np.where(sign, -value, value).astype(np.int16)
    code ^= 0x55
    sign, exponent, mantissa = code & 0x80, (code >> 4) & 7, code & 15
    value = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 264) << np.maximum(exponent - 1, 0))
    return np.where(sign, value, -value).astype(np.int16)


@functools.cache
def _encoding(law: Law) -> npt.NDArray[np.uint8]:
    """The byte of the nearest value, for every sample from -32768, (65536,)."""
    values = _decoding(law).astype(np.int32)
    order = np.argsort(values, kind="stable")
    borders = (values[order][:-1] + values[order][1:]) / 2
    return order[np.searchsorted(borders, np.arange(-32768, 32768))].astype(np.uint8)
