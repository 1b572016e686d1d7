"""What the provider does about a turn: its responses, from beginning to end, and what is tried again.

Rules.
- An event that names a response we do not know begins it (an end may come without a beginning). An event of a response
  that has ended or was cut changes nothing and is counted (law 5).
- A turn leads to something (law 16): an answer of nothing at all is asked for once more, a failure that may pass is
  tried again after a wait, a provider that does not answer is asked once more. Then the turn has failed, in words.
- Nothing is asked for again while what was asked before may still come (law 9). So a request that nobody answers is
  cancelled first: a provider that lives says either that it is cancelled or that there was nothing to cancel. One that
  does not answer even that is of no use, though it may answer pings: its connection is replaced, and the turn is asked
  for on the next one.
- After a response with calls, exactly one follow-up is asked for: when the response has ended and every call has.
"""

from __future__ import annotations

from mob.history.items import Cause
from mob.live import events
from mob.live.calls import Calls
from mob.live.context import MAX_ASKED, MAX_RETRIES, Context, backoff_s
from mob.live.interruption import Interruption
from mob.live.responses import Responses
from mob.live.turns import LiveTurn, TurnLine
from mob.providers.events import (
    AgentAudio,
    AgentAudioEnded,
    AgentTextFinal,
    AgentTextPart,
    AgentTranscriptFinal,
    AgentTranscriptPart,
    OutputItemEnded,
    OutputItemStarted,
    ProviderFault,
    ResponseEnded,
    ResponseStarted,
    ToolCallPart,
    ToolCallReady,
)

ResponseEvent = (
    ResponseStarted
    | ResponseEnded
    | OutputItemStarted
    | OutputItemEnded
    | AgentAudio
    | AgentAudioEnded
    | AgentTranscriptPart
    | AgentTranscriptFinal
    | AgentTextPart
    | AgentTextFinal
    | ToolCallPart
    | ToolCallReady
)


class Answering:
    """Applies the events of responses to the turns they belong to."""

    def __init__(
        self, context: Context, line: TurnLine, responses: Responses, calls: Calls, interruption: Interruption
    ) -> None:
        self._context = context
        self._line = line
        self._responses = responses
        self._calls = calls
        self._interruption = interruption

    def apply(self, event: ResponseEvent) -> None:
        """One event of a response."""
        turn = self._turn_of(event.response_id)
        if turn is None:
            self._context.count("late_events")
            return
        self._responses.last_event = self._context.now
        ignored = turn.cut is not None or self._responses.disowned
        if ignored and not isinstance(event, ResponseEnded):
            self._after_cut(turn, event)
            return
        match event:
            case AgentAudio():
                self._hear(turn, event)
            case ToolCallReady():
                self._calls.ready(event, turn)
            case ResponseEnded():
                self._end(turn, event)
            case _:
                if turn.reducer.apply(event):
                    self._tell(turn, event)
                elif isinstance(event, AgentAudioEnded):
                    self._end_audio(turn, event)

    def _turn_of(self, response_id: str) -> LiveTurn | None:
        """The turn of a response that is in progress, beginning it if it is new; None for one of the past."""
        responses = self._responses
        if responses.response_id == response_id:
            return responses.turn
        if responses.is_past(response_id):
            return None
        asked = responses.turn if responses.response_id is None and responses.state != "idle" else None
        turn = asked or self._adopting()
        responses.started(response_id, turn)
        return turn

    def _adopting(self) -> LiveTurn:
        """The turn that a response of the provider's own accord answers."""
        line = self._line
        turn = next((turn for turn in line.all() if turn.cut is None and turn.failure is None), None)
        if turn is None:
            turn = line.new(Cause("idle"))
        line.release(turn)
        if turn.want == "answer":
            turn.want = None
        return turn

    # -- during ----------------------------------------------------------------------------------------------------

    def audio(self, turn: LiveTurn, event: AgentAudio) -> int:
        """Speech of the response in progress, which is not cut. Returns where it starts in its item, ms."""
        now = self._context.now
        self._responses.last_event = now
        if turn.first_audio is None:
            turn.first_audio = now
            self._context.voiced_epoch = self._context.epoch
        turn.reducer.sound(event.response_id, event.item_id, len(event.pcm))
        return turn.playback.add(event.item_id, event.response_id, len(event.pcm), now, event.content_index)

    def _hear(self, turn: LiveTurn, event: AgentAudio) -> None:
        start_ms = self.audio(turn, event)
        self._context.publish(
            events.AudioDelta,
            item_id=event.item_id,
            response_id=event.response_id,
            pcm=event.pcm,
            start_ms=start_ms,
        )

    def _end_audio(self, turn: LiveTurn, event: AgentAudioEnded) -> None:
        if event.item_id not in turn.playback:
            return
        duration_ms = turn.playback.end(event.item_id, self._context.now)
        self._context.publish(
            events.AudioDone, item_id=event.item_id, response_id=event.response_id, duration_ms=duration_ms
        )

    def _tell(self, turn: LiveTurn, event: ResponseEvent) -> None:
        context = self._context
        if isinstance(event, AgentTranscriptPart | AgentTextPart) and turn.first_token is None:
            turn.first_token = context.now
        match event:
            case AgentTranscriptPart(response_id=response, item_id=item, delta=delta):
                context.publish(events.AgentTranscriptDelta, item_id=item, response_id=response, delta=delta)
            case AgentTranscriptFinal(response_id=response, item_id=item, text=text):
                context.publish(events.AgentTranscript, item_id=item, response_id=response, text=text)
            case AgentTextPart(response_id=response, item_id=item, delta=delta):
                context.publish(events.TextDelta, item_id=item, response_id=response, delta=delta)
            case AgentTextFinal(response_id=response, item_id=item, text=text):
                context.publish(events.Text, item_id=item, response_id=response, text=text)

    def _after_cut(self, turn: LiveTurn, event: ResponseEvent) -> None:
        match event:
            case AgentAudio():
                self._interruption.late_audio(turn, event)
            case ToolCallReady():
                self._context.count("calls_not_started")
                self._interruption.forget_item(event.item_id)
            case ResponseStarted():
                pass
            case _:
                self._context.count("late_events")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _end(self, turn: LiveTurn, event: ResponseEnded) -> None:
        context = self._context
        turn.ended = context.now
        if event.usage is not None:
            turn.usage = turn.usage + event.usage
        fruitful = turn.reducer.said_something(event.response_id)
        ignored = turn.cut is not None or self._responses.disowned
        if not ignored:
            turn.reducer.apply(event)
            turn.playback.end_all(context.now)
        self._responses.ended(event.usage)
        context.publish(events.ResponseDone, response_id=event.response_id, status=event.status, usage=event.usage)
        if ignored:
            return
        match event.status:
            case "cancelled":
                self._interruption.cut(turn, event.reason or "cancelled", ended=event.response_id)
            case "failed":
                self._fail(turn, event.fault, fruitful=fruitful)
            case "incomplete":
                self._incomplete(turn, event.reason, fruitful=fruitful)
            case _ if not fruitful:
                self._say_nothing(turn)
        self.follow_up(turn)

    def _fail(self, turn: LiveTurn, fault: ProviderFault | None, *, fruitful: bool) -> None:
        recovery = "retry" if fault is None else fault.recovery
        code = "response_failed" if fault is None else fault.code
        message = "the provider gave no reason" if fault is None else fault.message
        may_pass = recovery in ("retry", "defer", "reopen", "benign")
        if may_pass and not fruitful and turn.failures < MAX_RETRIES:
            wait = backoff_s(turn.failures, None if fault is None else fault.retry_after_s)
            turn.failures += 1
            turn.wants("answer", self._context.now + wait)
            self._context.report(code, f"{message}; asking again in {wait:g} s", "retry")
            return
        turn.fail(f"the provider could not answer: {code}: {message}")
        self._context.report(code, message, recovery)

    def _incomplete(self, turn: LiveTurn, reason: str | None, *, fruitful: bool) -> None:
        """Kept as far as it goes, and marked."""
        why = reason or "no reason given"
        if not fruitful:
            turn.fail(f"the provider ended its answer before a word: {why}")
            self._context.report("response_incomplete", turn.failure or why, "benign")
            return
        turn.remark = f"the answer is not complete: {why}"

    def _say_nothing(self, turn: LiveTurn) -> None:
        if turn.silences == 0:
            turn.silences = 1
            self._context.count("silent_answers")
            turn.wants("follow_up" if turn.begun else "answer")
            return
        if not turn.begun:
            turn.fail(f"{self._context.model.id} said nothing, twice")
            self._context.report("said_nothing", turn.failure or "", "benign")

    def follow_up(self, turn: LiveTurn) -> None:
        """Ask what the model makes of its calls' results, when all are there and it has finished speaking."""
        if turn.cut is not None or turn.failure is not None or not turn.unanswered_results:
            return
        if turn.open_calls or self._responses.serves(turn) or turn.want is not None:
            return
        turn.unanswered_results = False
        if not turn.ends:
            turn.wants("follow_up")

    # -- refusals --------------------------------------------------------------------------------------------------

    def refused(self, fault: ProviderFault) -> None:
        """The provider refused the request for a response.

        Because another is active: that one is adopted where it can be this turn's; a follow-up is asked for again when
        it has ended, since it may not have seen the results. For another reason: again after a wait, or not at all.
        """
        responses = self._responses
        turn, wanted = responses.turn, responses.wanted
        if turn is None or wanted is None:
            return
        if responses.response_id is not None:
            # What we took for the answer to our request was a response of the provider's own accord.
            if wanted == "follow_up" and turn.cut is None:
                turn.wants(wanted)
            return
        responses.ask_refused()
        if turn.cut is not None:
            return
        active = fault.response_id
        if fault.recovery == "defer" and active is not None and not responses.is_past(active):
            responses.started(active, turn)
            if wanted == "follow_up":
                turn.wants(wanted)
            return
        if fault.recovery in ("defer", "retry") and turn.failures < 2 * MAX_RETRIES:
            wait = backoff_s(turn.failures, fault.retry_after_s)
            turn.failures += 1
            turn.wants(wanted, self._context.now + wait)
            return
        turn.fail(f"the provider refused to answer: {fault.code}: {fault.message}")
        self._context.report(fault.code, fault.message, fault.recovery)

    # -- deadlines -------------------------------------------------------------------------------------------------

    def overdue(self) -> bool:
        """The response in progress has lasted too long in its present state. True: the connection is of no use."""
        responses, context = self._responses, self._context
        turn, state = responses.turn, responses.state
        if state == "cancelling":
            context.count("unanswered_cancels")
            return True
        context.count("unanswered_requests")
        if turn is not None and turn.cut is None:
            self._ask_again_or_fail(turn)
            if responses.response_id is not None:
                turn.playback.end_all(context.now)
                turn.reducer.silence(responses.response_id)
        responses.disown()
        return False

    def _ask_again_or_fail(self, turn: LiveTurn) -> None:
        context, responses = self._context, self._responses
        timeout = f"{context.limits.response_timeout_s:g} s"
        if responses.state == "active" and turn.begun:
            turn.fail(f"the provider fell silent in the middle of its answer for {timeout}")
        elif turn.lost_answers + 1 >= MAX_ASKED:
            turn.fail(f"the provider did not answer within {timeout}, twice")
        else:
            turn.lost_answers += 1
            turn.wants(responses.wanted or "answer")
            context.report("no_answer", f"no answer within {timeout}; asking once more", "retry")
            return
        context.report("no_answer", turn.failure or "", "benign")
