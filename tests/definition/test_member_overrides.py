"""The keys that a member is spawned with: the same rules as in a team file, and no way to a file."""

from __future__ import annotations

import pytest
from team_files import parse

from mob.definition.member_overrides import checked_overrides, plain_overrides
from mob.errors import UsageError
from mob.values import TurnDetection

TEAM = """
[mob]
id = "shop"

[profiles.clerk]
model = "gpt-realtime-2"
tools = ["look"]

[profiles.writer]
model = "gpt-5.4-mini"

[tools.look]
python = "tools:look"

[skills.trains]
content = "A train costs thirty euros."

[models.mute]
provider = "openai"
wire = "openai-chat"
tools = false
"""


@pytest.fixture
def definition():
    found, _ = parse(TEAM)
    return found


def test_keys_become_values(definition):
    values = checked_overrides(
        definition,
        "dan",
        "clerk",
        {
            "instructions": "You are Dan.",
            "voice": "cedar",
            "turn_detection": {"mode": "server_vad", "silence_duration_ms": 300},
            "output": "text",
            "skills": ["trains"],
            "tools": [],
            "params": {"a": [1, None]},
        },
    )
    assert values["turn_detection"] == TurnDetection("server_vad", silence_duration_ms=300)
    assert (values["skills"], values["tools"], values["voice"]) == (("trains",), (), "cedar")
    assert checked_overrides(definition, "dan", "clerk", {"turn_detection": "manual"}) == {
        "turn_detection": TurnDetection("manual")
    }


@pytest.mark.parametrize(
    ("overrides", "at"),
    [
        ({"voise": "cedar"}, "voise"),
        ({"profile": "clerk"}, "profile"),
        ({"voice": "nobody"}, "voice"),
        ({"voice": 5}, "voice"),
        ({"model": "no-such-model"}, "model"),
        ({"output": "smell"}, "output"),
        ({"turn_detection": {"mode": "server_vad", "eagerness": "low"}}, "turn_detection.eagerness"),
        ({"tools": ["nothing"]}, "tools[0]"),
        ({"skills": ["nothing"]}, "skills[0]"),
        ({"fallback": ["no-such-model"]}, "fallback[0]"),
        ({"instructions": {"file": "/etc/passwd"}}, "instructions.file"),
        ({"instructions": {"file": "near.md"}}, "instructions.file"),
        ({"model": "gpt-5.4-mini", "voice": "cedar"}, "voice"),
        ({"model": "mute"}, "model"),
    ],
)
def test_what_is_wrong_is_named(definition, overrides, at):
    with pytest.raises(UsageError) as refused:
        checked_overrides(definition, "dan", "clerk", overrides)
    assert f"at {at}:" in refused.value.message


def test_tools_on_a_model_that_takes_none_are_refused(definition):
    with pytest.raises(UsageError, match="cannot call tools"):
        checked_overrides(definition, "dan", "writer", {"model": "mute", "tools": ["look"]})


def test_a_near_miss_is_named(definition):
    with pytest.raises(UsageError, match="Did you mean 'voice'"):
        checked_overrides(definition, "dan", "clerk", {"voise": "cedar"})


def test_what_json_can_say_is_kept_as_it_is_said():
    assert plain_overrides({"tools": ("a", "b"), "params": {"x": 1.5, "y": None}, "voice": None}) == {
        "tools": ["a", "b"],
        "params": {"x": 1.5},
    }


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"x": value}
    return value


@pytest.mark.parametrize("wrong", [{"x": object()}, {"x": float("nan")}, {1: "x"}, {"x": {2: "y"}}, nested(100)])
def test_what_json_cannot_say_is_refused(wrong):
    with pytest.raises(UsageError):
        plain_overrides(wrong)
