"""How the vendor refuses a client at the beginning: one error event, then a close. Source: OpenAI Realtime reference.

The WebSocket is accepted first, since no client shows its user the body of a refused handshake. So is met who sends the
handshake header `OpenAI-Beta: realtime=v1`, the retired beta.
"""

from __future__ import annotations

from attrs import frozen

from mob.providers.openai_realtime.names import BETA_DISABLED, OPENING_CLOSE_CODE
from mob.providers.openai_realtime.outbox import Outbox


@frozen(slots=True)
class OpeningRefusal:
    """What to send, and how to close after it."""

    frame: str
    close_code: int
    close_reason: str


def refuse_beta() -> OpeningRefusal:
    """The vendor's answer to the header `OpenAI-Beta: realtime=v1`."""
    return refuse_opening(
        BETA_DISABLED, "The Realtime Beta API is no longer supported. Use the GA API without OpenAI-Beta."
    )


def refuse_opening(code: str, message: str, *, param: str | None = None) -> OpeningRefusal:
    """The answer to a client that asks for what it cannot have; `param` is what is wrong about it."""
    outbox = Outbox(event_prefix="event_")
    outbox.error(code, message, param=param)
    (frame,) = outbox.drain()
    return OpeningRefusal(frame, OPENING_CLOSE_CODE, f"invalid_request_error.{code}")
