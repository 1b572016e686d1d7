"""The JSON twin of a team file: the same team, the same findings, and no way to make us read, import or dial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomli
from attrs import evolve
from hypothesis import given, settings, strategies as st

from mob.definition.from_json import definition_from_json
from mob.definition.parse import parse_definition

DEFINITIONS = Path(__file__).parents[2] / "definitions"
SMALL = {"id": "x", "profiles": {"host": {"model": "gpt-5.6-terra"}}}


def lifted(text):
    """A team file's text as a client would write it in JSON."""
    tables = tomli.loads(text)
    return {**tables.pop("mob"), **tables}


def codes(document):
    return [(finding.code, finding.path) for finding in definition_from_json(document)[1]]


@pytest.mark.parametrize("name", ["newsroom", "panel"])
def test_it_makes_the_same_team_as_the_file(name):
    text = (DEFINITIONS / f"{name}.toml").read_text()
    team, _ = parse_definition(text, base_dir=Path(), read_file=lambda path: "")
    twin, findings = definition_from_json(json.loads(json.dumps(lifted(text))))
    assert twin is not None, findings
    assert evolve(twin, digest="") == evolve(team, digest="")


def test_meerkats_own_spelling_is_taken():
    twin, findings = definition_from_json(
        {
            "id": "release-triage",
            "orchestrator": {"profile": "lead"},
            "profiles": {
                "lead": {"model": "gpt-5.6-sol", "skills": ["triage"], "provider": None},
                "analyst": {"model": "gpt-5.6-terra", "peer_description": "Looks closely."},
            },
            "wiring": {"auto_wire_orchestrator": True, "role_wiring": [{"a": "analyst", "b": "analyst"}]},
            "skills": {"triage": {"source": "inline", "content": "Sort by harm."}},
            "limits": None,
        }
    )
    assert twin is not None, findings
    assert (twin.id, twin.orchestrator, twin.skills) == ("release-triage", "lead", {"triage": "Sort by harm."})
    assert [(route.origin, route.to) for route in twin.routes] == [("lead", "analyst"), ("analyst", "lead")]


def test_the_same_document_has_the_same_digest_whatever_the_order_of_its_keys():
    other = dict(reversed(SMALL.items()))
    assert definition_from_json(SMALL)[0].digest == definition_from_json(other)[0].digest != ""


def test_what_is_wrong_is_found_at_its_path_without_a_line():
    _, findings = definition_from_json({**SMALL, "profiles": {"host": {"modle": "gpt-5.6-terra"}}})
    assert {(each.code, each.path, each.line) for each in findings} >= {("unknown_key", "profiles.host.modle", 0)}
    assert codes({"profiles": SMALL["profiles"]}) == [("missing_key", "")]
    assert ("bad_value", "id") in codes({**SMALL, "id": " "})
    assert ("unknown_key", "mobile") in codes({**SMALL, "mobile": 1})


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"tools": {"t": {"python": "os:system"}}}, "tools.t.python"),
        ({"skills": {"s": {"path": "secrets.txt"}}}, "skills.s.path"),
        ({"profiles": {"host": {"model": "gpt-5.6-terra", "instructions": {"file": "a.md"}}}}, None),
        ({"providers": {"openai": {"base_url": "https://example.org/v1"}}}, "providers"),
    ],
)
def test_nothing_is_read_imported_or_dialled_for_a_document(more, path):
    definition, findings = definition_from_json({**SMALL, **more})
    assert definition is None
    refused = [finding.path for finding in findings if finding.code == "door_refused"]
    assert refused == [path or "profiles.host.instructions.file"]


def test_what_toml_could_not_say_either_is_refused():
    assert codes({**SMALL, "description": "\ud800"}) == [("not_utf8", "description")]
    deep = {}
    for _ in range(200):
        deep = {"a": deep}
    assert codes({**SMALL, "flows": deep})[0][0] == "too_deep"
    assert codes({**SMALL, "description": "x" * 2**20})[0][0] == "file_too_large"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("id", "mob", "profiles", "members", "wiring", "tools", "skills", "limits", "budget", "rehearsal", "topology")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), json_values, max_size=6))
def test_law_26_whatever_the_document_there_is_a_definition_or_an_error_that_says_where(document):
    definition, findings = definition_from_json(document)
    assert (definition is None) == any(finding.severity == "error" for finding in findings)


@pytest.mark.parametrize("document", [[], None, "x", 3, {1: 2, "a": 3}, {**SMALL, "profiles": {5: {"model": "m"}}}])
def test_what_is_no_json_object_is_said_and_raises_nothing(document):
    definition, findings = definition_from_json(document)
    assert definition is None
    assert [finding.code for finding in findings] == ["wrong_type"]


def test_what_json_has_no_word_for_is_refused_where_it_stands():
    params = {"id": "x", "profiles": {"host": {"model": "gpt-5.6-terra", "params": {"x": float("inf")}}}}
    assert codes(params) == [("wrong_type", "profiles.host.params.x")]
    nothing = {"id": "x", "profiles": {"host": {"model": "gpt-realtime-2", "tools": [None]}}}
    assert codes(nothing) == [("wrong_type", "profiles.host.tools[0]")]
