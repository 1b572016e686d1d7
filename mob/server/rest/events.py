"""A run's events as server-sent events: numbered, resumable, and no burden when nobody reads them.

Each event is one JSON object as `mob run --json` prints it, its `seq` the event's id. Without a place to begin, a
stream tells what happens from now on; `after=N` or the header `Last-Event-ID` begins behind event N, 0 with the oldest
that is kept. A place that the run has not come to yet is one of an earlier run: the stream begins with what there is.

A client that is too slow misses events and is told how many (`lagged`); one that takes nothing is let go (`idle_s`).
Nothing is kept for any of them: all read the run's one ring.
"""

from __future__ import annotations

import functools
import json

import trio

from mob.errors import DoorFull
from mob.protocol.shapes import event_json
from mob.providers.openai_chat.sse import encode_comment, encode_event
from mob.server.front.routes import Call
from mob.server.limits import DoorLimits
from mob.server.rest.reading import query_whole, whole_of
from mob.team.bus import Subscription
from mob.team.running import Mob
from mob.web.http import HttpReply

CONTENT_TYPE = "text/event-stream"
_HEADERS = [("cache-control", "no-store"), ("x-accel-buffering", "no")]


class EventStreams:
    """The streams of a server that are open."""

    def __init__(self, limits: DoorLimits) -> None:
        self._limits = limits
        self._open = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open

    async def serve(self, call: Call, mob: Mob, *, member: str | None = None) -> None:
        """Tell the client of the mob's events (of this member's alone) until either goes. DoorFull, RequestInvalid."""
        after = _place(call, mob)
        if self._open >= self._limits.max_event_streams:
            raise DoorFull(f"{self._open} event streams are open, which is all this server has; close one first")
        self._open += 1
        try:
            await call.reply.while_there(functools.partial(self._tell, call.reply, mob.events(after=after), member))
        finally:
            self._open -= 1

    async def _tell(self, reply: HttpReply, events: Subscription, member: str | None) -> None:
        await reply.start(200, CONTENT_TYPE, _HEADERS)
        await reply.write(encode_comment("events follow"))
        async with events:
            while True:
                data = await self._next(events, member)
                if data is None:
                    break
                await reply.write(data)
        await reply.end()

    async def _next(self, events: Subscription, member: str | None) -> bytes | None:
        """The next thing to write; None at the end of the run."""
        with trio.move_on_after(self._limits.keep_alive_s):
            async for event in events:
                if member is None or event.member in (None, member):
                    return f"id: {event.seq}\n".encode() + encode_event(json.dumps(event_json(event)))
            return None
        return encode_comment("still here")


def _place(call: Call, mob: Mob) -> int:
    now = mob.statistics().events.published
    last = call.request.headers.get("last-event-id")
    if "after" in call.request.query or last is None:
        after = query_whole(call, "after", default=now)
    else:
        after = whole_of("Last-Event-ID", last)
    return after if after <= now else 0
