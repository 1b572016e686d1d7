"""The run's events at the client's side: one mirror of the server's stream, any number of readers.

As `mob.team.bus` has it, and with the same promises: a reader never slows the run or another reader; one that falls too
far behind is told how many it missed. What happened before the connection is fetched when a reader wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

import trio
from attrs import frozen

from mob.errors import MobError, ServerGone
from mob.sessions.events import RunEvent
from mob.team.events import StreamLagged

Fetch = Callable[[int], Awaitable[tuple[list[RunEvent], int]]]
"""The kept events behind a number, a page of them, and the number to go on from."""

_KEPT = 4096


@frozen(slots=True)
class MirrorStatistics:
    """`last_seq`: the newest event that came. Counts: events that came, readers now, events that readers missed."""

    last_seq: int
    heard: int
    subscribers: int
    missed: int


class EventMirror:
    """The events since the connection was made, from the one behind `start` on; the latest are kept."""

    def __init__(self, fetch: Fetch) -> None:
        self.start = 0
        self.subscribers = 0
        self.missed = 0
        self.fetch = fetch
        self._events: deque[RunEvent] = deque(maxlen=_KEPT)
        self._heard = 0
        self._ended = False
        self._gone: ServerGone | None = None
        self._news = trio.lowlevel.ParkingLot()

    def add(self, event: RunEvent) -> None:
        """One more."""
        self._events.append(event)
        self._heard += 1
        self._news.unpark_all()

    def end(self, gone: ServerGone | None = None) -> None:
        """There will be no more: the run is over, or the server has gone and readers are told so. The first counts."""
        if not self._ended:
            self._ended, self._gone = True, gone
        self._news.unpark_all()

    def place_after(self, seq: int) -> int:
        """The place of the first event behind this number, among all that were heard."""
        behind = next((index for index, event in enumerate(self._events) if event.seq > seq), len(self._events))
        return self._heard - len(self._events) + behind

    async def at(self, place: int) -> tuple[RunEvent, int] | None:
        """The event at this place, or the first behind it that is kept, and its place; None at the end. ServerGone."""
        while place >= self._heard:
            if self._gone is not None:
                raise self._gone
            if self._ended:
                return None
            await self._news.park()
        first = self._heard - len(self._events)
        place = max(place, first)
        return self._events[place - first], place

    def statistics(self) -> MirrorStatistics:
        """Counts, as of now."""
        last_seq = self._events[-1].seq if self._events else self.start
        return MirrorStatistics(last_seq, self._heard, self.subscribers, self.missed)


class RemoteSubscription:
    """One reader: `async with` it, then iterate, as what `Mob.events` gives. It ends with the run; ServerGone."""

    def __init__(self, mirror: EventMirror, after: int) -> None:
        self._mirror = mirror
        self._last = after
        self._early: deque[RunEvent] = deque()
        self._place: int | None = None

    @property
    def last_seq(self) -> int:
        """The `seq` of the event that was read last: where to go on from."""
        return self._last

    async def __aenter__(self) -> RemoteSubscription:
        self._mirror.subscribers += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mirror.subscribers -= 1

    def __aiter__(self) -> RemoteSubscription:
        return self

    async def __anext__(self) -> RunEvent:
        event = await self._next()
        self._last = event.seq
        return event

    async def _next(self) -> RunEvent:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._place is None:
            if not self._early and self._last < self._mirror.start:
                await self._fetch()
            if self._early:
                return self._early.popleft()
            self._place = self._mirror.place_after(self._last)
        while True:
            found = await self._mirror.at(self._place)
            if found is None:
                raise StopAsyncIteration
            event, place = found
            if event.seq > self._last:
                break
            self._place = place + 1
        if place > self._place:  # others came meanwhile and took its place
            self._place = place
            missed = event.seq - 1 - self._last
            self._mirror.missed += missed
            return StreamLagged(seq=event.seq - 1, t=event.t, missed=missed)
        self._place += 1
        return event

    async def _fetch(self) -> None:
        """Read what happened before the connection was made. What cannot be had any more counts as missed."""
        mirror = self._mirror
        try:
            events, upto = await mirror.fetch(self._last)
        except ServerGone:
            raise
        except MobError:
            events, upto = [], self._last
        self._early.extend(events)
        if upto <= self._last:
            lost = mirror.start - self._last
            self._early.append(StreamLagged(seq=mirror.start, t=0.0, missed=lost))
