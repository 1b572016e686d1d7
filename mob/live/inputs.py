"""What can happen to a channel: the inputs of the channel machine.

Three kinds. What the client asks for (it may be refused with LiveRejected, and then nothing has changed). What the
provider's connection does, tagged with the epoch it happened in, so that the machine can compare when it applies it
and not before (law 13). And what comes back from the effects that the machine asked for. Time is not an input of its
own: every input is handled at a `now`, and `Tick` says that nothing but time has passed.
"""

from __future__ import annotations

from attrs import frozen

from mob.errors import MobError, ProviderError
from mob.history.items import Item, ToolResult
from mob.live.ports import Prompt, Seed
from mob.providers.events import WireEvent
from mob.values import Image, Modality, ToolSchema, TurnDetection

# -- the client ----------------------------------------------------------------------------------------------------


@frozen(slots=True)
class SendText:
    """The human typed this: a user turn, answered at once (it then interrupts speech), or when `Respond` says so.

    `output` is what it is to be answered with; None: as the channel has it. `item_id` is the client's name for it.
    """

    text: str
    output: Modality | None = None
    item_id: str | None = None


@frozen(slots=True)
class Respond:
    """Answer what the user has said and nobody was asked to answer; or, without that, the conversation as it is.

    `output` None: as that turn or the channel has it. `instructions` stand in the place of the session's, in this turn.
    """

    output: Modality | None = None
    instructions: str | None = None


@frozen(slots=True)
class PutPrompt:
    """The session puts a turn to the member; it waits for its place. `turn_id` is the caller's name for it."""

    turn_id: str
    prompt: Prompt


@frozen(slots=True)
class Withdraw:
    """Whoever waits for this turn has gone: it is dropped if it has not begun, else cut."""

    turn_id: str


@frozen(slots=True)
class SendImage:
    """A picture for the next turn. Nothing is answered until the user speaks or types."""

    image: Image
    item_id: str | None = None


@frozen(slots=True)
class CommitInputAudio:
    """The user's turn is over (manual turns). `output` is what it is to be answered with."""

    output: Modality | None = None


@frozen(slots=True)
class ClearInputAudio:
    """Forget the audio sent since the last turn."""


@frozen(slots=True)
class Interrupt:
    """Stop the answer, speech and text alike. `reason` is a word for the counters: client, floor, …"""

    reason: str = "client"


@frozen(slots=True)
class Truncate:
    """Playing stopped at `ms` of this item: stop the answer there."""

    item_id: str
    ms: int


@frozen(slots=True)
class Played:
    """The receipt: the human has heard `ms` of this item."""

    item_id: str
    ms: int


@frozen(slots=True)
class StopPlaying:
    """The client has stopped playing. Where, it says next (Truncate), or what the clock said at this moment stands."""


@frozen(slots=True)
class PlayedThrough:
    """What the client has been given of a whole answer it plays to its end: the answer need not be waited for."""


@frozen(slots=True)
class ExpectReceipts:
    """Who listens from now on will report what it plays, or will not."""

    expected: bool


@frozen(slots=True)
class Refresh:
    """Change what can change on an open channel; None leaves it. The other fields are refused or allowed by rule."""

    instructions: str | None = None
    tools: tuple[ToolSchema, ...] | None = None
    voice: str | None = None
    model: str | None = None
    provider: str | None = None
    turn_detection: TurnDetection | None = None
    output: Modality | None = None
    extra_instructions: str | None = None
    auto_respond: bool | None = None
    barge_in: bool | None = None


@frozen(slots=True)
class AddContext:
    """The session's log has this item now, and nobody is to answer it: the provider is to know it, too."""

    item: Item


@frozen(slots=True)
class GiveToolResult:
    """The client answers a call that the session does not run."""

    call_id: str
    output: str


@frozen(slots=True)
class Close:
    """End the channel. `reason` is told to the client and the provider."""

    reason: str = "client_closed"


@frozen(slots=True)
class Fail:
    """End the channel because of this: it reaches the client as a ChannelError first."""

    code: str
    message: str


# -- the connection ------------------------------------------------------------------------------------------------


@frozen(slots=True)
class ConnectionOpened:
    """The connection that `Dial(epoch)` asked for is there; the provider has said nothing yet."""

    epoch: int


@frozen(slots=True)
class ConnectionLost:
    """The connection of this epoch could not be had, or is gone."""

    epoch: int
    error: ProviderError


@frozen(slots=True)
class Wire:
    """The provider of this epoch said something."""

    epoch: int
    event: WireEvent


# -- what became of effects ----------------------------------------------------------------------------------------


@frozen(slots=True)
class SeedReady:
    """The answer to `NeedSeed`."""

    epoch: int
    seed: Seed


@frozen(slots=True)
class TurnAdmitted:
    """The session lets this turn run."""

    turn_id: str


@frozen(slots=True)
class TurnRefused:
    """The session does not let this turn run."""

    turn_id: str
    error: MobError


@frozen(slots=True)
class RequestRefused:
    """The session does not pay for this response. `ref` is that of the `RequestResponse`."""

    ref: str
    error: MobError


@frozen(slots=True)
class TurnDurable:
    """The committed turn is in the log."""

    turn_id: str


@frozen(slots=True)
class ToolOutcome:
    """A call ended. `result` is None when its scope was cancelled before it gave one."""

    call_id: str
    result: ToolResult | None


@frozen(slots=True)
class AudioLost:
    """Audio of these items was thrown away before the client took it."""

    item_ids: tuple[str, ...]


@frozen(slots=True)
class Tick:
    """Time has passed: `ChannelMachine.wake_at` has come."""


Input = (
    SendText
    | Respond
    | PutPrompt
    | Withdraw
    | SendImage
    | CommitInputAudio
    | ClearInputAudio
    | Interrupt
    | Truncate
    | Played
    | ExpectReceipts
    | StopPlaying
    | PlayedThrough
    | Refresh
    | AddContext
    | GiveToolResult
    | Close
    | Fail
    | ConnectionOpened
    | ConnectionLost
    | Wire
    | SeedReady
    | TurnAdmitted
    | TurnRefused
    | RequestRefused
    | TurnDurable
    | ToolOutcome
    | AudioLost
    | Tick
)
