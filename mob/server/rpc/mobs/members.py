"""mob/*: members that come, go, and are looked at.

Every change is the running mob's own (`Mob.spawn`, `retire`, `respawn`) and ends within its bounds; once begun it is
carried through though the client goes. What a client then sees of the roll is the fold of the log (mobs_roll).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from mob.errors import DoorFull, MobError, UsageError
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.rpc.client import RpcClient
from mob.server.rpc.content import Content, maybe_content
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.mobs.door import MobDoor
from mob.server.rpc.mobs.roll import roll_of
from mob.server.rpc.mobs.shapes import (
    JSON,
    MemberExists,
    MemberView,
    cause_of,
    incarnation,
    member_ref,
    member_row,
    spawned,
)
from mob.server.rpc.mobs.spawn import SpawnSpec, spawn_spec
from mob.server.rpc.tools import tools_of
from mob.team.handles import MemberHandle

_MOST_SPECS: Final = 100
_GONE: Final = ("retired", "stopped")


def member_methods(door: MobDoor) -> dict[str, Serve]:
    """The methods of this module."""
    members = Members(door)
    return {
        "mob/members": members.list_members,
        "mob/list_members_matching": members.matching,
        "mob/spawn": members.spawn,
        "mob/spawn_many": members.spawn_many,
        "mob/ensure_member": members.ensure,
        "mob/retire": members.retire,
        "mob/respawn": members.respawn,
    }


class Members:
    """Who is in a mob."""

    def __init__(self, door: MobDoor) -> None:
        self._door = door

    async def list_members(self, _client: RpcClient, params: Params) -> JSON:
        """Those that are members now, in the order in which they came; the retired are not."""
        hosted = self._door.hosted(params)
        return {"mob_id": hosted.mob_id, "members": await self._rows(hosted, lambda _view: True)}

    async def matching(self, _client: RpcClient, params: Params) -> JSON:
        """Members with these labels, this role, this status; as many of the three as are given."""
        hosted = self._door.hosted(params)
        wanted = params.maybe_child("filter") or Params({})
        labels, role, status = wanted.labels("labels"), wanted.maybe_text("role"), wanted.maybe_text("status")

        def matches(view: MemberView) -> bool:
            own = self._door.member_facts(hosted, view.identity).labels
            return (
                all(own.get(key) == value for key, value in labels.items())
                and role in (None, view.role)
                and status in (None, view.status)
            )

        return {"mob_id": hosted.mob_id, "members": await self._rows(hosted, matches)}

    async def spawn(self, client: RpcClient, params: Params) -> JSON:
        """A new member. ProfileUnknown, MemberExists, DoorFull, UsageError, CapabilityUnavailable, …"""
        hosted = await self._door.started(params)
        handle = await self._spawn(client, hosted, spawn_spec(params, hosted, client.limits))
        return {
            "mob_id": hosted.mob_id,
            **spawned(hosted.mob_id, handle.identity),
            **incarnation(handle.identity, handle.generation),
        }

    async def spawn_many(self, client: RpcClient, params: Params) -> JSON:
        """Several, one after the other; one that cannot come keeps no other from coming."""
        hosted = await self._door.started(params)
        results: list[JSON] = []
        for each in params.children("specs", most=_MOST_SPECS):
            try:
                handle = await self._spawn(client, hosted, spawn_spec(each, hosted, client.limits))
                results.append({"status": "spawned", "result": spawned(hosted.mob_id, handle.identity)})
            except MobError as error:
                failed = {"cause": cause_of(error), "message": error.message}
                results.append({"status": "failed", "result": failed})
        return {"mob_id": hosted.mob_id, "results": results}

    async def ensure(self, client: RpcClient, params: Params) -> JSON:
        """The member, spawned only when it is not there."""
        hosted = await self._door.started(params)
        spec = spawn_spec(params.child("spec"), hosted, self._door.realm.limits)
        try:
            await self._spawn(client, hosted, spec)
        except MemberExists:
            rows = await self._rows(hosted, lambda view: view.identity == spec.identity)
            return {"mob_id": hosted.mob_id, "outcome": {"existed": rows[0]}}
        return {"mob_id": hosted.mob_id, "outcome": {"spawned": spawned(hosted.mob_id, spec.identity)}}

    async def retire(self, _client: RpcClient, params: Params) -> JSON:
        """Let it finish and go; its history stays. MemberUnknown, MemberNotRunning, StaleGeneration."""
        hosted, handle = await self._door.member(params)
        await hosted.retire(handle.identity)
        self._door.facts(hosted).members.pop(handle.identity, None)
        await self._door.keep(hosted)
        return {"mob_id": hosted.mob_id, "agent_identity": handle.identity, "retired": True}

    async def respawn(self, _client: RpcClient, params: Params) -> JSON:
        """Its next generation, with the same history, labels and wiring. MemberUnknown, StaleGeneration."""
        first = maybe_content(params, "initial_message", self._door.realm.limits) or None
        hosted, handle = await self._door.member(params)
        await _carried(lambda: hosted.mob.respawn(handle.identity))
        new = hosted.member(handle.identity)
        if first is not None:
            self._kick_off(hosted, new, first)
        receipt = {
            "identity": new.identity,
            "member_ref": member_ref(hosted.mob_id, new.identity),
            **incarnation(new.identity, new.generation),
        }
        return {"mob_id": hosted.mob_id, "status": "completed", "receipt": receipt, "failed_peer_ids": []}

    async def _rows(self, hosted: HostedMob, wanted: Callable[[MemberView], bool]) -> list[JSON]:
        roll = await roll_of(self._door.realm, hosted)
        facts = self._door.facts(hosted)
        return [member_row(view, facts.member(view.identity)) for view in roll.present() if wanted(view)]

    async def _spawn(self, client: RpcClient, hosted: HostedMob, spec: SpawnSpec) -> MemberHandle:
        there = hosted.mob.members.get(spec.identity)
        if there is not None and there.state not in _GONE:
            raise MemberExists(f"the mob {hosted.mob_id} has a member {spec.identity!r} already ({there.state})")
        most = self._door.realm.limits.max_members
        if sum(each.state not in _GONE for each in hosted.mob.members.values()) >= most:
            raise DoorFull(f"the mob {hosted.mob_id} has {most} members, which is all it takes")
        mob = hosted.mob
        await _carried(lambda: mob.spawn(spec.identity, profile=spec.profile, overrides=spec.overrides))
        handle = hosted.member(spec.identity)
        await self._lend(client, hosted, spec.identity)
        facts = self._door.member_facts(hosted, spec.identity)
        facts.labels, facts.runtime_mode, facts.kickoff = dict(spec.labels), spec.runtime_mode, None
        await self._door.keep(hosted)
        if spec.first is not None:
            self._kick_off(hosted, handle, spec.first)
        return handle

    async def _lend(self, client: RpcClient, hosted: HostedMob, identity: str) -> None:
        """What the client offers is for those whom it brings in, too; a name that clashes sends the newcomer away."""
        try:
            await tools_of(client).offer(self._door.realm.session_of(hosted, identity))
        except UsageError:
            await hosted.retire(identity)
            raise

    def _kick_off(self, hosted: HostedMob, handle: MemberHandle, first: Content) -> None:
        facts = self._door.member_facts(hosted, handle.identity)
        facts.kickoff = handle.tell(first.text, images=first.images)
        facts.kickoff_at = self._door.realm.wall()


async def _carried(change: Callable[[], Awaitable[object]]) -> None:
    """Make a change that is bounded in itself, though who asked for it goes meanwhile."""
    with trio.CancelScope(shield=True):
        await change()
