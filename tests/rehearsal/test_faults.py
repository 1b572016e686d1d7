"""Which fault is due when, and how faults are written in a terminal."""

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from mob.errors import UsageError
from mob.rehearsal.faults import KINDS, Fault, FaultPlan, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop-socket", Fault("drop-socket", 1)),
        ("drop-socket@3", Fault("drop-socket", 3)),
        ("host:drop-socket@3", Fault("drop-socket", 3, "host")),
        ("transcript-never@all", Fault("transcript-never", None)),
    ],
)
def test_spelling(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize("text", ["", "@3", "drop-socket@0", "drop-socket@x", "a b", "drop-socket@3@4"])
def test_what_is_no_fault_is_refused(text):
    with pytest.raises(UsageError):
        parse_fault(text)


def test_the_nearest_kind_is_named():
    with pytest.raises(UsageError, match="did you mean drop-socket"):
        parse_fault("drop-sockets")


@given(st.text(max_size=30))
def test_law_26_any_text_is_a_fault_or_a_usage_error(text):
    with suppress(UsageError):
        assert parse_fault(text).kind in KINDS


def test_a_fault_strikes_once_at_its_occasion():
    plan = FaultPlan([Fault("drop-socket", 3), Fault("late-deltas", None), Fault("no-done", 1, "host")])
    assert [plan.due("drop-socket", "host") for _ in range(5)] == [False, False, True, False, False]
    assert all(plan.due("late-deltas", None) for _ in range(3))
    assert not plan.due("no-done", "menu")
    assert plan.due("no-done", "host")
    assert plan.statistics() == {"drop-socket": 1, "late-deltas": 3, "no-done": 1}
