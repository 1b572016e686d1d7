"""What `mob check` says: findings, each with a place, a stable code and a sentence that says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

from attrs import asdict, frozen

Severity = Literal["error", "warning"]


@frozen(slots=True)
class Finding:
    """One thing to know about a team file.

    `line` and `column` count from 1 (0: the file as a whole). `path` is the key path, `profiles.host.model`.
    `nearest` is the known name the author probably meant.
    """

    severity: Severity
    code: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    nearest: str | None = None

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: " if self.line else ""
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        at = f" [{self.path}]" if self.path else ""
        return f"{where}{self.severity}: {self.message}{hint}{at} ({self.code})"


def findings_as_json(file: str, findings: Iterable[Finding]) -> str:
    """One JSON document: `file`, `ok` (no errors) and `findings`, each with all its fields. ASCII only."""
    listed = tuple(findings)
    document: dict[str, Any] = {
        "file": file,
        "ok": all(finding.severity != "error" for finding in listed),
        "findings": [asdict(finding) for finding in listed],
    }
    return json.dumps(document, indent=2)


SYNTAX_CODES = {
    "toml_syntax": "the file is not TOML; nothing else was looked at",
    "not_utf8": "the file is not UTF-8 text",
    "byte_order_mark": "the file begins with a byte order mark, which was skipped",
    "file_missing": "a file that is named does not exist",
    "file_unreadable": "a file that is named is no readable regular file",
    "file_outside": "a file reference leaves the team file's directory",
    "file_too_large": "a file is larger than mob reads",
    "too_deep": "tables or lists are nested deeper than mob reads",
    "too_many_findings": "there are more findings than are shown",
}
"""Codes about files and their text."""

SHAPE_CODES = {
    "unknown_key": "a key that mob does not know",
    "missing_key": "a required key is missing",
    "wrong_type": "a value of another type than the key takes",
    "bad_value": "a value outside what the key takes",
    "conflicting_keys": "keys that exclude each other, or one that needs another",
    "not_built": "a key that is recognised and has no effect yet",
    "door_refused": "a definition that came over a door names a file, Python code or a provider's address",
    "secret_in_file": "a credential stands in the file; credentials come from the environment only",
    "invalid_profile_name": "a profile's name has characters or a length that names cannot have",
    "invalid_member_name": "a member's name has characters or a length that names cannot have",
    "invalid_tool_name": "a tool's name has characters or a length that tools cannot have",
}
"""Codes about the shape of keys and values."""

TEAM_CODES = {
    "empty_profiles": "there is no profile",
    "too_many_members": "there are more members than one team holds",
    "too_many_rules": "there are more rules for rehearsed models than one team has",
    "unknown_profile": "a member is made from a profile that is not defined",
    "unknown_entry": "`mob.entry` names no member",
    "missing_orchestrator_profile": "`mob.orchestrator` names no profile",
    "orchestrator_without_member": "no member is made from the orchestrator's profile",
    "auto_wire_without_orchestrator": "auto-wiring has no orchestrator to wire to",
    "invalid_wiring_profile": "role wiring names a profile that is not defined",
    "route_to_nobody": "a route starts or ends at a member that does not exist",
    "route_to_self": "a route leads from a member to itself",
    "member_unreachable": "no route leads to a member who is not the entry",
    "member_names_collide": "two members' names differ only in case or in - and _",
    "ask_cycle": "members can ask one another in a circle and no hop limit is stated",
    "floor_never_returns": "the floor is handed to a member from whom it cannot come back",
    "topology_unknown_role": "a topology rule names a profile that is not defined",
    "topology_violation": "a route goes against the topology",
    "topology_without_orchestrator": "there is a topology and no orchestrator",
    "missing_skill_ref": "a profile names a skill that is not defined",
    "unknown_tool": "a profile names a tool that is not defined",
    "tool_name_taken": "a tool has the name of a tool that a route makes",
    "tool_import_failed": "the tool's module cannot be imported",
    "tool_attribute_missing": "the tool's module has no such function",
    "tool_not_callable": "what the tool names is not a function",
    "tool_signature": "the tool's function takes arguments that a model cannot give",
    "tool_undocumented": "nothing tells the model what the tool does",
}
"""Codes about members, routes and tools."""

MODEL_CODES = {
    "unknown_model": "a model that is not in the catalogue, and no provider is given",
    "invalid_custom_model": "a model of `[models]` says too little, or contradicts itself",
    "unknown_provider": "a provider that is neither known nor declared",
    "unknown_wire": "a wire that mob has never heard of",
    "provider_needs_wire": "a provider of one's own must say which wire it speaks",
    "provider_needs_url": "nothing says where the provider is dialled",
    "provider_mismatch": "the provider does not speak the wire that the model is reached by",
    "wire_not_built": "the wire is known and mob cannot dial it yet",
    "live_only_field": "a field for live channels on a model that is not realtime",
    "unsupported_turn_mode": "the model does not have this turn mode",
    "unsupported_voice": "the model does not have this voice",
    "unsupported_output": "the model does not put out this modality",
    "tools_unsupported": "the model cannot call tools over this wire, and the member has some",
    "tools_need_params": "the vendor takes tools for this model only with certain `params`",
    "budget_unknown_member": "`[budget.members]` names no member",
    "budget_unpriced": "a budget in dollars cannot be kept: the model has no price",
    "rehearsal_unknown_profile": "rehearsal rules for a profile that is not defined",
    "rehearsal_unknown_tool": "a rehearsal rule calls a tool that the profile does not have",
    "rehearsal_unknown_member": "a rehearsal rule hands over where no route leads",
    "rehearsal_empty_rule": "a rehearsal rule says, calls and hands over nothing",
    "bad_pattern": "a pattern that mob cannot read",
}
"""Codes about models, budgets and rehearsal."""

CODES: dict[str, str] = {**SYNTAX_CODES, **SHAPE_CODES, **TEAM_CODES, **MODEL_CODES}
"""Every code a finding can have, and what it stands for."""
