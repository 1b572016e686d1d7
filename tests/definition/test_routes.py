"""The wiring worked out: routes between members from the three sources."""

from __future__ import annotations

import itertools

from hypothesis import given, strategies as st
from team_files import WIDE, good, parse

from mob.definition.model import Member, RoleWiring, Route
from mob.definition.routes import Wiring, graph_of, merged, path_between, reached_from

BOTH = ("ask", "tell")


def routes_of(wiring: Wiring, **members: str) -> set[tuple[str, str, tuple[str, ...]]]:
    made = {name: Member(name, profile) for name, profile in members.items()}
    return {(route.origin, route.to, route.via) for route in merged(route for route, _ in wiring.sources(made))}


def test_role_wiring_goes_both_ways_between_all_members_of_both_profiles():
    wiring = Wiring(role_wiring=(RoleWiring("x", "y"),))
    assert routes_of(wiring, a="x", b="x", c="y") == {
        ("a", "c", BOTH),
        ("c", "a", BOTH),
        ("b", "c", BOTH),
        ("c", "b", BOTH),
    }


def test_a_role_wired_with_itself_is_a_mesh_of_its_members():
    wiring = Wiring(role_wiring=(RoleWiring("x", "x"),))
    assert len(routes_of(wiring, a="x", b="x", c="x", d="y")) == 6


def test_auto_wiring_is_between_the_orchestrators_members_and_everybody():
    wiring = Wiring(orchestrator="lead", auto_wire_orchestrator=True)
    assert routes_of(wiring, boss="lead", a="x", b="y") == {
        ("boss", "a", BOTH),
        ("a", "boss", BOTH),
        ("boss", "b", BOTH),
        ("b", "boss", BOTH),
    }


def test_entries_for_one_pair_add_up():
    wiring = Wiring(role_wiring=(RoleWiring("x", "y"),), routes=(Route("a", "b", ("hand_off", "ask")),))
    assert ("a", "b", ("ask", "tell", "hand_off")) in routes_of(wiring, a="x", b="y")


def test_a_route_is_an_ask_unless_it_says_otherwise():
    team = good(WIDE.replace(', via = ["hand_off", "ask"]', ""))
    assert Route("ben", "ann", ("ask",)) in team.routes


def test_without_wiring_nobody_reaches_anybody():
    text = '[mob]\nid = "x"\n[profiles.a]\nmodel = "gpt-4.1"\n[profiles.b]\nmodel = "gpt-4.1"\n'
    assert good(text).routes == ()
    assert [finding.code for finding in parse(text)[1]] == ["member_unreachable"]


def test_stating_a_hop_limit_allows_circles_of_asks():
    text = WIDE.replace('"hand_off", "ask"]', '"ask"]').replace('via = ["hand_off"] }', 'via = ["ask", "hand_off"] }')
    assert "ask_cycle" not in [finding.code for finding in parse(text)[1]]
    codes = [finding.code for finding in parse(text.replace("max_hops = 4\n", ""))[1]]
    assert "ask_cycle" in codes


def test_a_floor_that_comes_back_by_a_detour_is_fine():
    names = "abc"
    text = '[mob]\nid = "x"\n' + "".join(f'[profiles.{name}]\nmodel = "gpt-realtime-2"\n' for name in names)
    for origin, to in ("ab", "bc", "ca"):
        text += f'[[wiring.routes]]\nfrom = "{origin}"\nto = "{to}"\nvia = ["hand_off"]\n'
    assert parse(text)[1] == ()
    last = text.rindex("[[wiring")
    assert [finding.code for finding in parse(text[:last])[1]] == ["floor_never_returns"] * 2


NODES = st.sampled_from("abcdef")


@given(st.lists(st.tuples(NODES, NODES)), NODES, NODES)
def test_paths_and_reach_agree(edges, start, goal):
    """There is a path exactly when the goal can be reached by one step or more, and its steps are edges."""
    graph = graph_of((Route(origin, to, ("ask",)) for origin, to in edges), "ask")
    path = path_between(graph, start, goal)
    by_steps = set().union(*(reached_from(graph, to) for origin, to in edges if origin == start), set())
    assert (path is not None) == (goal in by_steps)
    if path is not None:
        assert path[0] == start
        assert path[-1] == goal
        assert all(step in edges for step in itertools.pairwise(path))
