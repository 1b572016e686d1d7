"""What waits for the channel's client: control events are never dropped, audio is, oldest first, and counted.

Two queues in one order. Both are bounded: too many control events tell the caller to close the channel, too much audio
drops the oldest. There is one reader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
from attrs import frozen

from mob.live.events import AudioDelta, LiveEvent


@frozen(slots=True)
class BufferStatistics:
    """What waits, and what was thrown away: dropped because the client is slow, discarded because it was cut."""

    control_events: int
    audio_events: int
    audio_bytes: int
    audio_dropped: int
    audio_discarded: int


class ClientBuffer:
    """Events on their way to the client. `max_control` counts events, `max_audio_bytes` bytes of PCM."""

    def __init__(self, *, max_control: int, max_audio_bytes: int) -> None:
        self._max_control = max_control
        self._max_audio_bytes = max_audio_bytes
        self._control: deque[tuple[int, LiveEvent]] = deque()
        self._audio: deque[tuple[int, AudioDelta]] = deque()
        self._audio_bytes = 0
        self._serial = 0
        self._wake: trio.Event | None = None
        self._closed = False
        self._dropped = self._discarded = 0
        self.sink: Callable[[AudioDelta], bool] | None = None
        """Who takes speech without waiting for it. Asked only while the reader waits and nothing stands before it."""

    def put(self, event: LiveEvent) -> bool:
        """A control event. False when too many wait: the channel must end (the event is kept all the same)."""
        self._serial += 1
        self._control.append((self._serial, event))
        self._notify()
        return len(self._control) <= self._max_control

    def put_audio(self, delta: AudioDelta) -> tuple[str, ...]:
        """A piece of speech. Gives the items of which audio had to be dropped for it."""
        if self.sink is not None and self._wake is not None and self.sink(delta):
            return ()
        self._serial += 1
        self._audio.append((self._serial, delta))
        self._audio_bytes += len(delta.pcm)
        self._notify()
        if self._audio_bytes <= self._max_audio_bytes:
            return ()
        dropped: dict[str, None] = {}
        while self._audio_bytes > self._max_audio_bytes and len(self._audio) > 1:
            _, oldest = self._audio.popleft()
            self._audio_bytes -= len(oldest.pcm)
            self._dropped += 1
            dropped[oldest.item_id] = None
        return tuple(dropped)

    def discard(self, item_ids: frozenset[str]) -> None:
        """Throw away the audio of these items: it was cut before the client took it."""
        if not self._audio:
            return
        kept = deque(entry for entry in self._audio if entry[1].item_id not in item_ids)
        self._discarded += len(self._audio) - len(kept)
        self._audio = kept
        self._audio_bytes = sum(len(delta.pcm) for _, delta in kept)

    async def get(self) -> LiveEvent | None:
        """The next event, None when there will be no more. Waits only when nothing is there."""
        while not self._control and not self._audio:
            if self._closed:
                await trio.lowlevel.checkpoint()
                return None
            self._wake = trio.Event()
            await self._wake.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._audio and (not self._control or self._audio[0][0] < self._control[0][0]):
            _, delta = self._audio.popleft()
            self._audio_bytes -= len(delta.pcm)
            return delta
        return self._control.popleft()[1]

    def close(self) -> None:
        """Nothing more will come; what is there can still be read."""
        self._closed = True
        self._notify()

    def clear(self) -> None:
        """Forget what nobody has read."""
        self._control.clear()
        self._audio.clear()
        self._audio_bytes = 0

    def statistics(self) -> BufferStatistics:
        """The counts as they are now."""
        return BufferStatistics(
            control_events=len(self._control),
            audio_events=len(self._audio),
            audio_bytes=self._audio_bytes,
            audio_dropped=self._dropped,
            audio_discarded=self._discarded,
        )

    def _notify(self) -> None:
        if self._wake is not None:
            self._wake.set()
            self._wake = None
