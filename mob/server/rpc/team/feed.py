"""What a client of `team/` is told of one running mob: its events, and, for a replica, its state as they change it.

Theory. A feed reads the run's event stream at its own pace and sends each event as a `team/event` notification. With
`state`, it also keeps what it last told of everything a client can look at without asking (the mob's facts, each
member's, every turn), compares before it sends an event, and sends the differences along with it: so a client that has
applied an event knows at least what was true when it happened. Before anything else it tells all there is, then
`ready`. Whoever answers a call first flushes the feeds of that client, so that what the call did is known when its
answer arrives. Differences, never commands: a feed that fell behind the stream (`lagged`), or had an event that is too
large to be told (`lagged`, by one), has lost events and no state.

A few things change without an event: words that come after their turn, results that come after theirs. Turns that wait
for such are looked at whenever something happens, for a minute.

A notification: `stream`; any of `event`, `mob`, `members` (identity to facts), `turns` ([identity, index, turn] each,
turn null when it is too large: ask for it with `team/history`), `ready`, `ended`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import trio

from mob.definition.model import Route
from mob.history.fold import History
from mob.history.items import ToolCall, ToolResult, Turn, UserMessage
from mob.protocol.shapes import event_json, turn_json
from mob.server.facts import fold_of_member, member_facts, mob_state, routes_json
from mob.server.hosted import HostedMob
from mob.server.rpc.client import RpcClient
from mob.sessions.events import AgentWriting, RunEvent
from mob.team.events import StreamLagged
from mob.team.running import Mob

JSON = dict[str, Any]

EVENT: Final = "team/event"
_CHUNK_BYTES = 64 * 1024
_LATE_S = 60.0


class Feed:
    """One stream of one client. `run` is its whole life."""

    def __init__(
        self, client: RpcClient, hosted: HostedMob, stream: str, scope: trio.CancelScope, *, after: int, state: bool
    ) -> None:
        self._scope = scope
        self.hosted = hosted
        self._client = client
        self._mob: Mob = hosted.mob
        self._stream = stream
        self._after = after
        self._state = state
        self._order = trio.StrictFIFOLock()
        self._mob_facts: JSON = {}
        self._routes: tuple[Route, ...] | None = None
        self._members: dict[str, JSON] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._read: dict[str, tuple[History, int]] = {}
        self._open: dict[tuple[str, int], float] = {}
        self._opened = trio.Event()

    async def run(self) -> None:
        """Tell what there is, then what happens, until the mob has stopped or its `scope` is cancelled."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                if self._state:
                    nursery.start_soon(self._watch_open_turns)
                    await self.flush()
                    await self._tell({"ready": True})
                async with self._mob.events(after=self._after) as events:
                    async for event in events:
                        await self._happened(event)
                await self.flush()
                await self._tell({"ended": True})
                nursery.cancel_scope.cancel()

    async def flush(self) -> None:
        """Tell every difference there is now."""
        if self._state:
            async with self._order:
                for part in self._differences(self._mob.members):
                    await self._tell(part)

    async def _happened(self, event: RunEvent) -> None:
        if not self._state or isinstance(event, AgentWriting):
            await self._tell({}, event)
            return
        of = self._mob.members if isinstance(event, StreamLagged) else (event.member,) if event.member else ()
        async with self._order:
            *parts, last = list(self._differences(of)) or [{}]
            for part in parts:
                await self._tell(part)
            await self._tell(last, event)

    async def _tell(self, part: JSON, event: RunEvent | None = None) -> None:
        """Send a part, and the event that came with it: of one that no notification can carry, that it was missed."""
        told = {"stream": self._stream, **part}
        if event is None:
            await self._client.notify_soon(EVENT, told)
        elif not await self._client.notify_soon(EVENT, {**told, "event": event_json(event)}):
            missed = StreamLagged(seq=event.seq, t=event.t, missed=1)
            await self._client.notify_soon(EVENT, {**told, "event": event_json(missed)})

    # -- differences -----------------------------------------------------------------------------------------------

    def _differences(self, identities: Iterable[str]) -> Iterator[JSON]:
        """What was not told yet of the mob and of these members, in parts that are not too large."""
        part: JSON = {}
        facts, routes = mob_state(self._mob), self._mob.routes
        if facts != self._mob_facts or routes is not self._routes:
            self._mob_facts, self._routes = facts, routes
            part["mob"] = {**facts, "routes": routes_json(routes)}
        handles = self._mob.members
        members = {identity: handles[identity] for identity in identities if identity in handles}
        for identity, handle in members.items():
            known = member_facts(self.hosted, handle)
            if known != self._members.get(identity):
                self._members[identity] = part.setdefault("members", {})[identity] = known
        size = len(json.dumps(part)) if part else 0
        for identity, handle in members.items():
            for index, turn in self._new_turns(identity, fold_of_member(handle)):
                body, length = self._written(turn)
                if size and size + length > _CHUNK_BYTES:
                    yield part
                    part, size = {}, 0
                part.setdefault("turns", []).append([identity, index, body])
                size += length
        if part:
            yield part

    def _written(self, turn: Turn) -> tuple[JSON | None, int]:
        """The turn as JSON and its length; None for one that no notification can carry."""
        body = turn_json(turn)
        length = len(json.dumps(body))
        return (None, 0) if length > self._client.limits.max_notification_bytes // 2 else (body, length)

    def _new_turns(self, identity: str, history: History | None) -> Iterator[tuple[int, Turn]]:
        """What of this history was not told yet. Only what has changed is looked at; in a new generation, all of it."""
        if history is None:
            return
        read, revision = self._read.get(identity, (history, 0))
        if read is not history:
            revision = 0
        self._read[identity] = history, history.revision
        told = self._turns.setdefault(identity, [])
        for index, turn in history.changed_since(revision):
            known = told[index] if index < len(told) else None
            told[index : index + 1] = [turn]
            if known != turn:
                self._note_open(identity, index, turn)
                yield index, turn

    # -- what comes late -------------------------------------------------------------------------------------------

    def _note_open(self, identity: str, index: int, turn: Turn) -> None:
        if not _is_open(turn):
            self._open.pop((identity, index), None)
            return
        self._open.setdefault((identity, index), trio.current_time() + _LATE_S)
        self._opened.set()

    async def _watch_open_turns(self) -> None:
        while True:
            self._opened = trio.Event()
            while self._open:
                with trio.move_on_at(min(self._open.values())) as patience:
                    await self._mob.wait_until(self._has_late_news)
                    await self.flush()
                if patience.cancelled_caught:
                    now = trio.current_time()
                    self._open = {place: until for place, until in self._open.items() if until > now}
            await self._opened.wait()

    def _has_late_news(self) -> bool:
        members = self._mob.members
        for identity in {identity for identity, _ in self._open}:
            history = fold_of_member(members[identity])
            if history is not None and self._read.get(identity) != (history, history.revision):
                return True
        return False


def _is_open(turn: Turn) -> bool:
    """Whether something of it may still come: the words of what was spoken, the result of a call."""
    answered = {item.call_id for item in turn.items if isinstance(item, ToolResult)}
    return any(
        (isinstance(item, UserMessage) and item.transcript == "pending")
        or (isinstance(item, ToolCall) and item.call_id not in answered)
        for item in turn.items
    )
