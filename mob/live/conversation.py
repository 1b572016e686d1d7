"""What is said on a channel: the user's turns and the session's prompts, in one line, each to its commit.

Theory. Inputs change the line (a turn is added, an answer is wanted, something is cut); then `advance` lets happen what
now may, until nothing may: the head of the line is asked for, a running turn's input is put to the provider, its answer
is asked for, a finished turn is committed and the next one comes up. So no rule about *when* stands anywhere else.

A prompt of another member waits for everything before it; what the user says, and what gives way to it: `user.py`.
"""

from __future__ import annotations

from mob.errors import LiveClosed, LiveRejected, MobError, TurnTimedOut
from mob.live import events
from mob.live.answering import Answering
from mob.live.calls import Calls
from mob.live.context import DRAIN_GRACE_S, Context
from mob.live.effects import AbandonTurn, Admit, CommitTurn, DropTurn
from mob.live.interruption import Interruption
from mob.live.listening import Listening
from mob.live.ports import Prompt
from mob.live.responses import Responses
from mob.live.seeding import item_commands
from mob.live.transcripts import Transcripts
from mob.live.turns import LiveTurn, TurnLine
from mob.live.user import UserTurns
from mob.providers.commands import AppendAudio, CommitInput
from mob.providers.events import ItemAdded, ProviderFault
from mob.values import Modality


class Conversation:
    """The line of turns and what moves it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.line = TurnLine(context)
        self.listening = Listening(context)
        self.responses = Responses(context)
        self.calls = Calls(context)
        self.interruption = Interruption(context, self.responses, self.calls)
        self.answering = Answering(context, self.line, self.responses, self.calls, self.interruption)
        self.transcripts = Transcripts(context, self.line, self.listening)
        self.user = UserTurns(context, self.line, self.listening, self.responses, self.interruption, self.transcripts)
        self.committing: dict[str, None] = {}

    # -- what the session and the client do ---------------------------------------------------------------------------

    def prompt(self, turn_id: str, prompt: Prompt) -> None:
        """A turn that the session puts."""
        output: Modality | None = "text" if prompt.output == "text" else "audio" if prompt.output == "audio" else None
        turn = self.line.new(prompt.cause, turn_id=turn_id, output=output)
        turn.prompted = True
        for item in prompt.items:
            turn.reducer.give(item)
        turn.wants("answer")

    def withdraw(self, turn_id: str) -> None:
        """Nobody waits for this turn any more."""
        turn = self.line.find(turn_id)
        if turn is None:
            return
        if turn.state != "running":
            self.line.remove(turn)
        else:
            self.interruption.cut(turn, "withdrawn")

    def interrupt(self, reason: str) -> None:
        """Cut whatever is being answered, spoken or written."""
        turn = self.line.current
        if turn is not None and turn.state == "running":
            self.interruption.cut(turn, reason)

    def truncate(self, item_id: str, ms: int) -> None:
        """Playing stopped at `ms` of this item."""
        turn = self.line.with_item(item_id)
        if turn is None or turn.cut is not None or item_id not in turn.playback:
            raise LiveRejected(
                f"no audio of {item_id!r:.100} is being played: it was never received, or its turn is settled",
                reason="nothing_to_truncate",
            )
        turn.playback.advance(self.context.now)
        generated = turn.heard(item_id).generated_ms
        if not 0 <= ms <= generated:
            raise LiveRejected(
                f"{item_id!r:.100} cannot end at {ms} ms: {generated} ms of it were received", reason="beyond_received"
            )
        turn.playback.stopped_at(item_id, ms, self.context.now)
        self.interruption.cut(turn, "truncated")

    def stop_playing(self) -> None:
        """The client has stopped playing what is being answered. Where, it says next, or the clock's word stands."""
        turn = self.line.current
        if turn is not None and turn.state == "running" and turn.cut is None:
            turn.playback.stop(self.context.now)

    def played_through(self) -> None:
        """The client plays what it has to the end, and goes on to what comes next."""
        turn = self.line.current
        if turn is not None and self._draining(turn):
            turn.playback.play_through(self.context.now)

    def played(self, item_id: str, ms: int) -> None:
        """A receipt."""
        turn = self.line.with_item(item_id)
        if turn is None or not turn.playback.played(item_id, ms, self.context.now):
            self.context.count("idle_receipts")
        elif turn.first_played is None:
            turn.first_played = self.context.now

    # -- what the session says -------------------------------------------------------------------------------------

    def admitted(self, turn_id: str) -> None:
        """The current turn may run."""
        turn = self.line.current
        if turn is None or turn.turn_id != turn_id or turn.state != "asked":
            self.context.emit(AbandonTurn(turn_id))
            return
        turn.state = "running"
        turn.deadline = self.context.now + self.context.limits.turn_timeout_s
        self.context.publish(
            events.TurnBegan,
            turn=turn_id,
            cause=turn.cause.kind,
            origin=turn.cause.origin,
            prompted=turn.prompted,
        )

    def refused(self, turn_id: str, error: MobError) -> None:
        """The current turn may not run."""
        turn = self.line.current
        if turn is None or turn.turn_id != turn_id:
            return
        if self.responses.serves(turn):
            self.responses.disown()
        self._drop(turn, error)

    def request_refused(self, ref: str, error: MobError) -> None:
        """The session does not pay for a response."""
        if ref in (self.responses.ref, self.responses.response_id):
            turn = self.responses.refused_by_session()
            if turn is not None:
                turn.fail(error.message)
                self.context.report(error.code, error.message, "fatal")

    def tool_ended(self, turn: LiveTurn | None) -> None:
        """A call of this turn has ended."""
        if turn is None:
            return
        self.answering.follow_up(turn)
        quiet = self.line.current is None and not self.line.waiting and not self.listening.uncommitted
        if turn.cut is not None and turn.by_human and quiet and not self.line.closing and turn not in self.line.all():
            # A call that outlived its turn has ended, and nobody is speaking: the human is told what came of it.
            self.line.new(turn.cause).wants("follow_up")

    def durable(self, turn_id: str) -> None:
        """A committed turn is in the log."""
        self.committing.pop(turn_id, None)

    def audio_lost(self, item_ids: tuple[str, ...]) -> None:
        """The client was too slow for audio of these items."""
        for item_id in item_ids:
            turn = self.line.with_item(item_id)
            if turn is not None:
                turn.playback.lose(item_id)
        self.context.report("audio_dropped", "the client takes audio too slowly; the oldest was dropped", "benign")

    def _drop(self, turn: LiveTurn, error: MobError) -> None:
        self.line.remove(turn)
        self.context.emit(DropTurn(turn.turn_id, error))
        if turn.by_human and not turn.prompted:
            self.context.report(error.code, error.message, "fatal")

    # -- the provider ----------------------------------------------------------------------------------------------

    def item_added(self, event: ItemAdded) -> None:
        """An item stands in the provider's conversation: where, its turn must know."""
        turn = self.line.with_item(event.item_id) or self.responses.turn
        if turn is not None:
            turn.reducer.apply(event)

    def provider_gave_up(self, why: str) -> None:
        """The provider will not answer any more: the running turn has failed."""
        turn = self.line.current
        if turn is not None and turn.state == "running" and turn.cut is None and not self._draining(turn):
            turn.fail(f"the provider refused: {why}")

    def fault(self, fault: ProviderFault, purpose: str | None) -> None:
        """A scoped error: the channel lives on. `purpose` is what the offending command was for."""
        unclaimed = fault.ref is None and self.responses.state == "requested" and fault.recovery != "benign"
        if purpose == "create" or fault.recovery == "defer" or (purpose is None and unclaimed):
            self.answering.refused(fault)
        elif purpose == "cancel" or fault.code == "response_cancel_not_active":
            self.responses.cancel_refused()
        elif purpose == "commit" or fault.code == "input_audio_buffer_commit_empty":
            self.listening.commit_refused()
            self.context.report(fault.code, fault.message, fault.recovery)
        elif purpose == "input":
            self._input_refused(fault)
        elif fault.recovery == "benign":
            self.context.count("benign_faults")
        else:
            self.context.report(fault.code, fault.message, fault.recovery)

    def _input_refused(self, fault: ProviderFault) -> None:
        """The provider does not take an item: its turn has failed, or goes on without it while it is held."""
        turn = next((turn for turn in self.line.all() if fault.ref in turn.input_refs), None)
        if turn is not None and turn is self.line.held:
            turn.reducer.retract(turn.input_refs[fault.ref or ""])
            if not turn.reducer.given:
                self.line.remove(turn)
        elif turn is not None:
            turn.fail(f"the provider refused what was said: {fault.code}: {fault.message}")
        self.context.report(fault.code, fault.message, fault.recovery)

    # -- the connection --------------------------------------------------------------------------------------------

    def disconnected(self) -> None:
        """The connection is gone: what was heard of an answer is settled, what is unanswered will be answered.

        An answer that was received whole goes on being played.
        """
        self.context.ready = False
        for turn in self.line.all():
            if turn.cut is None and turn.audible and not self._draining(turn):
                self.interruption.cut(turn, "disconnected")
        self.responses.lose()
        self.transcripts.disconnected()
        for turn in self.line.all():
            idle = turn.want is None and not turn.open_calls and not turn.audible
            if idle and turn is not self.line.held and turn.cut is None and turn.failure is None:
                turn.wants("follow_up" if turn.begun else "answer")

    def connected(self) -> None:
        """The connection is ready: say what it must hear before anything else."""
        self.context.ready = True
        self.calls.tell_late()
        for pcm in self.listening.take_kept():
            self.context.send(AppendAudio(pcm))
        if self.listening.commit_sent:
            self.context.send(CommitInput(self.context.new_ref("commit")))
            self.listening.committing()
        for turn in self.line.all():
            if turn.revoicing:
                turn.deadline = self.context.now + self.context.limits.response_timeout_s

    @property
    def settled(self) -> bool:
        """Whether all that was answered is in the log, so that a connection can be told of it."""
        turn = self.line.current
        return not self.committing and (turn is None or (turn.cut is None and not turn.audible))

    @property
    def quiet(self) -> bool:
        """Whether this is a moment to change connections: nobody speaks, nothing is wanted, all is committed."""
        return (
            self.line.current is None
            and not self.line.waiting
            and not self.listening.uncommitted
            and not self.committing
            and self.responses.state == "idle"
            and not self.transcripts.fresh
        )

    @property
    def done(self) -> bool:
        """Whether nothing is left to be settled."""
        return not (self.line.all() or self.committing or self.calls.running)

    def force(self) -> None:
        """The time for closing is up: commit what can be committed as it is, and wait for nothing."""
        for turn in self.line.all():
            if turn.state == "running":
                self.calls.give_up(turn)
                self._commit(turn)
            else:
                self._drop(turn, LiveClosed("the channel was closed before this turn could run", reason="closed"))

    def close(self, *, by_client: bool) -> None:
        """Nothing more begins. What runs is cut, what the human said and nobody answered is kept.

        When the client has closed it, what the session put and nobody has begun to answer is the session's again, which
        goes on without this channel: LiveClosed with the reason `unanswered`.
        """
        self.line.closing = True
        error = LiveClosed("the channel was closed before this turn could run", reason="closed")
        unanswered = LiveClosed("the channel was closed before this turn was answered", reason="unanswered")
        for turn in self.line.all():
            self.line.release(turn)
            if by_client and turn.prompted and not turn.begun and turn.failure is None and turn.cut is None:
                if self.responses.serves(turn):
                    self.responses.lose()
                if turn.state == "running":
                    self.context.emit(AbandonTurn(turn.turn_id))
                self._drop(turn, unanswered)
            elif turn.state == "waiting" and not turn.by_human:
                self._drop(turn, error)
            else:
                self.interruption.cut(turn, "closed")
        self.calls.cancel_all()
        self.context.ready = False
        self.responses.lose()

    # -- what now may happen ---------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Let everything happen that may."""
        self.user.advance()
        self._advance_line()
        if self.line.held is not None and self.context.ready:
            self._put(self.line.held)

    def _advance_line(self) -> None:
        while (turn := self._head()) is not None and turn.state == "running":
            if not self._finished(turn):
                if self.context.ready and turn.cut is None and turn.failure is None:
                    self._put(turn)
                    self._ask(turn)
                return
            self._commit(turn)

    def _head(self) -> LiveTurn | None:
        """The current turn; when there is none, the next one is asked for."""
        if self.line.current is None and self.line.waiting:
            turn = self.line.current = self.line.waiting.popleft()
            turn.state = "asked"
            turn.deadline = self.context.now + self.context.limits.turn_timeout_s
            self.context.emit(Admit(turn.turn_id, turn.cause))
        return self.line.current

    def _put(self, turn: LiveTurn) -> None:
        """What was said to the member, and what its calls gave, must stand in this connection's conversation."""
        for item in turn.reducer.given:
            if turn.placed.get(item.id) != self.context.epoch and not turn.revoicing:
                turn.placed[item.id] = self.context.epoch
                ref = self.context.new_ref("input")
                turn.input_refs[ref] = item.id
                for command in item_commands(item, item.id, ref):
                    self.context.send(command)
        self.calls.place(turn)

    def _ask(self, turn: LiveTurn) -> None:
        if turn.want is None or turn.revoicing or turn.not_before > self.context.now:
            return
        if self.responses.state != "idle":
            return
        turn.unanswered_results = False
        self.responses.ask(turn)

    def _finished(self, turn: LiveTurn) -> bool:
        if self.responses.serves(turn) or turn.want is not None or turn.revoicing:
            return False
        if turn.open_calls and turn.failure is None:
            return False
        turn.playback.advance(self.context.now)
        return turn.cut is not None or turn.playback.drained

    def _commit(self, turn: LiveTurn) -> None:
        turn.playback.advance(self.context.now)
        self.line.remove(turn)
        if self.context.seeded and not self.line.closing:
            # A turn that ends while a connection is being seeded is neither there nor in the seed.
            self._put(turn)
        self.calls.committed(turn)
        self.transcripts.committed(turn)
        self.committing[turn.turn_id] = None
        self.context.emit(CommitTurn(turn.build()))

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self) -> bool:
        """Look at every deadline. True: the provider does not answer any more, the connection is to be given up."""
        now = self.context.now
        useless = self.responses.overdue_at <= now and self.answering.overdue()
        for turn in self.calls.overdue():
            self.tool_ended(turn)
        if self.listening.commit_deadline <= now and self.context.ready:
            self.listening.commit_refused()
            self.context.report("no_answer", "the provider did not take the committed audio; speak again", "benign")
        if self.line.current is not None:
            self._tick_turn(self.line.current)
        return useless

    def _tick_turn(self, turn: LiveTurn) -> None:
        now = self.context.now
        if turn.deadline <= now:
            turn.deadline = float("inf")
            self._time_out(turn)
        elif self._draining(turn):
            turn.playback.advance(now)
            if self._waits_for_client(turn) and turn.playback.overdue_at(DRAIN_GRACE_S) <= now:
                self.interruption.cut(turn, "playback_stopped")

    def _waits_for_client(self, turn: LiveTurn) -> bool:
        """Whether the client will say how far it has played; otherwise the clock does."""
        return self.context.receipts.seen or turn.playback.stopped

    def _time_out(self, turn: LiveTurn) -> None:
        if self._draining(turn):
            return
        waited = f"{self.context.limits.turn_timeout_s:g} s"
        if turn.state == "asked":
            self._drop(turn, TurnTimedOut(f"the session did not let this turn run within {waited}; try again later"))
            return
        if turn.cut is not None:
            self.calls.give_up(turn)
            return
        turn.fail(f"the turn did not end within {waited}")
        turn.revoicing = False
        self.context.report("turn_timeout", turn.failure or "", "benign")
        self.interruption.cut(turn, "timed_out")

    def _draining(self, turn: LiveTurn) -> bool:
        waits = self.responses.serves(turn) or turn.want is not None or turn.open_calls or turn.revoicing
        return turn.state == "running" and turn.cut is None and not waits

    def next_deadline(self) -> float:
        """When `tick` must be called next."""
        moments = [self.responses.overdue_at, self.calls.next_deadline]
        if self.context.ready:
            moments.append(self.listening.commit_deadline)
        turn = self.line.current
        if turn is not None:
            moments.append(turn.deadline)
            if turn.want is not None and self.responses.state == "idle" and self.context.ready:
                moments.append(turn.not_before if turn.not_before > self.context.now else float("inf"))
            if self._draining(turn):
                waits = self._waits_for_client(turn)
                moments.append(turn.playback.overdue_at(DRAIN_GRACE_S) if waits else turn.playback.drains_at())
        return min(moments)
