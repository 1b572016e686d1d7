"""How the vendor meets a client of the retired beta: one error event, then a close. Source: OpenAI Realtime reference.

A server that sees the handshake header `OpenAI-Beta: realtime=v1` accepts the WebSocket, sends the frame, and closes.
"""

from __future__ import annotations

from attrs import frozen

from mob.providers.openai_realtime.names import BETA_CLOSE_CODE, BETA_CLOSE_REASON, BETA_DISABLED
from mob.providers.openai_realtime.outbox import Outbox


@frozen(slots=True)
class BetaRefusal:
    """What to send, and how to close after it."""

    frame: str
    close_code: int = BETA_CLOSE_CODE
    close_reason: str = BETA_CLOSE_REASON


def refuse_beta() -> BetaRefusal:
    """The vendor's answer to the header `OpenAI-Beta: realtime=v1`."""
    outbox = Outbox(event_prefix="event_")
    outbox.error(BETA_DISABLED, "The Realtime Beta API is no longer supported. Use the GA API without OpenAI-Beta.")
    (frame,) = outbox.drain()
    return BetaRefusal(frame)
