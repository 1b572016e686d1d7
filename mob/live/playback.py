"""How much of a turn's speech the human has heard: by receipts, or else by the clock.

Theory. Speech arrives faster than it is played, so what was received says nothing about what was heard (OpenAI Realtime
reference: play-out position, not receipt position, decides truncation). Each audio item is a track with three positions
in milliseconds:

    0 <= heard <= generated        generated: what has been received of it
    receipt                        the furthest position a receipt has named, never beyond `generated`, never back
    clock                          where a player would be that plays the tracks in order, in real time, as they come in

If the client has ever sent a receipt on this channel, receipts alone count and a track without one was not heard
(`exact`). If it never has, the clock counts (`estimated`), unless audio was thrown away before the client took it: then
the clock has nothing to go by and its word is marked `unknown`. A client that was opened as one that sends no receipts
may still say where it stopped (`stopped_at`): that settles this turn exactly and says nothing of the next.

The turn is *drained* when every track was heard to its end.
"""

from __future__ import annotations

from attrs import define, field, frozen

from mob.values import Fidelity


@frozen(slots=True)
class Heard:
    """One item's position when it was asked for. Milliseconds."""

    generated_ms: int
    heard_ms: int
    fidelity: Fidelity

    @property
    def whole(self) -> bool:
        """Whether all that was generated was heard."""
        return self.heard_ms >= self.generated_ms


@define(slots=True)
class Receipts:
    """Whether this channel's client reports what it plays. Shared by the channel's turns; `seen` never becomes False
    while the client stays.

    `expected` False: it has said that it never will.
    """

    seen: bool = False
    expected: bool = True

    def expect(self, *, expected: bool) -> None:
        """Another client listens from now on. What it promises holds from its first moment."""
        self.seen = self.expected = expected


@define(slots=True)
class _Track:
    item_id: str
    response_id: str
    content_index: int
    size: int = 0
    receipt_ms: int = 0
    clock_ms: float = 0.0
    ended: bool = False
    lost: bool = False


@define(slots=True)
class Playback:
    """The tracks of one turn in the order of their first audio. `rate` is Hz, times are seconds, positions ms."""

    rate: int
    receipts: Receipts
    _clock_at: float = 0.0
    _tracks: dict[str, _Track] = field(factory=dict)
    _progress_at: float = 0.0
    _stopped: bool = False

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._tracks

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items with audio, in order."""
        return tuple(self._tracks)

    def response_of(self, item_id: str) -> str:
        """The response this item belongs to."""
        return self._tracks[item_id].response_id

    def content_index_of(self, item_id: str) -> int:
        """Which part of the item is the audio."""
        return self._tracks[item_id].content_index

    def add(self, item_id: str, response_id: str, size: int, now: float, content_index: int = 0) -> int:
        """`size` bytes of PCM16 more. Returns where they start, in whole milliseconds from the item's beginning."""
        self.advance(now)
        track = self._tracks.get(item_id)
        if track is None:
            track = self._tracks[item_id] = _Track(item_id, response_id, content_index)
        start_ms = self._ms(track)
        track.size += size
        self._progress_at = now
        return int(start_ms)

    def end(self, item_id: str, now: float) -> int:
        """No more audio for this item. Returns its length in milliseconds; 0 when it has none."""
        self.advance(now)
        track = self._tracks.get(item_id)
        if track is None:
            return 0
        track.ended = True
        return int(self._ms(track))

    def end_all(self, now: float) -> None:
        """No more audio at all."""
        self.advance(now)
        for track in self._tracks.values():
            track.ended = True

    def played(self, item_id: str, ms: int, now: float) -> bool:
        """A receipt. False when it changes nothing: an item without audio here, or a position already passed."""
        track = self._tracks.get(item_id)
        if track is None or self._stopped:
            return False
        self.receipts.seen = True
        position = min(ms, int(self._ms(track)))
        if position <= track.receipt_ms:
            return False
        track.receipt_ms = position
        self._progress_at = now
        return True

    def stopped_at(self, item_id: str, ms: int, now: float) -> None:
        """The client says that playing ended at `ms` of this item.

        Where it sends receipts this is the last of them. Where it does not, it has played what stands before the item,
        and nothing of what stands behind it.
        """
        if self.receipts.expected:
            self.played(item_id, ms, now)
            return
        self.advance(now)
        self.receipts = Receipts(seen=True)
        position: int | None = None
        for track in self._tracks.values():
            position = ms if track.item_id == item_id else None if position is None else 0
            track.receipt_ms = int(self._ms(track)) if position is None else position

    def play_through(self, now: float) -> None:
        """What has been received is played to its end, whatever the clock says."""
        self.advance(now)
        if self._stopped:
            return
        for track in self._tracks.values():
            track.clock_ms = self._ms(track)
            if self.receipts.seen:
                track.receipt_ms = int(track.clock_ms)

    @property
    def stopped(self) -> bool:
        """Whether playing has stopped before its end."""
        return self._stopped

    def lose(self, item_id: str) -> None:
        """Audio of this item never reached the client."""
        track = self._tracks.get(item_id)
        if track is not None:
            track.lost = True

    def stop(self, now: float) -> None:
        """Playing stops now. What has been heard is what was heard, whatever comes later."""
        self.advance(now)
        self._stopped = True

    def advance(self, now: float) -> None:
        """Let the clock's player play until `now`. It waits at the end of a track that may still grow."""
        if self._stopped:
            return
        room = max(0.0, (now - self._clock_at) * 1000.0)
        self._clock_at = now
        for track in self._tracks.values():
            step = min(room, self._ms(track) - track.clock_ms)
            track.clock_ms += step
            room -= step
            if room <= 0 or not track.ended:
                return

    def heard(self, item_id: str) -> Heard:
        """The item's position as of the last `advance`. An item without audio has been heard, all nothing of it."""
        track = self._tracks.get(item_id)
        if track is None:
            return Heard(0, 0, "exact" if self.receipts.seen else "estimated")
        generated = int(self._ms(track))
        if self.receipts.seen:
            return Heard(generated, track.receipt_ms, "exact")
        return Heard(generated, min(generated, int(track.clock_ms + 1e-6)), "unknown" if track.lost else "estimated")

    @property
    def drained(self) -> bool:
        """Whether every track was heard to its end, as of the last `advance`."""
        return all(self.heard(item_id).whole for item_id in self._tracks)

    def drains_at(self) -> float:
        """When the clock's player will be done, if nothing more comes: seconds on the machine's clock."""
        left = sum(self._ms(track) - track.clock_ms for track in self._tracks.values())
        return self._clock_at + left / 1000.0 + 1e-6

    def overdue_at(self, grace_s: float) -> float:
        """When receipts that fail to come mean that nobody plays any more.

        The last sign of life (audio received, or a receipt), the time that what is left takes to play, and `grace_s`.
        """
        if self._stopped:
            return self._clock_at + grace_s
        left = 0.0
        for track in self._tracks.values():
            left += int(self._ms(track)) - track.receipt_ms
        return self._progress_at + left / 1000.0 + grace_s

    def _ms(self, track: _Track) -> float:
        return track.size * 500.0 / self.rate
