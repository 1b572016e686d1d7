"""What one client of the live socket is told: the channel's events, in order, as fast as it takes them.

Theory. While the client keeps up, an event goes from the task that reads the channel straight into the socket. When the
socket is full, events stay in the channel's ring, and one task goes on when there is room; there they are bounded, the
oldest speech falls out first, and the client is told exactly what is missing, where it is missing. Speech of an answer
that was cut is not sent to a client that is behind. So a slow client costs what the ring holds, and delays nobody.

    current ──the socket is full──> behind ──room, and everything was sent──> current
    any ──the channel's end was sent──> done      any ──too far behind, or the socket's end──> done
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import trio

from mob.errors import LiveRejected, MobError
from mob.live.events import AudioDelta, LiveEvent, TurnCommitted
from mob.live.transport_port import Transport, TransportClosed
from mob.protocol.observations import observation_of
from mob.protocol.plain import Plain
from mob.protocol.speech import pack_audio, write_audio
from mob.server.channels.held import HeldChannel
from mob.server.channels.ring import Cursor, Gap
from mob.server.livesocket.terms import Terms

_log = logging.getLogger(__name__)

_PORTION = 64 * 1024
"""How many bytes are put into a full socket at a time: what waits there can be neither dropped nor overtaken."""


class Teller:
    """Tells one client of one channel everything after the number `after`. `done` is called once, at the end."""

    def __init__(
        self, held: HeldChannel, transport: Transport, terms: Terms, after: int, done: Callable[[], None]
    ) -> None:
        self.failure: MobError | None = None
        """Why it ended, when that was neither the channel's end nor the socket's."""
        self.lost_bytes = self.lost_events = 0
        self._held = held
        self._transport = transport
        self._terms = terms
        self._on_done = done
        self._cursor = Cursor(held.ring, after)
        self._rate = held.live.output_rate
        self._plain = Plain(held.live.epoch if held.status == "ready" else 0)
        self._lost_items: set[str] = set()
        self._behind = True
        self._done = False
        self._wanted = trio.Event()

    def news(self) -> None:
        """Something is new on the channel: send it, unless what came before it waits still."""
        if not self._behind and not self._done:
            self._guarded(self._keep_up)

    async def run(self) -> None:
        """Catch up whenever the client is behind, until everything was told."""
        while not self._done:
            if self._behind:
                self._guarded(self._catch_up)
                await self._wait_sent()
            else:
                self._wanted = trio.Event()
                await self._wanted.wait()

    async def _wait_sent(self) -> None:
        try:
            await self._transport.wait_sent()
        except TransportClosed:
            self._finish()

    def _guarded(self, step: Callable[[], None]) -> None:
        """Nothing that goes wrong with this client may reach the channel's own task."""
        try:
            step()
        except TransportClosed:
            self._finish()
        except Exception as error:
            if isinstance(error, MobError):
                self.failure = error
            else:
                _log.exception("a client of the channel %s could not be told", self._held.channel_id)
            self._finish()

    def _keep_up(self) -> None:
        while self._tell_next():
            if self._transport.busy:
                self._behind = True
                self._wanted.set()
                return
        self._finish_if_ended()

    def _catch_up(self) -> None:
        size = 0
        while size < _PORTION:
            told = self._tell_next()
            if not told:
                self._behind = self._transport.busy
                if not self._behind:
                    self._finish_if_ended()
                return
            size += told

    def _finish_if_ended(self) -> None:
        if self._held.status == "closed":
            self._finish()

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._wanted.set()
            self._on_done()

    # -- one thing ---------------------------------------------------------------------------------------------------

    def _tell_next(self) -> int:
        """Send the next event, or what is missing. How many bytes that took, 0 when there is nothing. SlowReader."""
        found = self._cursor.next()
        if found is None:
            return 0
        if isinstance(found, Gap):
            return self._tell_gap(found)
        try:
            return self._tell(found.seq, found.event)
        except LiveRejected:  # larger than a frame may be
            return self._tell_gap(self._held.ring.gap(found.seq, found.seq))

    def _tell(self, seq: int, event: LiveEvent) -> int:
        if isinstance(event, AudioDelta):
            return self._tell_audio(seq, event)
        if not self._terms.control:
            return 1 + sum(self._write(frame) for frame in self._plain.tell(event))
        frame = {**observation_of(event, self._rate), "seq": seq}
        try:
            return self._write(frame)
        except LiveRejected:
            if not isinstance(event, TurnCommitted):
                raise
            return self._write(_without_pictures(frame))

    def _tell_audio(self, seq: int, event: AudioDelta) -> int:
        frame: bytes | str | None = pack_audio(event, seq) if self._terms.binary else None
        if frame is None:
            frame = write_audio(event, self._rate, seq if self._terms.control else None)
        self._transport.send_nowait(frame, audio=True)
        return len(frame)

    def _tell_gap(self, gap: Gap) -> int:
        self.lost_bytes += gap.audio_bytes
        self.lost_events += gap.events
        new = [item for item in gap.items if item not in self._lost_items]
        if new:
            self._lost_items.update(new)
            self._held.live.audio_lost(new)
        if not self._terms.control:
            return self._write(self._plain.tell_lost(gap.audio_bytes, gap.events))
        return self._write(gap_json(gap, trio.current_time(), self._held.live.epoch))

    def _write(self, frame: dict[str, Any]) -> int:
        text = json.dumps(frame, separators=(",", ":"))
        self._transport.send_nowait(text)
        return len(text)


def gap_json(gap: Gap, t: float, epoch: int) -> dict[str, Any]:
    """What is missing, as it is told: `audio_lost` when it was nothing but speech."""
    return {
        "observation": "gap" if gap.events else "audio_lost",
        "first": gap.first,
        "last": gap.last,
        "events": gap.events,
        "audio": gap.audio,
        "audio_bytes": gap.audio_bytes,
        "item_ids": list(gap.items),
        "seq": gap.last,
        "t": t,
        "epoch": epoch,
    }


def _without_pictures(frame: dict[str, Any]) -> dict[str, Any]:
    """The turn without the bytes of its pictures, which its client can read in the history."""
    turn = frame["turn"]
    items = [
        {**item, "images": [{**image, "data": ""} for image in item["images"]]} if item.get("images") else item
        for item in turn["items"]
    ]
    return {**frame, "turn": {**turn, "items": items}, "pictures_left_out": True}
