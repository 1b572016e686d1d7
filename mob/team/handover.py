"""Carries the floor's moves out: tells of them, and sees to it that the new holder speaks (law 21).

Theory. A move is a row of the log; what follows from it happens here, one move after the other, in the order of the
log:

    told       the move is published
    landing    where the machine says that the new holder must speak: it is given a Note with the reason and the user
               turns it has not seen, and the time runs
    landed     it said something or used a tool
    gone back  it did not within `hand_off_timeout_s`, or could not: the machine gives the row by which the floor goes
               back. First the row, then the silent member's turn is cut off, so that its cut end is no speech. Where
               nobody can take the floor back, it stays, and so does the turn

A new move ends the landing of the one before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import define, field

from mob.errors import MobError
from mob.history.items import Cause, Note, Turn
from mob.history.rows import FloorMoved
from mob.ids import Ids
from mob.sessions.events import ErrorOccurred, FloorChanged, RunEvent
from mob.store.port import RunLog
from mob.team.floor import FloorMachine, Landing, hand_over_note


class Speak(Protocol):
    """Lets a member run one turn that begins with this note; returns when the turn is committed. Raises MobErrors."""

    def __call__(self, member: str, note: Note, cause: Cause) -> Awaitable[object]:
        """Run it."""
        ...


@define(eq=False, slots=True)
class _Landed:
    """A landing under way. `over` is set when the machine does not wait for it any more."""

    landing: Landing
    over: trio.Event = field(factory=trio.Event)


class HandOver:
    """Follows the floor's moves. `seen(turn_id)` gives a committed turn with the member it was said to."""

    def __init__(
        self,
        machine: FloorMachine,
        log: RunLog,
        *,
        timeout_s: float,
        ids: Ids,
        speak: Speak,
        seen: Callable[[str], tuple[str, Turn] | None],
        publish: Callable[[RunEvent], object],
    ) -> None:
        self._machine = machine
        self._log = log
        self._timeout_s = timeout_s
        self._ids = ids
        self._speak = speak
        self._seen = seen
        self._publish = publish
        self._moves: deque[FloorMoved] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._current: _Landed | None = None
        self._landings = 0

    @property
    def untold(self) -> bool:
        """Whether a move is in the log and has not been told of yet."""
        return bool(self._moves)

    @property
    def busy(self) -> bool:
        """Whether a move has not been told of yet, or its new holder is being given the word."""
        return self.untold or self._landings > 0

    def moved(self, row: FloorMoved) -> None:
        """A move is durable."""
        self._moves.append(row)
        self._news.unpark_all()

    def check(self) -> None:
        """The machine may have seen the holder speak: if it has landed, the clock stops."""
        current = self._current
        if current is not None and self._machine.landing is not current.landing:
            current.over.set()
            self._current = None

    async def run(self) -> None:
        """Carry moves out until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                while not self._moves:
                    await self._news.park()
                row = self._moves.popleft()
                self.check()
                if row.origin != row.to:
                    self._publish(FloorChanged(origin=row.origin, to=row.to))
                landing = self._machine.landing
                if landing is not None and landing.move is row:
                    self._landings += 1
                    self._current = _Landed(landing)
                    nursery.start_soon(self._land, self._current)

    async def _land(self, landed: _Landed) -> None:
        landing = landed.landing
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._let_speak, landed)
                with trio.move_on_after(self._timeout_s) as patience:
                    await landed.over.wait()
                if patience.cancelled_caught:
                    silent = f"{landing.holder} did not speak within {self._timeout_s:g} s"
                    if await self._give_back(landing, silent):
                        nursery.cancel_scope.cancel()
        finally:
            self._landings -= 1

    async def _let_speak(self, landed: _Landed) -> None:
        landing = landed.landing
        turns = [seen for turn_id in landing.move.turns if (seen := self._seen(turn_id)) is not None]
        note = hand_over_note(self._ids.new("item"), landing.move, turns)
        origin = landing.move.origin if landing.move.origin != landing.holder else None
        try:
            await self._speak(landing.holder, note, Cause("hand_off", origin=origin, hops=landing.hops))
        except MobError as error:
            await self._give_back(landing, f"{landing.holder} could not speak: {error.message}")
        else:
            await self._give_back(landing, f"{landing.holder} had nothing to say")
        landed.over.set()

    async def _give_back(self, landing: Landing, reason: str) -> bool:
        """The holder did not speak. False when it keeps the floor, because it has by now or nobody takes it back."""
        if self._machine.landing is not landing:
            return False
        row = self._machine.give_back(landing, reason)
        words = reason if row is None else f"{reason}; {row.to or 'nobody'} has the floor"
        self._publish(
            ErrorOccurred(member=landing.holder, error_class="hand_off_failed", message=words, recovery="benign")
        )
        if row is not None:
            await self._log.append(row)
        return row is not None
