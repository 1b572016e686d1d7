"""What the user says: which turn it belongs to, what gives way to it, and whether it is answered or held.

Rules.
- Speech and typed text cut a spoken answer; a written answer is let finish (it is cut only by an explicit
  interruption). A turn that only waits for its tools is not cut by a sound, but by the user's next committed turn.
- Without `barge_in` no answer is cut by a sound; the user's committed turn still does it.
- Speech that is committed before its turn has begun goes on with the turn of speech before it.
- Without `auto_respond` what the user says is one turn that is held until `respond`. Typed text then cuts nothing,
  since nobody is to answer it yet.
- `respond` right after a commit answers what was committed, so it waits until the provider has made an item of it.
- Pictures go with the user's next words.
"""

from __future__ import annotations

from mob.errors import LiveRejected
from mob.history.items import Cause, UserMessage
from mob.live import events
from mob.live.context import Context
from mob.live.inputs import Respond, SendImage, SendText
from mob.live.interruption import Interruption
from mob.live.listening import Listening
from mob.live.responses import Responses
from mob.live.seeding import MAX_ID
from mob.live.transcripts import Transcripts
from mob.live.turns import LiveTurn, TurnLine

_MAX_NAMED = 4096


class UserTurns:
    """The user's side of the line of turns."""

    def __init__(
        self,
        context: Context,
        line: TurnLine,
        listening: Listening,
        responses: Responses,
        interruption: Interruption,
        transcripts: Transcripts,
    ) -> None:
        self._context = context
        self._line = line
        self._listening = listening
        self._responses = responses
        self._interruption = interruption
        self._transcripts = transcripts
        self._images: list[UserMessage] = []
        self._named: dict[str, None] = {}
        self._respond_later: Respond | None = None

    # -- what the client sends -------------------------------------------------------------------------------------

    def text(self, what: SendText) -> None:
        """A typed user turn."""
        if not what.text.strip():
            raise LiveRejected("there is nothing in this text; send some words", reason="empty_text")
        item_id = self._item_id(what.item_id)
        if self._context.overrides.auto_respond:
            self._give_way("typed")
        turn = self._turn(Cause("text"))
        turn.output = what.output or turn.output
        turn.reducer.give(UserMessage(item_id, what.text))
        self._said(turn)

    def image(self, what: SendImage) -> None:
        """A picture, kept for the next turn."""
        self._images.append(UserMessage(self._item_id(what.item_id), "", images=(what.image,)))

    def _item_id(self, wanted: str | None) -> str:
        """The name of a new item: the client's own, if it has one. LiveRejected."""
        if wanted is None:
            return self._context.ids.new("item")
        if not (0 < len(wanted) <= MAX_ID and wanted.isascii() and wanted.isprintable()):
            raise LiveRejected(
                f"{wanted[:MAX_ID]!r} cannot name an item: take 1 to {MAX_ID} printable ASCII characters",
                reason="bad_item_id",
            )
        if wanted in self._named or self._line.with_item(wanted) is not None:
            raise LiveRejected(f"there is an item {wanted!r} already; take another id", reason="duplicate_item")
        self._named[wanted] = None
        while len(self._named) > _MAX_NAMED:
            del self._named[next(iter(self._named))]
        return wanted

    def respond(self, wish: Respond) -> None:
        """Answer the turn that is held; without one, the conversation as it is."""
        if self._listening.commit_sent:
            self._respond_later = wish
            return
        turn = self._line.held or self._line.new(Cause("text"))
        self._give_images(turn)
        turn.output = wish.output or turn.output
        turn.instructions = wish.instructions
        self._line.release(turn)
        turn.wants("answer")

    def advance(self) -> None:
        """Answer what was to be answered once the provider has it (or has refused it)."""
        wish = self._respond_later
        if wish is not None and not self._listening.commit_sent:
            self._respond_later = None
            if not self._line.closing:
                self.respond(wish)

    # -- what the provider hears -----------------------------------------------------------------------------------

    def speech_started(self, item_id: str | None) -> None:
        """The provider hears the user: the human's turn to speak."""
        self._listening.speaking = True
        self._context.publish(events.SpeechStarted, item_id=item_id)
        turn = self._line.current
        if turn is None or turn.cut is not None or self._responses.text_only(turn):
            return
        if not self._context.overrides.barge_in:
            return
        turn.playback.advance(self._context.now)
        if self._responses.serves(turn) or not turn.playback.drained:
            vendor = self._context.config.turn_detection.interrupt_response and self._responses.state == "active"
            self._interruption.cut(turn, "speech", vendor_cancels=vendor)

    def speech_stopped(self, item_id: str | None) -> None:
        """The user has stopped."""
        self._context.publish(events.SpeechStopped, item_id=item_id)

    def committed(self, item_id: str, previous: str | None) -> None:
        """The user's speech is an item now: a turn, unless it goes on with one that is waiting."""
        if self._transcripts.knows(item_id):
            self._context.count("duplicate_items")
            return
        output = self._listening.committed(item_id)
        turn = self._turn_spoken()
        turn.output = output or turn.output
        again, turn.revoicing = turn.revoicing, False
        turn.began, turn.began_wall = self._context.now, self._context.wall
        turn.reducer.give(UserMessage(item_id, "", spoken=True, transcript="pending"), previous=previous)
        turn.placed[item_id] = self._context.epoch
        self._transcripts.expect(item_id)
        if not again:
            self._context.publish(events.SpeechCommitted, item_id=item_id)
        self._said(turn)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _turn_spoken(self) -> LiveTurn:
        """The turn of speech that was just committed: one that is said again, one that has not begun, or a new one."""
        turns = self._line.all()
        for turn in turns:
            if turn.revoicing:
                return turn
        if turns and turns[-1].state != "running" and turns[-1].cause.kind == "speech" and turns[-1].want:
            return turns[-1]
        self._give_way("speech")
        return self._turn(Cause("speech"))

    def _turn(self, cause: Cause) -> LiveTurn:
        """The turn that the user's words belong to: the one that is held, or a new one."""
        turn = self._line.held or self._line.new(cause, held=not self._context.overrides.auto_respond)
        self._give_images(turn)
        return turn

    def _said(self, turn: LiveTurn) -> None:
        """The user has said something in this turn: it is to be answered, or held until that is asked for."""
        if turn is not self._line.held or self._context.overrides.auto_respond:
            self._line.release(turn)
            turn.wants("answer")

    def _give_way(self, reason: str) -> None:
        """The human takes a turn: a spoken answer is cut, anything written is let finish."""
        turn = self._line.current
        if turn is not None and turn.state == "running" and not self._responses.text_only(turn):
            self._interruption.cut(turn, reason)

    def _give_images(self, turn: LiveTurn) -> None:
        for image in self._images:
            turn.reducer.give(image)
        self._images.clear()
