"""Words go ahead of sound, and nothing is lost on the way."""

from hypothesis import given, settings, strategies as st

from mob.rehearsal.delivery import Sound, Words, spoken_steps, words_of
from mob.rehearsal.voice import RATE, hear, said_within, speak


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.integers(40, 200), st.integers(0, 2000))
def test_a_word_is_never_heard_before_it_was_written(text, chunk_ms, lead_ms):
    written, sound = "", b""
    for step in spoken_steps(text, speak(text), rate=RATE, chunk_ms=chunk_ms, lead_ms=lead_ms):
        match step:
            case Words(delta):
                written += delta
            case Sound(pcm, ms):
                sound += pcm
                assert ms <= chunk_ms
                assert written.startswith(said_within(text, len(sound) / 2 * 1000 / RATE))
    assert written == text
    assert hear(sound) == text


def test_words_are_ahead_by_the_lead():
    text = "one two three four five six seven eight nine ten"
    steps = list(spoken_steps(text, speak(text), rate=RATE, chunk_ms=100, lead_ms=1000))
    before_sound = [step.delta for step in steps[: next(i for i, s in enumerate(steps) if isinstance(s, Sound))]]
    assert "".join(before_sound) == "one two three four"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_the_pieces_are_the_text(text):
    assert "".join(words_of(text)) == text
