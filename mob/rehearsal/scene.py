"""What a rehearsed response is made from: everything the wire said, and where the conversation stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from mob.values import ToolSchema

_EARLIER_TURNS = 4


@frozen(slots=True)
class Said:
    """A message. `images` describes each picture in it in a few words; `unread_s` is sound that could not be read."""

    role: Literal["user", "assistant", "system"]
    text: str
    images: tuple[str, ...] = ()
    unread_s: float = 0.0


@frozen(slots=True)
class Called:
    """A tool was called."""

    call_id: str
    name: str


@frozen(slots=True)
class Returned:
    """A tool's output came."""

    call_id: str
    output: str


Entry = Said | Called | Returned


@frozen(slots=True)
class Scene:
    """The conversation as the wire gave it. `tool_choice` is "auto", "none", "required" or a tool's name."""

    instructions: str
    entries: tuple[Entry, ...]
    tools: tuple[ToolSchema, ...] = ()
    tool_choice: str = "auto"


@frozen(slots=True)
class Result:
    """A tool's output that nobody has spoken about yet."""

    tool: str
    output: str


@frozen(slots=True)
class Moment:
    """A scene, read.

    `question` is the user's last message ("" when there is none) and `earlier` the few before it; `note` is set
    instead when a system message came last: a hand-over, or something to know. `called` are the tools of this turn.
    """

    question: str = ""
    earlier: str = ""
    images: tuple[str, ...] = ()
    unread_s: float = 0.0
    note: str | None = None
    results: tuple[Result, ...] = ()
    called: frozenset[str] = frozenset()


def read_scene(scene: Scene) -> Moment:
    """Where the conversation stands: what was said last, and what was called and returned since."""
    entries = scene.entries
    last = max((i for i, entry in enumerate(entries) if _is_for_us(entry)), default=-1)
    since = entries[last + 1 :]
    names = {entry.call_id: entry.name for entry in entries if isinstance(entry, Called)}
    results = tuple(Result(names.get(entry.call_id, ""), entry.output) for entry in _unspoken(since))
    called = frozenset(entry.name for entry in since if isinstance(entry, Called))
    before = [entry.text for entry in entries[: max(last, 0)] if isinstance(entry, Said) and entry.role == "user"]
    match entries[last] if last >= 0 else None:
        case Said(role="system", text=note):
            return Moment(note=note, earlier=_recent(before), results=results, called=called)
        case Said(text=question, images=images, unread_s=unread_s):
            return Moment(question.strip(), _recent(before), images, unread_s, results=results, called=called)
    return Moment(results=results, called=called)


def _is_for_us(entry: Entry) -> bool:
    return isinstance(entry, Said) and entry.role != "assistant"


def _recent(texts: Sequence[str]) -> str:
    return " ".join(texts[-_EARLIER_TURNS:])


def _unspoken(since: Sequence[Entry]) -> list[Returned]:
    tail: list[Returned] = []
    for entry in since:
        match entry:
            case Returned():
                tail.append(entry)
            case Said(role="assistant"):
                tail = []
    return tail
