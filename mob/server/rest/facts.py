"""Mobs, members and sessions as JSON, running or not: what the REST door says of them."""

from __future__ import annotations

from typing import Any

from mob.definition.catalogue import capabilities_for
from mob.errors import MemberUnknown
from mob.history.codec import as_json
from mob.history.items import Turn
from mob.protocol.shapes import turn_json
from mob.server.facts import member_facts, mob_facts
from mob.server.hosted import HostedMob
from mob.server.realm.realm import Realm, SessionRef, members_of

JSON = dict[str, Any]


def mob_json(hosted: HostedMob) -> JSON:
    """A mob: `mob run description state created_at members`, and while it runs `floor usage routes`."""
    body: JSON = {
        "mob": hosted.mob_id,
        "run": hosted.run_id,
        "description": hosted.definition.description,
        "state": hosted.state,
        "created_at": hosted.created_at,
        "members": list(members_of(hosted)),
    }
    if hosted.running:
        facts = mob_facts(hosted.mob)
        body |= {name: facts[name] for name in ("floor", "usage", "routes")}
    elif hosted.reason:
        body["reason"] = hosted.reason
    return body


def session_json(ref: SessionRef) -> JSON:
    """A member's session: `session_id mob member state profile model`, and while it runs `generation usage`.

    `mob` is null for a session of its own. The state of one whose mob does not run is the mob's; idle: never started.
    """
    hosted, identity = ref.hosted, ref.identity
    body: JSON = {"session_id": ref.session_id, "mob": None if ref.stand_alone else hosted.mob_id, "member": identity}
    if hosted.running and identity in hosted.mob.members:
        return body | member_facts(hosted, hosted.member(identity))
    profile = hosted.definition.profile_of(identity)
    return body | {
        "state": hosted.state if hosted.began else "idle",
        "profile": hosted.definition.members[identity].profile,
        "model": as_json(capabilities_for(profile, hosted.definition)),
    }


def page_json(turns: tuple[Turn, ...], *, offset: int, limit: int) -> JSON:
    """Turns from `offset`, counted from the oldest: `offset total has_more turns`."""
    there = turns[offset : offset + limit]
    return {
        "offset": offset,
        "total": len(turns),
        "has_more": offset + len(there) < len(turns),
        "turns": [turn_json(turn) for turn in there],
    }


def ref_of(realm: Realm, mob_id: str, identity: str) -> SessionRef:
    """The session of this member of this mob, running or not. MobUnknown, MemberUnknown."""
    hosted = realm.mob(mob_id)
    there = members_of(hosted)
    if identity not in there:
        raise MemberUnknown(f"{mob_id} has no member {identity[:200]!r}; it has {', '.join(there) or 'none'}")
    return realm.session_of(hosted, identity)
