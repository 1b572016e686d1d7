"""mob/stream_open and mob/stream_close: what happens in a mob, told as it happens.

    of one member       the envelopes that a stream of its session has
    of the whole mob    the same envelopes, each with whose it is: identity, generation, role

A stream tells what happens from its opening on, over stops and starts of the mob, generations, and members that come
later. It ends when the client closes it or goes, or when the mob is destroyed (`remote_end`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.realm.realm import SessionRef
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.mobs.door import MobDoor
from mob.server.rpc.mobs.roll import roll_of, view_of
from mob.server.rpc.mobs.shapes import JSON, generation_of
from mob.server.rpc.sessions.agent_events import Narrator
from mob.server.rpc.sessions.envelopes import Envelopes, send
from mob.server.rpc.sessions.streams import Tell, follow_runs, streams_of
from mob.server.rpc.sessions.turns import turns_of
from mob.sessions.events import MemberChanged, MobStopped, RunEvent
from mob.team.events import StreamLagged


def mob_stream_methods(door: MobDoor) -> dict[str, Serve]:
    """The methods of this module."""

    async def open_stream(client: RpcClient, params: Params) -> JSON:
        hosted = door.hosted(params)
        identity = params.maybe_text("agent_identity", most=200)
        if identity is not None:
            await view_of(door.realm, hosted, identity)
        about = {"mob_id": hosted.mob_id}
        stream_id = await streams_of(client).open(
            "mob/stream_end", about, lambda stream_id: _follow(door, client, hosted, identity, stream_id)
        )
        return {"opened": True, "mob_id": hosted.mob_id, "stream_id": stream_id}

    async def close_stream(client: RpcClient, params: Params) -> JSON:
        stream_id = params.text("stream_id", most=200)
        closed = streams_of(client).close(stream_id)
        return {"closed": True, "already_closed": not closed, "stream_id": stream_id}

    return {"mob/stream_open": open_stream, "mob/stream_close": close_stream}


async def _follow(door: MobDoor, client: RpcClient, hosted: HostedMob, identity: str | None, stream_id: str) -> None:
    numbers = itertools.count(1)

    def begin() -> Tell:
        chorus = Chorus(door, hosted, identity)

        async def tell(event: RunEvent) -> None:
            await chorus.learn(event)
            for told in chorus.tell(event):
                params = {"stream_id": stream_id, "sequence": next(numbers), "event": told}
                await send(client, "mob/stream_event", params)

        return tell

    await follow_runs(hosted, begin)


class Chorus:
    """The narrators of one run of a mob: of one member, or of everybody who says something."""

    def __init__(self, door: MobDoor, hosted: HostedMob, only: str | None) -> None:
        self._door = door
        self._hosted = hosted
        self._only = only
        self._narrators: dict[str, tuple[Narrator, Envelopes]] = {}
        self._roles: dict[str, str] = {}

    async def learn(self, event: RunEvent) -> None:
        """Know who this is about, before it is told."""
        member = event.member
        if member is None or self._only not in (None, member):
            return
        if member not in self._narrators:
            ref = SessionRef(self._hosted.session_id(member), self._hosted, member)
            self._narrators[member] = Narrator(ref.session_id, member, turn_of=turns_of(ref)), Envelopes(ref)
        if self._only is None and member not in self._roles:
            roll = await roll_of(self._door.realm, self._hosted)
            self._roles = {view.identity: view.role for view in roll.views}
        if isinstance(event, MemberChanged) and event.state == "retired":
            self._roles.pop(member, None)  # who comes back may have another role

    def tell(self, event: RunEvent) -> Iterator[JSON]:
        """What this event comes to; nothing for most."""
        concerned = self._narrators if isinstance(event, StreamLagged | MobStopped) else (event.member,)
        for member in concerned:
            if member is None or member not in self._narrators:
                continue
            narrator, envelopes = self._narrators[member]
            for payload in narrator.tell(event):
                envelope = envelopes.wrap(payload, at=self._door.realm.wall())
                yield envelope if self._only is not None else self._attributed(member, envelope)

    def _attributed(self, member: str, envelope: JSON) -> JSON:
        generation = 0
        if self._hosted.running and member in self._hosted.mob.members:
            generation = self._hosted.mob.member(member).generation
        source = {"identity": member, "generation": generation_of(generation)}
        role = self._roles.get(member, member)
        return {"source": source, "role": role, "source_fence_token": generation, "envelope": envelope}
