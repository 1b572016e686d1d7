"""The OpenAI Realtime GA wire, both ends, without I/O (in the manner of h11 and wsproto).

`RealtimeClient` turns our commands into client events and server events into neutral events. `RealtimeServer` is the
vendor's side of the protocol: its conversation, its refusals, its order of events; what the model says is the
application's. Frames go in, values come out; sockets and clocks are somebody else's.
"""

from __future__ import annotations

from mob.providers.openai_realtime.client import Handshake, RealtimeClient, RealtimeClientStatistics
from mob.providers.openai_realtime.faults import classify_close, classify_handshake

__all__ = [
    "Handshake",
    "RealtimeClient",
    "RealtimeClientStatistics",
    "classify_close",
    "classify_handshake",
]
