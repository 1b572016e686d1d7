"""Heard text: how many words of an answer lie within the sound that was played.

The truth these properties compare with is an even voice: after a breath, fifteen bytes of UTF-8 a second.
"""

import unicodedata
from itertools import pairwise

import pytest
from attrs import frozen
from hypothesis import given, settings, strategies as st
from strategies_history import words

from mob.history.heard import HeardText, SpeechRate

BREATH_MS = 1000 / 30
UNIT_MS = 1000 / 15


def length_ms(text):
    return BREATH_MS + UNIT_MS * len(text.encode()) if text else 0.0


def said_within(text, ms):
    """The whole characters of `text` that the even voice has said after `ms`."""
    return next((text[:n] for n in range(len(text), 0, -1) if length_ms(text[:n]) <= ms + 1e-6), "")


@frozen
class Delivery:
    """A text, and how a provider delivers it: str for words, float for milliseconds of sound."""

    text: str
    parts: tuple[str | float, ...]
    complete: bool

    @property
    def generated_ms(self):
        return sum(part for part in self.parts if isinstance(part, float))


@st.composite
def deliveries(draw, texts=words, trailing=False):
    """Words run ahead of sound by anything from nothing to all of it (or trail it), in pieces of any size."""
    text = draw(texts)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)) | {0, len(text)})
    lead_ms = draw(st.sampled_from([0.0, 0.0, 100.0, 2000.0, 1e9]))
    shift = lead_ms if trailing else -lead_ms
    timed = [(max(length_ms(text[:a]) + shift, 0.0), text[a:b]) for a, b in pairwise(cuts)]
    step = draw(st.sampled_from([20.0, 40.0, 210.0, 1e9]))
    parts, at, whole = [], 0.0, length_ms(text)
    while at < whole:
        parts.extend(delta for due, delta in timed if due <= at)
        timed = [(due, delta) for due, delta in timed if due > at]
        chunk = min(step, whole - at, *(due - at for due, _ in timed))
        parts.append(chunk)
        at += chunk
    parts.extend(delta for _, delta in timed)
    complete = draw(st.booleans())
    if not complete:
        parts = parts[: draw(st.integers(0, len(parts)))]
    return Delivery(text, tuple(parts), complete)


def deliver(implementation, delivery):
    heard = implementation()
    for part in delivery.parts:
        if isinstance(part, str):
            heard.transcript(part)
        else:
            heard.audio(part)
    if delivery.complete:
        heard.final_transcript(delivery.text)
    heard.end(complete=delivery.complete)
    return heard


def check_law_04(implementation, delivery, cuts_ms, missing_words=None):
    """The text is whole words of what had been said, it grows with the sound, and it is all when all was played."""
    heard = deliver(implementation, delivery)
    generated = int(delivery.generated_ms)
    before = ""
    for cut_ms in sorted(min(cut, generated) for cut in cuts_ms):
        prefix = heard.heard_prefix(cut_ms)
        said = said_within(delivery.text, cut_ms)
        if delivery.complete and cut_ms == generated:
            said = delivery.text
        assert said.startswith(prefix), f"{prefix!r} is claimed and {said!r} was said"
        assert prefix == delivery.text[: len(prefix)]
        assert prefix == delivery.text or not prefix or ends_a_word(delivery.text, len(prefix)), f"{prefix!r} is torn"
        assert prefix.startswith(before), "more sound gave fewer words"
        before = prefix
        if missing_words is not None and "".join(p for p in delivery.parts if isinstance(p, str)).startswith(said):
            assert len(said.split()) - len(prefix.split()) <= missing_words, f"{prefix!r} of {said!r}"
    assert heard.heard_prefix(0) == ""
    if delivery.complete:
        assert heard.heard_prefix(generated) == (delivery.text if generated else "")


def ends_a_word(text, offset):
    return text[offset].isspace() and not text[offset - 1].isspace()


cuts = st.lists(st.integers(0, 10_000), min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(delivery=deliveries(), cuts_ms=cuts)
def test_law_04_heard_text_is_what_the_sound_held(delivery, cuts_ms):
    """Words that run ahead: never a word too many, and at most two too few."""
    check_law_04(HeardText, delivery, cuts_ms, missing_words=2)


@settings(deadline=None, max_examples=100)
@given(delivery=deliveries(trailing=True), cuts_ms=cuts)
def test_law_04_words_that_trail_their_sound(delivery, cuts_ms):
    """Never a word too many; and once the answer is complete, few too few."""
    check_law_04(HeardText, delivery, cuts_ms, missing_words=6 if delivery.complete else None)


class NoRounding(HeardText):
    """The mutant: cuts words in two."""

    def _word_stops(self):
        return [float(n) for n in range(len(self.text))], list(range(len(self.text)))


class Everything(HeardText):
    """The mutant that most frameworks are: all words that came count as heard."""

    def heard_prefix(self, heard_ms):
        return self.text if heard_ms > 0 else ""


class Proportional(HeardText):
    """The mutant: spreads the words that came evenly over the sound that came."""

    def _units_said_at(self, ms):
        return self._said_units * ms / self._generated_ms


AHEAD = Delivery("one two three four five six seven", ("one two three four five six seven", 800.0), complete=False)


@pytest.mark.parametrize("mutant", [NoRounding, Everything, Proportional])
def test_law_04_mutant_is_caught(mutant):
    with pytest.raises(AssertionError):
        check_law_04(mutant, AHEAD, [200, 500, 730, 800])
    check_law_04(HeardText, AHEAD, [200, 500, 730, 800], missing_words=2)


def test_law_04_mutant_that_shrinks_is_caught():
    class Shrinking(HeardText):
        def heard_prefix(self, heard_ms):
            return super().heard_prefix(0 if heard_ms > 700 else heard_ms)

    with pytest.raises(AssertionError):
        check_law_04(Shrinking, AHEAD, [600, 790])


def even(text, *, complete=True):
    """All words first, then all sound."""
    return deliver(HeardText, Delivery(text, (text, length_ms(text)), complete))


def prefixes(text):
    """Every different thing that can be heard of an evenly spoken text."""
    heard = even(text)
    return list(dict.fromkeys(heard.heard_prefix(ms) for ms in [*range(0, int(length_ms(text)), 5), length_ms(text)]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, I never!", ["", "Well,", "Well, I", "Well, I never!"]),
        ("  so  what\n", ["", "  so", "  so  what\n"]),
        ("你好，世界", ["", "你", "你好", "你好，", "你好，世", "你好，世界"]),
        ("ok 你好", ["", "ok", "ok 你", "ok 你好"]),
        ("안녕 친구", ["", "안녕", "안녕 친구"]),
        ("สวัสดี ok", ["", "ส", "สวั", "สวัส", "สวัสดี", "สวัสดี ok"]),
        ("o\u0308de e\u0301t", ["", "o\u0308de", "o\u0308de e\u0301t"]),
        ("か\u3099く", ["", "か\u3099", "か\u3099く"]),
        ("👍🏽👍", ["", "👍🏽", "👍🏽👍"]),
        ("👩\u200d👧 👋", ["", "👩\u200d👧", "👩\u200d👧 👋"]),
        ("好🇩🇪🇫🇷好", ["", "好", "好🇩🇪🇫🇷", "好🇩🇪🇫🇷好"]),
    ],
)
def test_words_and_characters_are_never_torn(text, expected):
    assert prefixes(text) == expected


@settings(deadline=None, max_examples=100)
@given(text=st.text(min_size=1, max_size=20), share=st.floats(0, 1))
def test_any_text_is_cut_before_a_character_of_its_own(text, share):
    heard = HeardText()
    heard.transcript(text)
    heard.audio(1000.0)
    heard.end(complete=True)
    prefix = heard.heard_prefix(1000 * share)
    assert text.startswith(prefix)
    if prefix and prefix != text:
        assert not unicodedata.category(text[len(prefix)]).startswith("M")


def test_a_pause_before_the_words_is_not_counted_as_words():
    """The provider sent the second sentence when three seconds of sound were there already."""
    heard = HeardText()
    heard.transcript("Hm.")
    heard.audio(3000.0)
    heard.transcript(" Let me think about that for you.")
    heard.audio(2200.0)
    heard.end(complete=True)
    assert heard.heard_prefix(3000) == ""
    assert heard.heard_prefix(3300) == "Hm."
    assert heard.heard_prefix(4600) == "Hm. Let me think about"
    assert heard.heard_prefix(5200) == heard.text


def test_an_answer_cut_by_the_provider_does_not_count_its_unsaid_words():
    """Cancelled: all words came, half of the sound did, and all of that was played."""
    heard = even("one two three four", complete=False)
    half = HeardText()
    half.transcript("one two three four")
    half.audio(length_ms("one two three four") / 2)
    half.end(complete=False)
    assert half.heard_prefix(10_000) == "one two"
    assert heard.heard_prefix(10_000) != heard.text
    assert not half.complete


def test_the_final_transcript_replaces_the_words_and_keeps_their_time():
    heard = HeardText()
    heard.transcript("Wan ")
    heard.audio(2000.0)
    heard.transcript("too three")
    heard.audio(700.0)
    heard.final_transcript("One two three.")
    heard.end(complete=True)
    assert heard.text == "One two three."
    assert heard.heard_prefix(1800) == ""
    assert heard.heard_prefix(2400) == "One two"
    assert heard.heard_prefix(2700) == "One two three."


def test_only_a_final_transcript():
    heard = HeardText()
    heard.audio(length_ms("one two three"))
    heard.final_transcript("one two three")
    heard.end(complete=True)
    assert heard.heard_prefix(600) == "one two"


def test_nothing_was_generated_or_nothing_was_said():
    silent = HeardText()
    silent.transcript("words without sound")
    silent.end(complete=True)
    assert silent.heard_prefix(500) == ""
    wordless = HeardText()
    wordless.audio(500.0)
    wordless.end(complete=True)
    assert wordless.heard_prefix(500) == ""


def test_a_voice_that_is_slower_than_expected_is_learned():
    """After one finished answer at half the rate, an unfinished one is credited at about that rate."""
    text = "one two three four five six seven eight"
    rate = SpeechRate()
    before = rate.units_per_ms
    for _ in range(20):
        finished = HeardText(rate)
        finished.transcript(text)
        finished.audio(2 * length_ms(text))
        finished.end(complete=True)
        finished.end(complete=True)
    assert rate.units_per_ms == pytest.approx(before / 2, rel=0.1)
    cut = HeardText(rate)
    cut.transcript(text)
    cut.audio(3000.0)
    assert cut.heard_prefix(2000) == "one two three"
