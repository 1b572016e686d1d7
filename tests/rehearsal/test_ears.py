"""Turn detection by loudness: the same sound gives the same turns, however it comes in pieces."""

import itertools

import pytest
from hypothesis import given, settings, strategies as st

from mob.rehearsal.ears import Detection, Ears, IdleTimeout, SpeechStarted, SpeechStopped, detection_of
from mob.rehearsal.voice import hear, speak
from mob.values import TurnDetection

PROPERTY = settings(deadline=None, max_examples=60)
MS = 48  # bytes of PCM16 at 24 kHz


def silence(ms: int) -> bytes:
    return bytes(ms * MS)


def in_pieces(sound: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at, number = [], 0, 0
    while at < len(sound):
        size = sizes[number % len(sizes)]
        pieces.append(sound[at : at + size])
        at, number = at + size, number + 1
    return pieces


SCRIPTS = st.lists(st.tuples(st.text("abc xyz", min_size=1, max_size=5), st.integers(0, 1500)), min_size=1, max_size=4)


@PROPERTY
@given(SCRIPTS, st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_pieces_do_not_matter(script, sizes):
    sound = b"".join(speak(text) + silence(pause) for text, pause in script)
    whole = Ears(Detection()).feed(sound)
    ears = Ears(Detection())
    assert [e for piece in in_pieces(sound, sizes) for e in ears.feed(piece)] == whole


@PROPERTY
@given(SCRIPTS)
def test_starts_and_stops_alternate_and_each_turn_holds_its_words(script):
    sound = silence(700) + b"".join(speak(text) + silence(1000 + pause) for text, pause in script)
    events = Ears(Detection()).feed(sound)
    assert [type(e) for e in events] == [SpeechStarted, SpeechStopped] * len(script)
    for stopped, (text, _) in zip(events[1::2], script, strict=True):
        assert hear(sound[stopped.audio_start_ms * MS : stopped.audio_end_ms * MS]) == text
    spans = [(e.audio_start_ms, e.audio_end_ms) for e in events[1::2]]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_offsets_are_the_vendors():
    sound = silence(1000) + speak("hello there") + silence(1000)
    spoken = len(speak("hello there")) / MS
    started, stopped = Ears(Detection(prefix_padding_ms=300, silence_duration_ms=500)).feed(sound)
    assert abs(started.audio_start_ms - 700) <= 20
    assert abs(stopped.audio_end_ms - (1000 + spoken + 500)) <= 20


def test_a_pause_shorter_than_the_silence_duration_does_not_end_the_turn():
    sound = speak("one") + silence(300) + speak("two") + silence(600)
    assert len(Ears(Detection(silence_duration_ms=500)).feed(sound)) == 2
    assert len(Ears(Detection(silence_duration_ms=200)).feed(sound)) == 4


def test_silence_and_a_click_are_no_speech():
    click = silence(50) + (9000).to_bytes(2, "little") * 240 + silence(600)
    assert Ears(Detection()).feed(silence(3000) + click) == []


def test_a_higher_threshold_does_not_hear_what_is_quiet():
    quiet = b"".join(
        int(int.from_bytes(speak("psst")[i : i + 2], "little", signed=True) / 12).to_bytes(2, "little", signed=True)
        for i in range(0, len(speak("psst")), 2)
    )
    assert Ears(Detection(threshold=0.9)).feed(quiet + silence(600)) == []
    assert Ears(Detection(threshold=0.3)).feed(quiet + silence(600)) != []


def test_idle_time_runs_out_once_and_again_after_a_turn():
    ears = Ears(Detection(idle_timeout_ms=2000))
    assert ears.feed(silence(5000)) == [IdleTimeout(0, 2000)]
    events = ears.feed(speak("hello") + silence(4000))
    assert [type(e) for e in events] == [SpeechStarted, SpeechStopped, IdleTimeout]


def test_reset_forgets_a_turn_under_way():
    ears = Ears(Detection())
    assert len(ears.feed(speak("never mind"))) == 1
    assert ears.speaking
    ears.reset()
    assert not ears.speaking
    assert ears.feed(silence(2000)) == []
    started, _ = ears.feed(speak("now") + silence(600))
    assert started.audio_start_ms >= 2000


@pytest.mark.parametrize(
    ("setting", "silence_ms"),
    [
        (TurnDetection(), 500),
        (TurnDetection(silence_duration_ms=200), 200),
        (TurnDetection("semantic_vad", eagerness="low"), 1200),
        (TurnDetection("semantic_vad"), 600),
        (TurnDetection("semantic_vad", eagerness="high"), 300),
    ],
)
def test_detection_from_the_session(setting, silence_ms):
    detection = detection_of(setting)
    assert detection is not None
    assert detection.silence_duration_ms == silence_ms


def test_manual_turns_have_no_detection():
    assert detection_of(TurnDetection("manual")) is None


def test_ears_that_open_later_count_from_there():
    started, stopped = Ears(Detection(), start_ms=5000).feed(speak("hello") + silence(600))
    assert started.audio_start_ms == 5000
    assert stopped.audio_end_ms > 5500
