"""Law 20: no deadlock: the wait-for graph against a brute-force oracle, and waiting members run to their end."""

import itertools

import pytest
from hypothesis import given, settings, strategies as st

from mob.errors import AskCycle
from mob.team.waits import WaitGraph

MEMBERS = "abcde"


def closes_a_cycle(edges, asker, target):
    """Oracle: can `asker` be reached from `target`? By the closure of the relation, computed the slow way."""
    reach = set(edges) | {(member, member) for member in MEMBERS}
    for middle, first, last in itertools.product(MEMBERS, repeat=3):
        if (first, middle) in reach and (middle, last) in reach:
            reach.add((first, last))
    return (target, asker) in reach


def begin(graph, message_id, asker, target):
    """The refusal, or None."""
    try:
        graph.begin(message_id, asker, target)
    except AskCycle as refusal:
        return refusal
    return None


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(MEMBERS), st.sampled_from(MEMBERS)),
        st.tuples(st.just("end"), st.integers(0, 30), st.just("")),
    ),
    max_size=40,
)


def check_law_20(graph, script):
    """An ask is refused exactly when it would close a cycle, its cycle is real, and refusing changes nothing."""
    open_asks = {}
    for number, (kind, first, second) in enumerate(script):
        if kind == "end":
            graph.end(f"m{first}")
            open_asks.pop(f"m{first}", None)
            continue
        edges = list(open_asks.values())
        expected = closes_a_cycle(edges, first, second)
        refusal = begin(graph, f"m{number}", first, second)
        if refusal is not None:
            assert expected, f"{first} asks {second} was refused without need: {edges}"
            assert refusal.cycle[0] == refusal.cycle[-1] == first
            assert refusal.cycle[1] == second
            assert all(edge in edges for edge in itertools.pairwise(refusal.cycle[1:]))
            assert " -> ".join(refusal.cycle) in str(refusal)
        else:
            assert not expected, f"{first} asks {second} closes a cycle: {edges}"
            open_asks[f"m{number}"] = (first, second)
        assert dict(graph.edges) == open_asks


@settings(deadline=None, max_examples=100)
@given(steps)
def test_law_20_asks_that_would_wait_for_each_other_are_refused(script):
    check_law_20(WaitGraph(), script)


class SeesOnlyDirectCycles(WaitGraph):
    def path(self, start, goal):
        direct = start == goal or (start, goal) in self.edges.values()
        return ((start,) if start == goal else (start, goal)) if direct else None


class RefusesWhatIsBusy(WaitGraph):
    def path(self, start, goal):
        busy = [pair for pair in self.edges.values() if pair[0] == start]
        return super().path(start, goal) or (busy[0] if busy else None)


@pytest.mark.parametrize("mutant", [SeesOnlyDirectCycles, RefusesWhatIsBusy])
def test_law_20_mutant_wrong_cycle_search_is_caught(mutant):
    @settings(deadline=None, max_examples=300, database=None, derandomize=True)
    @given(steps)
    def law(script):
        check_law_20(mutant(), script)

    with pytest.raises(AssertionError):
        law()


def run_team(graph, plans):
    """Members that each run one turn at a time; a turn is a list of members to ask in order. True when all ended."""
    queues = {member: list(plan) for member, plan in plans.items()}
    turns = dict.fromkeys(plans)
    numbers = itertools.count()
    for _ in range(10_000):
        moved = False
        for member in plans:
            turn = turns[member]
            if turn is None:
                if queues[member]:
                    asks, waiter = queues[member].pop(0)
                    turns[member] = {"asks": list(asks), "waits": None, "waiter": waiter}
                    moved = True
            elif turn["waits"] is None:
                moved = True
                if not turn["asks"]:
                    turns[member] = None
                    if turn["waiter"] is not None:
                        asker, message = turn["waiter"]
                        graph.end(message)
                        turns[asker]["waits"] = None
                    continue
                target, message = turn["asks"].pop(0), f"m{next(numbers)}"
                if begin(graph, message, member, target) is not None:
                    continue
                turn["waits"] = message
                queues[target].append(
                    ([], (member, message)) if len(turn["asks"]) % 2 else (turn["asks"][:1], (member, message))
                )
        if not moved:
            return all(turn is None for turn in turns.values()) and not any(queues.values())
    return False


plans = st.fixed_dictionaries(
    {
        member: st.lists(st.tuples(st.lists(st.sampled_from(MEMBERS), max_size=3), st.none()), max_size=3)
        for member in MEMBERS
    }
)


@settings(deadline=None, max_examples=100)
@given(plans)
def test_law_20_a_team_of_members_that_ask_each_other_always_comes_to_rest(team):
    assert run_team(WaitGraph(), team)


def test_law_20_mutant_team_without_the_graph_hangs():
    class LetsAllThrough(WaitGraph):
        def path(self, start, goal):
            return None

    assert not run_team(LetsAllThrough(), {"a": [(["b"], None)], "b": [(["a"], None)], "c": [], "d": [], "e": []})
