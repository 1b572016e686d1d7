"""The run's event stream: one publisher side, any number of subscribers, none of which can slow the run.

Theory. Events are numbered from 1 as they are published, and the last `kept` of them stay in one ring that all
subscribers read, each at its own cursor. So publishing never waits, memory does not grow with subscribers, and a
subscriber that comes late reads from where it likes. One that falls more than `kept` events behind finds its place
overwritten: it is told how many it missed (StreamLagged) and goes on with the oldest that is there. Nobody else
notices.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import trio
from attrs import evolve, frozen

from mob.sessions.events import RunEvent
from mob.team.events import StreamLagged


@frozen(slots=True)
class BusStatistics:
    """Counts: events published, subscribers now, events that slow subscribers missed, summed over all of them."""

    published: int
    subscribers: int
    missed: int


class EventBus:
    """Numbers, stamps and keeps run events. `clock` gives seconds since the run began."""

    def __init__(self, clock: Callable[[], float], *, kept: int = 4096) -> None:
        self._clock = clock
        self._kept = kept
        self._ring: list[RunEvent | None] = [None] * kept
        self._published = 0
        self._missed = 0
        self._subscribers = 0
        self._closed = False
        self._news = trio.lowlevel.ParkingLot()

    def publish(self, event: RunEvent) -> RunEvent:
        """Give the event its `seq` and `t` and put it on the stream; returns it as published. Never waits."""
        self._published += 1
        stamped = evolve(event, seq=self._published, t=self._clock())
        self._ring[self._published % self._kept] = stamped
        self._news.unpark_all()
        return stamped

    def subscribe(self, *, after: int = 0) -> Subscription:
        """The stream behind event `after`; 0: from the oldest event that is kept."""
        return Subscription(self, after)

    def close(self) -> None:
        """Nothing more will come: each subscriber's iteration ends when it has read what there is."""
        self._closed = True
        self._news.unpark_all()

    def statistics(self) -> BusStatistics:
        """Counts, as of now."""
        return BusStatistics(self._published, self._subscribers, self._missed)

    async def _next_after(self, seq: int) -> RunEvent | None:
        while seq >= self._published:
            if self._closed:
                return None
            await self._news.park()
        missed = self._published - self._kept - seq
        if missed > 0:
            self._missed += missed
            return StreamLagged(seq=seq + missed, t=self._clock(), missed=missed)
        return self._ring[(seq + 1) % self._kept]


class Subscription:
    """One reader of the stream: `async with` it, then iterate. The block also counts it in the statistics."""

    def __init__(self, bus: EventBus, after: int) -> None:
        self._bus = bus
        self._last = after

    @property
    def last_seq(self) -> int:
        """The `seq` of the event that was read last: where to go on from."""
        return self._last

    async def __aenter__(self) -> Subscription:
        self._bus._subscribers += 1  # noqa: SLF001 - two halves of one thing
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bus._subscribers -= 1  # noqa: SLF001

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> RunEvent:
        event = await self._bus._next_after(self._last)  # noqa: SLF001
        if event is None:
            raise StopAsyncIteration
        self._last = event.seq
        return event
