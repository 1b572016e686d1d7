"""What may be spent, as a tree of meters: the mob's at the root, one for each member below it.

Theory. Nobody knows what a request costs before it has ended, but most requests have a ceiling. So a meter knows two
sums: what was *spent*, and the ceilings of the requests that are *in flight*. A request is let through while

    spent + ceilings in flight < bound

holds for its member's meter and for every meter above. All requests in flight but the one let through last then fit
within the bound whatever they turn out to cost, so the bound is passed by less than one request (law 23). A request
that is refused only because of others in flight may wait for them (`reserve`); they end without waiting for it, since
no request is in flight while its tools run. When spent alone reaches the bound, nothing more is let through.

A turn counts from its admission. A request of which the provider does not say what it used is counted as a request
with `reported` False and spends nothing that is known. What was spent is kept by the members' meters alone and summed
for those above, so that the children's sums are the parent's, to the last bit.
"""

# ruff: noqa: SLF001 - a meter reads the meters above it, which are its own kind
from __future__ import annotations

from collections.abc import Iterator

import trio
from attrs import define, evolve, frozen

from mob.definition.model import Budget
from mob.errors import BudgetExceeded
from mob.sessions.pricing import Ceiling
from mob.values import NO_USAGE, Usage

_NO_BOUNDS = Budget()


@define(eq=False, slots=True)
class Reservation:
    """One request in flight: give it back with `settle` exactly once; a second time changes nothing."""

    ceiling: Ceiling
    open: bool = True


@frozen(slots=True)
class BudgetStatistics:
    """What a meter holds: turns begun, requests in flight, requests without a report, and the usage so far."""

    turns: int
    in_flight: int
    unreported: int
    usage: Usage


class BudgetMeter:
    """Counts what is spent and refuses what would pass the bounds. `name` is the mob's or the member's."""

    def __init__(self, name: str, budget: Budget = _NO_BOUNDS, *, parent: BudgetMeter | None = None) -> None:
        self.name = name
        self._budget = budget
        self._parent = parent
        self._children: dict[str, BudgetMeter] = {}
        self._own = NO_USAGE
        self._turns = 0
        self._unreported = 0
        self._flying: dict[int, Reservation] = {}
        self._settled: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot() if parent is None else parent._settled

    def child(self, identity: str) -> BudgetMeter:
        """The member's meter, the same one for every generation; its bounds are `[budget.members.X]`."""
        if identity not in self._children:
            bounds = self._budget.members.get(identity, _NO_BOUNDS)
            self._children[identity] = BudgetMeter(identity, bounds, parent=self)
        return self._children[identity]

    @property
    def usage(self) -> Usage:
        """What was spent here and below."""
        return sum((child.usage for child in self._children.values()), self._own)

    @property
    def turns(self) -> int:
        """Turns begun here and below."""
        return self._turns + sum(child.turns for child in self._children.values())

    def restore(self, usage: Usage, turns: int) -> None:
        """Begin from what an earlier process spent. Changes nothing once this meter has counted anything."""
        if self._own == NO_USAGE and not self._turns and not self._flying:
            self._own, self._turns = usage, turns

    def begin_turn(self) -> None:
        """Count a turn that begins. BudgetExceeded when a bound is reached."""
        for meter in self._upwards():
            meter._refuse_if_spent(turn=True)
        self._turns += 1

    def abandon_turn(self) -> None:
        """The turn came to nothing and is not counted."""
        self._turns -= 1

    def reserve_nowait(self, ceiling: Ceiling) -> Reservation:
        """Let one request through. BudgetExceeded when a bound is reached, or held by requests in flight."""
        for meter in self._upwards():
            meter._refuse_if_spent()
        for meter in self._upwards():
            if meter._held():
                raise BudgetExceeded(
                    f"requests in flight may use what is left of {meter._whose()}; try again when they have ended"
                )
        reservation = Reservation(ceiling)
        for meter in self._upwards():
            meter._flying[id(reservation)] = reservation
        return reservation

    async def reserve(self, ceiling: Ceiling) -> Reservation:
        """Let one request through, waiting for requests in flight where need be. BudgetExceeded."""
        while True:
            for meter in self._upwards():
                meter._refuse_if_spent()
            if not any(meter._held() for meter in self._upwards()):
                return self.reserve_nowait(ceiling)
            await self._settled.park()

    def settle(self, reservation: Reservation, usage: Usage | None) -> Usage:
        """The request has ended and used this much (None: the provider did not say). Returns what was counted."""
        if not reservation.open:
            return NO_USAGE
        self._land(reservation)
        return self.charge(evolve(NO_USAGE, reported=False) if usage is None else usage)

    def charge(self, usage: Usage) -> Usage:
        """Count a request that was made without a reservation. Returns what was counted."""
        if not usage.reported:
            self._unreported += 1
        counted = usage if usage.requests else evolve(usage, requests=1)
        self._own += counted
        return counted

    def release(self, reservation: Reservation) -> None:
        """The request was never made."""
        if reservation.open:
            self._land(reservation)

    def statistics(self) -> BudgetStatistics:
        """Counts, as of now."""
        unreported = self._unreported + sum(child.statistics().unreported for child in self._children.values())
        return BudgetStatistics(self.turns, len(self._flying), unreported, self.usage)

    def _upwards(self) -> Iterator[BudgetMeter]:
        meter: BudgetMeter | None = self
        while meter is not None:
            yield meter
            meter = meter._parent

    def _land(self, reservation: Reservation) -> None:
        reservation.open = False
        for meter in self._upwards():
            del meter._flying[id(reservation)]
        self._settled.unpark_all()

    def _refuse_if_spent(self, *, turn: bool = False) -> None:
        bounds, usage = self._budget, self.usage
        if bounds.max_usd is not None and (usage.cost_usd or 0.0) >= bounds.max_usd:
            raise self._exceeded("max_usd", f"{usage.cost_usd or 0.0:.4f} of {bounds.max_usd} US dollars")
        if bounds.max_tokens is not None and usage.total_tokens >= bounds.max_tokens:
            raise self._exceeded("max_tokens", f"{usage.total_tokens} of {bounds.max_tokens} tokens")
        if turn and bounds.max_turns is not None and self.turns >= bounds.max_turns:
            raise self._exceeded("max_turns", f"{self.turns} of {bounds.max_turns} turns")

    def _held(self) -> bool:
        """Whether the requests in flight may use up what is left."""
        bounds, usage = self._budget, self.usage
        flying = self._flying.values()
        if not flying:
            return False
        usd = (usage.cost_usd or 0.0) + sum(each.ceiling.usd for each in flying)
        tokens = usage.total_tokens + sum(each.ceiling.tokens for each in flying)
        return (bounds.max_usd is not None and usd >= bounds.max_usd) or (
            bounds.max_tokens is not None and tokens >= bounds.max_tokens
        )

    def _exceeded(self, bound: str, sentence: str) -> BudgetExceeded:
        where = "[budget]" if self._parent is None else f"[budget.members.{self.name}]"
        return BudgetExceeded(f"{self._whose()} is used up: {sentence} ({bound}); raise {bound} in {where} to go on")

    def _whose(self) -> str:
        return f"the budget of {self.name}"
