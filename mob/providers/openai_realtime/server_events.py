"""What the server role tells its application: requests that were found legal and have taken effect.

Whatever was refused has been answered with an `error` event and does not show here. Audio is as the session's input
format says, which is PCM16 little-endian mono at 24 kHz unless the client chose another.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from mob.providers.commands import SessionConfig
from mob.providers.events import ItemKind
from mob.values import Modality, ToolSchema


def _size(data: bytes) -> str:
    return f"<{len(data)} bytes>"


@frozen(slots=True)
class ConversationItem:
    """One item of the conversation, as the application reads it.

    `text` is what was written, or the transcript as far as it is known (a truncated answer has none, as with the
    vendor). `audio` is sound that came inside the item. `images` are data URIs. For calls: `call_id`, `name`,
    `arguments`; for results: `call_id`, `text`.
    """

    id: str
    kind: ItemKind
    text: str = ""
    audio: bytes = field(default=b"", repr=_size)
    images: tuple[str, ...] = field(default=(), repr=lambda images: f"<{len(images)} images>")
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    status: str = "completed"


@frozen(slots=True)
class ResponseParams:
    """What a response is to be: the session's settings with the request's laid over them.

    `conversation` "none": beside the conversation, its items are not kept. `input` None: the conversation is the
    context; otherwise these items are. `tool_choice` and `max_output_tokens` as on the wire.
    """

    response_id: str
    conversation: Literal["auto", "none"] = "auto"
    output: Modality = "audio"
    instructions: str = ""
    voice: str | None = None
    tools: tuple[ToolSchema, ...] = ()
    tool_choice: object = "auto"
    max_output_tokens: object = "inf"
    input: tuple[ConversationItem, ...] | None = None
    metadata: dict[str, str] | None = field(default=None, hash=False)
    event_id: str | None = None


@frozen(slots=True)
class SessionUpdated:
    """The session has a new configuration, acknowledged."""

    config: SessionConfig


@frozen(slots=True)
class AudioAppended:
    """Input audio. `start_ms`: where it begins, counted from the first audio of the session."""

    pcm: bytes = field(repr=_size)
    start_ms: int = 0


@frozen(slots=True)
class InputCommitted:
    """The input audio became the user item `item_id`, whose sound is `pcm`."""

    item_id: str
    pcm: bytes = field(repr=_size)
    previous_item_id: str | None = None


@frozen(slots=True)
class InputCleared:
    """The client threw the input audio away; speech that was going on is forgotten."""


@frozen(slots=True)
class ItemCreated:
    """The client put an item into the conversation, after `previous_item_id` (None: in front)."""

    item: ConversationItem
    previous_item_id: str | None = None


@frozen(slots=True)
class ItemDeleted:
    """The client took an item out."""

    item_id: str


@frozen(slots=True)
class ItemTruncated:
    """The client says that this much of an answer was heard."""

    item_id: str
    content_index: int
    audio_end_ms: int


@frozen(slots=True)
class ResponseRequested:
    """The client asks for an answer. Start it with `server.start_response(params)` or `server.refuse_response`.

    Until one of the two the conversation counts as busy.
    """

    params: ResponseParams


@frozen(slots=True)
class ResponseCancelled:
    """The client cancelled a response; its end has been written, and its writer writes no more."""

    response_id: str


ServerEvent = (
    SessionUpdated
    | AudioAppended
    | InputCommitted
    | InputCleared
    | ItemCreated
    | ItemDeleted
    | ItemTruncated
    | ResponseRequested
    | ResponseCancelled
)
