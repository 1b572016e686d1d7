"""The words of what the user said: they come when they come, and each fills its own slot once.

A transcript may come before the answer, during it, after it, after its turn was committed, or never. Before the commit
it fills the item in the making; after it, it is a row of its own. A connection that is lost takes its transcripts with
it: what was said is said again to the next one where its sound is still here, else the slot is marked as failed.
"""

from __future__ import annotations

from collections import deque

from mob.history.items import UserMessage
from mob.live import events
from mob.live.context import Context
from mob.live.effects import FillTranscript
from mob.live.listening import Listening
from mob.live.turns import LiveTurn, TurnLine

_MAX_OPEN = 256

_FRESH_S = 5.0
"""How long words are waited for before a connection is changed."""


class Transcripts:
    """Which spoken items still wait for their words."""

    def __init__(self, context: Context, line: TurnLine, listening: Listening) -> None:
        self._context = context
        self._line = line
        self._listening = listening
        self._open: dict[str, float] = {}
        self._committed: dict[str, None] = {}
        self._recent: deque[str] = deque(maxlen=_MAX_OPEN)

    def knows(self, item_id: str) -> bool:
        """Whether this item was announced before."""
        return item_id in self._recent

    def expect(self, item_id: str) -> None:
        """A spoken item has begun to wait for its words."""
        self._recent.append(item_id)
        self._open[item_id] = self._context.now

    @property
    def fresh(self) -> bool:
        """Whether words are due that may still come."""
        return any(self._context.now - since < _FRESH_S for since in self._open.values())

    def part(self, item_id: str, delta: str) -> None:
        """More of what the user says."""
        if item_id in self._open and delta:
            self._context.publish(events.UserTranscriptDelta, item_id=item_id, delta=delta)

    def final(self, item_id: str, text: str, *, failed: bool = False) -> None:
        """The whole of what the user said in this item, or that there will be nothing."""
        if item_id not in self._open:
            self._context.count("idle_transcripts")
            return
        if text or failed:
            del self._open[item_id]
        self._listening.understood(item_id)
        if not failed:
            self._context.publish(events.UserTranscript, item_id=item_id, text=text)
        if item_id in self._committed:
            if text or failed:
                del self._committed[item_id]
            self._context.emit(FillTranscript(item_id, text, failed))
            return
        turn = self._line.with_item(item_id)
        if turn is not None:
            turn.reducer.hear(item_id, text, "failed" if failed else "final")

    def committed(self, turn: LiveTurn) -> None:
        """From now on the words of this turn's items go to the log as rows."""
        for item in turn.reducer.given:
            if item.id in self._open:
                self._committed[item.id] = None
        while len(self._committed) > _MAX_OPEN:
            self.final(next(iter(self._committed)), "", failed=True)

    def disconnected(self) -> None:
        """No more words will come of what was said on this connection."""
        for item_id in list(self._open):
            turn = self._line.with_item(item_id)
            if turn is not None and turn.cut is None and not turn.begun and self._again(item_id, turn):
                del self._open[item_id]
            else:
                self.final(item_id, "", failed=True)

    def _again(self, item_id: str, turn: LiveTurn) -> bool:
        """Say it again, if it is the turn's only spoken item and its sound is still here."""
        spoken = [item for item in turn.reducer.given if isinstance(item, UserMessage) and item.spoken]
        if len(spoken) != 1 or spoken[0].text or not self._listening.say_again(item_id):
            return False
        turn.reducer.retract(item_id)
        turn.placed.pop(item_id, None)
        turn.revoicing = True
        return True
