"""The floor as a fold of the log."""

from hypothesis import given, settings, strategies as st
from strategies_history import logs

from mob.history.floor import Floor
from mob.history.rows import FloorMoved, Stored


@settings(deadline=None, max_examples=80)
@given(log=logs(), data=st.data())
def test_law_21_one_holder_or_none_at_every_position(log, data):
    """What the whole fold says of a position is what the fold of the log up to there says; replays change nothing."""
    floor = Floor.of([*log, *log[: data.draw(st.integers(0, len(log)))]])
    for position in range(log[-1].seq + 2 if log else 2):
        prefix = [stored for stored in log if stored.seq <= position]
        moves = [stored.row for stored in prefix if isinstance(stored.row, FloorMoved)]
        expected = moves[-1].to if moves else None
        assert floor.holder_at(position) == Floor.of(prefix).holder == expected
    assert floor.holder == floor.holder_at(10**9)


def test_the_holder_is_known_at_every_position():
    move = FloorMoved(None, "host", "menu", "a question of taste", ("t1",))
    floor = Floor.of([Stored(4, 0.0, FloorMoved(None, None, "host", "entry")), Stored(9, 0.0, move)])
    assert (floor.holder_at(3), floor.holder_at(4), floor.holder_at(8), floor.holder_at(9)) == (
        None,
        "host",
        "host",
        "menu",
    )
