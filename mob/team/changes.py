"""Waiting for a condition of the team as a whole, without polling it hard and without missing its moment."""

from __future__ import annotations

from collections.abc import Callable

import trio

_LOOK_S = 0.05
"""Most changes are told of; a few are not (a turn that came to nothing), so look again before long."""


class Changes:
    """Told of whenever something about the run has changed; wakes those that wait for a condition."""

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()

    def happened(self) -> None:
        """Something has changed: an event was published, a row became durable."""
        self._waiting.unpark_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as the condition holds. Bound it with a cancel scope."""
        await trio.lowlevel.checkpoint()
        while not condition():
            with trio.move_on_after(_LOOK_S):
                await self._waiting.park()
