"""What the channel machine wants done. The pump performs these in order, as they come, and decides nothing."""

from __future__ import annotations

from attrs import frozen

from mob.errors import MobError
from mob.history.items import Cause, ToolCall, Turn
from mob.live.events import LiveEvent
from mob.providers.commands import CreateResponse, WireCommand
from mob.values import Usage


@frozen(slots=True)
class Dial:
    """Open a connection under this epoch; answer with ConnectionOpened or ConnectionLost."""

    epoch: int


@frozen(slots=True)
class HangUp:
    """Close the connection of this epoch. Nothing of it matters from here on."""

    epoch: int
    reason: str


@frozen(slots=True)
class NeedSeed:
    """Ask the session what a new connection is told; answer with SeedReady, at once.

    `max_chars` bounds what is told of the past.
    """

    epoch: int
    max_chars: int | None = None


@frozen(slots=True)
class Send:
    """Write this to the connection of this epoch."""

    epoch: int
    command: WireCommand


@frozen(slots=True)
class RequestResponse:
    """Reserve a request with the session, then write `command`; RequestRefused when the session says no.

    `command` is None for a response that the provider began by itself: it is only paid for. Each of these is followed
    by exactly one `Spent`, unless it was refused.
    """

    epoch: int
    ref: str
    command: CreateResponse | None


@frozen(slots=True)
class Spent:
    """A requested response is over; `usage` None: the provider did not say."""

    usage: Usage | None


@frozen(slots=True)
class Publish:
    """Tell the client."""

    event: LiveEvent


@frozen(slots=True)
class DiscardAudio:
    """Throw away what the client has not yet taken of these items' audio."""

    item_ids: frozenset[str]


@frozen(slots=True)
class Admit:
    """Ask the session to let this turn run; answer with TurnAdmitted or TurnRefused."""

    turn_id: str
    cause: Cause


@frozen(slots=True)
class CommitTurn:
    """Make the turn durable, tell the client and whoever waits for it, answer with TurnDurable. In order."""

    turn: Turn


@frozen(slots=True)
class DropTurn:
    """The turn will not run, and there is nothing to commit. Whoever waits for it gets `error`."""

    turn_id: str
    error: MobError


@frozen(slots=True)
class AbandonTurn:
    """The session let this turn run and it came to nothing: free its slot."""

    turn_id: str


@frozen(slots=True)
class FillTranscript:
    """A transcript came after its turn was committed (or never will). In order with the commits."""

    item_id: str
    text: str
    failed: bool


@frozen(slots=True)
class StartTool:
    """Run this call in a task of its own; answer with ToolOutcome."""

    call: ToolCall
    turn_id: str
    response_id: str
    cause: Cause


@frozen(slots=True)
class CancelTool:
    """Cancel the call's scope; the answer is still a ToolOutcome."""

    call_id: str


@frozen(slots=True)
class Finish:
    """The channel is closed. When the commits are done, tell the client so, and end."""

    reason: str


Effect = (
    Dial
    | HangUp
    | NeedSeed
    | Send
    | RequestResponse
    | Spent
    | Publish
    | DiscardAudio
    | Admit
    | CommitTurn
    | DropTurn
    | AbandonTurn
    | FillTranscript
    | StartTool
    | CancelTool
    | Finish
)
