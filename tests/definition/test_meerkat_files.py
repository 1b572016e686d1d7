"""Definition files shaped like those of the Meerkat project load, with a warning for each thing that has no effect."""

from __future__ import annotations

from team_files import errors_of, good, parse

from mob.definition.model import RoleWiring, Topology, TopologyRule

SWARM = """\
[mob]
id = "coding_swarm"
orchestrator = "lead"

[profiles.lead]
model = "claude-opus-5"
skills = ["orchestrator"]
peer_description = "Plans the work and hands it out."
external_addressable = true

[profiles.lead.tools]
builtins = true
comms = true
mob = true
shell = false

[profiles.worker]
model = "gpt-5.6-terra"
provider = "openai"
skills = ["worker"]
peer_description = "Does one task at a time."
runtime_mode = "turn_driven"
resume_overrides = ["model", "provider"]
max_inline_peer_notifications = -1

[profiles.worker.tools]
builtins = true
comms = true

[wiring]
auto_wire_orchestrator = true

[skills.orchestrator]
source = "inline"
content = \"\"\"
# Orchestrator
Cut the work into tasks.
\"\"\"

[skills.worker]
source = "path"
path = "skills/worker.md"
"""

PIPELINE = """\
[mob]
id = "pipeline"

[mob.orchestrator]
profile = "lead"

[profiles.lead]
model = "custom-model"
backend = "session"
provider_params = { temperature = 0.1 }
output_schema = { type = "object" }

[profiles.worker]
model = "gpt-4.1"
auto_compact_threshold = 100000

[models.custom-model]
provider = "anthropic"
display_name = "Custom"
context_window = 200000
max_output_tokens = 8000
vision = true
web_search = false
call_timeout_secs = 60

[[wiring.role_wiring]]
a = "lead"
b = "worker"

[backend]
default = "session"

[backend.external]
address_base = "tcp://127.0.0.1"

[topology]
mode = "strict"
rules = [
  { from_role = "*", to_role = "*", allowed = false },
  { from_role = "lead", to_role = "worker", allowed = true },
  { from_role = "worker", to_role = "lead", allowed = true },
]

[supervisor]
role = "lead"
escalation_threshold = 2

[limits]
max_flow_duration_ms = 30000
max_step_retries = 1
max_orphaned_turns = 8
cancel_grace_timeout_ms = 5000

[spawn_policy]
mode = "auto"
profile_map = { helper = "worker" }

[event_router]
buffer_size = 256

[flows.main]
description = "Two steps."

[[flows.main.steps]]
role = "worker"
message = "Do {{ params.what }}"
depends_on = []
"""


def warned(text: str, **kwargs) -> dict[str, str]:
    """The key paths of everything that has no effect, with the sentence."""
    findings = parse(text, **kwargs)[1]
    assert not [finding for finding in findings if finding.severity == "error"], "\n".join(map(str, findings))
    return {finding.path: finding.message for finding in findings if finding.code == "not_built"}


def test_a_swarm_with_switches_and_skills_in_both_forms():
    files = {"skills/worker.md": "Do the task."}
    swarm = good(SWARM, files=files)

    assert swarm.orchestrator == "lead"
    assert swarm.entry_member == "lead"
    assert swarm.profiles["lead"].tools == ()
    assert swarm.skills == {"orchestrator": "# Orchestrator\nCut the work into tasks.\n", "worker": "Do the task."}
    assert {(route.origin, route.to, route.via) for route in swarm.routes} == {
        ("lead", "worker", ("ask", "tell")),
        ("worker", "lead", ("ask", "tell")),
    }
    assert list(warned(SWARM, files=files)) == [
        "profiles.lead.external_addressable",
        "profiles.lead.tools.builtins",
        "profiles.lead.tools.comms",
        "profiles.lead.tools.mob",
        "profiles.worker.runtime_mode",
        "profiles.worker.resume_overrides",
        "profiles.worker.max_inline_peer_notifications",
        "profiles.worker.tools.builtins",
        "profiles.worker.tools.comms",
    ]


def test_a_pipeline_with_flows_topology_and_the_other_orchestrator_form():
    pipeline = good(PIPELINE)

    assert pipeline.orchestrator == "lead"
    assert pipeline.role_wiring == (RoleWiring("lead", "worker"),)
    assert pipeline.models["custom-model"].input_modalities == ("text", "image")
    assert pipeline.models["custom-model"].wire == "anthropic-messages"
    assert pipeline.flows["main"]["steps"][0]["role"] == "worker"
    assert pipeline.profiles["lead"].output_schema == {"type": "object"}
    assert set(warned(PIPELINE)) == {
        "profiles.lead.backend",
        "profiles.lead.provider_params",
        "profiles.lead.output_schema",
        "profiles.worker.auto_compact_threshold",
        "models.custom-model.call_timeout_secs",
        "backend",
        "supervisor",
        "limits.max_flow_duration_ms",
        "limits.max_step_retries",
        "limits.max_orphaned_turns",
        "limits.cancel_grace_timeout_ms",
        "spawn_policy",
        "event_router",
        "flows",
    }


def test_a_stored_profile_is_asked_to_be_written_out():
    findings = parse('[mob]\nid = "x"\n[profiles.a]\nrealm_profile = "shared"\n')[1]
    assert [(finding.code, finding.line) for finding in findings] == [("missing_key", 3), ("not_built", 4)]


def test_every_value_that_meerkat_allows_for_what_is_not_built_is_checked_all_the_same():
    assert errors_of(SWARM.replace('"turn_driven"', '"sometimes"'), files={"skills/worker.md": ""}) == ["bad_value"]


def test_topology_the_last_rule_that_matches_decides():
    rules = (
        TopologyRule("*", "*", allowed=False),
        TopologyRule("a", "*", allowed=True),
        TopologyRule("a", "c", allowed=False),
    )
    topology = Topology("strict", rules)
    assert not topology.allows("b", "a")
    assert topology.allows("a", "b")
    assert not topology.allows("a", "c")
    assert Topology("strict").allows("b", "a")
