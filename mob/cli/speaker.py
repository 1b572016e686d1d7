"""A loudspeaker that nobody hears: it plays audio on the clock and says how far it got.

The terminal has no audio device. What matters to the history is *when* each millisecond was played, so this plays
audio at the speed of sound on the run's clock (interactive), or at once (`--say`, pipes: nobody is there to cut in).
Pure: the caller brings the time and passes on the receipts.
"""

from __future__ import annotations

from collections import deque

from attrs import define, frozen


@frozen(slots=True)
class Receipt:
    """`item_id` has been played up to `ms`."""

    item_id: str
    ms: int


@define(slots=True)
class _Piece:
    item_id: str
    start_ms: int
    end_ms: int


class Speaker:
    """Plays what it is given, in order. `instant`: everything counts as played when it arrives."""

    def __init__(self, *, instant: bool) -> None:
        self._instant = instant
        self._queue: deque[_Piece] = deque()
        self._playing_since = 0.0

    def play(self, item_id: str, start_ms: int, duration_ms: int, now: float) -> list[Receipt]:
        """Take a piece of audio. `now` is seconds."""
        if self._instant:
            return [Receipt(item_id, start_ms + duration_ms)]
        receipts = self.advance(now)
        if not self._queue:
            self._playing_since = now
        self._queue.append(_Piece(item_id, start_ms, start_ms + duration_ms))
        return receipts

    def advance(self, now: float) -> list[Receipt]:
        """Play until `now`; one receipt for each item that got further."""
        reached: dict[str, int] = {}
        while self._queue:
            piece = self._queue[0]
            elapsed_ms = (now - self._playing_since) * 1000
            length = piece.end_ms - piece.start_ms
            if elapsed_ms < length:
                if elapsed_ms >= 1:
                    reached[piece.item_id] = piece.start_ms + int(elapsed_ms)
                break
            reached[piece.item_id] = piece.end_ms
            self._playing_since += length / 1000
            self._queue.popleft()
        return [Receipt(item_id, ms) for item_id, ms in reached.items()]

    def stop(self, now: float) -> list[Receipt]:
        """Fall silent: the last receipts, and nothing of the rest."""
        receipts = self.advance(now)
        self._queue.clear()
        return receipts

    @property
    def playing(self) -> bool:
        """Whether something is still to be heard."""
        return bool(self._queue)
