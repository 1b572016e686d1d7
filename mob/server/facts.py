"""A running mob, as `mob.connect` sees it: whole, as JSON, in our own vocabulary (`team/describe`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mob.definition.model import Route
from mob.errors import MemberNotRunning
from mob.history.codec import as_json
from mob.history.fold import History
from mob.history.items import Turn
from mob.protocol.shapes import usage_json
from mob.server.hosted import HostedMob
from mob.team.handles import MemberHandle
from mob.team.running import Mob
from mob.values import NO_USAGE, Usage

JSON = dict[str, Any]


def described(hosted: HostedMob, mob: Mob) -> JSON:
    """What never changes about it: `mob run description`."""
    return {"mob": hosted.mob_id, "run": mob.run_id, "description": mob.definition.description}


def mob_facts(mob: Mob) -> JSON:
    """What changes about the mob as a whole: `state floor usage routes`."""
    return {**mob_state(mob), "routes": routes_json(mob.routes)}


def mob_state(mob: Mob) -> JSON:
    """The same without its routes."""
    return {"state": mob.state, "floor": mob.floor, "usage": usage_json(mob.usage)}


def routes_json(routes: Iterable[Route]) -> list[JSON]:
    """Routes, each as `from to via`."""
    return [{"from": route.origin, "to": route.to, "via": list(route.via)} for route in routes]


def member_facts(hosted: HostedMob, handle: MemberHandle) -> JSON:
    """What changes about one member, its history apart: `generation state session_id profile model usage`."""
    return {
        "generation": handle.generation,
        "state": handle.state,
        "session_id": hosted.session_id(handle.identity),
        "profile": handle.profile_name,
        "model": as_json(handle.model),
        "usage": usage_json(usage_of_member(handle)),
    }


def usage_of_member(handle: MemberHandle) -> Usage:
    """What it used; nothing when it has not started yet."""
    try:
        return handle.usage
    except MemberNotRunning:
        return NO_USAGE


def history_of_member(handle: MemberHandle) -> tuple[Turn, ...]:
    """Its turns; none when it has not started yet."""
    try:
        return handle.history()
    except MemberNotRunning:
        return ()


def fold_of_member(handle: MemberHandle) -> History | None:
    """The live view of its turns; None when it has not started yet."""
    try:
        return handle.folded
    except MemberNotRunning:
        return None
