"""mob/*: whole mobs over JSON-RPC, as Meerkat's clients drive them.

    create ──> Running ──stop──> Stopped ──resume──> Running
                       ──complete──> Completed: not resumed any more, still readable
    any ──reset──> Running: a new run of the same definition; histories, log and who was spawned begin anew
    any ──destroy──> gone; the log stays in the store. Destroying again gives the same report (P39)

A mob is the realm's, not its creator's: it goes on when the client goes. What Meerkat has and we have not (flows,
hosts, grants, work, stored profiles) is not in the table. Members, wiring, talking, events and live channels are in
the modules beside this one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import trio

from mob.errors import MobUnknown, RequestInvalid
from mob.ids import Ids
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.realm.documents import definition_of
from mob.server.realm.realm import Realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.live import LiveDoor
from mob.server.rpc.mobs.door import FACTS, MobDoor
from mob.server.rpc.mobs.events import event_methods
from mob.server.rpc.mobs.facts import MobFacts
from mob.server.rpc.mobs.live import member_live_methods
from mob.server.rpc.mobs.members import member_methods
from mob.server.rpc.mobs.roll import roll_of
from mob.server.rpc.mobs.shapes import JSON, member_row, mob_row, mob_status
from mob.server.rpc.mobs.streams import mob_stream_methods
from mob.server.rpc.mobs.talk import talk_methods
from mob.server.rpc.mobs.watch import watch_methods
from mob.server.rpc.mobs.wiring import wiring_methods
from mob.server.rpc.tools import tools_of

_ACTIONS: Final = ("stop", "resume", "complete", "reset", "destroy")


def mob_methods(realm: Realm, *, sessions: Mapping[str, Serve], live: LiveDoor | None) -> dict[str, Serve]:
    """Every method about mobs and their members that this realm offers.

    `sessions`: the methods of sessions, which do the same for members. `live` None: there is no transport for live
    channels, and so no method of them.
    """
    door = MobDoor(realm)
    life = MobLife(door)
    return {
        "mob/create": life.create,
        "mob/list": life.list_mobs,
        "mob/status": life.status,
        "mob/snapshot": life.snapshot,
        "mob/lifecycle": life.lifecycle,
        "mob/destroy": life.destroy,
        **member_methods(door),
        **watch_methods(door),
        **talk_methods(door, sessions),
        **wiring_methods(door),
        **event_methods(door),
        **mob_stream_methods(door),
        **({} if live is None else member_live_methods(door, live)),
    }


class MobLife:
    """Whole mobs."""

    def __init__(self, door: MobDoor) -> None:
        self._door = door
        self._realm = door.realm
        self._actions = {"stop": self._stop, "resume": self._resume, "complete": self._complete, "reset": self._reset}

    async def create(self, client: RpcClient, params: Params) -> JSON:
        """A new mob, running. DefinitionError, MobExists, DoorFull, and what starting its members raises."""
        document = params.child("definition").values
        hosted = self._realm.add_mob(definition_of(document), document=document, labels=params.labels("labels"))
        try:
            await hosted.start()
            await self._lend(client, hosted)
            await self._door.keep(hosted)
        except BaseException:
            await self._realm.end_mob(hosted, "not created")
            raise
        return {"mob_id": hosted.mob_id, "claim_token": secrets.token_urlsafe(24)}

    async def list_mobs(self, _client: RpcClient, _params: Params) -> JSON:
        """The mobs, oldest first."""
        return {"mobs": [mob_row(hosted, self._door.facts(hosted)) for hosted in self._realm.mobs]}

    async def status(self, _client: RpcClient, params: Params) -> JSON:
        """One mob's state; also of one that was destroyed a while ago."""
        try:
            hosted = self._door.hosted(params)
        except MobUnknown:
            mob_id = params.text("mob_id", most=200)
            if self._door.destroyed.get(mob_id) is None:
                raise
            return {"mob_id": mob_id, "status": "Destroyed"}
        return mob_row(hosted, self._door.facts(hosted))

    async def snapshot(self, _client: RpcClient, params: Params) -> JSON:
        """The mob and its members in one look."""
        hosted = self._door.hosted(params)
        roll = await roll_of(self._realm, hosted)
        facts = self._door.facts(hosted)
        return {
            "mob_id": hosted.mob_id,
            "status": mob_status(hosted, facts),
            "members": [member_row(view, facts.member(view.identity)) for view in roll.present()],
            "floor": hosted.mob.floor if hosted.running else None,
        }

    async def lifecycle(self, client: RpcClient, params: Params) -> JSON:
        """stop, resume, complete, reset or destroy it."""
        action = params.choice("action", _ACTIONS)
        if action is None:
            raise params.wrong("action", f"is missing; it is one of {', '.join(_ACTIONS)}")
        if action == "destroy":
            return {**await self.destroy(client, params), "action": action}
        hosted = self._door.hosted(params)
        await self._actions[action](hosted)
        return {
            "mob_id": hosted.mob_id,
            "action": action,
            "ok": True,
            "status": mob_status(hosted, self._door.facts(hosted)),
        }

    async def destroy(self, _client: RpcClient, params: Params) -> JSON:
        """End it for good. Again: the same report."""
        try:
            hosted = self._door.hosted(params)
        except MobUnknown:
            report = self._door.destroyed.get(params.text("mob_id", most=200))
            if report is None:
                raise
            return report
        await self._realm.end_mob(hosted)
        report = {"mob_id": hosted.mob_id, "ok": True, "destroy_report": dict(_CLEAN)}
        self._door.destroyed.put(hosted.mob_id, report)
        return report

    async def _lend(self, client: RpcClient, hosted: HostedMob) -> None:
        """What the client offers is for the members of its mobs, too."""
        for identity in hosted.mob.members:
            await tools_of(client).offer(self._realm.session_of(hosted, identity))

    async def _stop(self, hosted: HostedMob) -> None:
        await hosted.stop()

    async def _resume(self, hosted: HostedMob) -> None:
        if self._door.facts(hosted).completed:
            raise RequestInvalid(
                f"the mob {hosted.mob_id} was completed and is not resumed; reset it to begin anew", field="action"
            )
        await hosted.start()

    async def _complete(self, hosted: HostedMob) -> None:
        with trio.CancelScope(shield=True):
            await hosted.stop("completed")
            self._door.facts(hosted).completed = True
            await self._door.keep(hosted)

    async def _reset(self, hosted: HostedMob) -> None:
        with trio.CancelScope(shield=True):
            await hosted.stop("reset")
            hosted.begin_anew(Ids().new("run"))
            hosted.rooms.enter(FACTS, MobFacts)  # new ones, rather than those in the realm's files
            await self._door.keep(hosted)
            await hosted.start()


_CLEAN: Final[Mapping[str, Any]] = {
    "force_destroyed_members": [],
    "orphaned_remote_members": [],
    "errors": [],
    "metadata_scrubbed": True,
    "events_cleared": False,
    "namespace_cleaned": True,
}
