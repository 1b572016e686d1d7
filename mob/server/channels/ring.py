"""What a live channel has told lately, numbered, bounded, and read by anybody at their own pace. Pure.

Theory. Every event gets the next number, from 1. Two bounds hold apart from one another: control events (by count and
by size) and audio (by bytes and by pieces); past a bound the oldest of that kind goes. A cursor reads in the order of
the numbers. Where something is missing it finds out what:

    audio fell out            Gap, where it fell out, with the bytes that are missing
    control fell out          Gap for a cursor that has not read anything yet (it comes back after an absence);
                              SlowReader for one that reads: control is never dropped from under a reader
    audio was discarded       nothing: the answer it belongs to was cut, and an event that comes later says so

So a slow reader costs what the bounds say and no more, and nobody waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

from attrs import frozen

from mob.errors import LiveClosed

_T = TypeVar("_T")

_MARKS = 8192
"""Of how many events the size is remembered after they have gone, so that a gap can say what it lacks."""


@frozen(slots=True)
class RingLimits:
    """Counts and bytes. `max_audio` counts pieces."""

    max_control: int = 1024
    max_control_bytes: int = 16 * 1024 * 1024
    max_audio: int = 8192
    max_audio_bytes: int = 8 * 1024 * 1024


@frozen(slots=True)
class Numbered(Generic[_T]):
    """An event and its number."""

    seq: int
    event: _T


@frozen(slots=True)
class Gap:
    """The events `first` to `last` are gone; of them `audio` were pieces of speech, `audio_bytes` of PCM together.

    `items`: the items that they were pieces of. These three are what is remembered, which is all of it unless the gap
    is thousands of events long.
    """

    first: int
    last: int
    audio: int
    audio_bytes: int
    items: tuple[str, ...] = ()

    @property
    def events(self) -> int:
        """How many events are gone, other than speech."""
        return self.last - self.first + 1 - self.audio


@frozen(slots=True)
class RingStatistics:
    """What is kept, and how much was ever dropped because of the bounds, or discarded because it was cut."""

    last: int
    control: int
    control_bytes: int
    audio: int
    audio_bytes: int
    control_dropped: int
    audio_dropped: int
    audio_bytes_dropped: int
    audio_discarded: int


class SlowReader(LiveClosed):
    """A reader fell so far behind that control events it had not read were dropped."""

    code = "slow_reader"

    def __init__(self) -> None:
        super().__init__(
            "more happened on the channel than is kept for a slow reader; read faster, or come back and take the gap",
            reason="slow_reader",
        )


class _Cut:
    """Stands where a piece of speech was that was discarded."""


_CUT = _Cut()


class EventRing(Generic[_T]):
    """The latest events of one channel."""

    def __init__(self, limits: RingLimits) -> None:
        self._limits = limits
        self._kept: dict[int, tuple[_T | _Cut, int]] = {}
        self._control: deque[int] = deque()
        self._audio: deque[int] = deque()
        self._marks: deque[tuple[int, int, str | None]] = deque([(0, 0, None)], maxlen=_MARKS)
        self._control_bytes = self._audio_bytes = 0
        self._control_dropped = self._audio_dropped = self._audio_bytes_dropped = self._discarded = 0
        self.last = 0
        """The number of the latest event, 0 when there was none."""
        self.floor = 0
        """The number of the latest control event that was dropped."""

    def append(self, event: _T, size: int) -> int:
        """A control event of about `size` bytes. Its number."""
        self.last += 1
        self._kept[self.last] = (event, size)
        self._control.append(self.last)
        pieces, total, _ = self._marks[-1]
        self._marks.append((pieces, total, None))
        self._control_bytes += size
        limits = self._limits
        while len(self._control) > limits.max_control or (
            self._control_bytes > limits.max_control_bytes and len(self._control) > 1
        ):
            self._drop_control()
        return self.last

    def append_audio(self, event: _T, size: int, item: str) -> int:
        """A piece of speech of `size` bytes of PCM, which belongs to `item`. Its number."""
        self.last += 1
        self._kept[self.last] = (event, size)
        self._audio.append(self.last)
        pieces, total, _ = self._marks[-1]
        self._marks.append((pieces + 1, total + size, item))
        self._audio_bytes += size
        limits = self._limits
        while len(self._audio) > limits.max_audio or (
            self._audio_bytes > limits.max_audio_bytes and len(self._audio) > 1
        ):
            self._drop_audio()
        return self.last

    def discard(self, cut: Callable[[_T], bool]) -> None:
        """Throw away the pieces of speech of which this is true: their answer was cut."""
        for seq in self._audio:
            event, size = self._kept[seq]
            if not isinstance(event, _Cut) and cut(event):
                self._kept[seq] = (_CUT, 0)
                self._audio_bytes -= size
                self._discarded += 1

    def statistics(self) -> RingStatistics:
        """As of now."""
        return RingStatistics(
            last=self.last,
            control=len(self._control),
            control_bytes=self._control_bytes,
            audio=len(self._audio),
            audio_bytes=self._audio_bytes,
            control_dropped=self._control_dropped,
            audio_dropped=self._audio_dropped,
            audio_bytes_dropped=self._audio_bytes_dropped,
            audio_discarded=self._discarded,
        )

    def get(self, seq: int) -> _T | _Cut | None:
        """The event of this number, as far as it is kept."""
        kept = self._kept.get(seq)
        return None if kept is None else kept[0]

    def gap(self, first: int, last: int) -> Gap:
        """What is known of the events from `first` to `last`, which are gone."""
        begin, end = self._mark(first - 1), self._mark(last)
        (pieces_before, total_before, _), (pieces, total, _) = self._marks[begin], self._marks[end]
        items = dict.fromkeys(item for _, _, item in islice(self._marks, begin + 1, end + 1) if item is not None)
        return Gap(first, last, pieces - pieces_before, total - total_before, tuple(items))

    def _mark(self, seq: int) -> int:
        return max(seq - (self.last + 1 - len(self._marks)), 0)

    def _drop_control(self) -> None:
        seq = self.floor = self._control.popleft()
        self._control_bytes -= self._kept.pop(seq)[1]
        self._control_dropped += 1
        while self._audio and self._audio[0] < seq:  # nobody can read it any more
            self._drop_audio()

    def _drop_audio(self) -> None:
        event, size = self._kept.pop(self._audio.popleft())
        self._audio_bytes -= size
        if not isinstance(event, _Cut):
            self._audio_dropped += 1
            self._audio_bytes_dropped += size


class Cursor(Generic[_T]):
    """A place in a ring: everything up to `position` was read."""

    def __init__(self, ring: EventRing[_T], position: int) -> None:
        self._ring = ring
        self._reading = False
        self.position = max(0, min(position, ring.last))

    def next(self) -> Numbered[_T] | Gap | None:
        """The next event, or what is missing before it; None when everything was read. SlowReader."""
        ring, first = self._ring, self.position + 1
        if self.position < ring.floor:
            if self._reading:
                raise SlowReader
            self.position, self._reading = ring.floor, True
            return ring.gap(first, ring.floor)
        self._reading = True
        while self.position < ring.last:
            seq = self.position + 1
            event = ring.get(seq)
            if event is None:
                self.position = seq
                continue
            if self.position >= first:
                return ring.gap(first, self.position)
            self.position = seq
            if not isinstance(event, _Cut):
                return Numbered(seq, event)
            first = seq + 1
        return ring.gap(first, self.position) if self.position >= first else None
