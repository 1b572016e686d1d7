"""Sound files: what can be used is converted, what cannot is refused with a place and a remedy."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from mob.cli.sound import read_wav, resample
from mob.errors import MediaError


def write(path: Path, samples: np.ndarray, *, rate: int, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate) * 12000).astype("<i2")


def test_same_rate_is_untouched(tmp_path: Path) -> None:
    samples = tone(24000, 0.1)

    assert read_wav(write(tmp_path / "a.wav", samples, rate=24000), 24000) == samples.tobytes()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_other_rates_keep_their_length_and_pitch(tmp_path: Path, rate: int) -> None:
    pcm = read_wav(write(tmp_path / "a.wav", tone(rate, 0.5), rate=rate), 24000)
    samples = np.frombuffer(pcm, "<i2").astype(float)
    peak = np.argmax(np.abs(np.fft.rfft(samples))) * 24000 / samples.size

    assert samples.size == 12000
    assert peak == pytest.approx(440, abs=4)


def test_stereo_becomes_mono(tmp_path: Path) -> None:
    left = tone(24000, 0.1)
    both = np.column_stack([left, left]).astype("<i2")

    assert read_wav(write(tmp_path / "a.wav", both, rate=24000, channels=2), 24000) == left.tobytes()


def test_wrong_width_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros(100, "u1"), rate=24000, width=1)

    with pytest.raises(MediaError, match="8 bit samples; convert it to 16 bit"):
        read_wav(path, 24000)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot read"):
        read_wav(tmp_path / "none.wav", 24000)
    with pytest.raises(MediaError, match="holds no sound"):
        read_wav(write(tmp_path / "empty.wav", np.zeros(0, "<i2"), rate=24000), 24000)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 60))
def test_law_26_rubbish_in_a_sound_file_is_a_typed_refusal(tmp_path_factory, junk: bytes, keep: int) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    whole = write(path, tone(24000, 0.01), rate=24000).read_bytes()
    path.write_bytes(whole[:keep] + junk)

    try:
        pcm = read_wav(path, 24000)
    except MediaError:
        return
    assert len(pcm) % 2 == 0


def test_resampling_silence_stays_silent() -> None:
    assert not resample(np.zeros(4800), 48000, 24000).any()
