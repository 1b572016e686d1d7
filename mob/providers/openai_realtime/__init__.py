"""The OpenAI Realtime GA wire, both ends, without I/O (in the manner of h11 and wsproto).

`RealtimeClient` turns our commands into client events and server events into neutral events. `RealtimeServer` is the
vendor's side of the protocol: its conversation, its refusals, its order of events; what the model says is the
application's. Frames go in, values come out; sockets and clocks are somebody else's.
"""

from __future__ import annotations

from mob.providers.openai_faults import classify_close, classify_handshake
from mob.providers.openai_realtime.beta import OpeningRefusal, refuse_beta, refuse_opening
from mob.providers.openai_realtime.checks import Refusal
from mob.providers.openai_realtime.client import Handshake, RealtimeClient, RealtimeClientStatistics
from mob.providers.openai_realtime.outbox import EmissionOptions, Rewrite
from mob.providers.openai_realtime.response_writer import ResponseWriter
from mob.providers.openai_realtime.server import RateLimit, RealtimeServer, RealtimeServerStatistics
from mob.providers.openai_realtime.server_events import (
    AudioAppended,
    ConversationItem,
    InputCleared,
    InputCommitted,
    ItemCreated,
    ItemDeleted,
    ItemTruncated,
    ResponseCancelled,
    ResponseParams,
    ResponseRequested,
    ServerEvent,
    SessionUpdated,
)
from mob.providers.openai_realtime.server_session import ServerSession

__all__ = [
    "AudioAppended",
    "ConversationItem",
    "EmissionOptions",
    "Handshake",
    "InputCleared",
    "InputCommitted",
    "ItemCreated",
    "ItemDeleted",
    "ItemTruncated",
    "OpeningRefusal",
    "RateLimit",
    "RealtimeClient",
    "RealtimeClientStatistics",
    "RealtimeServer",
    "RealtimeServerStatistics",
    "Refusal",
    "ResponseCancelled",
    "ResponseParams",
    "ResponseRequested",
    "ResponseWriter",
    "Rewrite",
    "ServerEvent",
    "ServerSession",
    "SessionUpdated",
    "classify_close",
    "classify_handshake",
    "refuse_beta",
    "refuse_opening",
]
