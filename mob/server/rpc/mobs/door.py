"""What the mob methods share: how they find a mob and a member, and what they keep about them.

A method about a member takes `generation` or `fence_token` beside the name: then it is refused with STALE_FENCE when
the member has begun another generation since.
"""

from __future__ import annotations

import logging
from typing import Final

from mob.errors import StaleGeneration
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.realm.realm import Realm, SessionRef
from mob.server.rooms import Room
from mob.server.rpc.mobs.facts import MemberFacts, MobFacts, Remembered
from mob.server.rpc.mobs.shapes import JSON
from mob.team.handles import MemberHandle

_log = logging.getLogger(__name__)

_DESTROYED: Final = 64
_KEPT: Final = "rpc mobs"
FACTS: Final[Room[MobFacts]] = Room("mobs")


class MobDoor:
    """The mobs of one realm as JSON-RPC clients reach them. `destroyed` has the reports of those that are gone."""

    def __init__(self, realm: Realm) -> None:
        self.realm = realm
        self.destroyed: Remembered[JSON] = Remembered(_DESTROYED)

    def hosted(self, params: Params) -> HostedMob:
        """The mob that `mob_id` names. MobUnknown."""
        return self.realm.mob(params.text("mob_id", most=200))

    async def started(self, params: Params) -> HostedMob:
        """The mob, running: one that was never started is started now. MobUnknown, MemberNotRunning, …"""
        hosted = self.hosted(params)
        if not hosted.began:
            await hosted.start()
        _ = hosted.mob
        return hosted

    async def member(self, params: Params) -> tuple[HostedMob, MemberHandle]:
        """The member that `agent_identity` names, in its running mob. MemberUnknown, StaleGeneration, …"""
        hosted = await self.started(params)
        handle = hosted.member(params.text("agent_identity", most=200))
        check_generation(params, handle.generation)
        return hosted, handle

    async def session(self, params: Params) -> SessionRef:
        """The member's session."""
        hosted, handle = await self.member(params)
        return self.realm.session_of(hosted, handle.identity)

    def facts(self, hosted: HostedMob) -> MobFacts:
        """What this door keeps about the mob, the same for all clients; begun from what an earlier server kept."""
        return hosted.rooms.enter(FACTS, lambda: self._kept(hosted))

    def _kept(self, hosted: HostedMob) -> MobFacts:
        try:
            return MobFacts.read(self.realm.kept_of(hosted).get(_KEPT, {}))
        except ValueError as error:
            _log.error(
                "what was kept of the mob %s is damaged, and left out: its members have no labels, and it counts as "
                "not completed (%s)",
                hosted.mob_id,
                error,
            )
            return MobFacts()

    async def keep(self, hosted: HostedMob) -> None:
        """Let the next server of this realm find the mob again, with these facts. StoreError."""
        if self.realm.mob_is_here(hosted):
            await self.realm.keep(hosted, **{_KEPT: self.facts(hosted).as_json()})

    def member_facts(self, hosted: HostedMob, identity: str) -> MemberFacts:
        """What this door keeps about a member."""
        return self.facts(hosted).member(identity)


def check_generation(params: Params, current: int) -> None:
    """StaleGeneration when the request is about another generation of the member than there is."""
    theirs = params.maybe_whole("generation")
    for asked in (None if theirs is None else theirs + 1, params.maybe_whole("fence_token", least=1)):
        if asked is not None and asked != current:
            raise StaleGeneration(
                f"this is about generation {asked} of {params.text('agent_identity')}; generation {current} runs now",
                generation=asked,
                current=current,
            )
