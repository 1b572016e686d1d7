"""What every driver of the WebSocket transport is: the port, how it ends, and what it counts.

The transport is neutral: it knows WebSocket (RFC 6455) and nothing of any vendor. What a close code or a refused
handshake means for a channel is told by the wire's own classification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from attrs import frozen

from mob.errors import MobError, ProviderRefused
from mob.values import Recovery

ABNORMAL = 1006
"""The code for a connection that ended without a close frame; never on the wire (RFC 6455, 7.1.5)."""

EndedBy = Literal["peer", "local", "network"]
"""Who ended a connection: the peer by a close frame, this side, or neither (reset, end of file, silence)."""


class TransportClosed(MobError):
    """The connection has ended. `close_code` is WebSocket's, 1006 when there was no close frame.

    `by` says who ended it; `reason` is the peer's own words when it was the peer.
    """

    code = "transport_closed"

    def __init__(self, close_code: int, reason: str, *, by: EndedBy = "network") -> None:
        who = {"peer": "the peer closed the connection", "local": "this side closed the connection"}
        super().__init__(f"{who.get(by, 'the connection was lost')} ({close_code}{': ' if reason else ''}{reason})")
        self.close_code = close_code
        self.reason = reason
        self.by: EndedBy = by


class HandshakeRefused(ProviderRefused):
    """The peer answered the opening handshake with another status than 101.

    `status`, `headers` (names in lower case) and `body` (at most 1 MiB) are as they came; the message has an excerpt
    of the body from which everything that was sent in headers is struck out.
    """

    code = "handshake_refused"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        recovery: Recovery,
        retry_after_s: float | None,
    ) -> None:
        super().__init__(message, recovery=recovery, status=status, retry_after_s=retry_after_s)
        self.headers = headers
        self.body = body


@frozen(slots=True)
class TransportStatistics:
    """Counts since the connection opened, and what waits now. `last_received` is seconds on the run's clock.

    `reads` are wake-ups of the reader that brought something, `writes` are writes that were taken: fewer than the
    messages when those come in bursts.
    """

    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    reads: int
    writes: int
    pings_in: int
    audio_dropped: int
    audio_bytes_dropped: int
    audio_bytes_waiting: int
    control_frames_waiting: int
    last_received: float
    closed: bool


class Transport(Protocol):
    """One open WebSocket, either end. One task receives, one task runs the writer; every task may `send_nowait`.

    Whoever opened it calls `aclose` in the end, also after it has ended by itself.
    """

    @property
    def last_received(self) -> float:
        """When something last came in, be it a pong, in seconds on the run's clock."""
        ...

    @property
    def subprotocol(self) -> str | None:
        """What was agreed on in the handshake."""
        ...

    async def receive(self) -> list[str | bytes]:
        """Every whole message that one read delivered, in order, at least one: text as str, binary as bytes.

        Raises TransportClosed at the end, after every message before it was returned, and from then on always.
        """
        ...

    def send_nowait(self, message: str | bytes, *, audio: bool = False) -> None:
        """Send a message at once when nothing waits before it, else queue it.

        `audio`: when the peer is slow it may be dropped, oldest first. All else is control and is never dropped:
        too much of it waiting ends the connection. Raises TransportClosed when the connection has ended or is
        being closed, LiveRejected for a message that is too large or is no Unicode text.
        """
        ...

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent: the peer does not take it as fast as it comes."""
        ...

    async def wait_sent(self) -> None:
        """Wait until nothing waits to be sent: for who sends much, and may wait. Raises TransportClosed at the end."""
        ...

    def ping_nowait(self) -> None:
        """Ask the peer for a sign of life; its pong moves `last_received`. Nothing when the connection has ended."""
        ...

    async def run_writer(self) -> None:
        """Write what waits, until the connection is closed. Cancelled within a message, it ends the connection."""
        ...

    def abort(self, reason: str) -> None:
        """End the connection now, without a word to the peer: `receive` raises TransportClosed(1006, reason)."""
        ...

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Send what waits, say goodbye and wait for the answer, all within `close_timeout_s`; then close.

        Audio that waits is dropped. Cancelled, it closes at once. To be called by one task; again does nothing.
        """
        ...

    def statistics(self) -> TransportStatistics:
        """The counts as they are now."""
        ...
