"""What we say to a realtime provider, in one vocabulary whatever the wire. A client role encodes these to frames.

`ref` is our own name for a command; the wire carries it where it can (OpenAI: `event_id`) and a ProviderFault
about the command brings it back.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from mob.values import Image, Modality, ToolSchema, TurnDetection


@frozen(slots=True)
class SessionConfig:
    """Everything a provider session is told. Rates are Hz. `params` are extra vendor fields, passed as they are."""

    instructions: str = ""
    voice: str | None = None
    output: Modality = "audio"
    tools: tuple[ToolSchema, ...] = ()
    turn_detection: TurnDetection = field(factory=TurnDetection)
    input_rate: int = 24000
    output_rate: int = 24000
    transcription_model: str | None = None
    params: dict[str, object] = field(factory=dict, hash=False)


@frozen(slots=True)
class Configure:
    """Put `config` in force. `previous` is what is in force, so that a wire can send only what changed."""

    config: SessionConfig
    previous: SessionConfig | None = None
    ref: str | None = None


@frozen(slots=True)
class AppendAudio:
    """PCM16 little-endian mono at the session's input rate. Never acknowledged."""

    pcm: bytes = field(repr=lambda b: f"<{len(b)} bytes>")


@frozen(slots=True)
class CommitInput:
    """The appended audio is a user turn."""

    ref: str | None = None


@frozen(slots=True)
class ClearInput:
    """Throw the appended audio away."""

    ref: str | None = None


@frozen(slots=True)
class AddMessage:
    """Put a message into the conversation: `previous_item_id` None appends."""

    item_id: str
    role: Literal["user", "assistant", "system"]
    text: str
    images: tuple[Image, ...] = ()
    previous_item_id: str | None = None
    ref: str | None = None


@frozen(slots=True)
class AddToolCall:
    """Put a past call into the conversation (seeding)."""

    item_id: str
    call_id: str
    name: str
    arguments: str
    ref: str | None = None


@frozen(slots=True)
class AddToolResult:
    """The output of a call, live or seeded."""

    item_id: str
    call_id: str
    output: str
    ref: str | None = None


@frozen(slots=True)
class CreateResponse:
    """Ask for an answer. `output` None: as the session is configured. `instructions` replace the session's."""

    ref: str | None = None
    output: Modality | None = None
    instructions: str | None = None


@frozen(slots=True)
class CancelResponse:
    """Stop the response; None: the current one."""

    response_id: str | None = None
    ref: str | None = None


@frozen(slots=True)
class TruncateItem:
    """The human heard `audio_end_ms` of this item and no more."""

    item_id: str
    audio_end_ms: int
    content_index: int = 0
    ref: str | None = None


@frozen(slots=True)
class DeleteItem:
    """Take an item out of the conversation."""

    item_id: str
    ref: str | None = None


WireCommand = (
    Configure
    | AppendAudio
    | CommitInput
    | ClearInput
    | AddMessage
    | AddToolCall
    | AddToolResult
    | CreateResponse
    | CancelResponse
    | TruncateItem
    | DeleteItem
)
