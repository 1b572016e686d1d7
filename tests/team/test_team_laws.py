"""Laws 20 to 24 on a whole running mob: random scripts of models, users and faults, stopped at random moments."""

from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st
from scripted_team import HANGS, REFUSES, calls, definition_of, open_team, rows_of, run_virtual, says

from mob.definition.model import Limits, RoleWiring
from mob.errors import MobError, StaleGeneration
from mob.history.floor import Floor
from mob.history.fold import History
from mob.history.items import ToolCall, ToolResult
from mob.history.rows import (
    FloorMoved,
    MemberEnded,
    MemberSpawned,
    MessageAdmitted,
    MessageEnded,
    RunStopped,
    Stored,
    ToolEnded,
    ToolStarted,
    TurnRow,
)
from mob.store.memory import MemoryStore
from mob.team.host import MemberHost
from mob.team.running import Mob
from mob.values import NO_USAGE

NAMES = ("ann", "bob", "cyd")
LIMITS = Limits(
    turn_timeout_s=20.0,
    tool_timeout_s=8.0,
    response_timeout_s=10.0,
    hand_off_timeout_s=5.0,
    shutdown_timeout_s=4.0,
    max_restarts=2,
    restart_backoff_s=0.3,
    max_mailbox=3,
    max_hops=4,
)

who = st.sampled_from(NAMES)
replies = st.one_of(
    st.builds(says, st.just("well"), after=st.sampled_from([0.0, 0.5, 6.0])),
    st.builds(lambda to: calls(f"ask_{to}", question="?"), who),
    st.builds(lambda to: calls(f"tell_{to}", message="!"), who),
    st.builds(lambda to: calls(f"hand_off_to_{to}", reason="x"), who),
    st.just(HANGS),
    st.just(REFUSES),
)
scripts = st.fixed_dictionaries({name: st.lists(replies, max_size=4) for name in NAMES})
acts = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), who),
        st.tuples(st.just("talk"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 2.0, 15.0])),
        st.tuples(st.just("pick"), who),
        st.tuples(st.just("crash"), who),
        st.tuples(st.just("retire"), who),
        st.tuples(st.just("respawn"), who),
        st.tuples(st.just("unwire"), st.tuples(who, who)),
        st.tuples(st.just("interrupt"), who),
    ),
    max_size=8,
)


async def fault():
    await trio.lowlevel.checkpoint()
    raise RuntimeError("a bug")


async def act(mob, kind, value):
    with suppress(MobError):
        match kind:
            case "ask":
                await mob.member(value).ask(f"question to {value}")
            case "talk":
                await mob.ask("words")
            case "pick":
                await mob.hand_off(value)
            case "crash":
                mob.member(value).session._parts.nursery.start_soon(fault)
            case "retire":
                await mob.retire(value)
            case "respawn":
                await mob.respawn(value)
            case "unwire":
                await mob.unwire(*value)
            case "interrupt":
                await mob.member(value).interrupt()


class Play:
    """One run of a random script to its end; what was seen is kept for the checks."""

    def __init__(self, scripts, acts, stop_after):
        self.scripts, self.acts, self.stop_after = scripts, acts, stop_after
        self.store = MemoryStore()

    async def run(self):
        before = trio.lowlevel.current_statistics().tasks_living
        definition = definition_of(limits=LIMITS, role_wiring=(RoleWiring("clerk", "clerk"),))
        async with open_team(definition, self.scripts, store=self.store, seed=1) as mob:
            async with trio.open_nursery() as nursery:
                for kind, value in self.acts:
                    if kind == "wait":
                        await trio.sleep(value)
                    else:
                        nursery.start_soon(act, mob, kind, value)
                        await trio.sleep(0.001)
                if self.stop_after is None:
                    await mob.wait_quiet()
                else:
                    await trio.sleep(self.stop_after)
                self.usage = mob.usage
                self.members = {name: handle.usage for name, handle in mob.members.items()}
                began = trio.current_time()
                await mob.stop("the test is over")
                self.stopping_took = trio.current_time() - began
                self.final_usage = mob.usage
                # What the users still wait for ends by itself, and at once.
                nursery.cancel_scope.deadline = trio.current_time() + 0.1
            assert not nursery.cancel_scope.cancelled_caught, "somebody waited for a mob that has stopped"
            self.mob = mob
        # This task's own nursery is gone; whatever else lives was left behind.
        self.left = trio.lowlevel.current_statistics().tasks_living - before
        self.rows = await rows_of(self.store)


def play(scripts, acts=(), stop_after=None):
    played = Play({name: list(steps) for name, steps in scripts.items()}, acts, stop_after)
    run_virtual(played.run)
    return played


def check_log(rows):
    """Calls and messages that began have ended, once; the floor is one chain; no generation comes twice."""
    started = [row.call_id for row in rows if isinstance(row, ToolStarted)]
    ended = [row.call_id for row in rows if isinstance(row, ToolEnded)]
    assert set(started) <= set(ended), "a call began and never ended"
    assert len(set(ended)) == len(ended), "a call ended twice"
    admitted = [row.message_id for row in rows if isinstance(row, MessageAdmitted)]
    assert sorted(admitted) == sorted(row.message_id for row in rows if isinstance(row, MessageEnded))
    holder = None
    for row in rows:
        if isinstance(row, FloorMoved):
            assert row.origin == holder
            holder = row.to
    born = [(row.member, row.generation) for row in rows if isinstance(row, MemberSpawned)]
    assert len(born) == len(set(born)), "a generation was given twice"
    alive = {}
    for row in rows:
        match row:
            case MemberSpawned():
                assert row.generation > alive.get(row.member, (0, False))[0]
                assert not alive.get(row.member, (0, False))[1], "two generations at once"
                alive[row.member] = (row.generation, True)
            case MemberEnded():
                assert alive[row.member][0] == row.generation
                assert alive[row.member][1] or row.reason == "retired", "a generation ended twice"
                alive[row.member] = (row.generation, False)
            case TurnRow():
                assert alive[row.member] == (row.generation, True), "an effect of a generation that is over"
    assert isinstance(rows[-1], RunStopped)


def check_law_24(scripts, acts, stop_after):
    """Stopping takes no longer than was declared, from any state, and leaves nothing."""
    played = play(scripts, acts, stop_after)
    assert played.stopping_took <= LIMITS.shutdown_timeout_s
    assert played.left == 0
    check_log(played.rows)
    return played


@settings(deadline=None, max_examples=60)
@given(scripts, acts, st.sampled_from([0.0, 0.05, 0.4, 1.0, 3.0, 9.0]))
def test_law_24_stopping_is_bounded_from_any_state_and_leaves_nothing(scripts, acts, stop_after):
    check_law_24(scripts, acts, stop_after)


def test_law_24_a_model_that_never_answers_does_not_hold_the_stop_up():
    played = check_law_24({"ann": [HANGS]}, [("talk", None)], 1.0)
    (turn,) = [row.turn for row in played.rows if isinstance(row, TurnRow)]
    assert turn.status == "cancelled"


def test_law_24_what_runs_is_finished_when_there_is_time():
    played = check_law_24({"ann": [says("done", after=1.0)]}, [("talk", None)], 0.5)
    (turn,) = [row.turn for row in played.rows if isinstance(row, TurnRow)]
    assert (turn.status, turn.agent_text) == ("done", "done")
    assert played.stopping_took >= 0.5


def check_law_23(scripts, acts):
    """What the members used adds up to what the mob used, and to what the log says."""
    played = play(scripts, acts)
    assert sum(played.members.values(), NO_USAGE) == played.usage
    by_log = {}
    for row in played.rows:
        if isinstance(row, TurnRow):
            by_log[row.member] = by_log.get(row.member, NO_USAGE) + row.turn.usage
    assert sum(usage.requests for usage in by_log.values()) == played.final_usage.requests
    assert sum(usage.total_tokens for usage in by_log.values()) == played.final_usage.total_tokens


@settings(deadline=None, max_examples=40)
@given(scripts, acts)
def test_law_23_team_sums(scripts, acts):
    check_law_23(scripts, acts)


@settings(deadline=None, max_examples=40)
@given(scripts, acts)
def test_laws_20_to_22_whatever_happens_the_team_comes_to_rest_and_its_log_is_sound(scripts, acts):
    """Quiet is reached without being stopped; floor, generations, calls and messages are as the laws say."""
    played = play(scripts, acts)
    check_log(played.rows)
    fold = Floor.of(Stored(seq, 0.0, row) for seq, row in enumerate(played.rows, 1))
    assert fold.holder == played.mob.floor
    for name in NAMES:
        history = History.of(name, (Stored(seq, 0.0, row) for seq, row in enumerate(played.rows, 1)))
        assert [turn.id for turn in history.turns] == [turn.id for turn in played.mob.member(name)._session().history()]
        assert not history.open_calls
        for turn in history.turns:
            asked = [item.call_id for item in turn.items if isinstance(item, ToolCall)]
            assert [item.call_id for item in turn.items if isinstance(item, ToolResult)] == asked


def test_law_22_mutant_a_generation_given_again_is_caught(monkeypatch):
    crash_and_back = [("crash", "bob"), ("wait", 2.0), ("ask", "bob")]
    check_log(play({}, crash_and_back).rows)

    original = MemberHost._run_generation

    async def again(self, started):
        result = await original(self, started)
        self.generation -= 1
        return result

    monkeypatch.setattr(MemberHost, "_run_generation", again)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_log(play({}, crash_and_back).rows)


def test_law_22_a_stale_handle_has_no_effect():
    async def main():
        async with open_team() as mob:
            stale = mob.member("bob")
            await mob.respawn("bob")
            uses = [
                lambda: stale.ask("?"),
                stale.interrupt,
                lambda: stale.open_live().__aenter__(),
            ]
            for use in uses:
                with pytest.raises(StaleGeneration):
                    await use()
            for use in (lambda: stale.tell("?"), stale.history, stale.statistics, lambda: stale.usage):
                with pytest.raises(StaleGeneration):
                    use()
            assert mob.member("bob").history() == ()

    run_virtual(main)


def test_law_24_mutant_a_stop_that_waits_for_everybody_is_caught(monkeypatch):
    monkeypatch.setattr("mob.team.running._DRAIN_SHARE", 10.0)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_law_24({"ann": [HANGS]}, [("talk", None)], 1.0)


def test_law_23_mutant_usage_that_is_lost_with_a_generation_is_caught(monkeypatch):
    script = [("ask", "bob"), ("wait", 1.0), ("respawn", "bob"), ("wait", 1.0), ("ask", "bob")]
    check_law_23({}, script)
    usage = Mob.usage.fget
    monkeypatch.setattr(Mob, "usage", property(lambda mob: usage(mob) + usage(mob)))
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_law_23({}, script)
