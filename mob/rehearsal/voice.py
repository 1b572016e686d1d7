"""Tone speech: text as audible sound that can be read back exactly.

Theory. Every UTF-8 byte of the text is one *syllable* of 1600 samples at 24 kHz (66.7 ms, so 15 characters a second
for plain letters; a character of two to four bytes takes as many syllables). A syllable is two notes of 800 samples,
the high and then the low half of the byte, each one of sixteen notes of a pentatonic scale between 390 and 3150 Hz.
A *breath* of 800 samples, a rising glide, comes before the first syllable of every utterance. The listener finds
breaths by normalised correlation, which gives the start to the sample whatever the gain, and reads syllables from
there until the sound is no longer a note, ends, or another breath begins. Two things follow, and are tested:
`hear(speak(t)) == t` for every text, and `hear(speak(t)[:n])` is exactly the characters wholly inside the prefix,
so sound that was played can be compared with what a history says was heard.

All sound here is PCM16 little-endian mono. Lengths are bytes, samples or milliseconds, as the name says.
"""

from __future__ import annotations

import codecs
import functools
import itertools
from typing import Protocol

import numpy as np
import numpy.typing as npt

RATE = 24000
"""The native rate, Hz."""

_NOTE = 800
_SYLLABLE = 2 * _NOTE
_BREATH = 800
_RAMP = 72
_LOUDNESS = 8000.0
_SCALE = (390, 450, 525, 585, 660, 780, 885, 1050, 1170, 1320, 1560, 1755, 2100, 2340, 2640, 3150)

_BREATH_MATCH = 0.55
"""Correlation above which sound is a breath. At 0 dB signal to noise a true one still has 0.7; notes reach 0.3."""
_NOTE_PURITY = 0.3
"""Share of a note's energy that must lie in its one frequency. White noise has less than 0.02."""
_QUARTER_SHARE = 0.02
"""Least share of a note's energy in each quarter of it: a note that was cut off and padded with silence is no note."""

Samples = npt.NDArray[np.float64]


class Voice(Protocol):
    """Something that speaks. Chosen by `open_rehearsal(voice=…)`; ToneVoice unless said otherwise."""

    @property
    def decodable(self) -> bool:
        """Whether `hear` can read this voice back."""
        ...

    async def say(self, text: str, rate: int) -> bytes:
        """`text` as PCM16 mono at `rate` Hz."""
        ...


class ToneVoice:
    """Tone speech as a Voice."""

    @property
    def decodable(self) -> bool:
        """Always: this is what tone speech is for."""
        return True

    async def say(self, text: str, rate: int = RATE) -> bytes:
        """See `speak`."""
        return speak(text, rate)


def _envelope(length: int) -> Samples:
    """Soft edges, so that notes do not click."""
    shape = np.ones(length)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_RAMP) + 0.5) / _RAMP)
    shape[:_RAMP] = ramp
    shape[-_RAMP:] = ramp[::-1]
    return shape


@functools.cache
def _notes() -> Samples:
    """The sixteen notes, (16, 800)."""
    t = np.arange(_NOTE) / RATE
    return np.stack([_LOUDNESS * _envelope(_NOTE) * np.sin(2 * np.pi * f * t) for f in _SCALE])


@functools.cache
def _probe() -> npt.NDArray[np.complex128]:
    """What a note is compared with, (800, 16): the complex amplitude at each frequency of the scale."""
    t = np.arange(_NOTE)[:, None] / RATE
    probe: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * t * np.array(_SCALE)[None, :])
    return probe


@functools.cache
def _breath() -> Samples:
    """A glide from 500 to 3000 Hz, (800,)."""
    t = np.arange(_BREATH) / RATE
    length = _BREATH / RATE
    return _LOUDNESS * _envelope(_BREATH) * np.sin(2 * np.pi * (500 * t + (3000 - 500) * t * t / (2 * length)))


@functools.cache
def _syllables() -> npt.NDArray[np.int16]:
    """Every syllable ready to be said, (256, 1600)."""
    notes = _notes()
    table = np.empty((256, _SYLLABLE), dtype="<i2")
    for byte in range(256):
        table[byte, :_NOTE] = np.rint(notes[byte >> 4])
        table[byte, _NOTE:] = np.rint(notes[byte & 15])
    return table


def _utf8(text: str) -> bytes:
    """The bytes that are spoken; a lone surrogate, which no wire can carry, becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def speak(text: str, rate: int = RATE) -> bytes:
    """`text` as tone speech: PCM16 mono at `rate` Hz, about 15 characters a second. No text, no sound."""
    if not text:
        return b""
    spoken = _syllables()[np.frombuffer(_utf8(text), dtype=np.uint8)].reshape(-1)
    pcm = _pcm(_breath()) + bytes(spoken.data)
    return pcm if rate == RATE else resample(pcm, RATE, rate)


def hear(pcm: bytes, rate: int = RATE) -> str:
    """The tone speech in `pcm`, which may stand anywhere in silence, noise or other sound, at any loudness.

    Several utterances are read one after the other, without anything between them. A character counts when all of
    its sound is there. A last odd byte is ignored. Nothing recognisable gives "".
    """
    sound = _samples(pcm) if rate == RATE else _at_native_rate(pcm, rate)
    starts = _find_breaths(sound)
    heard = []
    for start, end in itertools.pairwise([*starts, len(sound)]):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        heard.append(decoder.decode(_read_syllables(sound[start + _BREATH : end])))
    return "".join(heard)


def spans_ms(text: str) -> list[tuple[float, float]]:
    """For each character, when its sound begins and ends, in ms from the start of `speak(text)`."""
    spans = []
    at = _BREATH
    for character in text:
        end = at + _SYLLABLE * len(_utf8(character))
        spans.append((at * 1000 / RATE, end * 1000 / RATE))
        at = end
    return spans


def duration_ms(text: str) -> float:
    """How long `speak(text)` is."""
    return (_BREATH + _SYLLABLE * len(_utf8(text))) * 1000 / RATE if text else 0.0


def said_within(text: str, ms: float) -> str:
    """The characters of `text` wholly contained in the first `ms` of `speak(text)`."""
    count = sum(1 for _, end in spans_ms(text) if end <= ms + 1e-9)
    return text[:count]


def resample(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    """PCM16 mono at another rate, by linear interpolation: enough for notes, which lie below 3.2 kHz."""
    sound = _samples(pcm)
    if from_rate == to_rate or not len(sound):
        return _pcm(sound)
    length = round(len(sound) * to_rate / from_rate)
    at = np.arange(length) * (from_rate / to_rate)
    return _pcm(np.interp(at, np.arange(len(sound)), sound))


def _pcm(sound: Samples) -> bytes:
    return bytes(np.rint(sound).astype("<i2").data)


def _at_native_rate(pcm: bytes, rate: int) -> Samples:
    """Resampled for reading, with grace at the end for what rounding to whole samples took, there and back."""
    grace = 2 + 2 * RATE // rate
    return np.concatenate([_samples(resample(pcm, rate, RATE)), np.zeros(grace)])


def _samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, dtype="<i2", count=len(pcm) // 2).astype(np.float64)


def _find_breaths(sound: Samples) -> list[int]:
    """Where utterances begin, in samples, in order."""
    if len(sound) < _BREATH:
        return []
    match = _correlate(sound, _breath())
    starts: list[int] = []
    for at in np.flatnonzero(match > _BREATH_MATCH).tolist():
        if starts and at - starts[-1] < _BREATH:
            if match[at] > match[starts[-1]]:
                starts[-1] = at
        else:
            starts.append(at)
    return starts


def _correlate(sound: Samples, pattern: Samples) -> Samples:
    """Normalised correlation, -1..1, of `pattern` with `sound` at every start where it fits."""
    size = 1 << (len(sound) + len(pattern) - 1).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(pattern, size))
    raw = np.fft.irfft(spectrum, size)[: len(sound) - len(pattern) + 1]
    energy = np.concatenate([[0.0], np.cumsum(sound * sound)])
    here = energy[len(pattern) :] - energy[: -len(pattern)]
    floor = len(pattern) * 4.0  # two units of sample: digital silence must not divide by nothing
    result: Samples = raw / np.sqrt(np.maximum(here, floor) * float(pattern @ pattern))
    return result


def _read_syllables(sound: Samples) -> bytes:
    """Syllables from the start of `sound` up to the first thing that is none."""
    count = len(sound) // _SYLLABLE
    notes = sound[: count * _SYLLABLE].reshape(-1, _NOTE)
    if not len(notes):
        return b""
    power = np.abs(notes @ _probe()) ** 2
    energy = np.maximum((notes * notes).sum(axis=1), _NOTE * 4.0)
    best = power.argmax(axis=1)
    purity = power.max(axis=1) / (energy * _NOTE / 2)
    quarters = (notes * notes).reshape(-1, 4, _NOTE // 4).sum(axis=2).min(axis=1) / energy
    good = ((purity > _NOTE_PURITY) & (quarters > _QUARTER_SHARE)).reshape(-1, 2).all(axis=1)
    until = count if good.all() else int(good.argmin())
    values = (best[0::2] * 16 + best[1::2])[:until]
    return bytes(values.astype(np.uint8))
