"""Live channels by request."""

from __future__ import annotations

from attrs import frozen


@frozen(slots=True)
class LiveDoor:
    """Where live sockets are: `url` is their server's, as ws://127.0.0.1:8765; None: there are none.

    `webrtc`: whoever started the server asked for WebRTC, which is not built.
    """

    url: str | None = None
    webrtc: bool = False
