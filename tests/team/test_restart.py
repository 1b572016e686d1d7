"""Restart policy: delays that double, a ceiling inside a window, and a fresh start after a quiet time."""

from hypothesis import given, settings, strategies as st

from mob.team.restart import RestartPolicy


def test_delays_double_and_end_at_the_ceiling():
    policy = RestartPolicy(max_restarts=3, window_s=60, backoff_s=0.5)
    assert [policy.crashed(t) for t in (1.0, 2.0, 4.0, 8.0)] == [0.5, 1.0, 2.0, None]


def test_a_quiet_window_forgets_the_crashes():
    policy = RestartPolicy(max_restarts=1, window_s=10, backoff_s=0.5)
    assert policy.crashed(0.0) == 0.5
    assert policy.crashed(10.0) == 0.5
    assert policy.crashed(11.0) is None


def test_the_delay_never_passes_the_window():
    policy = RestartPolicy(max_restarts=20, window_s=3, backoff_s=1.0)
    assert max(policy.crashed(t / 100) or 0 for t in range(15)) == 3


@settings(deadline=None, max_examples=100)
@given(
    gaps=st.lists(st.floats(0, 30), max_size=30),
    max_restarts=st.integers(0, 4),
    window_s=st.floats(1, 40),
)
def test_never_more_restarts_than_the_ceiling_in_any_window(gaps, max_restarts, window_s):
    policy = RestartPolicy(max_restarts=max_restarts, window_s=window_s, backoff_s=0.1)
    now, restarts = 0.0, []
    for gap in gaps:
        now += gap
        if policy.crashed(now) is not None:
            restarts.append(now)
    for at in restarts:
        assert sum(1 for other in restarts if at <= other < at + window_s) <= max(max_restarts, 0)
