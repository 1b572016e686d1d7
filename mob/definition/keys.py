"""The team file's keys: every section and key, its shape, its meaning, and whether it is built.

Names follow the MobDefinition of the Meerkat project where it has them. Defaults stand in `mob.definition.model`.
"""

from __future__ import annotations

import functools
from typing import get_args

from mob.definition.keys_models import MODELS, PROVIDERS
from mob.definition.model import (
    Budget,
    Limits,
    MobDefinition,
    Profile,
    RehearsalRule,
    Tool,
)
from mob.definition.shapes import Either, Flag, Free, Key, ListOf, MapOf, Number, Shape, Table, Text, Whole
from mob.values import Modality, TurnDetection, TurnMode, Via

NAME = Text(empty=False)
NAMES = ListOf(NAME)
SECONDS = Number(0.05, 86400.0)

TURN_DETECTION = Table(
    (
        Key("mode", Text(choices=get_args(TurnMode)), "who decides that the user's turn is over"),
        Key("threshold", Number(0.0, 1.0), "server_vad: how loud is speech"),
        Key("prefix_padding_ms", Whole(0, 10000), "server_vad: sound kept from before the speech"),
        Key("silence_duration_ms", Whole(0, 10000), "server_vad: silence that ends a turn"),
        Key("idle_timeout_ms", Whole(1000, 60000), "server_vad: silence after which the model speaks up"),
        Key("eagerness", Text(choices=("low", "medium", "high", "auto")), "semantic_vad: how soon to answer"),
        Key("create_response", Flag(), "let the vendor create responses; mob does it otherwise"),
        Key("interrupt_response", Flag(), "let the vendor interrupt responses; mob does it otherwise"),
    ),
    TurnDetection,
)

_COMMS = "Members talk to one another over [wiring] in mob; this switch changes nothing."
_NO_TOOL = "mob has no such built-in tool; write one and name it in [tools.NAME]."

TOOL_SWITCHES = Table(
    (
        Key("builtins", Flag(), "Meerkat's built-in tools", not_built=_NO_TOOL),
        Key("shell", Flag(), "Meerkat's shell tool", not_built=_NO_TOOL),
        Key("comms", Flag(), "Meerkat's messages between members", not_built=_COMMS),
        Key("memory", Flag(), "Meerkat's memory tools", not_built=_NO_TOOL),
        Key("workgraph", Flag(), "Meerkat's work graph", not_built=_NO_TOOL),
        Key("mob", Flag(), "Meerkat's tools to manage a mob", not_built=_NO_TOOL),
        Key("schedule", Flag(), "Meerkat's scheduler", not_built=_NO_TOOL),
        Key("image_generation", Flag(), "Meerkat's image tool", not_built=_NO_TOOL),
        Key("read_only", Flag(), "refuse tools that write", not_built="Name only tools that read in `tools` instead."),
        Key("mcp", NAMES, "MCP servers of the host", not_built="MCP servers are not connected yet."),
        Key("mcp_servers", Either((ListOf(Free()), Free())), "MCP servers", not_built="They are not connected yet."),
        Key("rust_bundles", NAMES, "tools in Rust", not_built="mob runs Python tools; see [tools.NAME]."),
    )
)

INSTRUCTIONS = Either((Text(), Table((Key("file", NAME, "a text file, relative to the team file", required=True),))))

PROFILE = Table(
    (
        Key("model", NAME, "exact id of a model: from `mob models`, or declared in [models]", required=True),
        Key("provider", NAME, "who serves the model; required when the catalogue does not know it"),
        Key("instructions", INSTRUCTIONS, 'what the model is told: text, or `{ file = "host.md" }`'),
        Key("voice", NAME, "how a realtime model sounds; of another model, what reads it out: `tone` or `espeak`"),
        Key(
            "turn_detection",
            Either((Text(choices=get_args(TurnMode)), TURN_DETECTION)),
            "who decides that the user's turn is over: a mode, or a table",
        ),
        Key(
            "output",
            Text(choices=get_args(Modality)),
            "what a realtime model answers with; the vendor's default is audio",
        ),
        Key("peer_description", Text(), "what other members are told about this one"),
        Key("skills", NAMES, "names of [skills]; their text follows the instructions"),
        Key("tools", Either((NAMES, TOOL_SWITCHES)), "names of [tools]; Meerkat's table of switches is read too"),
        Key("fallback", NAMES, "models to go on with when this one cannot be reached"),
        Key("params", Free(), "extra fields for the provider, passed on as they are"),
        Key("mcp", NAMES, "names of [mcp]", not_built="MCP servers are not connected yet."),
        Key("output_schema", Free(), "JSON Schema of the answer", not_built="Answers are not checked against it yet."),
        Key(
            "provider_params", Free(), "Meerkat's extra fields", not_built="Write the vendor's own fields in `params`."
        ),
        Key("realm_profile", NAME, "a stored profile", not_built="mob stores no profiles; write this one out here."),
        Key("self_hosted_server_id", NAME, "a server", not_built="Declare the server in [providers.NAME]."),
        Key("image_generation_provider", NAME, "who makes images", not_built="mob makes no images."),
        Key("auto_compact_threshold", Whole(1), "when to compact", not_built="mob does not compact histories yet."),
        Key(
            "resume_overrides",
            ListOf(Text(choices=("model", "provider", "provider_params"))),
            "what wins on resume",
            not_built="A resumed run always takes the team file's profile.",
        ),
        Key(
            "external_addressable",
            Flag(),
            "reachable from outside",
            not_built="`mob serve` opens every member to its clients.",
        ),
        Key(
            "backend", Text(choices=("session", "external")), "where it runs", not_built="Members run in this process."
        ),
        Key(
            "runtime_mode",
            Text(choices=("autonomous_host", "turn_driven")),
            "when it runs",
            not_built="A member runs when it is spoken to.",
        ),
        Key(
            "max_inline_peer_notifications",
            Whole(-1, 2**31 - 1),
            "how peers' messages are shown",
            not_built="mob always delivers peers' messages whole.",
        ),
    ),
    Profile,
)

MEMBER = Table(
    (
        Key("profile", NAME, "the profile it is made from", required=True),
        *(
            Key(key.name, key.shape, f"instead of the profile's `{key.name}`")
            for key in PROFILE.keys
            if key.not_built is None
        ),
    )
)

ROUTE = Table(
    (
        Key("from", NAME, "the member who may", required=True),
        Key("to", NAME, "the member who is reached", required=True),
        Key("via", ListOf(Text(choices=get_args(Via)), at_least=1), "in which ways", default='["ask"]'),
    )
)

WIRING = Table(
    (
        Key(
            "auto_wire_orchestrator",
            Flag(),
            "the orchestrator with everybody, ask and tell, both ways",
            default="false",
        ),
        Key(
            "role_wiring",
            ListOf(
                Table(
                    (
                        Key("a", NAME, "a profile", required=True),
                        Key("b", NAME, "a profile; the same one wires its members with one another", required=True),
                    )
                )
            ),
            "all members of `a` with all of `b`, ask and tell, both ways",
            default="[]",
        ),
        Key("routes", ListOf(ROUTE), "single routes, one way each", default="[]"),
    )
)

TOPOLOGY = Table(
    (
        Key(
            "mode", Text(choices=("advisory", "strict")), "a route against the rules: warning, or error", required=True
        ),
        Key(
            "rules",
            ListOf(
                Table(
                    (
                        Key("from_role", NAME, 'a profile, or "*"', required=True),
                        Key("to_role", NAME, 'a profile, or "*"', required=True),
                        Key("allowed", Flag(), "whether it may", required=True),
                    )
                )
            ),
            "the last rule that matches decides; none matches: allowed",
            required=True,
        ),
    )
)

TOOL = Table(
    (
        Key(
            "python",
            Text(pattern=r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*", says='"module:function"'),
            'the function, as "module:function"; the module is looked for beside the team file first',
            required=True,
        ),
        Key("description", Text(empty=False), "what the model is told; the function's docstring otherwise"),
        Key("timeout_s", SECONDS, "how long one call may take; `limits.tool_timeout_s` otherwise"),
        Key(
            "effect",
            Text(choices=("read", "write")),
            "a write never starts for an answer that was cut off, and never twice",
        ),
        Key(
            "on_interrupt",
            Text(choices=("keep", "cancel")),
            "what becomes of a running call when its turn is cut; a write is kept and a read cancelled otherwise",
        ),
    ),
    Tool,
)

SKILL = Table(
    (
        Key("source", Text(choices=("inline", "path")), "where the text is", default="whichever key is given"),
        Key("content", Text(), "the text"),
        Key("path", NAME, "a text file, relative to the team file"),
    )
)

_FLOWS_ONLY = "It bounds flows, which are not built yet."

LIMITS = Table(
    (
        Key("max_hops", Whole(1, 64), "how many members one request may travel"),
        Key("turn_timeout_s", SECONDS, "one turn"),
        Key("tool_timeout_s", SECONDS, "one tool call"),
        Key("connect_timeout_s", SECONDS, "dialling a provider"),
        Key("response_timeout_s", SECONDS, "the first sign of an answer"),
        Key("shutdown_timeout_s", SECONDS, "stopping the run"),
        Key("hand_off_timeout_s", SECONDS, "the next speaker being ready"),
        Key("max_mailbox", Whole(1, 10000), "messages waiting for one member"),
        Key("max_tool_rounds", Whole(1, 100), "rounds of tool calls in one turn"),
        Key("max_tool_output_bytes", Whole(256, 16 * 2**20), "what one tool call gives the model"),
        Key("max_restarts", Whole(0, 100), "restarts of a failing member within the window"),
        Key("restart_window_s", SECONDS, "the window"),
        Key("restart_backoff_s", Number(0.0, 3600.0), "the first pause before a restart; it doubles"),
        Key("max_flow_duration_ms", Whole(), "Meerkat", not_built=_FLOWS_ONLY),
        Key("max_step_retries", Whole(), "Meerkat", not_built=_FLOWS_ONLY),
        Key("max_orphaned_turns", Whole(), "Meerkat", not_built="mob leaves no turn behind; see turn_timeout_s."),
        Key("cancel_grace_timeout_ms", Whole(), "Meerkat", not_built="See shutdown_timeout_s."),
        Key("max_active_nodes", Whole(), "Meerkat", not_built=_FLOWS_ONLY),
        Key("max_active_frames", Whole(), "Meerkat", not_built=_FLOWS_ONLY),
        Key("max_frame_depth", Whole(), "Meerkat", not_built=_FLOWS_ONLY),
    ),
    Limits,
)

_BOUNDS = (
    Key("max_usd", Number(0.0, 1e6), "US dollars; every model must have a price"),
    Key("max_tokens", Whole(1), "tokens, input and output together"),
    Key("max_turns", Whole(1), "turns"),
)
BUDGET = Table(
    (*_BOUNDS, Key("members", MapOf(Table(_BOUNDS, Budget), noun="MEMBER"), "the same bounds for single members")),
    Budget,
)

REHEARSAL = ListOf(
    Table(
        (
            Key("when", Text(), "words that must all occur, or a /pattern/; empty matches always"),
            Key("say", Text(), "what it answers"),
            Key("call", NAME, "the tool it calls"),
            Key("arguments", Free(), "what it calls the tool with"),
            Key("hand_off", NAME, "the member it hands over to"),
            Key("after_ms", Whole(0, 600_000), "how long it thinks first"),
        ),
        RehearsalRule,
    )
)

_LATER = "It is read and not run yet."

ROOT = Table(
    (
        Key(
            "mob",
            Table(
                (
                    Key("id", NAME, "the team's name", required=True),
                    Key("description", Text(), "a sentence about it"),
                    Key(
                        "entry",
                        NAME,
                        "the member who gets the human first; otherwise the orchestrator's, then the first",
                    ),
                    Key(
                        "orchestrator",
                        Either((NAME, Table((Key("profile", NAME, "a profile", required=True),)))),
                        "the profile that leads",
                    ),
                ),
                MobDefinition,
            ),
            "the team as a whole",
            required=True,
        ),
        Key("profiles", MapOf(PROFILE, "profile"), "role templates", required=True),
        Key("members", MapOf(MEMBER, "member"), "who takes part; when absent, one member of each profile's own name"),
        Key("wiring", WIRING, "who may reach whom; without it nobody reaches anybody"),
        Key("topology", TOPOLOGY, "which roles may reach which"),
        Key("tools", MapOf(TOOL, "tool"), "Python functions"),
        Key("skills", MapOf(SKILL), "texts that profiles share"),
        Key("models", MODELS, "models the catalogue does not know, or other facts about one that it does"),
        Key("providers", PROVIDERS, "where providers are dialled"),
        Key("limits", LIMITS, "what bounds a run"),
        Key("budget", BUDGET, "when to stop spending"),
        Key("rehearsal", MapOf(REHEARSAL, noun="PROFILE"), "what rehearsed models say"),
        Key("mcp", MapOf(Free()), "MCP servers", not_built="MCP servers are not connected yet."),
        Key("flows", MapOf(Free()), "Meerkat's workflows", not_built=f"{_LATER} Members work by asking one another."),
        Key("backend", Free(), "Meerkat's places of execution", not_built="Members run in this process."),
        Key("supervisor", Free(), "Meerkat's escalation", not_built="See max_restarts in [limits]."),
        Key(
            "spawn_policy", Free(), "Meerkat's spawning", not_built="Members are those of the file, or spawned by API."
        ),
        Key("event_router", Free(), "Meerkat's event filter", not_built="Every event is published."),
        Key("image_generation_provider", NAME, "Meerkat's image maker", not_built="mob makes no images."),
    ),
    MobDefinition,
)


@functools.cache
def _homes() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}

    def look(shape: Shape, at: str) -> None:
        match shape:
            case Table(keys=keys):
                for key in keys:
                    if at:
                        found.setdefault(key.name, []).append(f"[{at}]")
                    look(key.shape, f"{at}.{key.name}" if at else key.name)
            case MapOf(item=item, noun=noun):
                look(item, f"{at}.{noun}")
            case Either(options=options):
                for option in options:
                    look(option, at)
            case ListOf(item=item):
                look(item, at)
            case _:
                return

    look(ROOT, "")
    return {name: tuple(homes) for name, homes in found.items()}


def homes_of(name: str) -> tuple[str, ...]:
    """The tables in which a key of this name is at home, as an author would write them."""
    return _homes().get(name, ())
