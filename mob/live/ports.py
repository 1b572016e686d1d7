"""What a live channel needs of the session that owns it, and what it is opened with.

The channel never sees a store, a tool function or a budget: it asks its session through `SessionPort`. That keeps
one writer of the history (the session) and lets the same channel serve a team, a lone `connect_realtime`, and tests.
"""

from __future__ import annotations

from typing import Protocol

from attrs import Attribute, field, frozen

from mob.errors import UsageError
from mob.history.items import Cause, Item, ToolCall, ToolResult, Turn
from mob.live.events import LiveEvent
from mob.providers.commands import SessionConfig
from mob.values import Continuity, Modality, TurnDetection, Usage


@frozen(slots=True)
class Seed:
    """What a new connection is told: the configuration, and the items of the past in order.

    `items` are a projection of the log that is closed under law 7. `continuity` is fresh (no items),
    transcript_only, or degraded when something was left out to fit.
    """

    config: SessionConfig
    items: tuple[Item, ...] = ()
    continuity: Continuity = "fresh"


@frozen(slots=True)
class Prompt:
    """Text (or a handover) put to the member over its channel: becomes a user message and asks for an answer.

    `output` None: as the channel is configured; "text" for a member asked by another member.
    """

    items: tuple[Item, ...]
    cause: Cause
    output: str | None = None


class SessionPort(Protocol):
    """The session, as its channel sees it. Every method may be called from the channel's tasks only."""

    @property
    def session_id(self) -> str:
        """The session's id."""
        ...

    def seed(self, max_chars: int | None = None) -> Seed:
        """The projection to open (or reopen) with, as of now: at most so many characters of the past.

        Whole turns, the newest; leaving one out makes the continuity degraded. The configuration never counts.
        """
        ...

    async def admit_turn(self, cause: Cause) -> None:
        """Wait until this turn is the one that runs; BudgetExceeded when it may not.

        Ends with `commit`, or with `abandon_turn` when it came to nothing.
        """
        ...

    def abandon_turn(self) -> None:
        """The admitted turn came to nothing and will not be committed: the slot is free for the next one."""
        ...

    def admit_request(self) -> None:
        """Called before each request for a response; BudgetExceeded. Reserves one request."""
        ...

    def spent(self, usage: Usage | None) -> None:
        """A request ended with this usage (None: the provider did not say)."""
        ...

    async def commit(self, turn: Turn) -> Turn:
        """Make the turn durable and return it with its `seq`. The turn slot is free afterwards."""
        ...

    async def fill_transcript(self, item_id: str, text: str, *, failed: bool = False) -> None:
        """A transcript came after its turn was committed."""
        ...

    def runs_tool(self, name: str) -> bool:
        """Whether the session runs this tool; otherwise the channel's client must (or it is unknown)."""
        ...

    def keeps_running(self, name: str) -> bool:
        """Whether a running call of this tool survives the interruption of its turn."""
        ...

    def observe(self, event: LiveEvent) -> None:
        """Called with each event for the client, AudioDelta excepted, before the client can see it.

        Never waits, never raises. The session publishes the run's events from it, and learns which response was cut
        (a write of a cut response never starts, law 18).
        """
        ...

    def ends_turn(self, name: str) -> bool:
        """Whether the turn is over once this call is done, without a word about it (handing the human over is)."""
        return False

    async def run_tool(self, call: ToolCall, *, turn_id: str, response_id: str, cause: Cause) -> ToolResult:
        """Run the call to its one terminal state. Never raises but for cancellation of its own scope.

        The ledger rows are durable before and after. When the calling scope is cancelled (interruption, close) the
        call ends as `cancelled` in the ledger, shielded, before the cancellation goes on. The same `call_id` twice
        gives the first result again and starts nothing.
        """
        ...


@frozen(slots=True)
class ChannelLimits:
    """What bounds a channel. Seconds, bytes, counts.

    `tool_timeout_s` bounds the calls that the channel's client must answer; the session bounds its own. Of the two
    audio buffers `max_audio_buffer_bytes` is the one towards the provider, `max_client_audio_bytes` the one towards
    the client, who gets speech faster than it is played.
    """

    connect_timeout_s: float = 10.0
    response_timeout_s: float = 20.0
    turn_timeout_s: float = 60.0
    tool_timeout_s: float = 30.0
    close_timeout_s: float = 2.0
    reopen_margin_s: float = 60.0
    max_reopens: int = 5
    max_frame_bytes: int = 16 * 1024 * 1024
    max_audio_buffer_bytes: int = 1024 * 1024
    max_client_audio_bytes: int = 8 * 1024 * 1024
    max_control_frames: int = 1024
    max_client_events: int = 1024
    keep_closed_s: float = 60.0


def _positive(options: ChannelOptions, attribute: Attribute[int | None], value: int | None) -> None:
    if value is not None and value <= 0:
        raise UsageError(f"{attribute.name} is a number of characters above 0, not {value}; leave it out for no bound")


@frozen(slots=True)
class ChannelOptions:
    """How a channel is opened. What is None is as the member's profile (or the team file's limits) has it.

    `ttl_s` bounds its whole life; None: as long as the provider allows. `audio_receipts` False: the client will never
    report what was played, so an answer is settled by the clock alone. `turn_detection`, `output` and `voice` stand
    above the profile's, `instructions` below the member's own; all of them for this channel only. `seed_max_chars`
    bounds what the provider is told of the past, in characters. `auto_respond` False: what the user says waits until
    `respond` asks for an answer. `barge_in` False: a sound cuts no answer, only the user's whole turn does.

    UsageError: `seed_max_chars` is not above 0.
    """

    limits: ChannelLimits | None = None
    ttl_s: float | None = None
    audio_receipts: bool = True
    turn_detection: TurnDetection | None = None
    output: Modality | None = None
    voice: str | None = None
    instructions: str | None = None
    seed_max_chars: int | None = field(default=None, validator=_positive)
    auto_respond: bool = True
    barge_in: bool = True
