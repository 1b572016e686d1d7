"""Budgets: prices, the tree of meters, and law 23."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from mob.definition.catalogue import catalogue
from mob.definition.model import Budget, ModelCapabilities, Price
from mob.errors import BudgetExceeded
from mob.sessions.budget import BudgetMeter
from mob.sessions.pricing import Ceiling, ceiling, priced
from mob.values import Usage

PRICE = Price(
    "2026-08-01",
    input_text=4.0,
    output_text=16.0,
    cached_text=0.4,
    input_audio=32.0,
    output_audio=64.0,
    cached_audio=0.5,
    input_image=5.0,
)


def test_each_part_has_its_own_price():
    """Cached and audio tokens are parts of the totals; each is billed once."""
    usage = Usage(
        input_tokens=1000,
        output_tokens=300,
        cached_tokens=400,
        input_audio_tokens=500,
        output_audio_tokens=200,
        input_image_tokens=100,
        cached_audio_tokens=100,
    )
    # 400 text in, of which 300 cached; 500 audio in, of which 100 cached; 100 image; 100 text and 200 audio out.
    expected = 100 * 4 + 300 * 0.4 + 400 * 32 + 100 * 0.5 + 100 * 5 + 100 * 16 + 200 * 64
    assert priced(usage, PRICE).cost_usd == pytest.approx(expected / 1e6)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (Usage(input_tokens=10), None),
        (Usage(input_tokens=10), Price("2026-08-01", input_text=1.0)),
        (Usage(reported=False), PRICE),
        (Usage(input_tokens=10, cost_usd=3.0), PRICE),
    ],
)
def test_what_cannot_be_priced_is_left_as_it_is(usage, price):
    """No price, half a price, no report, or a cost that is known already."""
    assert priced(usage, price) == usage


TOKENS = st.integers(0, 10_000)
USAGES = st.builds(
    lambda i, o, c, a, b, d: Usage(
        input_tokens=i,
        output_tokens=o,
        cached_tokens=min(c, i),
        input_audio_tokens=min(a, i),
        output_audio_tokens=min(b, o),
        cached_audio_tokens=min(d, a, c, i),
    ),
    TOKENS,
    TOKENS,
    TOKENS,
    TOKENS,
    TOKENS,
    TOKENS,
)


@given(USAGES)
def test_no_request_costs_more_than_its_ceiling(usage):
    """What makes the budget's arithmetic sound."""
    model = ModelCapabilities("m", "p", "w", context_window=10_000, max_output_tokens=10_000, price=PRICE)
    most = ceiling(model)
    assert usage.total_tokens <= most.tokens
    assert (priced(usage, PRICE).cost_usd or 0) <= most.usd + 1e-12


def test_a_ceiling_is_bounded_by_the_request_the_window_or_nothing():
    """Unknown means infinite, never small."""
    plain = ModelCapabilities("m", "p", "w")
    assert ceiling(plain).tokens == float("inf")
    assert ceiling(plain, input_bytes=10).tokens == float("inf")
    windowed = ModelCapabilities("m", "p", "w", context_window=1000, max_output_tokens=100)
    assert ceiling(windowed, input_bytes=50) == Ceiling(150, 0.0)
    assert ceiling(windowed, input_bytes=5000) == Ceiling(1100, 0.0)


def test_every_shipped_model_with_a_price_can_be_priced():
    """Both sides have a price, so no bill is missing."""
    for model in catalogue().values():
        if model.price is not None:
            assert priced(Usage(input_tokens=1, output_tokens=1), model.price).cost_usd is not None, model.id


@pytest.mark.parametrize(("bounds", "name"), [(Budget(max_usd=0.5), "max_usd"), (Budget(max_tokens=10), "max_tokens")])
def test_a_bound_that_is_reached_is_named_with_its_place(bounds, name):
    """And what to do: both for the mob's budget and for a member's own."""
    member = BudgetMeter("host", bounds)
    mob = BudgetMeter("desk", Budget(members={"host": bounds}))
    for meter, where in ((member, r"\[budget\]"), (mob.child("host"), r"\[budget.members.host\]")):
        meter.charge(Usage(input_tokens=10, cost_usd=0.5))
        with pytest.raises(BudgetExceeded, match=f"{name}.*raise {name} in {where}"):
            meter.reserve_nowait(Ceiling(1, 0))


def test_turns_are_counted_from_their_beginning():
    """A turn that came to nothing gives its place back."""
    mob = BudgetMeter("desk", Budget(max_turns=2))
    mob.child("a").begin_turn()
    mob.child("b").begin_turn()
    with pytest.raises(BudgetExceeded, match="2 of 2 turns"):
        mob.child("c").begin_turn()
    mob.child("b").abandon_turn()
    mob.child("c").begin_turn()
    assert mob.turns == 2


def test_a_meter_begins_from_what_was_spent_before_once():
    """On resume; a respawned member's meter has it already."""
    meter = BudgetMeter("desk").child("host")
    meter.restore(Usage(input_tokens=5), 3)
    meter.restore(Usage(input_tokens=7), 4)
    assert (meter.usage.input_tokens, meter.turns) == (5, 3)


def test_a_request_without_a_report_is_counted_as_such():
    """Zero is never mistaken for free."""
    mob = BudgetMeter("desk")
    meter = mob.child("host")
    counted = meter.settle(meter.reserve_nowait(Ceiling(10, 1)), None)
    assert (counted.reported, counted.requests) == (False, 1)
    assert mob.statistics().unreported == 1
    assert not mob.usage.reported


def test_settling_twice_counts_once():
    """Late and duplicate reports change nothing."""
    meter = BudgetMeter("host")
    reservation = meter.reserve_nowait(Ceiling(10, 1))
    meter.settle(reservation, Usage(input_tokens=3))
    meter.settle(reservation, Usage(input_tokens=3))
    meter.release(reservation)
    assert meter.usage.input_tokens == 3
    assert meter.statistics().in_flight == 0


async def test_a_request_waits_for_those_in_flight_rather_than_fail(autojump_clock):
    """Near the bound requests go one after the other."""
    mob = BudgetMeter("desk", Budget(max_tokens=100))
    first = mob.child("a").reserve_nowait(Ceiling(100, 0))
    with pytest.raises(BudgetExceeded, match="requests in flight may use what is left of the budget of desk"):
        mob.child("b").reserve_nowait(Ceiling(100, 0))
    admitted = []

    async def second():
        admitted.append(await mob.child("b").reserve(Ceiling(100, 0)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(second)
        await wait_all_tasks_blocked()
        assert admitted == []
        mob.child("a").settle(first, Usage(input_tokens=10))
    assert len(admitted) == 1
    mob.child("b").settle(admitted[0], Usage(input_tokens=90))
    with pytest.raises(BudgetExceeded):
        await mob.child("a").reserve(Ceiling(1, 0))


# Law 23: spend never passes the budget by more than one request; child sums equal the parent.

MEMBERS = ("a", "b", "c")
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(MEMBERS),
        st.integers(0, 5),  # when it begins
        st.integers(0, 5),  # how long it takes
        st.integers(1, 60),  # its ceiling
        st.integers(0, 100),  # what it uses, percent of the ceiling
        st.sampled_from([True, True, True, False]),  # whether the provider says so
        st.booleans(),  # whether it waits for others
    ),
    max_size=12,
)


class Accounts:
    """What was really used, beside what the meter says."""

    def __init__(self) -> None:
        self.spent = 0
        self.largest = 0
        self.refused = 0


async def _check_law_23(meter: type[BudgetMeter], bound: int, own: int | None, requests) -> None:
    bounds = Budget(max_tokens=bound, members={"a": Budget(max_tokens=own)} if own is not None else {})
    mob = meter("desk", bounds)
    total = {name: Accounts() for name in ("desk", *MEMBERS)}

    async def one(name, begins, takes, most, percent, reported, waits) -> None:
        await trio.sleep(begins)
        child = mob.child(name)
        try:
            reservation = await child.reserve(Ceiling(most, 0)) if waits else child.reserve_nowait(Ceiling(most, 0))
        except BudgetExceeded:
            return
        await trio.sleep(takes)
        used = most * percent // 100
        child.settle(reservation, Usage(input_tokens=used) if reported else None)
        for account in (total["desk"], total[name]):
            account.spent += used if reported else 0
            account.largest = max(account.largest, used)
        assert mob.usage.total_tokens == sum(mob.child(each).usage.total_tokens for each in MEMBERS)

    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(one, *request)
    assert mob.usage.total_tokens == total["desk"].spent
    assert total["desk"].spent < bound + max(total["desk"].largest, 1)
    if own is not None:
        assert total["a"].spent < own + max(total["a"].largest, 1)
    assert mob.statistics().in_flight == 0


def check_law_23(meter: type[BudgetMeter], bound: int, own: int | None, requests) -> None:
    trio.run(_check_law_23, meter, bound, own, requests, clock=MockClock(autojump_threshold=0))


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 150), st.none() | st.integers(1, 60), REQUESTS)
def test_law_23_spend_passes_the_budget_by_less_than_one_request(bound, own, requests):
    """Whoever asks when, however many at once, whatever they turn out to use."""
    check_law_23(BudgetMeter, bound, own, requests)


def test_law_23_mutant_that_ignores_requests_in_flight_is_caught():
    """Three at once, each within the budget, together far over it."""

    class Mutant(BudgetMeter):
        def _held(self) -> bool:
            return False

        def child(self, identity):
            if identity not in self._children:
                self._children[identity] = Mutant(identity, parent=self)
            return self._children[identity]

    requests = [(name, 0, 1, 50, 100, True, False) for name in MEMBERS]
    check_law_23(BudgetMeter, 60, None, requests)
    with pytest.raises(BaseException) as caught:
        check_law_23(Mutant, 60, None, requests)
    assert isinstance(caught.value, AssertionError)
