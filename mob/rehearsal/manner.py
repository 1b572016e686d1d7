"""How the rehearsed provider behaves in time, whatever it says."""

from __future__ import annotations

from attrs import frozen

CHARACTERS_PER_TOKEN = 4
"""What the rehearsed models count as one token, of what is read and of what is written."""


@frozen(slots=True)
class Manner:
    """Times are ms unless named otherwise.

    `pace`: how many times faster than real time sound is sent, in pieces of `chunk_ms`; `lead_ms`: how far words run
    ahead of their sound; `think_ms`: from the request to the first word; `transcribe_ms`: from the end of the user's
    speech to its transcript; `max_session_s`: how long a realtime connection may last.
    """

    pace: float = 12.0
    chunk_ms: int = 100
    lead_ms: int = 1500
    think_ms: int = 120
    transcribe_ms: int = 250
    max_session_s: float = 3600.0
