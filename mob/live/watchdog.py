"""One task that looks after every transport of a mob: it pings the silent ones and gives up the dead ones.

A connection whose peer is gone without a word (a half-open one) looks like a quiet one. So when nothing came in for
`ping_after_s` the peer is asked for a sign of life, and when nothing came for `dead_after_s` the connection is ended:
its reader gets TransportClosed(1006). The task sleeps until the first connection could be due, never for each frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import trio
from attrs import define, frozen

from mob.live.transport_port import Transport

_GRANULARITY_S = 1.0


@frozen(slots=True)
class WatchdogStatistics:
    """Transports that are watched now; pings that were sent and connections that were ended so far."""

    watched: int
    pings: int
    aborted: int


@define(eq=False, slots=True)
class _Watched:
    transport: Transport
    pinged_at: float = float("-inf")


class Watchdog:
    """Start `run` once; put every transport's life into `with watchdog.watch(transport)`. Seconds on trio's clock."""

    def __init__(self, *, ping_after_s: float = 20.0, dead_after_s: float = 40.0) -> None:
        if not 0 < ping_after_s < dead_after_s:
            raise ValueError("ping_after_s must be more than 0 and less than dead_after_s")
        self._ping_after_s = ping_after_s
        self._dead_after_s = dead_after_s
        self._watched: set[_Watched] = set()
        self._came = trio.Event()
        self._pings = self._aborted = 0

    @contextmanager
    def watch(self, transport: Transport) -> Iterator[None]:
        """Look after it for as long as the block runs."""
        watched = _Watched(transport)
        self._watched.add(watched)
        self._came.set()
        try:
            yield
        finally:
            self._watched.discard(watched)

    async def run(self) -> NoReturn:
        """Look after them all, until cancelled."""
        while True:
            self._came = trio.Event()
            now = trio.current_time()
            due = min((self._look_at(watched, now) for watched in tuple(self._watched)), default=float("inf"))
            with trio.move_on_at(max(due, now + _GRANULARITY_S)):
                await self._came.wait()

    def statistics(self) -> WatchdogStatistics:
        """The counts as they are now."""
        return WatchdogStatistics(len(self._watched), self._pings, self._aborted)

    def _look_at(self, watched: _Watched, now: float) -> float:
        """Do what is due for one of them, and say when to look again."""
        heard = watched.transport.last_received
        if now >= heard + self._dead_after_s:
            self._aborted += 1
            self._watched.discard(watched)
            watched.transport.abort(f"nothing came from the peer for {self._dead_after_s:g} s, not even a pong")
            return float("inf")
        if now < heard + self._ping_after_s:
            return heard + self._ping_after_s
        if watched.pinged_at <= heard:
            watched.pinged_at = now
            self._pings += 1
            watched.transport.ping_nowait()
        return heard + self._dead_after_s
