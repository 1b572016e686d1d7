"""Routes, topology and route tools, against an oracle that reads all rules and rows again for every question."""

import pytest
from hypothesis import given, settings, strategies as st

from mob.definition.model import Member, MobDefinition, Profile, Route, Topology, TopologyRule
from mob.errors import RouteRefused
from mob.history.rows import Wired
from mob.team.routing import RouteTable, route_tool, route_tools

MEMBERS = ("ann", "bob", "cyd")
ROLES = {"ann": "lead", "bob": "clerk", "cyd": "clerk"}
VIAS = ("ask", "tell", "hand_off")


def definition(routes=(), topology=None):
    profiles = {name: Profile(name, "gpt-5.4-mini") for name in set(ROLES.values())}
    members = {name: Member(name, role) for name, role in ROLES.items()}
    return MobDefinition("team", profiles, members, routes=tuple(routes), topology=topology)


def test_a_message_without_a_route_is_refused_and_the_refusal_says_what_there_is():
    table = RouteTable(definition([Route("ann", "bob", ("ask",))]), ROLES)
    assert table.check("ann", "bob", "ask") is None
    with pytest.raises(RouteRefused, match="ann has no route to tell bob; it may tell nobody"):
        table.check("ann", "bob", "tell")
    with pytest.raises(RouteRefused, match="it may ask bob"):
        table.check("ann", "cyd", "ask")


def test_strict_topology_refuses_and_advisory_topology_tells():
    rules = (TopologyRule("*", "*", allowed=True), TopologyRule("lead", "clerk", allowed=False))
    routes = [Route("ann", "bob", ("ask",))]
    strict = RouteTable(definition(routes, Topology("strict", rules)), ROLES)
    with pytest.raises(RouteRefused, match="lead to reach clerk"):
        strict.check("ann", "bob", "ask")
    assert strict.reached_from("ann") == {}
    advisory = RouteTable(definition(routes, Topology("advisory", rules)), ROLES)
    assert "lead to reach clerk" in advisory.check("ann", "bob", "ask")
    assert advisory.reached_from("ann") == {"bob": ("ask",)}


def test_tools_say_what_the_peer_is_good_for_and_leave_out_who_is_not_there():
    table = RouteTable(definition([Route("ann", "bob", VIAS), Route("ann", "cyd", ("ask",))]), ROLES)
    tools = route_tools(table, "ann", ["bob"], {"bob": "Knows the\n  menu."})
    assert [tool.schema.name for tool in tools] == ["ask_bob", "tell_bob", "hand_off_to_bob"]
    assert [tool.argument for tool in tools] == ["question", "message", "reason"]
    assert "Knows the menu." in tools[0].schema.description
    assert tools[0].schema.parameters["required"] == ["question"]
    assert route_tool("ask", "cyd", "").schema.description == "Ask cyd and wait for the answer."


pairs = st.sampled_from(MEMBERS)
some_vias = st.sets(st.sampled_from(VIAS)).map(lambda vias: tuple(sorted(vias)))
rules = st.builds(
    TopologyRule, st.sampled_from(["lead", "clerk", "*"]), st.sampled_from(["lead", "clerk", "*"]), st.booleans()
)


@settings(deadline=None, max_examples=100)
@given(
    routes=st.lists(st.builds(Route, pairs, pairs, some_vias), max_size=5),
    rows=st.lists(st.builds(Wired, st.none(), pairs, pairs, some_vias, st.booleans()), max_size=8),
    topology=st.none() | st.builds(Topology, st.sampled_from(["strict", "advisory"]), st.lists(rules).map(tuple)),
)
def test_the_last_word_on_each_way_and_the_last_matching_rule_decide(routes, rows, topology):
    table = RouteTable(definition(routes, topology), ROLES)
    for row in rows:
        table.apply(row)
    for origin in MEMBERS:
        for to in MEMBERS:
            for via in VIAS:
                wired = any(r.origin == origin and r.to == to and via in r.via for r in routes)
                for row in rows:
                    if (row.origin, row.to) == (origin, to) and (via in row.via or not row.via):
                        wired = not row.removed
                verdicts = [
                    rule.allowed
                    for rule in (topology.rules if topology else ())
                    if rule.from_role in (ROLES[origin], "*") and rule.to_role in (ROLES[to], "*")
                ]
                breach = bool(verdicts) and not verdicts[-1]
                allowed = wired and not (breach and topology.mode == "strict")
                assert (via in table.ways(origin, to)) == wired
                assert (via in table.reached_from(origin).get(to, ())) == allowed
                if allowed:
                    assert (table.check(origin, to, via) is not None) == breach
                else:
                    with pytest.raises(RouteRefused):
                        table.check(origin, to, via)


@settings(deadline=None)
@given(
    changes=st.lists(
        st.builds(Wired, st.none(), pairs, pairs, some_vias, st.booleans())
        | st.tuples(st.sampled_from([*MEMBERS, "dan"]), st.sampled_from(["lead", "clerk"])),
        max_size=8,
    ),
    topology=st.none() | st.builds(Topology, st.sampled_from(["strict", "advisory"]), st.lists(rules).map(tuple)),
)
def test_the_routes_in_force_are_the_same_object_until_one_of_them_changes(changes, topology):
    roles = dict(ROLES)
    table = RouteTable(definition([Route("ann", "bob", VIAS)], topology), roles)
    before = table.in_force
    for change in changes:
        if isinstance(change, Wired):
            table.apply(change)
        else:
            roles[change[0]] = change[1]
        assert table.in_force == tuple(table)
        assert table.in_force is table.in_force
        if topology is None and not isinstance(change, Wired):
            assert table.in_force is before
        before = table.in_force
