"""Mobs and members in Meerkat's words: its statuses, references, generations, rows and causes.

    our generation            1, 2, 3, … of an identity
    its `generation`          0, 1, 2, …: ours less one
    its `fence_token`         ours
    its `agent_runtime_id`    `identity:generation`, with its generation
    its `member_ref`          base64url of {"mob_id", "agent_identity"}: says whom, not which generation

Source: the contract's JSON twins as its published Python client 0.9.6 reads them.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final, Literal

from attrs import frozen

from mob.errors import (
    BudgetExceeded,
    CapabilityUnavailable,
    CredentialMissing,
    DefinitionError,
    DoorFull,
    LimitReached,
    LiveError,
    MemberError,
    MemberNotRunning,
    MemberUnknown,
    MobError,
    ProviderError,
    RequestInvalid,
    RouteRefused,
    StaleCursor,
    StaleGeneration,
    StoreError,
    UsageError,
)
from mob.protocol.jsonrpc import INVALID_PARAMS
from mob.server.hosted import HostedMob
from mob.server.rpc.errors import Refusal, Refused
from mob.server.rpc.mobs.facts import MemberFacts, MobFacts

JSON = dict[str, Any]
MobStatus = Literal["Creating", "Running", "Stopped", "Completed", "Destroyed"]
MemberStatus = Literal["active", "retiring", "broken", "completed", "unknown"]

_MOB_STATUSES: Final[dict[str, MobStatus]] = {
    "running": "Running",
    "stopped": "Stopped",
    "failed": "Stopped",
    "ended": "Destroyed",
}


class ProfileUnknown(Refused):
    """The mob has no profile of this name."""

    code = "profile_not_found"
    refusal = Refusal(INVALID_PARAMS, "profile_not_found")


class MemberExists(Refused):
    """The mob has a member of this identity already."""

    code = "member_already_exists"
    refusal = Refusal(INVALID_PARAMS, "member_already_exists")


_CAUSES: Final[tuple[tuple[type[MobError], str], ...]] = (
    (ProfileUnknown, "profile_not_found"),
    (MemberExists, "member_already_exists"),
    (MemberUnknown, "member_not_found"),
    (MemberNotRunning, "invalid_transition"),
    (StaleGeneration, "stale_fence_token"),
    (StaleCursor, "stale_event_cursor"),
    (CapabilityUnavailable, "unsupported_for_mode"),
    (RouteRefused, "topology_violation"),
    (StoreError, "storage_error"),
    (DoorFull, "session_error"),
    (RequestInvalid, "schema_validation"),
    (UsageError, "definition_error"),
    (DefinitionError, "definition_error"),
    (BudgetExceeded, "session_error"),
    (LimitReached, "session_error"),
    (ProviderError, "session_error"),
    (CredentialMissing, "session_error"),
    (LiveError, "session_error"),
    (MemberError, "session_error"),
)


@frozen(slots=True)
class MemberView:
    """One member as the doors show it. `state` is our own word; `model` is its id; `wired_to` names its peers."""

    mob_id: str
    identity: str
    role: str
    model: str
    generation: int
    status: MemberStatus
    state: str
    wired_to: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self.status == "completed"


def member_ref(mob_id: str, identity: str) -> str:
    """The opaque reference that clients hold."""
    text = json.dumps({"mob_id": mob_id, "agent_identity": identity}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def generation_of(generation: int) -> int:
    """Their number of our generation."""
    return max(generation - 1, 0)


def incarnation(identity: str, generation: int) -> JSON:
    """Which generation this is about, in all of their words."""
    theirs = generation_of(generation)
    return {"generation": theirs, "fence_token": generation, "agent_runtime_id": f"{identity}:{theirs}"}


def mob_status(hosted: HostedMob, facts: MobFacts) -> MobStatus:
    """Their word for what the mob does."""
    if facts.completed and hosted.state != "ended":
        return "Completed"
    return _MOB_STATUSES[hosted.state]


def mob_row(hosted: HostedMob, facts: MobFacts) -> JSON:
    """One line of `mob/list`."""
    row: JSON = {"mob_id": hosted.mob_id, "status": mob_status(hosted, facts)}
    if hosted.state == "failed":
        row["failure"] = {"cause": "internal", "message": hosted.reason}
    return row


def member_row(view: MemberView, facts: MemberFacts) -> JSON:
    """One line of `mob/members`."""
    return {
        "agent_identity": view.identity,
        "member_ref": member_ref(view.mob_id, view.identity),
        "role": view.role,
        "runtime_mode": facts.runtime_mode,
        "status": view.status,
        "is_final": view.is_final,
        "wired_to": list(view.wired_to),
        "labels": dict(facts.labels),
        **incarnation(view.identity, view.generation),
        "model": view.model,
        "state": view.state,
    }


def spawned(mob_id: str, identity: str) -> JSON:
    """What whoever brought a member in is told."""
    return {"agent_identity": identity, "member_ref": member_ref(mob_id, identity)}


def cause_of(error: MobError) -> str:
    """Their word for why something about a mob came to nothing."""
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "internal")
