"""The envelope of an agent event: which session it is of, its number there, and when; and how it is told.

An event that no notification can carry (the output of a tool may have any size) is told of in its place, under its
numbers, as one that was lost: so a client never finds a gap that nobody explains.
"""

from __future__ import annotations

import uuid
from typing import Any

from mob.server.realm.realm import SessionRef
from mob.server.rpc.client import RpcClient
from mob.server.rpc.sessions.agent_events import truncated

JSON = dict[str, Any]


class Envelopes:
    """Wraps the events of one stream of one session; numbered from 1."""

    def __init__(self, ref: SessionRef) -> None:
        self._ref = ref
        self._sequence = 0

    def wrap(self, payload: JSON, *, at: float) -> JSON:
        """`payload` in its envelope. `at`: unix seconds."""
        self._sequence += 1
        envelope: JSON = {
            "event_id": str(uuid.uuid4()),
            "source": {"type": "session", "session_id": self._ref.session_id},
            "seq": self._sequence,
            "timestamp_ms": max(round(at * 1000), 0),
            "payload": payload,
        }
        if not self._ref.stand_alone:
            envelope["mob_id"] = self._ref.hosted.mob_id
        return envelope


async def send(client: RpcClient, method: str, params: JSON) -> None:
    """Send this notification, whose `event` is an envelope, or has one as its `envelope`, as soon as there is room."""
    if not await client.notify_soon(method, params):
        await client.notify_soon(method, {**params, "event": _lost(params["event"])})


def _lost(event: JSON) -> JSON:
    if "envelope" in event:
        return {**event, "envelope": _lost(event["envelope"])}
    return {**event, "payload": truncated(1)}
