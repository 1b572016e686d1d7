"""Sound files for `--wav`: PCM16 in, mono PCM16 at the channel's rate out. Anything else is a typed refusal."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mob.errors import MediaError

MAX_SECONDS = 600


def read_wav(path: Path, rate: int) -> bytes:
    """The file's sound as PCM16 little-endian mono at `rate` Hz.

    Raises MediaError for what is not a PCM16 WAV file of at most ten minutes.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, own_rate, frames = (
                file.getsampwidth(),
                file.getnchannels(),
                file.getframerate(),
                file.getnframes(),
            )
            if width != 2:
                raise MediaError(f"{path} has {8 * width} bit samples; convert it to 16 bit PCM", offset=34)
            if own_rate == 0 or frames / own_rate > MAX_SECONDS:
                raise MediaError(f"{path} is longer than {MAX_SECONDS} s; send it in parts", offset=40)
            data = file.readframes(frames)
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: the stdlib on a chunk that overruns
        raise MediaError(f"{path} is not a PCM WAV file: {error or 'it ends too early'}", offset=0) from error
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error
    usable = len(data) - len(data) % (2 * channels)
    samples = np.frombuffer(data[:usable], dtype="<i2").reshape(-1, channels).mean(axis=1)
    if samples.size == 0:
        raise MediaError(f"{path} holds no sound", offset=44)
    return resample(samples, own_rate, rate).astype("<i2").tobytes()


def resample(samples: NDArray[np.float64], source: int, target: int) -> NDArray[np.float64]:
    """`samples` at `source` Hz as rounded samples at `target` Hz, band-limited (windowed sinc)."""
    if source == target:
        unchanged: NDArray[np.float64] = np.rint(samples)
        return unchanged
    count = max(1, round(samples.size * target / source))
    cutoff = min(1.0, target / source)
    half = int(np.ceil(16 / cutoff))
    out = np.empty(count)
    padded = np.pad(samples, (half, half + 1))
    offsets = np.arange(-half, half + 1)
    for start in range(0, count, 8192):
        position = np.arange(start, min(start + 8192, count)) * (source / target)
        base = np.floor(position).astype(int)
        distance = (position - base)[:, None] - offsets[None, :]
        kernel = cutoff * np.sinc(cutoff * distance) * (0.5 + 0.5 * np.cos(np.pi * distance / (half + 1)))
        out[start : start + len(base)] = (padded[base[:, None] + half + offsets[None, :]] * kernel).sum(axis=1)
    clipped: NDArray[np.float64] = np.rint(np.clip(out, -32768, 32767))
    return clipped
