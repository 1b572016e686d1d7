"""How a spoken answer goes over the wire: words ahead of sound, sound in even pieces, faster than it is played."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import field, frozen

_WORD = re.compile(r"\s*\S+|\s+$")


@frozen(slots=True)
class Words:
    """More of the transcript."""

    delta: str


@frozen(slots=True)
class Sound:
    """More audio, PCM16 mono; `ms` long."""

    pcm: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    ms: float


Step = Words | Sound


def words_of(text: str) -> list[str]:
    """The text in pieces of one word each, with the space before it; together they are the text again."""
    return _WORD.findall(text) or ([text] if text else [])


def spoken_steps(text: str, pcm: bytes, *, rate: int, chunk_ms: int, lead_ms: float) -> Iterator[Step]:
    """What to send for `text` said as `pcm`, in order.

    Each word comes before its own sound, `lead_ms` early when there is so much; sound comes in pieces of `chunk_ms`.
    """
    words = words_of(text)
    size = 2 * rate * chunk_ms // 1000
    length_ms = len(pcm) / 2 * 1000 / rate
    units = max(1, len(text.encode("utf-8", "replace")))
    said, sent_ms = 0, 0.0
    for start in range(0, len(pcm), size):
        chunk = pcm[start : start + size]
        ends_ms = sent_ms + len(chunk) / 2 * 1000 / rate
        while words and said * length_ms / units <= ends_ms + lead_ms:
            yield Words(words[0])
            said += len(words.pop(0).encode("utf-8", "replace"))
        yield Sound(chunk, ends_ms - sent_ms)
        sent_ms = ends_ms
    yield from map(Words, words)
