"""The way out of one rehearsed realtime connection: one task owns the socket, everyone else appends.

A cancelled write would tear a WebSocket silently, so nobody but `run` writes. Whoever makes much waits in `room`, so
that a client that reads slowly slows its provider down and fills no memory.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

import trio
import trio_websocket
from attrs import frozen
from wsproto.events import TextMessage

from mob.rehearsal.tamper import Break, Outgoing, Ping, Send
from mob.web.streams import reset

_ROOM = 64
CLOSE_S = 1.0
"""How long a closing handshake is waited for."""


@frozen(slots=True)
class Close:
    """Close the connection with this code."""

    code: int
    reason: str


class Pipe:
    """Sends what is put into it, in order, until the connection ends."""

    def __init__(self, connection: trio_websocket.WebSocketConnection, raw: trio.abc.Stream) -> None:
        self._connection = connection
        self._raw = raw
        self._waiting: deque[Outgoing | Close] = deque()
        self._news = trio.Event()
        self._drained = trio.Event()
        self.deaf = False

    def put(self, steps: Iterable[Outgoing | Close]) -> None:
        """Send these, after what waits already."""
        self._waiting.extend(steps)
        self._news.set()

    async def room(self) -> None:
        """Wait until little is waiting."""
        while len(self._waiting) > _ROOM:
            await self._drained.wait()

    async def run(self) -> None:
        """Send until the connection is closed by either side or by a fault. The only writer of the socket."""
        try:
            while True:
                while self._waiting:
                    if not await self._perform(self._waiting.popleft()):
                        return
                self._drained.set()
                self._drained = trio.Event()
                await self._news.wait()
                self._news = trio.Event()
        except trio_websocket.ConnectionClosed:
            return

    async def _perform(self, step: Outgoing | Close) -> bool:
        """One step; whether there is a connection left to send on."""
        match step:
            case Send(frame, 1):
                await self._connection.send_message(frame)
            case Send(frame, fragments):
                await self._send_in_fragments(frame, fragments)
            case Ping(count):
                await self._ping(count)
            case Break("drop-socket"):
                await reset(self._raw)
                return False
            case Break("close-1011"):
                await self._close(1011, "The server had an internal error.")
                return False
            case Break("half-open"):
                self.deaf = True
                await trio.sleep_forever()
            case Close(code, reason):
                await self._close(code, reason)
                return False
        return True

    async def _close(self, code: int, reason: str) -> None:
        with trio.move_on_after(CLOSE_S):
            await self._connection.aclose(code, reason)

    async def _send_in_fragments(self, frame: str, count: int) -> None:
        size = max(1, -(-len(frame) // count))
        pieces = [frame[at : at + size] for at in range(0, len(frame), size)]
        for piece, following in itertools.zip_longest(pieces, pieces[1:]):
            # The library has no way to send a message in parts.
            event = TextMessage(data=piece, message_finished=following is None)
            await self._connection._send(event)  # noqa: SLF001

    async def _ping(self, count: int) -> None:
        """Pings, with their pongs not waited for for long."""
        with trio.move_on_after(CLOSE_S):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(self._connection.ping, number.to_bytes(4, "big"))
