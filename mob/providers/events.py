"""What a provider says, in one vocabulary whatever the wire (reference: neutral event model).

A client role turns frames into these. They carry the wire's own identifiers and no policy: what an event means
for a turn is the channel machine's business. Times are milliseconds, audio is PCM16 little-endian mono.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from mob.values import Recovery, Usage

ItemKind = Literal["user", "assistant", "system", "tool_call", "tool_result", "other"]
ResponseStatus = Literal["completed", "cancelled", "failed", "incomplete"]


@frozen(slots=True)
class SessionOpened:
    """The provider accepted the connection. `expires_at` is unix seconds, None when it names no limit."""

    session_id: str | None
    expires_at: float | None = None
    model: str | None = None


@frozen(slots=True)
class SessionConfigured:
    """The last configuration is in force. `expires_at` as above."""

    expires_at: float | None = None


@frozen(slots=True)
class InputSpeechStarted:
    """The provider's turn detection heard speech begin. `item_id` is the future user item."""

    item_id: str | None
    offset_ms: int | None = None


@frozen(slots=True)
class InputSpeechStopped:
    """Speech ended."""

    item_id: str | None
    offset_ms: int | None = None


@frozen(slots=True)
class InputCommitted:
    """The input audio became the user item `item_id`."""

    item_id: str
    previous_item_id: str | None = None


@frozen(slots=True)
class InputCleared:
    """The uncommitted input audio was thrown away."""


@frozen(slots=True)
class InputIdle:
    """Nobody spoke for the configured idle time."""

    item_id: str | None = None


@frozen(slots=True)
class ItemAdded:
    """An item stands in the provider's conversation, after `previous_item_id` (None: first, or not said)."""

    item_id: str
    previous_item_id: str | None
    kind: ItemKind
    text: str = ""
    response_id: str | None = None


@frozen(slots=True)
class ItemDone:
    """An item is complete (or will not become so: `status` is incomplete)."""

    item_id: str
    status: str = "completed"


@frozen(slots=True)
class ItemDeleted:
    """An item is gone from the provider's conversation."""

    item_id: str


@frozen(slots=True)
class ItemTruncated:
    """An item's audio now ends at `audio_end_ms`."""

    item_id: str
    audio_end_ms: int


@frozen(slots=True)
class UserTranscriptPart:
    """More of a user item's transcript."""

    item_id: str
    delta: str
    content_index: int = 0


@frozen(slots=True)
class UserTranscriptFinal:
    """A user item's whole transcript."""

    item_id: str
    text: str
    content_index: int = 0


@frozen(slots=True)
class UserTranscriptFailed:
    """There will be no transcript for this item; the turn goes on."""

    item_id: str
    message: str = ""


@frozen(slots=True)
class ResponseStarted:
    """A response is in progress. `ref` is the `event_ref` of the CreateResponse that asked for it, if known."""

    response_id: str
    ref: str | None = None


@frozen(slots=True)
class OutputItemStarted:
    """A response began an output item."""

    response_id: str
    item_id: str
    kind: ItemKind
    output_index: int = 0


@frozen(slots=True)
class OutputItemEnded:
    """An output item is complete, or was cut short (`status` incomplete)."""

    response_id: str
    item_id: str
    status: str = "completed"


@frozen(slots=True)
class AgentAudio:
    """A piece of speech."""

    response_id: str
    item_id: str
    pcm: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
    content_index: int = 0


@frozen(slots=True)
class AgentAudioEnded:
    """No more audio for this item."""

    response_id: str
    item_id: str
    content_index: int = 0


@frozen(slots=True)
class AgentTranscriptPart:
    """More of what is being spoken (spoken lane)."""

    response_id: str
    item_id: str
    delta: str
    content_index: int = 0


@frozen(slots=True)
class AgentTranscriptFinal:
    """The whole of what was spoken in this item (spoken lane)."""

    response_id: str
    item_id: str
    text: str
    content_index: int = 0


@frozen(slots=True)
class AgentTextPart:
    """More written text (display lane)."""

    response_id: str
    item_id: str
    delta: str
    content_index: int = 0


@frozen(slots=True)
class AgentTextFinal:
    """The whole written text of this part (display lane)."""

    response_id: str
    item_id: str
    text: str
    content_index: int = 0


@frozen(slots=True)
class ToolCallPart:
    """More of a call's arguments."""

    response_id: str
    item_id: str
    call_id: str
    delta: str


@frozen(slots=True)
class ToolCallReady:
    """A call with its whole arguments (JSON text as the model wrote it, "{}" when it wrote nothing)."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str


@frozen(slots=True)
class ProviderFault:
    """An error the provider reports. `ref` names the offending command when the provider says which.

    `response_id` is set when the message names a response (the active-response refusal does).
    """

    code: str
    message: str
    recovery: Recovery
    ref: str | None = None
    response_id: str | None = None
    retry_after_s: float | None = None


@frozen(slots=True)
class ResponseEnded:
    """A response is over. `reason` is the provider's word for why (turn_detected, max_output_tokens, …)."""

    response_id: str
    status: ResponseStatus
    reason: str | None = None
    usage: Usage | None = None
    fault: ProviderFault | None = None


@frozen(slots=True)
class SessionExpiring:
    """The provider will close in `in_s` seconds."""

    in_s: float


@frozen(slots=True)
class RateLimited:
    """What is left of the provider's rate: the smallest remaining share, 0..1, and when it refills."""

    remaining: float
    reset_s: float


@frozen(slots=True)
class Ignored:
    """An event or shape we do not know. Counted by name, never an error."""

    name: str


WireEvent = (
    SessionOpened
    | SessionConfigured
    | InputSpeechStarted
    | InputSpeechStopped
    | InputCommitted
    | InputCleared
    | InputIdle
    | ItemAdded
    | ItemDone
    | ItemDeleted
    | ItemTruncated
    | UserTranscriptPart
    | UserTranscriptFinal
    | UserTranscriptFailed
    | ResponseStarted
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
    | ProviderFault
    | ResponseEnded
    | SessionExpiring
    | RateLimited
    | Ignored
)
