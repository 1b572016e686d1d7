"""The input audio buffer of the server role: what was appended and not committed yet, and where it stands in time.

Positions are milliseconds from the first audio of the session, as in `speech_started` and `speech_stopped`. While
turn detection listens and nobody speaks, only the last `IDLE_KEEP_MS` are kept; speech and manual input are kept up
to `MAX_BUFFER_BYTES`.
"""

from __future__ import annotations

from typing import Final

MAX_BUFFER_BYTES: Final = 32 * 1024 * 1024
"""About eleven minutes of PCM16 at 24 kHz in one user turn."""

IDLE_KEEP_MS: Final = 10_000


class InputBuffer:
    """Appended audio. `speech_item_id` is the id that the speech going on will have once committed.

    `keep` False: only how much there is is kept.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._data = bytearray()
        self._size = 0
        self._start_ms = 0.0
        self.bytes_per_ms = 48
        self.speech_item_id: str | None = None

    @property
    def buffered_ms(self) -> float:
        """How much is in the buffer."""
        return self._size / self.bytes_per_ms

    @property
    def end_ms(self) -> float:
        """Where the audio of the session ends so far."""
        return self._start_ms + self.buffered_ms

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes more can be kept."""
        return self._size + size <= MAX_BUFFER_BYTES

    def append(self, data: bytes) -> None:
        """More audio."""
        self._size += len(data)
        if self._keep:
            self._data += data

    def keep_from(self, start_ms: float) -> None:
        """Forget what lies before `start_ms`."""
        excess = int(max(0.0, start_ms - self._start_ms)) * self.bytes_per_ms
        excess = min(excess, self._size)
        self._size -= excess
        del self._data[:excess]
        self._start_ms += excess / self.bytes_per_ms

    def keep_last(self, length_ms: float) -> None:
        """Forget all but the last `length_ms`."""
        self.keep_from(self.end_ms - length_ms)

    def take(self) -> bytes:
        """Everything, and the buffer is empty; speech that was going on is over."""
        data = bytes(self._data)
        self._start_ms = self.end_ms
        self._size = 0
        self._data.clear()
        self.speech_item_id = None
        return data
