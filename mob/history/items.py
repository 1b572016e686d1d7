"""What a history is made of: items, and turns of items.

A turn is the unit of commit. Its items are in the order in which they were said. Lane rule: what a model wrote
(`display_text`) and what it spoke (`spoken_text`) are kept apart to the end; `text` is what a reader or a model is
shown. For an interrupted spoken message `spoken_text` is the heard prefix and `generated_text` the whole.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from attrs import field, frozen

from mob.values import NO_USAGE, Fidelity, Image, ToolStatus, Usage

TranscriptState = Literal["final", "pending", "failed"]
TurnStatus = Literal["done", "interrupted", "failed", "cancelled"]
CauseKind = Literal["speech", "text", "ask", "tell", "hand_off", "idle", "context"]
"""What began a turn. `idle`: the provider spoke of its own accord; `context`: the member was only told something."""


@frozen(slots=True)
class UserMessage:
    """Something said to the member, by the human (`author` None) or by another member (`author` its identity).

    Spoken input has `transcript` "pending" and an empty `text` until the provider's transcript comes; the slot is
    filled once, by a later row of the log, and never emptied.
    """

    id: str
    text: str
    author: str | None = None
    spoken: bool = False
    transcript: TranscriptState = "final"
    images: tuple[Image, ...] = ()


@frozen(slots=True)
class AgentMessage:
    """Something the member said. `generated_ms` and `heard_ms` are milliseconds of audio, None for written text."""

    id: str
    display_text: str = ""
    spoken_text: str = ""
    interrupted: bool = False
    generated_ms: int | None = None
    heard_ms: int | None = None
    fidelity: Fidelity | None = None
    generated_text: str = ""
    response_id: str | None = None

    @property
    def text(self) -> str:
        """What was heard or read: never more than reached the human."""
        return "\n".join(part for part in (self.display_text, self.spoken_text) if part)


@frozen(slots=True)
class ToolCall:
    """A call the model made. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    call_id: str
    name: str
    arguments: str


@frozen(slots=True)
class ToolResult:
    """The one terminal state of a call, and what the model is told of it."""

    id: str
    call_id: str
    name: str
    status: ToolStatus
    output: str
    elapsed_ms: int = 0


@frozen(slots=True)
class Note:
    """Something the member is told that nobody said to it: a handover, a repair after a crash, context from outside."""

    id: str
    text: str
    kind: str = "note"


Item = UserMessage | AgentMessage | ToolCall | ToolResult | Note


@frozen(slots=True)
class Cause:
    """Why a turn began. `origin` is the member who asked, None for the human; `hops` how far the request travelled."""

    kind: CauseKind
    origin: str | None = None
    message_id: str | None = None
    hops: int = 0


@frozen(slots=True)
class Timings:
    """Milliseconds from the end of the user's turn; None where it does not apply.

    `first_token_ms`: first text or transcript; `first_audio_ms`: first audio received; `first_played_ms`: first
    audio the receipts report as played; `total_ms`: until the response ended. `started_at` is unix seconds.
    """

    started_at: float = 0.0
    first_token_ms: int | None = None
    first_audio_ms: int | None = None
    first_played_ms: int | None = None
    total_ms: int | None = None


@frozen(slots=True)
class Turn:
    """The unit of commit: whole in the log, or not there at all.

    `seq` is the log row's sequence number, 0 before it is committed. `error` is a sentence when status is "failed".
    """

    id: str
    cause: Cause
    items: tuple[Item, ...]
    status: TurnStatus = "done"
    seq: int = 0
    usage: Usage = NO_USAGE
    timings: Timings = field(factory=Timings)
    error: str | None = None

    @property
    def user_text(self) -> str:
        """What was said to the member in this turn."""
        return "\n".join(i.text for i in self.items if isinstance(i, UserMessage) and i.text)

    @property
    def agent_text(self) -> str:
        """What the member said in this turn, as far as it was heard."""
        return "\n".join(i.text for i in self.items if isinstance(i, AgentMessage) and i.text)


def result_id(call_id: str) -> str:
    """The item id of a call's result when mob makes the result itself: the same for the same call, 23 characters."""
    return f"result_{hashlib.blake2s(call_id.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
