"""Subscriptions: `session/stream_open` and `session/stream_close`, and what is told of a session meanwhile.

A stream tells what happens from its opening on, whoever made it happen: turns of requests, spoken turns, questions of
other members. It outlives stops of the session and goes on when that starts again; it ends when the client closes it
or goes (`explicit_close`), or when the session is archived (`remote_end`). A client that reads slowly is not waited for
by anybody but its own streams: what they miss, or what is too large to be told, is told of in its place, as
`stream_truncated` with the number.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import trio

from mob.errors import DoorFull, MobUnknown
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.realm.realm import Realm, SessionRef
from mob.server.rooms import Room
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.sessions.agent_events import Narrator
from mob.server.rpc.sessions.envelopes import Envelopes, send
from mob.server.rpc.sessions.turns import turns_of
from mob.sessions.events import RunEvent

JSON = dict[str, Any]

_numbers = itertools.count(1)


def stream_methods(realm: Realm) -> dict[str, Serve]:
    """The methods of streams."""

    async def open_stream(client: RpcClient, params: Params) -> JSON:
        ref = realm.session(params.text("session_id", most=200))
        stream_id = await streams_of(client).open(
            "session/stream_end",
            {"session_id": ref.session_id},
            lambda stream_id: _follow(realm, client, ref, stream_id),
        )
        return {"opened": True, "session_id": ref.session_id, "stream_id": stream_id}

    async def close_stream(client: RpcClient, params: Params) -> JSON:
        stream_id = params.text("stream_id", most=200)
        closed = streams_of(client).close(stream_id)
        return {"closed": True, "already_closed": not closed, "stream_id": stream_id}

    return {"session/stream_open": open_stream, "session/stream_close": close_stream}


Follow = Callable[[str], Any]
"""Tells what happens until there is nothing more to tell; called with the stream's id."""
Tell = Callable[[RunEvent], Awaitable[None]]


class Streams:
    """The open streams of one client, of sessions and mobs together."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self._scopes: dict[str, trio.CancelScope] = {}

    async def open(self, ended: str, about: JSON, follow: Follow) -> str:
        """A new stream: `follow` runs in the client's nursery, and its end is told as `ended`. DoorFull."""
        scope = trio.CancelScope()
        stream_id = self.enter(scope)
        await self._client.nursery.start(self._run, stream_id, scope, ended, about, follow)
        return stream_id

    def enter(self, scope: trio.CancelScope) -> str:
        """The id of a new stream that the caller runs in this scope, and ends with `leave`. DoorFull."""
        most = self._client.limits.max_streams
        if len(self._scopes) >= most:
            raise DoorFull(f"a client has at most {most} streams open; close one of them")
        stream_id = f"stream-{next(_numbers)}"
        self._scopes[stream_id] = scope
        return stream_id

    def leave(self, stream_id: str) -> None:
        """It has ended; again does nothing."""
        self._scopes.pop(stream_id, None)

    def close(self, stream_id: str) -> bool:
        """End it, silently: nothing is told of it any more. False when there is none."""
        scope = self._scopes.pop(stream_id, None)
        if scope is None:
            return False
        scope.cancel()
        return True

    def __len__(self) -> int:
        return len(self._scopes)

    async def _run(
        self,
        stream_id: str,
        scope: trio.CancelScope,
        ended: str,
        about: JSON,
        follow: Follow,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        with scope:
            try:
                task_status.started()
                await follow(stream_id)
                self.leave(stream_id)
                end = {"stream_id": stream_id, **about, "ended": True, "outcome": "remote_end"}
                await self._client.notify_soon(ended, end)
            finally:
                self.leave(stream_id)


_ROOM: Final[Room[Streams]] = Room("streams")
"""Where a client's streams are kept: those of all methods together, since their ids and their number are shared."""


def streams_of(client: RpcClient) -> Streams:
    """The streams of this client, the same object each time."""
    return client.rooms.enter(_ROOM, lambda: Streams(client))


async def follow_runs(hosted: HostedMob, begin: Callable[[], Tell]) -> None:
    """Tell every event of the mob from now on, over its stops and starts, until it has ended for good.

    `begin` is called whenever the mob starts, and first of all; who it gives is told.
    """
    mob = hosted.mob if hosted.running else None
    after = 0 if mob is None else mob.statistics().events.published
    with suppress(MobUnknown):
        while True:
            if mob is None:
                mob, after = await hosted.wait_running(), 0
            tell = begin()
            async with mob.events(after=after) as events:
                async for event in events:
                    await tell(event)
            await hosted.wait_gone(mob)
            mob = None


async def _follow(realm: Realm, client: RpcClient, ref: SessionRef, stream_id: str) -> None:
    """Tell of this session until its mob has ended."""
    envelopes, numbers = Envelopes(ref), itertools.count(1)

    def begin() -> Tell:
        narrator = Narrator(ref.session_id, ref.identity, turn_of=turns_of(ref))

        async def tell(event: RunEvent) -> None:
            for payload in narrator.tell(event):
                envelope = envelopes.wrap(payload, at=realm.wall())
                told = {"stream_id": stream_id, "sequence": next(numbers), "session_id": ref.session_id}
                await send(client, "session/stream_event", {**told, "event": envelope})

        return tell

    await follow_runs(ref.hosted, begin)
