"""One client's hold on one mob at a server: the calls, and the copy of the mob that the server keeps up to date.

peer      calls and notifications (mob.remote.peer)
replica   what the notifications told (mob.remote.replica)
here      which mob is meant; turns that were too large to be told, fetched before an answer is given
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from mob.carriers.links import Link
from mob.errors import MemberNotRunning, MobError, ServerGone, WireError
from mob.protocol.jsonrpc import Request
from mob.protocol.shapes import event_of, turn_of
from mob.remote.peer import Peer
from mob.remote.replica import Replica
from mob.remote.tools import GIVE_UP, RUN, Workshop
from mob.sessions.events import RunEvent

JSON = dict[str, Any]

_EVENT, _STOPPING = "team/event", "server/stopping"
_PAGE = 500


class Connection:
    """Made by `mob.connect`, which runs `peer` and `keep_whole`. `where` names the server in errors."""

    def __init__(self, link: Link, where: str) -> None:
        self.peer = Peer(link, where, self._heard, self._asked)
        self.tools = Workshop(self.peer)
        self.replica = Replica(self._events_after)
        self._fetching = trio.Lock()
        self._news = trio.Event()

    async def open(self, mob: str | None, secret: str | None) -> None:
        """Say who we are, and learn all there is of the mob. What the server refuses; ServerGone."""
        greeting = await self.peer.call("initialize", {} if secret is None else {"secret": secret})
        offered = greeting.get("methods") if isinstance(greeting, dict) else None
        if not isinstance(offered, list) or "team/events_open" not in offered:
            raise WireError(f"{self.peer.where} is no server of this mob: it does not offer team/*", field="methods")
        wanted: JSON = {"state": True} if mob is None else {"state": True, "mob": mob}
        await self.peer.call("team/events_open", wanted, applied=self.replica.opened)
        await self.replica.ready.wait()
        if self.peer.gone is not None:
            raise self.peer.gone
        await self._fetch_missing()

    async def call(
        self,
        method: str,
        params: JSON | None = None,
        *,
        named: bool = False,
        undo: Callable[[Any], None] | None = None,
    ) -> JSON:
        """Ask the server about this mob. What it raises; ServerGone. What the call did is in the replica afterwards."""
        of_mob = {"mob": self.replica.mob_id, **(params or {})}
        try:
            answer = await self.peer.call(method, of_mob, named=named, undo=undo)
        finally:
            if self.replica.missing:
                await self._fetch_missing()
        if not isinstance(answer, dict):
            raise WireError(f"{method}: an object is expected, not {answer!r:.60}", field=method)
        return answer

    def lost(self, gone: ServerGone) -> None:
        """There is no connection any more."""
        self.replica.end(gone)

    def check_open(self) -> None:
        """ServerGone; MemberNotRunning when the mob is being stopped, or has."""
        if self.peer.gone is not None:
            raise self.peer.gone
        if self.replica.state != "running":
            raise MemberNotRunning(f"the mob {self.replica.mob_id} is {self.replica.state} and takes nothing new")

    async def keep_whole(self) -> None:
        """Fetch, as soon as they are named, the turns that are too large to be told."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self._fetch_missing()

    def _heard(self, method: str, params: Mapping[str, Any]) -> None:
        if method == _EVENT and params.get("stream") == self.replica.stream:
            self.replica.apply(params)
            if self.replica.missing:
                self._news.set()
        elif method == GIVE_UP:
            self.tools.given_up(params)
        elif method == _STOPPING:
            self.peer.end(ServerGone(f"{self.peer.where} was stopped; connect again when it is there"))
            self.replica.end()

    def _asked(self, request: Request) -> bool:
        if request.method == RUN:
            self.tools.asked(request)
        return request.method == RUN

    async def _fetch_missing(self) -> None:
        async with self._fetching:
            while self.replica.missing:
                identity, index = place = min(self.replica.missing)
                facts = {"mob": self.replica.mob_id, "member": identity, "start": index, "limit": 1}
                try:
                    page = await self.peer.call("team/history", facts)
                    self.replica.put_turn(place, turn_of(page["turns"][0]))
                except (MobError, LookupError, TypeError):
                    self.replica.missing.discard(place)  # the mob has stopped, or the server has gone: a gap stays
                    return

    async def _events_after(self, seq: int) -> tuple[list[RunEvent], int]:
        answer = await self.call("team/events", {"after": seq, "limit": _PAGE})
        told, following = answer.get("events"), answer.get("next")
        if not isinstance(told, list) or not isinstance(following, int):
            raise WireError("a page of events has `events` and `next`", field="team/events")
        return [event for event in map(event_of, told) if event is not None], following
