"""The one path of every interruption (laws 4, 5, 10): by whomever, however, the answer is cut here.

Theory. A cut is an instant. What was heard of each item at that instant is settled: it is what will be committed, and
nothing that comes later changes it. The provider is told the same truth, item by item:

    generated  heard                     frame
    0          0                         none, there is nothing to take back
    g          0                         DeleteItem: the words exist there and nobody heard them
    g          0 < h < g                 TruncateItem at h, once, never beyond what was received
    g          g                         none

What the provider still sends of the response is thrown away. Where it shows that more was generated than was known at
the cut, the item that needed no frame then needs one now, and gets it by the same table.
"""

from __future__ import annotations

from mob.live.calls import Calls
from mob.live.context import CANCEL_GRACE_S, Context
from mob.live.effects import DiscardAudio
from mob.live.events import Interrupted
from mob.live.playback import Heard
from mob.live.responses import Responses
from mob.live.turns import LiveTurn
from mob.providers.commands import DeleteItem, TruncateItem
from mob.providers.events import AgentAudio


class Interruption:
    """Cuts turns."""

    def __init__(self, context: Context, responses: Responses, calls: Calls) -> None:
        self._context = context
        self._responses = responses
        self._calls = calls

    def cut(self, turn: LiveTurn, reason: str, *, vendor_cancels: bool = False, ended: str | None = None) -> None:
        """Cut `turn` now. A turn is cut once.

        `vendor_cancels`: the provider stops the response by itself; `ended`: it has stopped this one already.
        Reason `closed` lets no call survive.
        """
        if turn.cut is not None:
            return
        context = self._context
        turn.playback.stop(context.now)
        turn.cut = reason
        turn.want = None
        turn.revoicing = False
        turn.deadline = min(turn.deadline, context.now + 2 * CANCEL_GRACE_S)
        context.count("interruptions")
        for response_id in turn.response_ids:
            turn.reducer.close(response_id, turn.heard)
        speaking = self._responses.response_id if self._responses.serves(turn) else ended
        if self._responses.serves(turn):
            self._responses.cancel(vendor_does=vendor_cancels)
        unheard = [item_id for item_id in turn.playback.item_ids if not turn.heard(item_id).whole]
        for item_id in unheard:
            self._tell_provider(turn, item_id, turn.heard(item_id))
        if unheard:
            context.emit(DiscardAudio(frozenset(unheard)))
        running = self._calls.cut(turn, closing=reason == "closed")
        self._publish(turn, unheard, speaking, running)

    def _publish(self, turn: LiveTurn, unheard: list[str], speaking: str | None, running: frozenset[str]) -> None:
        """One event for each item that was cut, and one for each response that was cut without one."""
        told = set()
        for item_id in unheard:
            told.add(turn.playback.response_of(item_id))
            self._tell_client(turn, item_id, turn.playback.response_of(item_id))
        others = ({speaking} if speaking is not None else set()) | running
        for response_id in sorted(others - told):
            ours = [item for item in turn.playback.item_ids if turn.playback.response_of(item) == response_id]
            self._tell_client(turn, ours[-1] if ours else None, response_id)

    def _tell_client(self, turn: LiveTurn, item_id: str | None, response_id: str) -> None:
        heard = Heard(0, 0, "exact") if item_id is None else turn.heard(item_id)
        self._context.publish(
            Interrupted,
            item_id=item_id,
            response_id=response_id,
            generated_ms=heard.generated_ms,
            heard_ms=heard.heard_ms,
            fidelity=heard.fidelity,
        )

    def late_audio(self, turn: LiveTurn, event: AgentAudio) -> None:
        """Audio of a cut response: nobody will hear it, and the provider is told so if it was not yet.

        What had been heard stays what it was; only what was generated grows.
        """
        context = self._context
        context.count("late_events")
        heard = turn.heard(event.item_id).heard_ms
        turn.late_bytes[event.item_id] = turn.late_bytes.get(event.item_id, 0) + len(event.pcm)
        late_ms = turn.late_bytes[event.item_id] * 500 // context.config.output_rate
        generated = turn.heard(event.item_id).generated_ms + late_ms
        self._tell_provider(turn, event.item_id, Heard(generated, heard, "exact"), event.content_index)

    def forget_item(self, item_id: str) -> None:
        """A call that was announced after the cut never starts; the provider's conversation is rid of it."""
        if self._context.ready:
            self._context.send(DeleteItem(item_id, ref=self._context.new_ref("delete")))

    def _tell_provider(self, turn: LiveTurn, item_id: str, heard: Heard, content_index: int = 0) -> None:
        context = self._context
        if item_id in turn.settled_items or heard.whole or not context.ready:
            return
        turn.settled_items.add(item_id)
        if heard.heard_ms == 0:
            context.send(DeleteItem(item_id, ref=context.new_ref("delete")))
        elif context.model.can_truncate:
            if item_id in turn.playback:
                content_index = turn.playback.content_index_of(item_id)
            context.send(TruncateItem(item_id, heard.heard_ms, content_index, ref=context.new_ref("truncate")))
