"""Committed turns as the items a model is told: what reached the human, closed under tool calls, within a window.

Rules.
- *Heard only.* Of a cut answer the model is told what was heard, with `CUT_MARK` at the end of it so that the model
  knows; what it had generated beyond that is never told. An answer of which nothing was heard is left away.
- *Closure* (law 7). Each tool call is followed, immediately, by exactly one result: its own, or what the ledger knows,
  or a stand-in that says the call still runs or never ran. A result without its call is left away. This is the order
  that both the request/response and the realtime wires accept.
- *Speech without words.* A spoken message whose transcript is not there is told as a placeholder, since an answer to
  nothing would confuse the model more.
- *Window.* Within `max_chars` characters stands a suffix of whole turns. Turns are weighed from the newest back, so the
  price is that of the window, not of the history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen

from mob.history.fold import ToolRecord
from mob.history.items import AgentMessage, Item, Note, ToolCall, ToolResult, Turn, UserMessage, result_id

CUT_MARK = " [cut off here]"
NOT_TRANSCRIBED_YET = "[spoken; not transcribed yet]"
NOT_TRANSCRIBED = "[spoken; it could not be transcribed]"
STILL_RUNNING = "This call is still running; its result is not known yet."
NEVER_RAN = "This call was not run: the turn ended before it could start."

_IMAGE_CHARS = 4000
"""What an image counts towards the window: about a thousand tokens."""


@frozen(slots=True)
class Projection:
    """What a model is told of a history. `degraded`: older turns were left out. `turns`: how many are in."""

    items: tuple[Item, ...]
    degraded: bool
    turns: int


def project(turns: Sequence[Turn], calls: Mapping[str, ToolRecord], *, max_chars: int | None = None) -> Projection:
    """The items of these turns for a model; see the rules above. `calls` is the ledger's view (`History.calls`).

    `max_chars` bounds the texts, names, arguments and outputs together, in characters; None: no bound. A newest turn
    that does not fit by itself leaves nothing.
    """
    chosen: list[tuple[Item, ...]] = []
    room = max_chars
    for turn in reversed(turns):
        items = tuple(_told(turn, calls))
        if room is not None:
            room -= sum(map(_weigh, items))
            if room < 0:
                return Projection(_flatten(chosen), degraded=True, turns=len(chosen))
        chosen.append(items)
    return Projection(_flatten(chosen), degraded=False, turns=len(chosen))


def _flatten(newest_first: list[tuple[Item, ...]]) -> tuple[Item, ...]:
    return tuple(item for items in reversed(newest_first) for item in items)


def _told(turn: Turn, calls: Mapping[str, ToolRecord]) -> Iterator[Item]:
    """One turn's items as a model is told them."""
    results: dict[str, list[ToolResult]] = {}
    for item in reversed(turn.items):
        if isinstance(item, ToolResult):
            results.setdefault(item.call_id, []).append(item)
    for item in turn.items:
        match item:
            case UserMessage():
                message = _with_words(item)
                if message.text or message.images:
                    yield message
            case AgentMessage():
                if item.text:
                    yield _as_heard(item)
            case ToolCall(call_id=call_id):
                yield item
                own = results.get(call_id)
                yield own.pop() if own else _stand_in(item, calls.get(call_id))
            case Note(text=text) if text:
                yield item


def _with_words(message: UserMessage) -> UserMessage:
    if message.text or message.transcript == "final":
        return message
    return evolve(message, text=NOT_TRANSCRIBED_YET if message.transcript == "pending" else NOT_TRANSCRIBED)


def _as_heard(message: AgentMessage) -> AgentMessage:
    """The message without what was not heard; when it was cut, with the mark at the end of its last lane."""
    if not message.interrupted:
        return evolve(message, generated_text="") if message.generated_text else message
    if message.spoken_text:
        return evolve(message, spoken_text=message.spoken_text + CUT_MARK, generated_text="")
    return evolve(message, display_text=message.display_text + CUT_MARK, generated_text="")


def _stand_in(call: ToolCall, record: ToolRecord | None) -> ToolResult:
    """A result for a call whose turn has none. Of a call that still runs, the status says nothing, the output does."""
    if record is not None and record.status is not None:
        status, output, elapsed_ms = record.status, record.output, record.elapsed_ms
    else:
        status, output, elapsed_ms = "cancelled", STILL_RUNNING if record else NEVER_RAN, 0
    return ToolResult(result_id(call.call_id), call.call_id, call.name, status, output, elapsed_ms)


def _weigh(item: Item) -> int:
    """An item's part of the window, characters."""
    match item:
        case UserMessage(text=text, images=images):
            return len(text) + _IMAGE_CHARS * len(images)
        case AgentMessage(text=text) | Note(text=text):
            return len(text)
        case ToolCall(name=name, arguments=arguments):
            return len(name) + len(arguments)
        case ToolResult(output=output):
            return len(output)
