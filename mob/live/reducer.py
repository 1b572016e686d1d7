"""From neutral wire events to the items of one turn, in causal order. Pure.

Theory. An item is known by the provider's id and stands where its `previous_item_id` puts it (`mob.history.order`);
what the provider never placed stands behind, in the order of arrival. A result stands right behind its call, whenever
it comes. The two lanes are kept apart: written text by part, spoken words by part, and the sound that carries them.

Rules that make replays harmless (law 1) and late events powerless (law 5):
- the final text of a part replaces its deltas, and a delta of a finished part is nothing;
- words the user is known to have said are never erased or replaced; an empty final fills nothing;
- a call is known by its `call_id`, a result by the call it answers, and the first of each is the only one;
- a *closed* response takes nothing more: what was heard of it at that instant is what will be committed.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field

from mob.history.heard import HeardText, SpeechRate
from mob.history.items import AgentMessage, Item, ToolCall, ToolResult, TranscriptState, UserMessage
from mob.history.order import CausalOrder
from mob.live.playback import Heard
from mob.providers.events import (
    AgentAudio,
    AgentTextFinal,
    AgentTextPart,
    AgentTranscriptFinal,
    AgentTranscriptPart,
    ItemAdded,
    OutputItemEnded,
    OutputItemStarted,
    ResponseEnded,
    ToolCallReady,
    WireEvent,
)

HeardOf = Callable[[str], Heard]
"""Gives an item's playback position."""


@define(slots=True)
class _Lane:
    """Text that comes in parts, each part in deltas and then whole."""

    parts: dict[int, str] = field(factory=dict)
    final: set[int] = field(factory=set)

    def add(self, index: int, delta: str) -> bool:
        if index in self.final or not delta:
            return False
        self.parts[index] = self.parts.get(index, "") + delta
        return True

    def settle(self, index: int, text: str) -> bool:
        if index in self.final:
            return False
        self.final.add(index)
        if text:
            self.parts[index] = text
        return True

    @property
    def text(self) -> str:
        return "".join(self.parts[index] for index in sorted(self.parts))


@define(slots=True)
class _Answer:
    """One message of the member as it comes in."""

    item_id: str
    response_id: str
    heard: HeardText
    written: _Lane = field(factory=_Lane)
    spoken: _Lane = field(factory=_Lane)
    ended: bool = False
    whole: bool = False
    cut: Heard | None = None

    @property
    def said(self) -> bool:
        """Whether there is anything to it."""
        return bool(self.heard.generated_ms or self.heard.text or self.written.parts)

    def message(self, heard: Heard) -> AgentMessage | None:
        """The message as far as it reached the human; None while there is nothing to it."""
        if not self.said:
            return None
        heard = self.cut or heard
        written = self.written.text
        sounded = heard.generated_ms > 0
        interrupted = not (self.whole and heard.whole)
        spoken = self.heard.heard_prefix(heard.heard_ms)
        if not interrupted and not sounded:
            spoken = self.heard.text
        return AgentMessage(
            id=self.item_id,
            display_text=written,
            spoken_text=spoken,
            interrupted=interrupted,
            generated_ms=heard.generated_ms if sounded or self.heard.text else None,
            heard_ms=heard.heard_ms if sounded or self.heard.text else None,
            fidelity=heard.fidelity if sounded else None,
            generated_text=self.heard.text if interrupted else "",
            response_id=self.response_id,
        )


class TurnReducer:
    """The items of one turn. `rate` is the audio's in Hz; `voice` learns how fast this voice speaks."""

    def __init__(self, rate: int, voice: SpeechRate) -> None:
        self._rate = rate
        self._voice = voice
        self._order = CausalOrder()
        self._given: dict[str, Item] = {}
        self._answers: dict[str, _Answer] = {}
        self._calls: dict[str, ToolCall] = {}
        self._call_responses: dict[str, str] = {}
        self._results: dict[str, ToolResult] = {}
        self._arrival: dict[str, None] = {}
        self._closed: set[str] = set()

    # -- what is said to the member --------------------------------------------------------------------------------

    def give(self, item: Item, *, previous: str | None = None) -> bool:
        """Something said to the member. False when the item is here already."""
        if item.id in self._given:
            return False
        self._given[item.id] = item
        self._arrival[item.id] = None
        if previous is not None:
            self._order.add(item.id, previous)
        return True

    def retract(self, item_id: str) -> None:
        """Forget a user item: its audio is to be said again on another connection."""
        self._given.pop(item_id, None)
        self._arrival.pop(item_id, None)

    def hear(self, item_id: str, text: str, state: TranscriptState) -> bool:
        """The words of a spoken user item, or that there will be none. False when it changes nothing."""
        item = self._given.get(item_id)
        if not isinstance(item, UserMessage) or item.text or (item.transcript != "pending" and not text):
            return False
        self._given[item_id] = evolve(item, text=text, transcript=state)
        return True

    def has(self, item_id: str) -> bool:
        """Whether this item is part of the turn."""
        return item_id in self._arrival

    @property
    def given(self) -> tuple[Item, ...]:
        """What was said to the member, in the order of arrival."""
        return tuple(self._given.values())

    # -- what the member says --------------------------------------------------------------------------------------

    def apply(self, event: WireEvent) -> bool:
        """Take an event of this turn. False when it changes nothing."""
        match event:
            case ItemAdded(item_id=item_id, previous_item_id=previous) if previous is not None:
                return self._order.add(item_id, previous)
            case ResponseEnded(response_id=response_id, status=status):
                return self._end_response(response_id, whole=status == "completed")
        if getattr(event, "response_id", None) in self._closed:
            return False
        match event:
            case AgentTranscriptPart():
                answer = self._answer(event.item_id, event.response_id)
                added = answer.spoken.add(event.content_index, event.delta)
                if added:
                    answer.heard.transcript(event.delta)
                return added
            case AgentTranscriptFinal():
                answer = self._answer(event.item_id, event.response_id)
                changed = answer.spoken.settle(event.content_index, event.text)
                answer.heard.final_transcript(answer.spoken.text)
                return changed
            case AgentTextPart():
                return self._answer(event.item_id, event.response_id).written.add(event.content_index, event.delta)
            case AgentTextFinal():
                return self._answer(event.item_id, event.response_id).written.settle(event.content_index, event.text)
            case AgentAudio():
                return self.sound(event.response_id, event.item_id, len(event.pcm))
            case ToolCallReady():
                return self._call(event)
            case OutputItemStarted(kind="assistant"):
                self._answer(event.item_id, event.response_id)
                return True
            case OutputItemEnded():
                return self._end_item(event.item_id, whole=event.status == "completed")
        return False

    def sound(self, response_id: str, item_id: str, size: int) -> bool:
        """`size` bytes of speech: `apply` of an AgentAudio without the object. False when the response is closed."""
        if response_id in self._closed:
            return False
        self._answer(item_id, response_id).heard.audio(size * 500.0 / self._rate)
        return True

    def answer_call(self, result: ToolResult) -> bool:
        """A call's result. False when the call is not this turn's, or has one."""
        if result.call_id not in self._call_responses or result.call_id in self._results:
            return False
        self._results[result.call_id] = result
        return True

    def close(self, response_id: str, heard: HeardOf) -> None:
        """Nothing of this response counts from here on; each of its messages is as heard now."""
        self._closed.add(response_id)
        for answer in self._answers.values():
            if answer.response_id == response_id and answer.cut is None:
                answer.cut = heard(answer.item_id)

    def silence(self, response_id: str) -> None:
        """Nothing more of this response counts; what came of it may still be heard to its end, and is not whole."""
        self._end_response(response_id, whole=False)

    def items(self, heard: HeardOf) -> tuple[Item, ...]:
        """The items so far, in order, each message as far as `heard` says (or said, for a closed response)."""
        placed = [item_id for item_id in self._order.ordered() if item_id in self._arrival]
        seen = set(placed)
        out: list[Item] = []
        for item_id in self._in_order(placed, seen):
            if item_id in self._given:
                out.append(self._given[item_id])
            elif item_id in self._calls:
                call = self._calls[item_id]
                out.append(call)
                if call.call_id in self._results:
                    out.append(self._results[call.call_id])
            else:
                message = self._answers[item_id].message(heard(item_id))
                if message is not None:
                    out.append(message)
        return tuple(out)

    def said_something(self, response_id: str) -> bool:
        """Whether this response has brought words, sound or a call."""
        if any(owner == response_id for owner in self._call_responses.values()):
            return True
        return any(answer.response_id == response_id and answer.said for answer in self._answers.values())

    @property
    def has_message(self) -> bool:
        """Whether a message of the member has begun, in words or in sound."""
        return any(answer.said for answer in self._answers.values())

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls, in the order of arrival."""
        return tuple(self._calls.values())

    @property
    def results(self) -> dict[str, ToolResult]:
        """The results so far by call id."""
        return dict(self._results)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _in_order(self, placed: list[str], seen: set[str]) -> list[str]:
        """The placed items with the others put in: behind the item that arrived before them, at the end if none did."""
        if len(seen) == len(self._arrival):
            return placed
        out = list(placed)
        before: str | None = None
        for item_id in self._arrival:
            if item_id not in seen:
                out.insert(out.index(before) + 1 if before is not None else 0, item_id)
            before = item_id
        return out

    def _answer(self, item_id: str, response_id: str) -> _Answer:
        answer = self._answers.get(item_id)
        if answer is None:
            answer = self._answers[item_id] = _Answer(item_id, response_id, HeardText(self._voice))
            self._arrival[item_id] = None
        return answer

    def _call(self, event: ToolCallReady) -> bool:
        if event.call_id in self._call_responses:
            return False
        item_id = event.call_id if event.item_id in self._arrival else event.item_id
        self._calls[item_id] = ToolCall(item_id, event.call_id, event.name, event.arguments)
        self._call_responses[event.call_id] = event.response_id
        self._arrival[item_id] = None
        return True

    def _end_item(self, item_id: str, *, whole: bool) -> bool:
        answer = self._answers.get(item_id)
        if answer is None or answer.ended or answer.cut is not None:
            return False
        answer.ended = True
        answer.whole = whole
        answer.heard.end(complete=whole)
        return True

    def _end_response(self, response_id: str, *, whole: bool) -> bool:
        if response_id in self._closed:
            return False
        for answer in self._answers.values():
            if answer.response_id == response_id:
                self._end_item(answer.item_id, whole=whole)
        self._closed.add(response_id)
        return True
