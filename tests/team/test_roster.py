"""Law 22: generations only rise and are never given twice; the roster is the fold of the log."""

import pytest
from hypothesis import given, settings, strategies as st

from mob.definition.model import Member, MobDefinition, Profile, RoleWiring
from mob.errors import MemberUnknown
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.rows import (
    FloorMoved,
    MemberEnded,
    MemberSpawned,
    MessageAdmitted,
    MessageEnded,
    RunStarted,
    Stored,
    TurnRow,
    Wired,
)
from mob.team.floor import FloorMachine
from mob.team.roster import Roster
from mob.team.state import TeamState, wiring_of

NAMES = st.sampled_from(["ann", "bob"])
rows = st.lists(
    st.one_of(
        st.builds(MemberSpawned, NAMES, st.integers(1, 5), st.just("clerk"), st.just("m")),
        st.builds(MemberEnded, NAMES, st.integers(1, 5), st.sampled_from(["retired", "crashed"])),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=100)
@given(rows)
def test_law_22_generations_only_rise_and_ends_of_old_ones_touch_nobody(log):
    roster, highest = Roster(), {}
    for seq, row in enumerate(log, 1):
        before = {seat.identity: (seat.generation, seat.ended) for seat in roster}
        roster.apply(Stored(seq, 0.0, row))
        if isinstance(row, MemberSpawned):
            highest[row.member] = max(highest.get(row.member, 0), row.generation)
        for seat in roster:
            assert seat.generation == highest[seat.identity]
            if isinstance(row, MemberEnded) and row.generation != seat.generation:
                assert before.get(seat.identity) == (seat.generation, seat.ended)


def test_an_unknown_member_is_told_who_there_is():
    roster = Roster()
    roster.apply(Stored(1, 0.0, MemberSpawned("ann", 1, "clerk", "m")))
    assert roster.roles == {"ann": "clerk"}
    with pytest.raises(MemberUnknown, match="there is ann"):
        roster.seat("bob")


def definition(members=("ann", "bob")):
    return MobDefinition(
        "team",
        {"clerk": Profile("clerk", "gpt-5.4-mini")},
        {name: Member(name, "clerk") for name in members},
        role_wiring=(RoleWiring("clerk", "clerk"),),
    )


def test_the_past_is_folded_and_its_loose_ends_are_tied():
    turn = Turn("t1", Cause("text"), (UserMessage("u1", "hi"), AgentMessage("a")))
    log = [
        RunStarted("team", "digest", 7),
        MemberSpawned("ann", 1, "clerk", "m"),
        MemberSpawned("bob", 1, "clerk", "m"),
        MemberEnded("bob", 1, "retired"),
        FloorMoved(None, None, "ann", "the run starts"),
        Wired(None, "ann", "bob", ("tell",)),
        TurnRow("ann", turn, 1),
        MessageAdmitted("ann", "m1", "bob", "ask", "?"),
    ]
    machine = FloorMachine(entry="ann", max_hops=3, runs=lambda _: True)
    state = TeamState(definition())
    for seq, row in enumerate(log, 1):
        state.replay(Stored(seq, 0.0, row), machine)
    assert (state.seed, state.mob, state.turns) == (7, "team", 1)
    assert state.floor.holder == machine.holder == "ann"
    assert state.routes.ways("ann", "bob") == ("tell",)
    assert state.said_to("t1") == "ann"
    assert state.loose_ends() == (
        MessageEnded("ann", "m1", "cancelled"),
        MemberEnded("ann", 1, "crashed", "the program stopped"),
    )
    for seq, row in enumerate(state.loose_ends(), len(log) + 1):
        state.replay(Stored(seq, 0.0, row), machine)
    assert state.loose_ends() == ()


def test_a_newcomer_is_wired_as_its_role_is():
    assert wiring_of(definition(("ann", "bob")), "bob") == (
        Wired(None, "ann", "bob", ("ask", "tell")),
        Wired(None, "bob", "ann", ("ask", "tell")),
    )
    assert wiring_of(definition(("ann",)), "ann") == ()
