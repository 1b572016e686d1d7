"""Law 21: one floor holder or none, in one chain of moves, and no user turn is lost in a hand-over."""

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st

from mob.errors import HopLimitReached, MemberNotRunning, MobError, RouteRefused
from mob.history.floor import Floor
from mob.history.items import AgentMessage, Cause, ToolCall, Turn, UserMessage
from mob.history.rows import FloorMoved, Stored, TurnRow
from mob.team.floor import MAX_NAMED, FloorMachine, hand_over_note

MEMBERS = ("ann", "bob", "cyd", "dan")


class World:
    """A machine, the log its rows go to, and the members that run."""

    def __init__(self, machine=FloorMachine, *, max_hops=3, on_line=()):
        self.alive = set(MEMBERS)
        self.log = []
        self.turns = {}
        self.on_line = set(on_line)
        self.machine = machine(
            entry="ann", max_hops=max_hops, runs=self.alive.__contains__, on_line=self.on_line.__contains__
        )
        self.write(self.machine.start())

    def write(self, *rows):
        for row in rows:
            if row is not None:
                self.log.append(Stored(len(self.log) + 1, 0.0, row))

    def commit(self, member, *, user=None, said="yes", cause=None, calls=(), status="done"):
        number = f"t{len(self.turns)}"
        items = [UserMessage(f"u{number}", user)] if user is not None else []
        items += [ToolCall(f"c{number}", f"c{number}", name, "{}") for name in calls]
        items += [AgentMessage(f"a{number}", said)] if said else []
        turn = Turn(number, cause or Cause("text"), tuple(items), status)
        self.turns[number] = (member, turn)
        self.write(TurnRow(member, turn), self.machine.committing(member, turn))
        return turn

    @property
    def moves(self):
        return [stored.row for stored in self.log if isinstance(stored.row, FloorMoved)]

    @property
    def holder(self):
        return Floor.of(self.log).holder


def test_the_entry_member_gets_the_floor_first():
    assert World().holder == "ann"


def test_a_hand_off_moves_the_floor_at_the_commit_of_its_turn_and_names_what_the_user_said():
    world = World()
    early = world.commit("ann", user="I lost my card")
    world.machine.request("ann", "bob", "cards", hops=1)
    assert world.holder == "ann"
    late = world.commit("ann", user="yes, block it", calls=("hand_off_to_bob",))
    assert world.holder == "bob"
    assert world.moves[-1] == FloorMoved(None, "ann", "bob", "cards", (early.id, late.id))
    assert isinstance(world.log[-2].row, TurnRow)
    assert world.machine.landing.previous == "ann"
    note = hand_over_note("n1", world.moves[-1], [world.turns[name] for name in world.moves[-1].turns])
    assert "cards" in note.text
    assert "I lost my card" in note.text
    assert "yes, block it" in note.text


def test_the_first_hand_off_of_a_turn_wins():
    world = World()
    world.machine.request("ann", "bob", "first", hops=1)
    with pytest.raises(RouteRefused, match="goes to bob"):
        world.machine.request("ann", "cyd", "second", hops=1)
    world.commit("ann", user="hello")
    assert world.holder == "bob"


def test_only_the_holder_hands_off_and_only_to_those_who_run():
    world = World()
    with pytest.raises(RouteRefused, match="does not have the floor"):
        world.machine.request("bob", "cyd", "", hops=1)
    with pytest.raises(RouteRefused, match="has the floor already"):
        world.machine.request("ann", "ann", "", hops=1)
    world.alive.discard("bob")
    with pytest.raises(MemberNotRunning, match="bob"):
        world.machine.request("ann", "bob", "", hops=1)
    with pytest.raises(HopLimitReached, match="limit is 3"):
        world.machine.request("ann", "cyd", "", hops=4)


def test_who_does_not_speak_gives_the_floor_back_and_a_failed_turn_is_no_speech():
    world = World()
    world.machine.request("ann", "bob", "cards", hops=1)
    world.commit("ann", user="help")
    landing = world.machine.landing
    world.commit("bob", said="", status="failed", cause=Cause("hand_off", "ann", hops=1))
    world.write(world.machine.give_back(landing, "bob did not speak"))
    assert world.holder == "ann"
    assert world.machine.landing.previous is None
    assert world.machine.give_back(world.machine.landing, "ann did not speak") is None
    assert world.holder == "ann"


def test_speech_a_tool_call_or_the_users_barge_in_ends_the_landing():
    for facts in ({"said": "hi"}, {"said": "", "calls": ("look",)}, {"said": "", "status": "interrupted"}):
        world = World()
        world.machine.request("ann", "bob", "cards", hops=1)
        world.commit("ann", user="help")
        landing = world.machine.landing
        world.commit("bob", cause=Cause("hand_off", "ann", hops=1), **facts)
        assert world.machine.give_back(landing, "too late") is None
        assert world.holder == "bob"


def test_a_target_that_stopped_before_the_commit_leaves_the_floor_where_it_is_and_says_so():
    world = World()
    world.machine.request("ann", "bob", "cards", hops=1)
    world.alive.discard("bob")
    world.commit("ann", user="help")
    assert world.holder == "ann"
    assert "bob is not running" in world.moves[-1].reason
    assert world.machine.landing.holder == "ann"


def test_a_crashed_holder_gives_the_floor_to_the_entry_member_and_a_crashed_entry_member_to_nobody():
    world = World()
    world.write(world.machine.picked("cyd", "the user"))
    said = world.commit("cyd", user="are you there?", said="")
    world.alive.discard("cyd")
    world.write(world.machine.ended("cyd", "cyd crashed"))
    assert world.moves[-1] == FloorMoved(None, "cyd", "ann", "cyd crashed", (said.id,))
    world.alive.discard("ann")
    world.write(world.machine.ended("ann", "ann crashed"))
    assert world.holder is None
    world.alive.add("ann")
    world.write(world.machine.running("ann"))
    assert world.holder == "ann"


def test_speech_that_reaches_the_old_holder_late_is_told_to_the_new_one():
    world = World(on_line=["ann"])
    world.machine.request("ann", "bob", "cards", hops=1)
    world.commit("ann", user="help")
    late = world.commit("ann", user="and hurry", cause=Cause("speech"))
    assert world.moves[-1].to == "bob"
    assert world.moves[-1].turns == (late.id,)


def test_picking_the_one_who_has_the_floor_does_nothing():
    world = World()
    assert world.machine.picked("ann", "the user") is None
    world.write(world.machine.picked("bob", "the user"))
    assert world.machine.landing is None, "nothing was said yet: the user has the next word"


WHO = ("holder", "holder", *MEMBERS)

acts = st.lists(
    st.one_of(
        st.tuples(st.just("hand_off"), st.sampled_from(WHO), st.sampled_from(MEMBERS)),
        st.tuples(st.just("user"), st.sampled_from(WHO), st.sampled_from(["done", "interrupted", "failed"])),
        st.tuples(st.just("speech"), st.sampled_from(MEMBERS), st.just("")),
        st.tuples(st.just("lands"), st.sampled_from(["hi", ""]), st.just("")),
        st.tuples(st.just("timeout"), st.just(""), st.just("")),
        st.tuples(st.just("crash"), st.sampled_from(WHO), st.just("")),
        st.tuples(st.just("back"), st.sampled_from(MEMBERS), st.just("")),
        st.tuples(st.just("pick"), st.sampled_from(MEMBERS), st.just("")),
        st.tuples(st.just("resume"), st.just(""), st.just("")),
    ),
    max_size=40,
)


def act(world, kind, first, second):
    machine = world.machine
    match kind:
        case "hand_off":
            machine.request(first, second, "because", hops=1)
        case "user":
            if first in world.alive:
                world.commit(first, user=f"words {len(world.turns)}", status=second)
        case "speech":
            if first in world.alive:
                world.commit(first, user=f"words {len(world.turns)}", cause=Cause("speech"))
        case "lands":
            if machine.landing is not None and machine.landing.holder in world.alive:
                world.commit(machine.landing.holder, said=first, cause=Cause("hand_off"))
        case "timeout":
            if machine.landing is not None:
                world.write(machine.give_back(machine.landing, "silent"))
        case "crash":
            world.alive.discard(first)
            world.write(machine.ended(first, "crashed"))
        case "back":
            world.alive.add(first)
            world.write(machine.running(first))
        case "pick":
            world.write(machine.picked(first, "the user"))
        case "resume":
            world.machine = type(machine)(
                entry="ann", max_hops=3, runs=world.alive.__contains__, on_line=world.on_line.__contains__
            )
            for stored in world.log:
                world.machine.replay(stored)
            world.write(world.machine.start())


def check_law_21(machine, script):
    """Fold and machine agree at every position, moves are one chain, and each names what its `to` has not seen."""
    world = World(machine, on_line=MEMBERS)
    for kind, who, second in script:
        rows = len(world.log)
        first = (world.holder or "ann") if who == "holder" else who
        running = set(world.alive) - ({first} if kind == "crash" else set()) | ({first} if kind == "back" else set())
        try:
            act(world, kind, first, second)
        except MobError:
            assert len(world.log) == rows, "a refusal writes nothing"
        fold = Floor.of(world.log)
        assert world.machine.holder == fold.holder
        for stored in world.log[rows:]:
            if isinstance(stored.row, FloorMoved):
                assert stored.row.origin == fold.holder_at(stored.seq - 1), "each move begins where the last one ended"
                assert stored.row.to is None or stored.row.to in running
                if stored.row.to is not None:
                    assert set(stored.row.turns) == unseen(world.log[: stored.seq], stored.row.to)
                    if stored.row.turns:
                        assert world.machine.landing is not None, "who must see something is told it"


def unseen(log, member):
    """Oracle: the user's turns since `member` last had the floor, with whoever had it; late speech is told at once."""
    fold, named = Floor.of(log), []
    last_had = max((s.seq for s in log[:-1] if fold.holder_at(s.seq) == member), default=0)
    for stored in log:
        if not isinstance(stored.row, TurnRow) or not any(isinstance(i, UserMessage) for i in stored.row.turn.items):
            continue
        with_holder = fold.holder_at(stored.seq - 1) == stored.row.member
        late = not with_holder and stored.row.turn.cause.kind == "speech" and fold.holder_at(stored.seq - 1) is not None
        told_now = late and log[-1].seq == stored.seq + 1
        if (stored.seq > last_had and (with_holder or late)) or told_now:
            named.append(stored.row.turn.id)
    return set(named[-MAX_NAMED:])


@settings(deadline=None, max_examples=200)
@given(acts)
def test_law_21_the_floor_is_one_chain_and_names_every_unseen_user_turn(script):
    check_law_21(FloorMachine, script)


class ForgetsTurns(FloorMachine):
    def committing(self, member, turn):
        row = super().committing(member, turn)
        return row and evolve(row, turns=())


class LetsAnyoneHandOff(FloorMachine):
    def request(self, member, to, reason, *, hops):
        self._holder, holder = member, self._holder
        try:
            super().request(member, to, reason, hops=hops)
        finally:
            if self.pending is None:
                self._holder = holder


class SeesTheEndOfNobody(FloorMachine):
    def ended(self, member, reason):
        return None

    def committing(self, member, turn):
        self._runs = lambda _identity: True
        return super().committing(member, turn)


@pytest.mark.parametrize("mutant", [ForgetsTurns, LetsAnyoneHandOff, SeesTheEndOfNobody])
def test_law_21_mutant_floor_is_caught(mutant):
    @settings(deadline=None, max_examples=500, database=None, derandomize=True)
    @given(acts)
    def law(script):
        check_law_21(mutant, script)

    with pytest.raises(AssertionError):
        law()
