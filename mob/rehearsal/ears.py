"""Rehearsed turn detection: who is speaking, decided by loudness alone.

Theory. The sound is cut into windows of 10 ms, each loud or quiet. A table of four states says the rest:

    state      loud window                     quiet window
    quiet      -> rising                       idle time runs; when it is over: IdleTimeout, once
    rising     2 in a row -> speaking,         -> quiet (a click is no speech)
               SpeechStarted
    speaking   stays                           -> trailing
    trailing   -> speaking                     after the silence duration -> quiet, SpeechStopped

Offsets are milliseconds of all the sound ever fed, as the vendor counts (OpenAI Realtime reference): the start has
the prefix padding taken off, the end has the silence duration in it, so that they bound what is committed. Events
depend on the sound alone and not on how it was cut into pieces. Pure; time is sound.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from attrs import field, frozen

from mob.values import TurnDetection

WINDOW_MS = 10
_RISING_WINDOWS = 2
_LEVEL_AT_ONE = 656.0
"""Root mean square of PCM16 that `threshold` 1.0 stands for; the default 0.5 is about -40 dB of full scale."""

_EAGERNESS_MS = {"high": 300, "auto": 600, "medium": 600, "low": 1200}
"""semantic_vad listens for the end of a thought; by loudness it can only wait less or more."""


@frozen(slots=True)
class Detection:
    """How turns are detected. Times are ms; `idle_timeout_ms` None: never."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None


def detection_of(setting: TurnDetection) -> Detection | None:
    """The session's turn detection as a Detection, with the vendor's defaults; None for manual turns."""
    if setting.mode == "manual":
        return None
    if setting.mode == "semantic_vad":
        return Detection(silence_duration_ms=_EAGERNESS_MS[setting.eagerness or "auto"])
    usual = Detection()
    return Detection(
        threshold=usual.threshold if setting.threshold is None else setting.threshold,
        prefix_padding_ms=_or(setting.prefix_padding_ms, usual.prefix_padding_ms),
        silence_duration_ms=_or(setting.silence_duration_ms, usual.silence_duration_ms),
        idle_timeout_ms=setting.idle_timeout_ms,
    )


def _or(value: int | None, usual: int) -> int:
    return usual if value is None else value


@frozen(slots=True)
class SpeechStarted:
    """Somebody began to speak; `audio_start_ms` has the prefix padding taken off."""

    audio_start_ms: int


@frozen(slots=True)
class SpeechStopped:
    """They stopped; the turn is the sound from `audio_start_ms` to `audio_end_ms`."""

    audio_start_ms: int
    audio_end_ms: int


@frozen(slots=True)
class IdleTimeout:
    """Nobody spoke for the idle time."""

    audio_start_ms: int
    audio_end_ms: int


EarEvent = SpeechStarted | SpeechStopped | IdleTimeout


@frozen(slots=True)
class _Windows:
    """What is left of the sound when whole windows are taken off it."""

    loud: tuple[bool, ...] = ()
    rest: bytes = field(default=b"", repr=False)


class Ears:
    """One session's turn detection: feed it all the sound, in order. See the module for the rules.

    `rate` is Hz; `start_ms` is how much sound there was before the first that is fed.
    """

    def __init__(self, detection: Detection, *, rate: int = 24000, start_ms: int = 0) -> None:
        self.detection = detection
        self._window_bytes = 2 * rate * WINDOW_MS // 1000
        self._state: Literal["quiet", "rising", "speaking", "trailing"] = "quiet"
        self._rest = b""
        self._from_ms = start_ms
        self._windows = 0
        self._run = 0  # windows since the state began
        self._start_ms = start_ms
        self._floor_ms = start_ms  # sound before this belongs to an earlier turn
        self._idle_from_ms: int | None = start_ms

    @property
    def heard_ms(self) -> int:
        """How much sound there was so far, of which whole windows were judged."""
        return self._from_ms + self._windows * WINDOW_MS

    @property
    def speaking(self) -> bool:
        """Whether a turn is under way."""
        return self._state in ("speaking", "trailing")

    def feed(self, pcm: bytes) -> list[EarEvent]:
        """More sound (PCM16 mono); what it tells."""
        windows = self._cut(pcm)
        self._rest = windows.rest
        return [event for loud in windows.loud if (event := self._step(loud=loud)) is not None]

    def reset(self) -> None:
        """The sound so far was thrown away or committed by hand: nobody is speaking, and idle time starts again."""
        self._state = "quiet"
        self._run = 0
        self._floor_ms = self.heard_ms
        self._idle_from_ms = self.heard_ms

    def configure(self, detection: Detection) -> None:
        """New rules from here on; a turn under way goes on."""
        self.detection = detection

    def _cut(self, pcm: bytes) -> _Windows:
        sound = self._rest + pcm
        count = len(sound) // self._window_bytes
        if not count:
            return _Windows(rest=sound)
        whole = count * self._window_bytes
        windows = np.frombuffer(sound, dtype="<i2", count=whole // 2).reshape(count, -1).astype(np.float32)
        level = _LEVEL_AT_ONE * self.detection.threshold
        loud = (windows * windows).mean(axis=1) > level * level
        return _Windows(tuple(loud.tolist()), sound[whole:])

    def _step(self, *, loud: bool) -> EarEvent | None:
        self._windows += 1
        self._run += 1
        match self._state, loud:
            case "quiet", True:
                self._go("rising", run=1)
            case "quiet", False:
                return self._idle()
            case "rising", True if self._run >= _RISING_WINDOWS:
                onset = self.heard_ms - self._run * WINDOW_MS
                self._go("speaking")
                self._start_ms = max(self._floor_ms, onset - self.detection.prefix_padding_ms)
                return SpeechStarted(self._start_ms)
            case "rising", False:
                self._go("quiet")
            case "speaking", False:
                self._go("trailing", run=1)
                return self._maybe_stop()
            case "trailing", True:
                self._go("speaking")
            case "trailing", False:
                return self._maybe_stop()
        return None

    def _maybe_stop(self) -> SpeechStopped | None:
        if self._run * WINDOW_MS < self.detection.silence_duration_ms:
            return None
        self._go("quiet")
        self._floor_ms = self._idle_from_ms = self.heard_ms
        return SpeechStopped(self._start_ms, self.heard_ms)

    def _idle(self) -> IdleTimeout | None:
        limit = self.detection.idle_timeout_ms
        if limit is None or self._idle_from_ms is None or self.heard_ms - self._idle_from_ms < limit:
            return None
        start, self._idle_from_ms = self._idle_from_ms, None
        self._floor_ms = self.heard_ms
        return IdleTimeout(start, self.heard_ms)

    def _go(self, state: Literal["quiet", "rising", "speaking", "trailing"], *, run: int = 0) -> None:
        self._state = state
        self._run = run
