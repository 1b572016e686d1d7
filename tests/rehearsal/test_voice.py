"""Tone speech is exact: what is said can be read back, also from a part of it."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from mob.errors import UsageError
from mob.rehearsal import espeak
from mob.rehearsal.voice import RATE, ToneVoice, duration_ms, hear, resample, said_within, spans_ms, speak

TEXTS = st.text(max_size=40)
PROPERTY = settings(deadline=None, max_examples=60)


def silence(samples: int) -> bytes:
    return bytes(2 * samples)


@PROPERTY
@given(TEXTS)
@example("Grüße, 日本 🎉\x00\n")
@example("aaaaaaaa        ")
def test_every_text_can_be_read_back(text):
    assert hear(speak(text)) == text


@PROPERTY
@given(TEXTS, st.data())
def test_a_prefix_gives_exactly_the_characters_wholly_in_it(text, data):
    pcm = speak(text)
    cut = data.draw(st.integers(0, len(pcm)))
    assert hear(pcm[:cut]) == said_within(text, (cut // 2) * 1000 / RATE)


@PROPERTY
@given(st.text(min_size=1, max_size=6), st.data())
def test_one_sample_decides_whether_a_character_was_said(text, data):
    number = data.draw(st.integers(0, len(text) - 1))
    end = round(spans_ms(text)[number][1] * RATE / 1000)
    assert hear(speak(text)[: 2 * end]) == text[: number + 1]
    assert hear(speak(text)[: 2 * end - 2]) == text[:number]


@PROPERTY
@given(TEXTS, st.integers(0, 5000), st.integers(0, 5000))
def test_silence_before_and_after_changes_nothing(text, before, after):
    assert hear(silence(before) + speak(text) + silence(after)) == text


@PROPERTY
@given(st.lists(st.tuples(st.text(max_size=8), st.floats(0, 1), st.integers(0, 3000)), max_size=4))
def test_cut_utterances_one_after_the_other_are_all_read(parts):
    """What a player really played: pieces, each cut where it was interrupted, with or without pauses."""
    sound, expected = b"", ""
    for text, share, pause in parts:
        samples = int(len(speak(text)) // 2 * share)
        sound += speak(text)[: 2 * samples] + silence(pause)
        expected += said_within(text, samples * 1000 / RATE)
    heard = hear(sound)
    # A pause right after a cut hides a missing end shorter than a quarter of a note (8 ms): that much may be taken
    # for whole, so at most one character per piece is too many.
    missing = len(heard) - len(expected)
    assert 0 <= missing <= len(parts)
    if missing == 0:
        assert heard == expected


@PROPERTY
@given(TEXTS, st.floats(0.01, 4.0), st.integers(0, 2**32 - 1), st.integers(0, 3000))
def test_noise_and_loudness_are_tolerated(text, gain, seed, offset):
    sound = np.frombuffer(silence(offset) + speak(text) + silence(500), dtype="<i2") * gain
    if text:
        noise = np.random.default_rng(seed).normal(0, np.sqrt((sound**2).mean() / 10), len(sound))  # 10 dB
        sound = sound + noise
    pcm = np.clip(sound, -32768, 32767).astype("<i2").tobytes()
    assert hear(pcm) == text


@PROPERTY
@given(TEXTS, st.sampled_from([8000, 16000, 44100, 48000]))
def test_other_rates(text, rate):
    assert hear(speak(text, rate), rate) == text


@PROPERTY
@given(st.binary(max_size=6000))
def test_any_bytes_are_heard_without_complaint(pcm):
    assert isinstance(hear(pcm), str)


def test_noise_alone_says_nothing():
    noise = np.random.default_rng(1).normal(0, 3000, 10 * RATE).astype("<i2").tobytes()
    assert hear(noise) == ""


def test_about_fifteen_characters_a_second_and_loud_enough_to_hear():
    text = "a table for two at eight, please"
    assert len(speak(text)) == round(duration_ms(text) * RATE / 1000) * 2
    assert 14 < len(text) / (duration_ms(text) / 1000) <= 15
    assert np.abs(np.frombuffer(speak(text), dtype="<i2")).max() > 5000


def test_a_lone_surrogate_becomes_the_replacement_character():
    assert hear(speak("a\ud800b")) == "a\ufffdb"


def test_resampling_keeps_the_length_in_time():
    pcm = speak("hello")
    assert abs(len(resample(pcm, RATE, 16000)) / 2 / 16000 - len(pcm) / 2 / RATE) < 0.001
    assert resample(pcm, RATE, RATE) == pcm


async def test_the_tone_voice_speaks_as_the_functions_do():
    assert ToneVoice().decodable
    assert await ToneVoice().say("hello", 16000) == speak("hello", 16000)


async def test_espeak_is_refused_with_a_reason_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(espeak.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="not installed"):
        espeak.EspeakVoice()


async def test_espeak_reads_a_streamed_wav(tmp_path, monkeypatch):
    """A stand-in program that writes what espeak-ng writes: a WAV whose header lies about its length."""
    program = tmp_path / "espeak-ng"
    program.write_text(
        "#!/usr/bin/env python3\n"
        "import struct, sys\n"
        "text = sys.stdin.buffer.read()\n"
        "fmt = struct.pack('<4sIHHIIHH', b'fmt ', 16, 1, 1, 22050, 44100, 2, 16)\n"
        "sys.stdout.buffer.write(b'RIFF' + struct.pack('<I', 0x7ffff024) + b'WAVE' + fmt)\n"
        "sys.stdout.buffer.write(b'data' + struct.pack('<I', 0x7ffff000) + bytes(2 * 2205 * len(text)))\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(espeak.shutil, "which", lambda name: str(program))
    voice = espeak.EspeakVoice()
    assert not voice.decodable
    pcm = await voice.say("hi", 24000)
    assert len(pcm) // 2 == 4800
    assert await voice.say(" ", 24000) == b""


async def test_espeak_failing_says_so(tmp_path, monkeypatch):
    program = tmp_path / "espeak-ng"
    program.write_text("#!/bin/sh\necho no such voice >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(espeak.shutil, "which", lambda name: str(program))
    with pytest.raises(UsageError, match="no such voice"):
        await espeak.EspeakVoice().say("hi", 24000)
