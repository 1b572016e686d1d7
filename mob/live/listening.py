"""The user's side of the channel: the audio buffer at the provider, as we know it, and what must not be sent to it.

The provider treats some commands as fatal (a commit of under 100 ms, a commit where it decides the turns itself, audio
in another format). These are refused here, with LiveRejected, before anything is sent (law 11).

What was sent since the last turn is also kept, within bounds, so that it can be said again should the connection be
lost before the provider has made a turn of it: all of it while the user speaks, while turns are manual and while there
is no connection, else the last second.
"""

from __future__ import annotations

from collections import deque

from mob.errors import LiveRejected
from mob.live.context import Context
from mob.values import Modality

MIN_COMMIT_MS = 100
"""The least audio that may be committed (OpenAI Realtime reference)."""

MAX_APPEND_BYTES = 15 * 1024 * 1024 * 3 // 4
"""The most audio in one append: 15 MiB of base64 (OpenAI Realtime reference)."""

_IDLE_KEPT_MS = 1000


class Listening:
    """What the user has said and the provider has not made a turn of yet."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._appended = 0
        self._last_turn: tuple[str, tuple[bytes, ...]] | None = None
        self.speaking = False
        self.commit_sent = False
        self.commit_deadline = float("inf")
        self._output: Modality | None = None

    @property
    def manual(self) -> bool:
        """Whether the client decides where turns end."""
        return self._context.config.turn_detection.mode == "manual"

    @property
    def uncommitted(self) -> bool:
        """Whether the user is in the middle of saying something."""
        return self.speaking or self.commit_sent or (self.manual and self._appended > 0)

    @property
    def appended_ms(self) -> int:
        """How much was sent since the last turn."""
        return self._appended * 500 // self._context.config.input_rate

    def check_audio(self, pcm: bytes) -> None:
        """Refuse audio that the provider could not read. LiveRejected."""
        if len(pcm) % 2:
            raise LiveRejected(
                f"audio of {len(pcm)} bytes is not PCM16: send whole samples of two bytes, little-endian, mono",
                reason="wrong_format",
            )
        if len(pcm) > MAX_APPEND_BYTES:
            raise LiveRejected(
                f"{len(pcm)} bytes of audio in one piece; the most is {MAX_APPEND_BYTES}. Send it in pieces of 20 ms",
                reason="too_large",
            )
        if "audio" not in self._context.model.input_modalities:
            raise LiveRejected(f"{self._context.model.id} takes no audio", reason="unsupported")

    def append(self, pcm: bytes) -> None:
        """This much is being sent (or will be, when the connection is ready)."""
        self._appended += len(pcm)
        self._kept.append(pcm)
        self._kept_bytes += len(pcm)
        whole = self.speaking or self.manual or not self._context.ready
        if whole:
            most = self._context.limits.max_audio_buffer_bytes
        else:
            most = self._context.config.input_rate * 2 * _IDLE_KEPT_MS // 1000
        while self._kept_bytes > most and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft())
            if whole:
                self._context.count("input_not_kept")

    def check_commit(self) -> None:
        """Refuse a commit that the provider would punish. LiveRejected."""
        if not self.manual:
            raise LiveRejected(
                "commit() is for manual turns; here the provider's turn detection ends the user's turn. "
                'Set turn_detection = "manual" in the profile to end turns yourself',
                reason="wrong_mode",
            )
        if self.commit_sent or self.appended_ms < MIN_COMMIT_MS:
            raise LiveRejected(
                f"a turn needs {MIN_COMMIT_MS} ms of audio at least; {self.appended_ms} ms were sent since the last",
                reason="empty_commit",
            )

    def committing(self, output: Modality | None = None) -> None:
        """A commit is being sent (again). `output`: what its turn is to be answered with."""
        self.commit_sent = True
        self._output = output or self._output
        self.commit_deadline = self._context.now + self._context.limits.response_timeout_s

    def committed(self, item_id: str) -> Modality | None:
        """The audio so far became the user item `item_id`. Gives what its commit wants it answered with."""
        self._last_turn = (item_id, tuple(self._kept))
        output = self._output
        self.clear()
        return output

    def commit_refused(self) -> None:
        """The provider did not take the commit."""
        self.clear()

    def clear(self) -> None:
        """What was sent and not committed counts for nothing."""
        self._kept.clear()
        self._kept_bytes = self._appended = 0
        self.speaking = self.commit_sent = False
        self._output = None
        self.commit_deadline = float("inf")

    def understood(self, item_id: str) -> None:
        """The words of this item are known (or will never be): its sound is not needed any more."""
        if self._last_turn is not None and self._last_turn[0] == item_id:
            self._last_turn = None

    def say_again(self, item_id: str) -> bool:
        """Put the audio of a committed item back in front: it will be said to the next connection."""
        if self._last_turn is None or self._last_turn[0] != item_id:
            return False
        _, pieces = self._last_turn
        self._last_turn = None
        self._kept.extendleft(reversed(pieces))
        size = sum(map(len, pieces))
        self._kept_bytes += size
        self._appended += size
        self.commit_sent = self.commit_sent or self.manual
        return True

    def take_kept(self) -> tuple[bytes, ...]:
        """What a new connection must be told first. It stays kept until it is a turn."""
        self.speaking = False
        return tuple(self._kept)
