"""How much of a spoken answer's words was heard, when it is known how many milliseconds of its sound were played.

Theory. Providers send sound and words as two streams without time stamps between them, and what they send early is no
measure of what is said early: words run ahead of sound, by seconds. Three facts are to be had, and the estimate stands
on nothing else.

1. *A word is not spoken before it is known.* A transcript delta that arrives when `a` ms of sound are here belongs to
   sound after `a`. So at `a` ms at most the words before it can have been heard: a ceiling (a, words so far).
2. *When the sound has ended of its own accord, all words are in it.* That gives the far end: (whole length, all words).
3. *People and machines speak at a rate.* Until the far end is known, nobody hears words faster than the voice has
   spoken in its finished answers, and 15 letters a second before it has finished any.

Between these points speech is taken to be even, so the words heard at `t` ms are the greatest convex curve from (0, 0)
that passes no ceiling and ends at the far end, or climbs no faster than the rate where there is no far end yet. The
curve is non-decreasing, so more sound is never fewer words (law 4). A voice that pauses early is followed exactly; one
that pauses late is credited a little less than was heard, never more.

A provider whose words trail its sound breaks fact 1. It gives itself away at the end: more words came late than the
sound that was left can hold at three times the rate. Its ceilings are then dropped, and evenness alone decides.

Words are measured in bytes of UTF-8: a Latin letter is 1 and a Chinese character 3, which is about how long they take
to say. The position found is rounded down to a whole word, one unit short of it being decisive (a word counts when the
space behind it was heard as well), and to a whole character in scripts that put no spaces between words. The last word
counts when all of the sound was played.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from itertools import pairwise

from attrs import frozen

_PRIOR_UNITS_PER_S = 15.0
_PRIOR_S = 5.0
"""The rate before anything is known, and how many seconds of speech that belief is worth."""
_MARGIN_UNITS = 1.0
"""How far past a word's end the position must be."""
_HASTE = 3.0
_LATE_UNITS = 8.0
"""Nobody speaks faster than this many times the rate; and a last word or a full stop may come late."""


class SpeechRate:
    """How fast one voice speaks, learned from its finished answers. Share one between the items of a channel."""

    def __init__(self) -> None:
        self._units = _PRIOR_UNITS_PER_S * _PRIOR_S
        self._ms = 1000.0 * _PRIOR_S

    @property
    def units_per_ms(self) -> float:
        """Bytes of UTF-8 per millisecond: the prior counts as five seconds of speech."""
        return self._units / self._ms

    def learn(self, text: str, ms: float) -> None:
        """`text` took `ms` milliseconds to say, from beginning to end."""
        if text and ms > 0:
            self._units += _units(text)
            self._ms += ms


@frozen(slots=True)
class _Point:
    """At `ms` of sound, at most (or, at the far end, exactly) `units` of text have been said."""

    ms: float
    units: float


class HeardText:
    """The words and the sound of one item as they arrive, and how many of the words a listener has heard.

    Feed it in the order of arrival: `transcript` and `audio` for each delta, `final_transcript` when the whole text
    comes, `end` when the item is done. Ask `heard_prefix` at any time.
    """

    def __init__(self, rate: SpeechRate | None = None) -> None:
        self._rate = rate or SpeechRate()
        self._text = ""
        self._said_units = 0.0
        self._ceilings = [_Point(0.0, 0.0)]
        self._generated_ms = 0.0
        self._complete = False
        self._stops: tuple[list[float], list[int]] | None = None

    @property
    def text(self) -> str:
        """All words known so far, heard or not."""
        return self._text

    @property
    def generated_ms(self) -> float:
        """How much sound has arrived, milliseconds."""
        return self._generated_ms

    @property
    def complete(self) -> bool:
        """Whether the provider finished the item of its own accord, so that its sound holds all of its words."""
        return self._complete

    def transcript(self, delta: str) -> None:
        """More words, with the sound that is here now as their time stamp."""
        if not delta:
            return
        _bend(self._ceilings, _Point(self._generated_ms, self._said_units))
        self._text += delta
        self._said_units += _units(delta)
        self._stops = None

    def final_transcript(self, text: str) -> None:
        """The whole text. It replaces the deltas; their time stamps are kept in proportion."""
        if text == self._text or not text:
            return
        if self._said_units and not text.startswith(self._text):
            scale = _units(text) / self._said_units
            self._ceilings = [_Point(point.ms, point.units * scale) for point in self._ceilings]
        self._text = text
        self._said_units = float(_units(text))
        self._stops = None

    def audio(self, ms: float) -> None:
        """`ms` milliseconds more of sound."""
        self._generated_ms += ms

    def end(self, *, complete: bool) -> None:
        """No more sound. `complete` is True when the provider finished the item, False when it was cut or cancelled.

        Call it once the words are final too: a complete item teaches the voice's rate.
        """
        if complete and not self._complete:
            self._complete = True
            self._rate.learn(self._text, self._generated_ms)

    def heard_prefix(self, heard_ms: float) -> str:
        """The beginning of the text that lies within the first `heard_ms` milliseconds of the sound.

        Empty at 0; grows with `heard_ms`; ends at a word; the whole text when (and only when) the item is complete
        and all of its sound was played, to the millisecond.
        """
        if heard_ms <= 0 or not self._generated_ms:
            return ""
        if self._complete and heard_ms >= int(self._generated_ms):
            return self._text
        units, offsets = self._word_stops()
        passed = bisect_right(units, self._units_said_at(min(heard_ms, self._generated_ms)) - _MARGIN_UNITS)
        return self._text[: offsets[passed - 1]] if passed else ""

    def _word_stops(self) -> tuple[list[float], list[int]]:
        """Where the text may be cut: the units before each stop, and its offset, both rising."""
        if self._stops is None:
            self._stops = _find_stops(self._text)
        return self._stops

    def _units_said_at(self, ms: float) -> float:
        """The curve of the theory at `ms`, which lies within the sound."""
        curve = [_Point(0.0, 0.0)] if self._complete and self._words_trail() else list(self._ceilings)
        _bend(curve, _Point(self._generated_ms, self._said_units))
        steepest = float("inf") if self._complete else self._rate.units_per_ms
        said = 0.0
        for before, after in pairwise(curve):
            slope = min((after.units - before.units) / (after.ms - before.ms), steepest)
            said += slope * (min(ms, after.ms) - before.ms)
            if ms <= after.ms:
                break
        return said

    def _words_trail(self) -> bool:
        """Whether, going by the ceilings, the end was spoken faster than anybody speaks (a late word apart)."""
        fastest = _HASTE * self._rate.units_per_ms
        return any(
            self._said_units - point.units > fastest * (self._generated_ms - point.ms) + _LATE_UNITS
            for point in self._ceilings[1:]
        )


def _bend(curve: list[_Point], point: _Point) -> None:
    """Bring a convex curve to `point`, which lies to its right: whatever would stand above the way there goes."""
    if point.ms <= curve[-1].ms:
        return
    while len(curve) > 1:
        before, last = curve[-2], curve[-1]
        if (last.units - before.units) * (point.ms - last.ms) < (point.units - last.units) * (last.ms - before.ms):
            break
        curve.pop()
    curve.append(point)


# -- text --------------------------------------------------------------------------------------------------------------


def _units(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _find_stops(text: str) -> tuple[list[float], list[int]]:
    """The ends of words, and of characters where no spaces part the words, but never inside a character."""
    units: list[float] = []
    offsets: list[int] = []
    said = 0
    for offset, character in enumerate(text):
        if offset and _may_cut(text, offset):
            units.append(said)
            offsets.append(offset)
        said += _units(character)
    return units, offsets


def _may_cut(text: str, offset: int) -> bool:
    """Whether text[:offset] ends in a whole word. The end of the text is for the caller to judge."""
    before, after = text[offset - 1], text[offset]
    if before.isspace():
        return False
    if after.isspace():
        return True
    return not _joins(text, offset) and (_stands_alone(before) or _stands_alone(after))


def _joins(text: str, offset: int) -> bool:
    """Whether the character at `offset` belongs to the one before it (a mark, a modifier, half of a flag)."""
    after = text[offset]
    if unicodedata.category(after).startswith("M") or after == _JOINER or text[offset - 1] == _JOINER:
        return True
    if _SKIN_TONES[0] <= after <= _SKIN_TONES[1]:
        return True
    if not _is_flag_half(after):
        return False
    run = offset
    while run and _is_flag_half(text[run - 1]):
        run -= 1
    return (offset - run) % 2 == 1


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _stands_alone(character: str) -> bool:
    """Whether words of this script follow one another without spaces (and for pictures)."""
    if character < "\u0e00":
        return False
    if any(first <= character <= last for first, last in _SPACELESS):
        return True
    spaced = any(first <= character <= last for first, last in _HANGUL)
    return not spaced and unicodedata.east_asian_width(character) in "WF"


_JOINER = "\u200d"
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
_SPACELESS = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"))
"""Thai and Lao, Burmese, Khmer."""
_HANGUL = (("\u1100", "\u11ff"), ("\u3130", "\u318f"), ("\ua960", "\ua97f"), ("\uac00", "\ud7ff"))
