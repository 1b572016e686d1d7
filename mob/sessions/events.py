"""The vocabulary of a run: what `--json` prints, what RPC streams and recordings carry (design, 5.3).

Each event has `type`, `seq` (counts the stream from 1) and `t` (seconds since the run began); `member` where it is
about one. `as_json()` gives the object of one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, fields, frozen

from mob.history.items import CauseKind, Timings, TurnStatus
from mob.values import Continuity, Fidelity, Recovery, ToolStatus, Usage, Via


@frozen(slots=True, kw_only=True)
class RunEvent:
    """What all of them have."""

    type: ClassVar[str] = ""
    seq: int = 0
    t: float = 0.0
    member: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The event as one JSON object: `type seq t [member] …`; None fields are left out."""
        out: dict[str, Any] = {"type": self.type, "seq": self.seq, "t": round(self.t, 4)}
        for attribute in fields(type(self)):
            name, value = attribute.name, getattr(self, attribute.name)
            if name in ("seq", "t") or value is None:
                continue
            out[attribute.metadata.get("json", name)] = _plain(value)
        return out


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(type(value), "__attrs_attrs__"):
        pairs = ((a.name, getattr(value, a.name)) for a in fields(type(value)))
        return {name: _plain(item) for name, item in pairs if item is not None}
    return value


@frozen(slots=True, kw_only=True)
class MobStarted(RunEvent):
    """The run begins. `members` maps each identity to its model and how it is reached (live, text, rehearsed)."""

    type: ClassVar[str] = "mob_started"
    mob: str
    run: str
    members: dict[str, dict[str, Any]] = field(hash=False)


@frozen(slots=True, kw_only=True)
class MobStopped(RunEvent):
    """The run is over."""

    type: ClassVar[str] = "mob_stopped"
    reason: str
    turns: int
    usage: Usage


@frozen(slots=True, kw_only=True)
class MemberChanged(RunEvent):
    """A member's state: idle, listening, thinking, speaking, tool, connecting, restarting, retired, failed."""

    type: ClassVar[str] = "member_changed"
    state: str
    generation: int


@frozen(slots=True, kw_only=True)
class ChannelOpened(RunEvent):
    """A live channel is ready."""

    type: ClassVar[str] = "channel_opened"
    channel: str
    continuity: Continuity
    epoch: int


@frozen(slots=True, kw_only=True)
class ChannelClosed(RunEvent):
    """A live channel ended."""

    type: ClassVar[str] = "channel_closed"
    channel: str
    reason: str


@frozen(slots=True, kw_only=True)
class UserTranscribed(RunEvent):
    """What the user said, as the provider heard it."""

    type: ClassVar[str] = "user_transcript"
    text: str


@frozen(slots=True, kw_only=True)
class AgentTranscribed(RunEvent):
    """What the member spoke, whole (what was heard of it is in turn_committed)."""

    type: ClassVar[str] = "agent_transcript"
    text: str


@frozen(slots=True, kw_only=True)
class AgentWrote(RunEvent):
    """What the member wrote."""

    type: ClassVar[str] = "agent_text"
    text: str


@frozen(slots=True, kw_only=True)
class AgentWriting(RunEvent):
    """More of what the member writes over request/response. What is whole comes as agent_text."""

    type: ClassVar[str] = "agent_text_delta"
    delta: str


@frozen(slots=True, kw_only=True)
class ToolCalled(RunEvent):
    """A tool starts."""

    type: ClassVar[str] = "tool_call"
    call: str
    name: str
    arguments: str


@frozen(slots=True, kw_only=True)
class ToolEnded(RunEvent):
    """A tool's terminal state."""

    type: ClassVar[str] = "tool_result"
    call: str
    name: str
    status: ToolStatus
    output: str
    elapsed_ms: int


@frozen(slots=True, kw_only=True)
class MessageSent(RunEvent):
    """A message went from one member to another."""

    type: ClassVar[str] = "message"
    origin: str = field(metadata={"json": "from"})
    to: str
    via: Via
    text: str


@frozen(slots=True, kw_only=True)
class FloorChanged(RunEvent):
    """The human talks with somebody else now."""

    type: ClassVar[str] = "floor_moved"
    origin: str | None = field(metadata={"json": "from"})
    to: str | None


@frozen(slots=True, kw_only=True)
class AnswerInterrupted(RunEvent):
    """An answer was cut off."""

    type: ClassVar[str] = "interrupted"
    generated_ms: int
    heard_ms: int
    fidelity: Fidelity


@frozen(slots=True, kw_only=True)
class TurnBegan(RunEvent):
    """A turn has its place: what the member does from here until it is committed belongs to it.

    `cause` and `origin` (printed as `from`) say why, `message_id` what it answers. A turn that comes to nothing is not
    committed; the next one begins all the same.
    """

    type: ClassVar[str] = "turn_started"
    cause: CauseKind
    origin: str | None = field(default=None, metadata={"json": "from"})
    message_id: str | None = None


@frozen(slots=True, kw_only=True)
class TurnEnded(RunEvent):
    """A turn is in the log. `user` and `agent` are its texts as committed."""

    type: ClassVar[str] = "turn_committed"
    turn: str
    status: TurnStatus
    user: str
    agent: str
    usage: Usage
    latency: Timings


@frozen(slots=True, kw_only=True)
class ErrorOccurred(RunEvent):
    """Something failed. `error_class` is printed as `class`; `recovery` says what is done about it."""

    type: ClassVar[str] = "error"
    error_class: str = field(metadata={"json": "class"})
    message: str
    recovery: Recovery
