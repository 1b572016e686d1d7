"""A human-sounding voice, where espeak-ng is installed.

It is for ears, not for tests: its sound cannot be read back, so `hear` finds nothing in it, and a member whose answer
is heard by another rehearsed member is not understood. Everything that compares sound with history keeps ToneVoice.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave

import trio

from mob.errors import UsageError
from mob.rehearsal.voice import resample

_COMMANDS = ("espeak-ng", "espeak")


def find_espeak() -> str | None:
    """Where the program is, or None when it is not installed."""
    for command in _COMMANDS:
        if found := shutil.which(command):
            return found
    return None


class EspeakVoice:
    """espeak-ng as a Voice: one process per utterance. Not for virtual time, where nothing may wait for a process."""

    def __init__(self, *, language: str = "en", words_per_minute: int = 165) -> None:
        program = find_espeak()
        if program is None:
            raise UsageError("espeak-ng is not installed; install it, or leave the voice as it is (tone speech)")
        self._command = [program, "-v", language, "-s", str(words_per_minute), "--stdout"]

    @property
    def decodable(self) -> bool:
        """Never: see the module."""
        return False

    async def say(self, text: str, rate: int) -> bytes:
        """`text` as PCM16 mono at `rate` Hz. UsageError when the program fails."""
        if not text.strip():
            return b""
        try:
            done = await trio.run_process(self._command, stdin=text.encode(), capture_stdout=True, capture_stderr=True)
        except subprocess.CalledProcessError as error:
            detail = (error.stderr or b"").decode(errors="replace").strip()
            raise UsageError(
                f"espeak-ng failed ({detail or error}); try it in a shell: {self._command[0]} hello"
            ) from error
        return _pcm_of(done.stdout, rate)


def _pcm_of(wav: bytes, rate: int) -> bytes:
    """The samples of a streamed WAV file, whose header names no true length."""
    with wave.open(io.BytesIO(wav)) as sound:
        return resample(sound.readframes(len(wav) // 2), sound.getframerate(), rate)
