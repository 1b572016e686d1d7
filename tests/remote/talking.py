"""A client of a live channel, local or remote, that speaks and plays, and what it heard in a form to compare."""

from __future__ import annotations

from collections import defaultdict

import trio
from attrs import evolve

import mob
from mob.history.items import Timings
from mob.live import events as live
from mob.rehearsal.voice import speak

_DELTAS = (live.AgentTranscriptDelta, live.TextDelta, live.UserTranscriptDelta)


class Listener:
    """Reads a channel to its end. `plays`: how much of each piece it plays, 0 to 1."""

    def __init__(self, channel, *, plays: float = 1.0):
        self.channel = channel
        self.plays = plays
        self.events = []
        self.pcm = defaultdict(bytes)
        self.ended = trio.Event()
        self._news = trio.Event()

    async def run(self):
        async for event in self.channel:
            self.events.append(event)
            if isinstance(event, live.AudioDelta):
                self.pcm[event.item_id] += event.pcm
                if self.plays == 1.0:
                    self.channel.played(event)
                elif self.plays:
                    self.channel.played(event.item_id, event.start_ms + int(len(event.pcm) / 48 * self.plays))
            self._news.set()
        self.ended.set()
        self._news.set()

    async def until(self, cls, count=1):
        """Wait for the count-th event of this class; it."""
        while True:
            found = [event for event in self.events if isinstance(event, cls)]
            if len(found) >= count:
                return found[count - 1]
            assert not self.ended.is_set(), f"the channel ended before {count} {cls.__name__}"
            self._news = trio.Event()
            await self._news.wait()

    def told(self):
        """What was heard: each event but pieces, without what the clock says; and the sound of each item."""
        plain = [_plain(event) for event in self.events if not isinstance(event, (live.AudioDelta, *_DELTAS))]
        return plain, dict(self.pcm), self.texts()

    def texts(self):
        """The deltas of each item, joined."""
        joined = defaultdict(str)
        for event in self.events:
            if isinstance(event, _DELTAS):
                joined[type(event).__name__, event.item_id] += event.delta
        return dict(joined)


def _plain(event):
    event = evolve(event, t=0.0)
    if isinstance(event, live.Connected):
        return evolve(event, expires_at=None)
    if isinstance(event, live.TurnCommitted):
        items = tuple(evolve(item, elapsed_ms=0) if hasattr(item, "elapsed_ms") else item for item in event.turn.items)
        return evolve(event, turn=evolve(event.turn, timings=Timings(), items=items))
    return evolve(event, elapsed_ms=0) if isinstance(event, live.ToolFinished) else event


async def say(channel, text: str, *, silence_s: float = 1.6):
    """Speak, at the speed of sound."""
    step = channel.input_rate // 50 * 2
    sound = speak(text) + bytes(int(silence_s * 50) * step)
    for start in range(0, len(sound), step):
        await channel.send_audio(sound[start : start + step])
        await trio.sleep(0.02)


async def refused(call, *arguments, **more):
    """The class, the reason and the words of what this call raises."""
    try:
        await call(*arguments, **more)
    except mob.MobError as error:
        return type(error), getattr(error, "reason", None), getattr(error, "fields", None), error.message
    return None
