"""Law 21 in motion: hand-offs over a real log, with members that speak, pass the floor on, fall silent or fail."""

import itertools
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings, strategies as st

from mob.errors import MemberFailed, MobError, TurnTimedOut
from mob.history.floor import Floor
from mob.history.items import AgentMessage, Cause, Turn, UserMessage
from mob.history.rows import FloorMoved, TurnRow
from mob.ids import Ids
from mob.sessions.events import ErrorOccurred, FloorChanged
from mob.store.memory import MemoryStore
from mob.team.floor import FloorMachine
from mob.team.handover import HandOver
from mob.team.teamlog import TeamLog

MEMBERS = ("ann", "bob", "cyd")
TIMEOUT_S = 10.0


class Stage:
    """A log, the floor's machine and its hand-over, and members whose turns are scripts."""

    def __init__(self, plans, hand_over=HandOver):
        self.plans = {name: list(plans.get(name, ())) for name in MEMBERS}
        self.make = hand_over
        self.machine = FloorMachine(entry="ann", max_hops=4, runs=lambda _: True)
        self.floor = Floor()
        self.events, self.turns, self.notes = [], {}, []
        self.number = 0

    async def run(self, body):
        store = MemoryStore()
        async with store.open_run("r", create=True) as log, trio.open_nursery() as nursery:
            self.log = TeamLog(log, self.machine, self.floor, self.watch)
            self.hand_over = self.make(
                self.machine,
                self.log,
                timeout_s=TIMEOUT_S,
                ids=Ids(1),
                speak=self.speak,
                seen=self.turns.get,
                publish=self.events.append,
            )
            nursery.start_soon(self.hand_over.run)
            await self.log.append(self.machine.start())
            await body(self)
            await trio.sleep(200)
            nursery.cancel_scope.cancel()
        self.rows = [stored async for stored in store.read_run("r")]

    def watch(self, stored):
        if isinstance(stored.row, FloorMoved):
            self.hand_over.moved(stored.row)
        self.hand_over.check()

    async def commit(self, member, cause, *, user=None, note=None, said="well", status="done"):
        self.number += 1
        items = [UserMessage(f"u{self.number}", user)] if user else []
        items += [note] if note else []
        items += [AgentMessage(f"a{self.number}", said)] if said else []
        turn = Turn(f"t{self.number}", cause, tuple(items), status)
        self.turns[turn.id] = (member, turn)
        await self.log.append(TurnRow(member, turn))

    async def speak(self, member, note, cause):
        self.notes.append((member, note, cause))
        await self.act(member, cause, note=note)

    async def act(self, member, cause, *, user=None, note=None):
        kind, value = self.plans[member].pop(0) if self.plans[member] else ("say", 0.1)
        match kind:
            case "hand_off":
                with suppress(MobError):
                    self.machine.request(member, value, f"{value} knows", hops=cause.hops + 1)
                await self.commit(member, cause, user=user, note=note)
            case "silent":
                await self.commit(member, cause, user=user, note=note, said="")
            case "fail":
                raise MemberFailed(f"{member} failed")
            case "hang":
                await trio.sleep(60)
                raise TurnTimedOut(f"{member} took too long")
            case _:
                await trio.sleep(value)
                await self.commit(member, cause, user=user, note=note)

    async def user_says(self, words):
        if self.machine.holder is not None:
            with suppress(MobError), trio.move_on_after(30):
                await self.act(self.machine.holder, Cause("text"), user=words)

    @property
    def moves(self):
        return [stored.row for stored in self.rows if isinstance(stored.row, FloorMoved)]


def play(plans, *words, hand_over=HandOver):
    stage = Stage(plans, hand_over)

    async def body(stage):
        for each in words:
            await stage.user_says(each)
            await trio.sleep(40)

    trio.run(stage.run, body, clock=trio.testing.MockClock(autojump_threshold=0))
    return stage


def test_the_new_holder_is_told_and_speaks():
    stage = play({"ann": [("hand_off", "bob")]}, "my card is gone")
    ((member, note, cause),) = stage.notes
    assert member == "bob"
    assert "my card is gone" in note.text
    assert "bob knows" in note.text
    assert (cause.kind, cause.origin, cause.hops) == ("hand_off", "ann", 1)
    assert stage.floor.holder == "bob"
    assert [(event.origin, event.to) for event in stage.events if isinstance(event, FloorChanged)] == [
        (None, "ann"),
        ("ann", "bob"),
    ]


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (("hang", None), "did not speak within 10 s"),
        (("say", 30.0), "did not speak within 10 s"),
        (("silent", None), "had nothing to say"),
        (("fail", None), "bob failed"),
    ],
)
def test_who_does_not_speak_gives_the_floor_back_and_the_previous_holder_resumes(plan, why):
    stage = play({"ann": [("hand_off", "bob")], "bob": [plan]}, "help")
    assert stage.floor.holder == "ann"
    assert why in stage.moves[-1].reason
    assert [member for member, _note, _cause in stage.notes] == ["bob", "ann"]
    assert why in stage.notes[-1][1].text
    (error,) = [event for event in stage.events if isinstance(event, ErrorOccurred)]
    assert error.error_class == "hand_off_failed"


def test_when_nobody_can_take_it_back_the_floor_and_the_slow_turn_stay():
    stage = play({"ann": [("hand_off", "bob"), ("say", 15.0)], "bob": [("fail", None)]}, "help")
    assert stage.floor.holder == "ann"
    assert stage.rows[-1].row.turn.agent_text == "well", "the late answer is committed all the same"


def test_passing_the_floor_round_without_the_user_ends_at_the_hop_limit():
    passing = {
        "ann": [("hand_off", "bob")] * 9,
        "bob": [("hand_off", "cyd")] * 9,
        "cyd": [("hand_off", "ann")] * 9,
    }
    stage = play(passing, "help")
    assert len(stage.moves) == 1 + 4
    assert not stage.hand_over.busy


behaviour = st.one_of(
    st.tuples(st.just("say"), st.sampled_from([0.1, 12.0])),
    st.tuples(st.just("hand_off"), st.sampled_from(MEMBERS)),
    st.tuples(st.sampled_from(["silent", "fail", "hang"]), st.none()),
)
storms = st.fixed_dictionaries({name: st.lists(behaviour, max_size=6) for name in MEMBERS})


def check_law_21_in_motion(hand_over, plans, words):
    """The moves are one chain; every hand-off lands or goes back; who must see user turns is told their words."""
    stage = play(plans, *(f"word{number}" for number in range(words)), hand_over=hand_over)
    assert not stage.hand_over.busy
    assert stage.machine.landing is None, "a holder that never spoke was forgotten"
    assert stage.machine.holder == stage.floor.holder is not None
    for before, after in zip([None, *(move.to for move in stage.moves)], stage.moves, strict=False):
        assert after.origin == before
    moved = [stored for stored in stage.rows if isinstance(stored.row, FloorMoved)]
    for before, after in itertools.pairwise(moved):
        if any(words in after.row.reason for words in ("did not speak", "could not speak", "nothing to say")):
            assert after.at - before.at <= TIMEOUT_S + 0.001, "the user waited too long for somebody to speak"
    told = list(stage.notes)
    for move in stage.moves:
        if not move.turns:
            continue
        words = [stage.turns[turn_id][1].user_text for turn_id in move.turns]
        # A move without user turns has its note too, so look on until the one that tells of these.
        heard = (
            at for at, (member, note, _) in enumerate(told) if member == move.to and all(w in note.text for w in words)
        )
        at = next(heard, None)
        assert at is not None, f"{move.to} was not told of {words}"
        del told[: at + 1]


@settings(deadline=None, max_examples=60)
@given(storms, st.integers(1, 3))
@example({"ann": [("hand_off", "bob"), ("hang", None)], "bob": [("fail", None)], "cyd": []}, 1)
@example({"ann": [("hand_off", "cyd"), ("say", 12.0)], "bob": [], "cyd": [("hand_off", "ann"), ("say", 0.1)] * 2}, 2)
def test_law_21_hand_off_storms_lose_no_user_turn_and_end_with_a_holder(plans, words):
    check_law_21_in_motion(HandOver, plans, words)


class TellsNobody(HandOver):
    async def _let_speak(self, landed):
        self._seen = lambda _turn_id: None
        await super()._let_speak(landed)


class WaitsForEver(HandOver):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "timeout_s": 10_000.0})


@pytest.mark.parametrize("mutant", [TellsNobody, WaitsForEver])
def test_law_21_mutant_hand_over_is_caught(mutant):
    plans = {"ann": [("hand_off", "bob")], "bob": [("hang", None)], "cyd": []}
    check_law_21_in_motion(HandOver, plans, 1)
    with pytest.raises(AssertionError):
        check_law_21_in_motion(mutant, plans, 1)
