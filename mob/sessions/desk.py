"""The turn desk: where a member's turns are admitted one at a time, paid for and committed.

Theory. A turn holds the one slot from its admission to its commit, whether it came by the mailbox or over a live
channel, and whoever else wants a turn waits in line. The states, and what moves them:

    free ──admit──> running, and it is told
                    running ──commit──> free            the turn is durable, then the slot is free, then it is told
                    running ──abandon──> free           nothing is written, and the turn is not counted
    free ──note──> running ──commit──> free             a turn that only tells something: not counted, nothing paid

A request for an answer is let through by the budget before it is sent and settled when it ended. What a turn leaves
unsettled when it ends (its connection died) is settled as unreported, so that nothing stays reserved for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
from attrs import evolve, frozen

from mob.definition.model import ModelCapabilities
from mob.history.items import Cause, Turn
from mob.history.rows import TranscriptFilled, TurnRow
from mob.sessions.budget import BudgetMeter, Reservation
from mob.sessions.events import RunEvent, TurnBegan, TurnEnded
from mob.sessions.journal import Journal
from mob.sessions.pricing import ceiling, priced
from mob.values import NO_USAGE, Usage


@frozen(slots=True)
class DeskStatistics:
    """`running` is the cause of the turn that holds the slot; counts of turns in line, committed and abandoned."""

    running: Cause | None
    waiting: int
    committed: int
    abandoned: int


class TurnDesk:
    """One member's desk. `generation` is written into its turns; `model` is what its requests are priced by."""

    def __init__(
        self,
        journal: Journal,
        budget: BudgetMeter,
        *,
        generation: int,
        model: ModelCapabilities,
        publish: Callable[[RunEvent], object],
    ) -> None:
        self.model = model
        self._journal = journal
        self._budget = budget
        self._generation = generation
        self._publish = publish
        self._slot = trio.Semaphore(1, max_value=1)
        self._running: Cause | None = None
        self._ready: Reservation | None = None
        self._flying: deque[Reservation] = deque()
        self._committed = 0
        self._abandoned = 0

    @property
    def running(self) -> Cause | None:
        """Why the turn that holds the slot began; None when the slot is free."""
        return self._running

    async def admit(self, cause: Cause) -> None:
        """Wait for the slot and take it. BudgetExceeded, and the slot is not taken, when a bound is reached."""
        await self._slot.acquire()
        try:
            self._budget.begin_turn()
        except BaseException:
            self._slot.release()
            raise
        self._begin(cause)

    async def note(self, turn: Turn) -> Turn:
        """Wait for the slot and commit a turn that asks nothing of a model, so that nobody pays for it. StoreError."""
        await self._slot.acquire()
        self._begin(turn.cause)
        return await self.commit(turn)

    def _begin(self, cause: Cause) -> None:
        self._running = cause
        self._publish(
            TurnBegan(
                member=self._journal.history.member,
                cause=cause.kind,
                origin=cause.origin,
                message_id=cause.message_id,
            )
        )

    async def reserve(self, input_bytes: int) -> None:
        """Let a request of this size through, waiting for others in flight where need be. BudgetExceeded."""
        self._flying.append(await self._budget.reserve(ceiling(self.model, input_bytes=input_bytes)))

    def unmade(self) -> None:
        """The newest request was let through and never reached the provider."""
        self._budget.release(self._flying.pop())

    async def make_ready(self) -> None:
        """Reserve the turn's first request ahead, so that `reserve_nowait` need not be refused for others in flight.

        On BudgetExceeded the turn is abandoned.
        """
        try:
            self._ready = await self._budget.reserve(ceiling(self.model))
        except BaseException:
            self.abandon()
            raise

    def reserve_nowait(self) -> None:
        """Let a request of unknown size through. BudgetExceeded."""
        ready, self._ready = self._ready, None
        self._flying.append(ready or self._budget.reserve_nowait(ceiling(self.model)))

    def settle(self, usage: Usage | None) -> Usage:
        """The oldest request in flight has ended. Returns what was counted, with its price."""
        reported = None if usage is None else priced(usage, self.model.price)
        if self._flying:
            return self._budget.settle(self._flying.popleft(), reported)
        return self._budget.charge(evolve(NO_USAGE, reported=False) if reported is None else reported)

    async def commit(self, turn: Turn) -> Turn:
        """Make the turn durable, free the slot, and tell of it. StoreError frees the slot, too.

        Not cancelled: a turn that has ended is kept. The journal bounds how long that takes.
        """
        turn = evolve(turn, usage=priced(turn.usage, self.model.price))
        row = TurnRow(self._journal.history.member, turn, self._generation)
        try:
            with trio.CancelScope(shield=True):
                stored = await self._journal.write(row)
        finally:
            self._free()
        self._committed += 1
        committed = evolve(turn, seq=stored[0].seq)
        self._publish(
            TurnEnded(
                member=row.member,
                turn=committed.id,
                status=committed.status,
                user=committed.user_text,
                agent=committed.agent_text,
                usage=committed.usage,
                latency=committed.timings,
            )
        )
        return committed

    def abandon(self) -> None:
        """The running turn came to nothing. Nothing happens when none runs."""
        if self._running is not None:
            self._abandoned += 1
            self._budget.abandon_turn()
            self._free()

    async def fill_transcript(self, item_id: str, text: str, *, failed: bool) -> None:
        """A transcript that came late fills its slot."""
        await self._journal.write(TranscriptFilled(self._journal.history.member, item_id, text, failed))

    def statistics(self) -> DeskStatistics:
        """Counts, as of now."""
        waiting = self._slot.statistics().tasks_waiting
        return DeskStatistics(self._running, waiting, self._committed, self._abandoned)

    def _free(self) -> None:
        if self._ready is not None:
            self._budget.release(self._ready)
            self._ready = None
        while self._flying:
            self._budget.settle(self._flying.popleft(), None)
        if self._running is not None:
            self._running = None
            self._slot.release()
