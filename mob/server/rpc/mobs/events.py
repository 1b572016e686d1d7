"""mob/events: what became of a mob, read from its log in pages (P38).

A cursor is the sequence number of a row. Rows that Meerkat has no event for (turns, calls, messages, the floor) are
passed over, so cursors have gaps that mean nothing; the page behind the last cursor goes on where it ended. An event is
made from its row alone, so the same page reads the same for ever:

    RunStarted          mob_created (the definition), when it is the run's first
    MemberSpawned       member_spawned, each generation
    MemberEnded         retired: member_retired; respawned, crashed: member_reset; failed: member_failed (ours)
    Wired               members_wired, members_unwired: `a` and `b` as Meerkat has them, and beside them which way
    RunStopped          mob_stopped, mob_completed, mob_destroying, by its reason
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mob.errors import StaleCursor
from mob.history.rows import MemberEnded, MemberSpawned, Row, RunStarted, RunStopped, Stored, Wired
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.mobs.door import MobDoor
from mob.server.rpc.mobs.facts import MobFacts
from mob.server.rpc.mobs.shapes import JSON, generation_of, incarnation
from mob.server.rpc.shapes import timestamp

_KINDS: Final = (RunStarted.kind, RunStopped.kind, MemberSpawned.kind, MemberEnded.kind, Wired.kind)
_STOPS: Final = {"completed": "mob_completed", "destroyed": "mob_destroying"}
_PAGE: Final = 100


def event_methods(door: MobDoor) -> dict[str, Serve]:
    """The methods of this module."""

    async def events(_client: RpcClient, params: Params) -> JSON:
        """The events behind `after_cursor`, at most `limit`. StaleCursor, when `strict`, for a place yet to come."""
        hosted = door.hosted(params)
        after = params.maybe_whole("after_cursor") or 0
        limit = params.maybe_whole("limit", least=1, most=door.realm.limits.max_page) or _PAGE
        if params.flag("strict"):
            await _check_cursor(door, hosted, after)
        found: list[JSON] = []
        if hosted.began:
            async for stored in door.realm.store.read_run(hosted.run_id, after=after, kinds=_KINDS):
                event = mob_event(stored, hosted.mob_id, hosted.document, door.facts(hosted))
                if event is not None:
                    found.append(event)
                    if len(found) == limit:
                        break
        return {"mob_id": hosted.mob_id, "events": found}

    return {"mob/events": events}


async def _check_cursor(door: MobDoor, hosted: HostedMob, after: int) -> None:
    rows = (info.rows for info in await door.realm.store.runs() if info.run_id == hosted.run_id)
    watermark = next(rows, 0)
    if after > watermark:
        raise StaleCursor(
            f"the log of {hosted.mob_id} ends at {watermark}, before {after}; read on from an earlier place",
            requested=after,
            watermark=watermark,
        )


def mob_event(stored: Stored, mob_id: str, document: Mapping[str, Any] | None, facts: MobFacts) -> JSON | None:
    """The event that this row is; None when it is none of Meerkat's. `document`: what the mob was created from."""
    kind = _kind(stored.row, mob_id, document, facts)
    if kind is None:
        return None
    return {"cursor": stored.seq, "timestamp": timestamp(stored.at), "mob_id": mob_id, "kind": kind}


def _kind(row: Row, mob_id: str, document: Mapping[str, Any] | None, facts: MobFacts) -> JSON | None:
    match row:
        case RunStarted(resumed=False):
            return {"type": "mob_created", "definition": dict(document or {"id": mob_id})}
        case RunStopped(reason=reason):
            return {"type": _STOPS.get(reason, "mob_stopped"), "reason": reason}
        case MemberSpawned():
            return _spawned(row, facts)
        case MemberEnded():
            return _ended(row)
        case Wired(origin=origin, to=to, via=via, removed=removed):
            a, b = sorted((origin, to))
            name = "members_unwired" if removed else "members_wired"
            return {"type": name, "a": a, "b": b, "from": origin, "to": to, "via": list(via)}
    return None


def _spawned(row: MemberSpawned, facts: MobFacts) -> JSON:
    known = facts.members.get(row.member)
    kind: JSON = {
        "type": "member_spawned",
        "agent_identity": row.member,
        **incarnation(row.member, row.generation),
        "role": row.profile,
        "model": row.model,
        "runtime_mode": "autonomous_host" if known is None else known.runtime_mode,
    }
    if known is not None and known.labels:
        kind["labels"] = dict(known.labels)
    return kind


def _ended(row: MemberEnded) -> JSON:
    about: JSON = {"agent_identity": row.member, "generation": generation_of(row.generation), "reason": row.reason}
    if row.error is not None:
        about["error"] = row.error
    if row.reason in ("respawned", "crashed"):
        numbers = {"previous_generation": generation_of(row.generation), "new_generation": row.generation}
        return {"type": "member_reset", **about, **numbers}
    return {"type": "member_retired" if row.reason == "retired" else "member_failed", **about}
