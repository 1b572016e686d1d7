"""From what a live channel says of a member's answers to the responses of a client.

Theory. Two things are kept apart.

- *Turns.* On the channel one turn runs at a time, and not each is the client's: other members ask here, too. What is
  said between `TurnBegan` and `TurnCommitted` belongs to that turn; what another asked for is passed over.
- *Responses.* A turn of the member may take many responses of its provider: it calls its tools and asks its colleagues
  in between. For the client all of them are one response, which ends when the member has nothing more to say, or when
  it calls a function of the client's; after that the turn goes on as the client's next response.

      asked ──its turn begins──> answering ──the last of it is said──> completed
        └──refused──> failed        ├──a function of the client's is called──> completed, parked ──go_on──> answering
                                    └──cut──> cancelled, failed

A provider's response that ended without a call and with words is the last. One with calls is followed by another, and
so is one without anything, which is asked for again; if it is not, the turn's commit ends the response.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from attrs import define, evolve, field

from mob.history.items import Turn
from mob.live import events as live
from mob.providers.openai_realtime import ResponseParams, ResponseWriter
from mob.server.gateway.client import Client
from mob.server.gateway.client_tools import ClientTools
from mob.server.lending import Call
from mob.values import NO_USAGE, Usage

_MAX_ITEMS = 1024
_TOLD_OTHERWISE = frozenset({"turn_timeout", "said_nothing", "response_incomplete", "audio_dropped", "no_answer"})
"""What the channel reports and the client learns from its response, or need not learn."""


@define(eq=False, slots=True)
class _Answer:
    """The client's response in progress. `turn`: what it shows, once that has begun.

    `said`, `called`: by the provider's response of now. `over`: that has ended with calls, of which those in `due` are
    the client's and were not handed to it yet; `given`: some were.
    """

    writer: ResponseWriter
    turn: str | None = None
    item: str | None = None
    usage: Usage = NO_USAGE
    said: bool = False
    called: bool = False
    over: bool = False
    given: bool = False
    due: set[str] = field(factory=set)


class Answering:
    """The member's answers, as the client's responses.

    `name`: the member's, where the client must be told whom it hears: in the metadata of what it did not ask for.
    """

    def __init__(self, client: Client, tools: ClientTools, name: str | None) -> None:
        self._client = client
        self._tools = tools
        self._name = name
        self._answer: _Answer | None = None
        self._turn: str | None = None
        self._foreign = False
        self._muted = False
        self._items: OrderedDict[str, str] = OrderedDict()
        self._arguments: dict[str, str] = {}
        self._early: dict[str, Call] = {}
        self._passed_over: dict[str, None] = {}
        self._error: tuple[str, str] | None = None
        self.silent = False
        """Whether somebody else talks with the client now."""
        self.audible = False
        """Whether the turn that runs has been heard."""
        self.speaking = False
        """Whether the user speaks, so that a cut now is the user's."""

    # -- what is going on ------------------------------------------------------------------------------------------

    @property
    def asked(self) -> bool:
        """Whether an answer was asked for whose turn has not begun."""
        return self._answer is not None and self._answer.turn is None

    @property
    def answering(self) -> bool:
        """Whether a turn of the client's runs: it answers, waits for a function, or what it said is being played."""
        return self._turn is not None and not self._foreign

    @property
    def active(self) -> bool:
        """Whether a response of the client's is in progress."""
        return self._answer is not None

    @property
    def in_writing(self) -> bool:
        """Whether the response in progress is a written one, which is let finish when the user speaks."""
        return self._answer is not None and self._answer.writer.params.output == "text"

    def channel_item(self, item_id: str) -> str | None:
        """What the channel calls this item of an answer."""
        return self._items.get(item_id)

    # -- what the speaker decides ----------------------------------------------------------------------------------

    def ask(self, params: ResponseParams | None) -> ResponseWriter:
        """A new answer: one the client requested, or (None) one for what it said."""
        self._answer = _Answer(self._client.server.start_response(params or self._own()))
        return self._answer.writer

    def _own(self) -> ResponseParams:
        """A response that the client did not ask for."""
        metadata = None if self._name is None else {"member": self._name}
        return evolve(self._client.server.response_params(), metadata=metadata)

    def go_on(self, params: ResponseParams) -> None:
        """The answer that waited for the client goes on, as this response."""
        self._answer = _Answer(self._client.server.start_response(params), self._turn)

    def stop(self, reason: Literal["turn_detected", "client_cancelled"] = "turn_detected") -> None:
        """The client has had enough of this answer: whatever more comes of its turn is not shown."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.writer.cancel(reason)
        self._muted = self._muted or answer is None or answer.turn is not None

    def fail(self, code: str, message: str) -> None:
        """There will be no answer."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.writer.fail(code, message)

    def take_call(self, call: Call) -> bool:
        """A function of the client's is called. False: not in a turn that the client is shown.

        The channel has said so already, or will, when a slow client is behind: then the call waits here for that.
        """
        if call.call_id in self._passed_over:
            return False
        if call.call_id in self._arguments:
            self._give(call)
        else:
            self._early[call.call_id] = call
        return True

    def _give(self, call: Call) -> None:
        arguments = self._arguments.pop(call.call_id)
        answer = self._shown()
        if answer is None:
            self._tools.refuse(call.call_id)
            return
        answer.writer.tool_call(call.name, arguments, call.call_id)
        answer.given = True
        answer.due.discard(call.call_id)
        answer.item = None
        self._park(answer)

    # -- what the channel says -------------------------------------------------------------------------------------

    def apply(self, event: live.LiveEvent) -> None:
        """One event, in order."""
        match event:
            case live.TurnBegan():
                self._began(event)
            case live.AudioDelta(item_id=item, pcm=pcm):
                self.sound(item, pcm)
            case live.AgentTranscriptDelta(item_id=item, delta=delta) | live.TextDelta(item_id=item, delta=delta):
                self._words(item, delta)
            case live.ToolCall(call_id=call_id, name=name, arguments=arguments):
                self._called(call_id, name, arguments)
            case live.ToolFinished(call_id=call_id):
                self._finished(call_id)
            case live.ResponseDone():
                self._done(event)
            case live.Interrupted():
                self._cut()
            case live.TurnCommitted(turn=turn):
                self._committed(turn)
            case live.ChannelError():
                self._report(event)

    def _began(self, event: live.TurnBegan) -> None:
        self._turn, self._muted, self.audible = event.turn, False, False
        self._foreign = event.prompted and event.cause != "hand_off"
        if not self._foreign and self._answer is not None and self._answer.turn is None:
            self._answer.turn = event.turn

    def _shown(self) -> _Answer | None:
        """The response that the turn of now is shown in; a new one when the client asked for none."""
        if self._turn is None or self._foreign or self._muted or self.silent:
            return None
        if self._answer is None:
            if self._client.server.busy_with is not None:
                return None
            self._answer = _Answer(self._client.server.start_response(self._own()), self._turn)
        return self._answer

    def _open(self, answer: _Answer, item: str) -> None:
        answer.said = True
        if answer.item == item:
            return
        answer.item = item
        self._items[answer.writer.message()] = item
        while len(self._items) > _MAX_ITEMS:
            self._items.popitem(last=False)

    def sound(self, item: str, pcm: bytes) -> None:
        """A piece of the turn's speech."""
        answer = self._shown()
        if answer is not None and answer.writer.params.output == "audio":
            self._open(answer, item)
            self.audible = True
            self._client.speak(answer.writer, pcm)

    def _words(self, item: str, delta: str) -> None:
        answer = self._shown()
        if answer is None:
            return
        self._open(answer, item)
        if answer.writer.params.output == "audio":
            answer.writer.transcript(delta)
        else:
            answer.writer.text(delta)

    def _called(self, call_id: str, name: str, arguments: str) -> None:
        answer = self._shown()
        if answer is not None:
            answer.called = True
        if not any(tool.name == name for tool in self._tools.lent):
            return
        early = self._early.pop(call_id, None)
        if answer is not None:
            answer.due.add(call_id)
            self._arguments[call_id] = arguments
            if early is not None:
                self._give(early)
        elif early is not None:
            self._tools.refuse(call_id)
        else:
            self._passed_over[call_id] = None

    def _finished(self, call_id: str) -> None:
        for waiting in (self._arguments, self._early, self._passed_over):
            waiting.pop(call_id, None)
        if self._answer is not None and self._answer.turn == self._turn:
            self._answer.due.discard(call_id)
            self._park(self._answer)

    def _park(self, answer: _Answer) -> None:
        """End the response when all functions of the client's that it calls are given, and the provider's has ended."""
        if not answer.over or answer.due:
            return
        if answer.given:
            self._answer = None
            answer.writer.finish(answer.usage)
        else:
            answer.over = False

    def _done(self, event: live.ResponseDone) -> None:
        answer = self._answer
        if self._foreign or self._muted or answer is None or answer.turn is None or answer.turn != self._turn:
            return
        if event.usage is not None:
            answer.usage += event.usage
        answer.writer.usage = answer.usage
        said, called = answer.said, answer.called
        answer.said = answer.called = False
        if event.status == "completed" and called:
            answer.over = True
            self._park(answer)
        elif event.status == "completed" and said:
            self._end().finish()
        elif event.status == "incomplete" and said:
            self._end().incomplete("max_output_tokens")

    def _end(self) -> ResponseWriter:
        """The response is over, and so is the turn as far as the client is concerned."""
        answer, self._answer = self._answer, None
        assert answer is not None
        self._muted = True
        return answer.writer

    def _cut(self) -> None:
        """The turn was cut, by the user or by something that the client did not do."""
        if self._foreign or self._answer is None or self._answer.turn != self._turn:
            return
        writer = self._end()
        if self.speaking:
            writer.cancel("turn_detected")
        else:
            code, message = self._error or ("answer_interrupted", "The answer was cut off before its end.")
            writer.fail(code, message)

    def _committed(self, turn: Turn) -> None:
        if turn.id != self._turn:
            return
        if self._answer is not None and self._answer.turn == turn.id:
            if turn.status == "done":
                self._end().finish()
            elif turn.status == "failed":
                code = self._error[0] if self._error is not None else "answer_failed"
                self._end().fail(code, turn.error or "The member could not answer.")
            else:
                self._cut()
        self._turn, self._foreign, self._muted, self.audible, self._error = None, False, False, False, None

    def _report(self, event: live.ChannelError) -> None:
        self._error = (event.code, event.message)
        if self._turn is None and self.asked and event.recovery == "fatal":
            self.fail(event.code, event.message)
        elif event.recovery == "benign" and event.code not in _TOLD_OTHERWISE:
            self._client.server.error(event.code, event.message)
