"""What a live channel tells its client: one shape whatever the provider.

Every event has `channel_id`, `epoch` (the channel generation: it rises by one with each new connection to the
provider) and `t` (seconds on the run's clock). Positions and durations are milliseconds; audio is PCM16
little-endian mono at the channel's output rate.
"""

from __future__ import annotations

from attrs import field, frozen

from mob.history.items import CauseKind, Turn
from mob.values import Continuity, Fidelity, Recovery, ToolStatus, Usage


@frozen(slots=True, kw_only=True)
class LiveEvent:
    """What all of them have."""

    channel_id: str
    epoch: int
    t: float


@frozen(slots=True, kw_only=True)
class Connected(LiveEvent):
    """The channel is ready (again, when `epoch` > 1). `continuity` says what the provider was told of the past."""

    continuity: Continuity
    expires_at: float | None = None


@frozen(slots=True, kw_only=True)
class Disconnected(LiveEvent):
    """The connection ended. `final` False: a new one is being opened. After a final one nothing follows."""

    reason: str
    final: bool


@frozen(slots=True, kw_only=True)
class SpeechStarted(LiveEvent):
    """The user began to speak: stop playing."""

    item_id: str | None


@frozen(slots=True, kw_only=True)
class SpeechStopped(LiveEvent):
    """The user stopped speaking."""

    item_id: str | None


@frozen(slots=True, kw_only=True)
class SpeechCommitted(LiveEvent):
    """What the user said is an item now, and belongs to a turn. Its words come when they come (UserTranscript)."""

    item_id: str


@frozen(slots=True, kw_only=True)
class UserTranscriptDelta(LiveEvent):
    """More of what the user says."""

    item_id: str
    delta: str


@frozen(slots=True, kw_only=True)
class UserTranscript(LiveEvent):
    """What the user said, whole."""

    item_id: str
    text: str


@frozen(slots=True, kw_only=True)
class TurnBegan(LiveEvent):
    """A turn has its place: what the member says from here until it is committed belongs to it.

    `cause` and `origin` say why it began. `prompted`: it was put to the member beside this channel, by another member
    or another program, so that its answer is not for this client (unless it hands the human over: cause "hand_off").
    """

    turn: str
    cause: CauseKind
    origin: str | None = None
    prompted: bool = False


@frozen(slots=True, kw_only=True)
class AgentTranscriptDelta(LiveEvent):
    """More of what the member is speaking. It runs ahead of the audio."""

    item_id: str
    response_id: str
    delta: str


@frozen(slots=True, kw_only=True)
class AgentTranscript(LiveEvent):
    """What the member speaks in this item, whole."""

    item_id: str
    response_id: str
    text: str


@frozen(slots=True, kw_only=True)
class TextDelta(LiveEvent):
    """More written text."""

    item_id: str
    response_id: str
    delta: str


@frozen(slots=True, kw_only=True)
class Text(LiveEvent):
    """The written text of this item, whole."""

    item_id: str
    response_id: str
    text: str


@frozen(slots=True, kw_only=True)
class AudioDelta(LiveEvent):
    """A piece of speech that starts `start_ms` into its item."""

    item_id: str
    response_id: str
    pcm: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    start_ms: int


@frozen(slots=True, kw_only=True)
class AudioDone(LiveEvent):
    """No more audio for this item; it is `duration_ms` long."""

    item_id: str
    response_id: str
    duration_ms: int


@frozen(slots=True, kw_only=True)
class ToolCall(LiveEvent):
    """The model calls a tool. When `external` is True nobody here runs it: answer with `send_tool_result`."""

    call_id: str
    name: str
    arguments: str
    external: bool = False


@frozen(slots=True, kw_only=True)
class ToolFinished(LiveEvent):
    """A call reached its one terminal state."""

    call_id: str
    name: str
    status: ToolStatus
    output: str
    elapsed_ms: int


@frozen(slots=True, kw_only=True)
class Interrupted(LiveEvent):
    """The answer was cut: stop playing `item_id`. What was heard is settled and will not change."""

    item_id: str | None
    response_id: str
    generated_ms: int
    heard_ms: int
    fidelity: Fidelity


@frozen(slots=True, kw_only=True)
class ResponseDone(LiveEvent):
    """The provider finished a response. The turn is committed once it was played or cut, not before."""

    response_id: str
    status: str
    usage: Usage | None


@frozen(slots=True, kw_only=True)
class TurnCommitted(LiveEvent):
    """The turn is durable."""

    turn: Turn


@frozen(slots=True, kw_only=True)
class ChannelError(LiveEvent):
    """Something went wrong. `recovery` says what mob does about it (or, "fatal", that it cannot)."""

    code: str
    message: str
    recovery: Recovery
