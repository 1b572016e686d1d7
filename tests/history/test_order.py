"""Causal order of items."""

import pytest
from hypothesis import given, settings, strategies as st

from mob.history.order import CausalOrder


@st.composite
def chains(draw):
    """Items that each name an earlier one (a tree with one root), in the order in which they came to be."""
    count = draw(st.integers(1, 12))
    branchy = draw(st.booleans())
    names = draw(st.permutations([f"i{n}" for n in range(count)]))
    parents = [draw(st.integers(0, at - 1)) if branchy else at - 1 for at in range(1, count)]
    return [(names[0], None), *((names[at], names[parent]) for at, parent in enumerate(parents, 1))]


def fold(implementation, announcements):
    order = implementation()
    for item_id, previous_id in announcements:
        order.add(item_id, previous_id)
    return order.ordered()


def check_law_01(implementation, items, arrival, repeats):
    """Any order of arrival, with any repetitions, gives the order of the chain."""
    assert fold(implementation, arrival) == fold(implementation, items)
    assert fold(implementation, [*arrival, *repeats]) == fold(implementation, items)
    assert fold(implementation, [*repeats, *arrival]) == fold(implementation, items)


def check_law_02(implementation, items, arrival):
    """Nothing stands before its predecessor, and nothing is lost."""
    ordered = fold(implementation, arrival)
    assert sorted(ordered) == sorted(item_id for item_id, _ in items)
    for item_id, previous_id in items:
        if previous_id in ordered:
            assert ordered.index(previous_id) < ordered.index(item_id)


@settings(deadline=None, max_examples=100)
@given(items=chains(), data=st.data())
def test_law_01_any_arrival_gives_one_order(items, data):
    arrival = data.draw(st.permutations(items))
    repeats = data.draw(st.lists(st.sampled_from(items), max_size=4))
    check_law_01(CausalOrder, items, arrival, repeats)


@settings(deadline=None, max_examples=100)
@given(items=chains(), data=st.data())
def test_law_02_no_item_before_its_predecessor(items, data):
    known = data.draw(st.lists(st.sampled_from(items), unique=True, min_size=1))
    check_law_02(CausalOrder, known, data.draw(st.permutations(known)))


class ByArrival(CausalOrder):
    """The mutant: believes that items arrive in order."""

    def add(self, item_id, previous_id=None):
        return super().add(item_id, None)


class Again(CausalOrder):
    """The mutant: takes a repeated announcement for a new one."""

    def add(self, item_id, previous_id=None):
        self.remove(item_id)
        self._removed.discard(item_id)
        return super().add(item_id, previous_id)


@pytest.mark.parametrize("mutant", [ByArrival, Again])
def test_law_01_mutant_is_caught(mutant):
    items = [("a", None), ("b", "a"), ("c", "b")]
    with pytest.raises(AssertionError):
        check_law_01(mutant, items, list(reversed(items)), [("a", None)])


def test_law_02_mutant_is_caught():
    items = [("a", None), ("b", "a")]
    with pytest.raises(AssertionError):
        check_law_02(ByArrival, items, list(reversed(items)))


def test_without_a_predecessor_items_are_appended():
    assert fold(CausalOrder, [("z", None), ("a", "gone"), ("m", None)]) == ("z", "a", "m")


def test_a_late_predecessor_takes_the_place_where_it_was_missed():
    order = CausalOrder()
    order.add("b", "a")
    order.add("x", None)
    assert order.ordered() == ("b", "x")
    order.add("a", None)
    assert order.ordered() == ("a", "b", "x")


def test_a_removed_item_leaves_the_chain_whole():
    order = CausalOrder()
    for item_id, previous_id in [("a", None), ("b", "a"), ("c", "b")]:
        order.add(item_id, previous_id)
    assert order.remove("b")
    assert order.ordered() == ("a", "c")
    assert not order.add("b", "a"), "an announcement that was repeated brings nothing back"
    order.add("d", "b")
    assert order.ordered() == ("a", "c", "d"), "who names a removed item is appended"
    assert order.remove("a")
    assert order.ordered() == ("c", "d")
    assert "a" not in order
    assert len(order) == 2


def test_a_removal_that_overtakes_the_announcement_holds():
    order = CausalOrder()
    assert not order.remove("a")
    assert not order.add("a", None)
    assert order.ordered() == ()


def test_removing_a_root_keeps_those_below_in_its_place():
    order = CausalOrder()
    for item_id, previous_id in [("r", "unseen"), ("s", None), ("b", "r"), ("a", "r")]:
        order.add(item_id, previous_id)
    order.remove("r")
    assert order.ordered() == ("a", "b", "s")
    order.add("unseen", None)
    assert order.ordered() == ("a", "b", "s", "unseen")


@settings(deadline=None, max_examples=100)
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from("abcde"), st.none() | st.sampled_from("abcdex")), max_size=20
    )
)
def test_whatever_a_provider_says_nothing_is_lost_and_nothing_loops(steps):
    """Cycles, self-reference, removals and repetitions: the order holds each item that is here once."""
    order = CausalOrder()
    here, gone = set(), set()
    for adds, item_id, previous_id in steps:
        if adds:
            assert order.add(item_id, previous_id) == (item_id not in here | gone)
            here |= {item_id} - gone
        else:
            assert order.remove(item_id) == (item_id in here)
            here.discard(item_id)
            gone.add(item_id)
        assert sorted(order.ordered()) == sorted(here)


def test_a_long_chain_costs_as_much_per_item_as_a_short_one():
    """Twenty thousand items backwards: neither adding nor reading is quadratic (or recursive)."""
    count = 20_000
    order = CausalOrder()
    for at in reversed(range(count)):
        order.add(f"i{at}", f"i{at - 1}" if at else None)
    assert order.ordered() == tuple(f"i{at}" for at in range(count))
