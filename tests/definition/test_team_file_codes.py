"""Each code has a team file that gets it, at its line and with its nearest known name."""

from __future__ import annotations

import pytest
from attrs import frozen
from team_files import SMALL, parse

from mob.definition.findings import CODES
from mob.definition.toolmodules import ToolImportError


@frozen
class Case:
    """`code` is expected on the line that ends with the comment `# !`, or on line 0 when there is none."""

    code: str
    text: str
    severity: str = "error"
    nearest: str | None = None
    column: int | None = None


TWO = SMALL + '[profiles.clerk]\nmodel = "gpt-4.1"\n'
LIVE = '[mob]\nid = "x"\n[profiles.a]\nmodel = "gpt-realtime-2"\n[profiles.b]\nmodel = "gpt-realtime-2"\n'

CASES = [
    Case("toml_syntax", "[mob]\nid = = # !\n", column=6),
    Case("toml_syntax", "x = " + "9" * 5000 + " # !"),
    Case("not_utf8", '[mob]\nid = "\ud800" # !\n'),
    Case("byte_order_mark", "\ufeff" + SMALL, "warning"),
    Case("file_too_large", "#" * (2**20 + 1)),
    Case("too_deep", "x = " + "[" * 5000 + "]" * 5000),
    Case("too_deep", SMALL + "params = " + "{a = " * 40 + "1" + "}" * 40 + " # !"),
    Case("too_many_findings", SMALL + "".join(f"k{n} = 1\n" for n in range(500)), "warning"),
    Case("file_missing", SMALL + 'instructions = { file = "host.md" } # !\n'),
    Case("file_outside", SMALL + 'instructions = { file = "../host.md" } # !\n'),
    Case("file_outside", SMALL + '[skills.s]\npath = "/etc/passwd" # !\n'),
    Case("unknown_key", SMALL + 'voise = "marin" # !\n', nearest="voice", column=1),
    Case("unknown_key", 'id = "x" # !\n' + SMALL),
    Case("unknown_key", SMALL + "[wirring] # !\n", nearest="wiring"),
    Case("missing_key", '[mob]\nid = "x"\n[profiles.host] # !\nvoice = "marin"\n'),
    Case("missing_key", "[mob]\nid = 'x'\n"),
    Case("wrong_type", SMALL + "tools = [\n 'a',\n 3, # !\n]\n[tools.a]\npython='a:find'\n", column=2),
    Case("wrong_type", SMALL + '[limits]\nmax_hops = "3" # !\n'),
    Case("wrong_type", SMALL + "[limits]\nmax_hops = true # !\n"),
    Case("wrong_type", SMALL + "[limits]\nmax_hops = 3.0 # !\n"),
    Case("bad_value", SMALL + "[limits]\nmax_hops = 0 # !\n"),
    Case("bad_value", SMALL + "[limits]\nturn_timeout_s = nan # !\n"),
    Case("bad_value", SMALL + "[limits]\nturn_timeout_s = " + "9" * 400 + " # !\n"),
    Case("bad_value", SMALL + 'output = "autio" # !\n', nearest="audio"),
    Case("bad_value", '[mob]\nid = " " # !\n[profiles.a]\nmodel = "gpt-4.1"\n'),
    Case("bad_value", SMALL + '[tools.t]\npython = "no function" # !\n'),
    Case("bad_value", SMALL + '[providers.openai]\nbase_url = "ftp://x" # !\n'),
    Case("conflicting_keys", SMALL + '[skills.s] # !\ncontent = "a"\npath = "b"\n'),
    Case("conflicting_keys", SMALL + '[skills.s]\nsource = "path" # !\ncontent = "b"\n'),
    Case("conflicting_keys", SMALL + 'turn_detection = { mode = "manual", threshold = 0.3 } # !\n'),
    Case("conflicting_keys", SMALL + '[[rehearsal.host]]\nsay = "x"\narguments = {a = 1} # !\n'),
    Case("not_built", SMALL + '[mcp.files] # !\ncommand = "x"\n', "warning"),
    Case("secret_in_file", SMALL + '[providers.openai.headers]\nAuthorization = "Bearer sk-1" # !\n'),
    Case("invalid_profile_name", SMALL + '[profiles."1st"] # !\nmodel = "gpt-4.1"\n'),
    Case("invalid_member_name", SMALL + '[members."a b"] # !\nprofile = "host"\n'),
    Case("invalid_member_name", SMALL + f'[members.{"m" * 60}] # !\nprofile = "host"\n'),
    Case("invalid_tool_name", SMALL + '[tools."a b"] # !\npython = "a:find"\n'),
    Case("empty_profiles", '[mob]\nid = "x"\n[profiles] # !\n'),
    Case(
        "too_many_members",
        SMALL + "[members] # !\n" + "".join(f'm{n} = {{ profile = "host" }}\n' for n in range(300)),
    ),
    Case("too_many_rules", SMALL + '[[rehearsal.host]] # !\nsay = "x"\n' + '[[rehearsal.host]]\nsay = "x"\n' * 256),
    Case("unknown_profile", SMALL + '[members.ann]\nprofile = "hots" # !\n', nearest="host"),
    Case("unknown_entry", SMALL.replace('"small"\n', '"small"\nentry = "hosst" # !\n'), nearest="host"),
    Case("missing_orchestrator_profile", SMALL.replace('"small"\n', '"small"\norchestrator = "lead" # !\n')),
    Case(
        "orchestrator_without_member",
        TWO.replace('"small"\n', '"small"\norchestrator = "clerk" # !\n') + '[members.ann]\nprofile = "host"\n',
        "warning",
    ),
    Case("auto_wire_without_orchestrator", SMALL + "[wiring]\nauto_wire_orchestrator = true # !\n", "warning"),
    Case("invalid_wiring_profile", SMALL + '[[wiring.role_wiring]]\na = "host"\nb = "hosts" # !\n', nearest="host"),
    Case("route_to_nobody", TWO + '[[wiring.routes]]\nfrom = "host"\nto = "clark" # !\n', nearest="clerk"),
    Case("route_to_nobody", TWO + '[wiring]\nroutes = [\n  { to = "host", from = "me" }, # !\n]\n', column=18),
    Case("route_to_self", SMALL + '[[wiring.routes]] # !\nfrom = "host"\nto = "host"\n'),
    Case("member_unreachable", SMALL + '[profiles.clerk] # !\nmodel = "gpt-4.1"\n', "warning"),
    Case(
        "member_names_collide",
        SMALL + '[members.front-desk]\nprofile = "host"\n[members.Front_Desk] # !\nprofile = "host"\n',
    ),
    Case(
        "ask_cycle",
        TWO + '[[wiring.routes]] # !\nfrom = "host"\nto = "clerk"\n[[wiring.routes]]\nfrom = "clerk"\nto = "host"\n',
        "warning",
    ),
    Case(
        "floor_never_returns",
        LIVE + '[[wiring.routes]] # !\nfrom = "a"\nto = "b"\nvia = ["hand_off"]\n',
        "warning",
    ),
    Case(
        "topology_unknown_role",
        SMALL
        + '[topology]\nmode = "strict"\n[[topology.rules]]\nto_role = "*"\nallowed = true\nfrom_role = "hots" # !\n',
        nearest="host",
    ),
    Case(
        "topology_violation",
        TWO
        + '[wiring]\nroutes = [\n  { from = "host", to = "clerk" }, # !\n]\n[topology]\nmode = "strict"\n'
        + 'rules = [{ from_role = "*", to_role = "clerk", allowed = false }]\n',
    ),
    Case(
        "topology_violation",
        TWO
        + '[wiring]\nroutes = [\n  { from = "host", to = "clerk" }, # !\n]\n[topology]\nmode = "advisory"\n'
        + 'rules = [{ from_role = "*", to_role = "clerk", allowed = false }]\n',
        "warning",
    ),
    Case("topology_without_orchestrator", SMALL + '[topology] # !\nmode = "advisory"\nrules = []\n', "warning"),
    Case(
        "missing_skill_ref", SMALL + 'skills = [\n  "gret", # !\n]\n[skills.greet]\ncontent = "Hi"\n', nearest="greet"
    ),
    Case("unknown_tool", SMALL + 'tools = ["fnd"] # !\n[tools.find]\npython = "t:find"\n', nearest="find"),
    Case("tool_name_taken", SMALL + '[tools.ask_host] # !\npython = "t:find"\n'),
    Case("tool_import_failed", SMALL + '[tools.t]\npython = "broken:f" # !\n'),
    Case("tool_attribute_missing", SMALL + '[tools.t]\npython = "t:nothing" # !\n'),
    Case("tool_not_callable", SMALL + '[tools.t]\npython = "t:number" # !\n'),
    Case("tool_signature", SMALL + '[tools.t]\npython = "t:starred" # !\n'),
    Case("tool_undocumented", SMALL + '[tools.t]\npython = "t:silent" # !\n', "warning"),
    Case("unknown_model", SMALL.replace('realtime-2"', 'realtime-9" # !'), nearest="gpt-realtime-2"),
    Case("unknown_model", SMALL + 'fallback = ["gpt-realtime-9"] # !\n', nearest="gpt-realtime-2"),
    Case("unknown_model", SMALL.replace('gpt-realtime-2"', 'other" # !') + 'provider = "mesh"\n'),
    Case("invalid_custom_model", SMALL + "[models.mine] # !\nvision = true\n"),
    Case("invalid_custom_model", SMALL + '[models.mine] # !\nprovider = "ollama"\nrealtime = true\n'),
    Case("invalid_custom_model", SMALL + '[models.mine] # !\nprovider = "openai"\nwire = "openai-realtime"\n'),
    Case("unknown_provider", SMALL + 'provider = "opanai" # !\n', nearest="openai"),
    Case("unknown_provider", SMALL + '[models.mine]\nprovider = "olama" # !\n', nearest="ollama"),
    Case(
        "unknown_wire",
        SMALL + '[providers.mine]\nwire = "openai-chatt" # !\nbase_url = "http://x/v1"\n',
        nearest="openai-chat",
    ),
    Case("provider_needs_wire", SMALL + '[providers.mine] # !\nbase_url = "http://x/v1"\n'),
    Case("provider_needs_url", SMALL.replace('gpt-realtime-2"', 'm" # !') + 'provider = "self_hosted"\n', "warning"),
    Case("provider_mismatch", SMALL.replace('-2"', '-2" # !') + 'provider = "ollama"\n', "warning"),
    Case("wire_not_built", SMALL.replace('gpt-realtime-2"', 'claude-opus-5" # !'), "warning"),
    Case("unsupported_voice", SMALL.replace("gpt-realtime-2", "gpt-4.1") + 'voice = "marin" # !\n', nearest=None),
    Case("live_only_field", SMALL.replace("gpt-realtime-2", "gpt-4.1") + 'output = "audio" # !\n'),
    Case("live_only_field", SMALL.replace("gpt-realtime-2", "gpt-4.1") + 'turn_detection = "manual" # !\n'),
    Case(
        "unsupported_voice",
        SMALL + 'voice = "marin"\n[members.ann]\nprofile = "host"\nmodel = "gpt-4.1" # !\n',
    ),
    Case(
        "unsupported_turn_mode",
        SMALL.replace("gpt-realtime-2", "grok-voice-latest") + 'turn_detection = "semantic_vad" # !\n',
    ),
    Case("unsupported_voice", SMALL + 'voice = "marina" # !\n', nearest="marin"),
    Case("unsupported_output", SMALL.replace("gpt-realtime-2", "gemini-3.8-live") + 'output = "text" # !\n'),
    Case(
        "tools_unsupported",
        SMALL.replace('gpt-realtime-2"', 'gpt-6.1-sol" # !') + 'tools = ["t"]\n[tools.t]\npython = "t:find"\n',
    ),
    Case(
        "tools_need_params",
        SMALL.replace('gpt-realtime-2"', 'gpt-5.6-sol" # !') + 'tools = ["t"]\n[tools.t]\npython = "t:find"\n',
        "warning",
    ),
    Case("budget_unknown_member", SMALL + "[budget.members.hosst] # !\nmax_turns = 3\n", nearest="host"),
    Case(
        "budget_unpriced",
        SMALL.replace("gpt-realtime-2", "llama") + 'provider = "ollama"\n[budget]\nmax_usd = 1.5 # !\n',
    ),
    Case("rehearsal_unknown_profile", SMALL + '[[rehearsal.hosst]] # !\nsay = "x"\n', nearest="host"),
    Case("rehearsal_unknown_tool", SMALL + '[[rehearsal.host]]\ncall = "find" # !\n[tools.find]\npython = "t:find"\n'),
    Case("rehearsal_unknown_member", TWO + '[[rehearsal.host]]\nhand_off = "clerk" # !\n', nearest="clerk"),
    Case("rehearsal_empty_rule", SMALL + '[[rehearsal.host]] # !\nwhen = "x"\n'),
    Case("bad_pattern", SMALL + '[[rehearsal.host]]\nwhen = "/(a/" # !\nsay = "x"\n'),
]

ELSEWHERE = {"file_unreadable", "door_refused"}
"""Codes that need a real file, or a definition that is no file: tests of loading, and of the JSON twin."""


def find(text: str = "") -> str:
    """Finds."""
    return text


def import_tool(python: str):
    """Stands in for Python's import."""

    def starred(*args: str) -> str:
        """Takes anything."""
        return str(args)

    functions = {"find": find, "starred": starred, "silent": lambda text: text}
    module, _, name = python.partition(":")
    if module == "broken":
        raise ToolImportError("tool_import_failed", "ZeroDivisionError.")
    if name == "number":
        raise ToolImportError("tool_not_callable", "An int, not a function.")
    if name not in functions:
        raise ToolImportError("tool_attribute_missing", f"No {name!r}.")
    return functions[name]


def test_every_code_has_a_case():
    assert {case.code for case in CASES} | ELSEWHERE == set(CODES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_code(case: Case):
    """The finding is there, on its line, and says what to do in a sentence."""
    lines = case.text.split("\n")
    line = next((number for number, text in enumerate(lines, 1) if text.rstrip().endswith("# !")), 0)

    definition, findings = parse(case.text, import_tool=import_tool)

    found = [finding for finding in findings if finding.code == case.code]
    assert found, "\n".join(map(str, findings))
    assert found[0].severity == case.severity
    assert found[0].line == line
    assert case.column is None or found[0].column == case.column
    assert case.nearest is None or found[0].nearest == case.nearest
    assert found[0].message.endswith((".", ")")), found[0].message
    assert (definition is None) == any(finding.severity == "error" for finding in findings)


@pytest.mark.parametrize("case", [case for case in CASES if case.code != "too_many_findings"], ids=lambda c: c.code)
def test_one_mistake_is_one_error(case: Case):
    """A single mistake is not told twice over by its consequences."""
    errors = [f for f in parse(case.text, import_tool=import_tool)[1] if f.severity == "error"]
    assert len(errors) == (case.severity == "error"), "\n".join(map(str, errors))


def test_findings_come_in_the_files_order_and_all_at_once():
    text = (
        '[mob]\nid = 3\nentrry = "a"\n[profiles.a]\nmodel = "nope"\nvoise = 1\n'
        '[profiles.b]\nmodel = "gpt-4.1"\nvoice = "x"\n'
        '[wiring]\nroutes = [{ from = "a", to = "z" }]\n[tools.t]\npyton = "a:b"\n'
    )
    findings = parse(text)[1]
    assert [finding.line for finding in findings] == sorted(finding.line for finding in findings)
    assert [finding.code for finding in findings] == [
        "wrong_type",
        "unknown_key",
        "unknown_model",
        "unknown_key",
        "unsupported_voice",
        "route_to_nobody",
        "missing_key",
        "unknown_key",
    ]
    assert [finding.nearest for finding in findings if finding.code == "unknown_key"] == ["entry", "voice", "python"]


def test_secrets_are_never_repeated():
    text = SMALL + (
        '[providers.openai]\napi_key_env = "sk-secret 1"\nbase_url = "https://user:sk-secret@host/v1"\n'
        'api_key = "sk-secret"\nheaders = { Authorization = "sk-secret" }\n'
    )
    findings = parse(text)[1]
    assert len(findings) == 4
    assert "sk-secret" not in "".join(map(str, findings))


def test_a_key_of_another_table_is_told_its_home():
    findings = parse('id = "x"\n' + SMALL)[1]
    assert findings[0].message == "`id` is no key of a team file; it is one of [mob]."
