"""The envelope of an agent event: which session it is of, its number there, and when."""

from __future__ import annotations

import uuid
from typing import Any

from mob.server.realm import SessionRef

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
