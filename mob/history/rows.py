"""The rows of a run's log. Everything that must survive is one of these; every view is a fold of them.

A run has one log. A row has a `member` (None for rows about the run); rows written together are one transaction.
The sequence number is given by the store when the row is durable.
"""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import field, frozen

from mob.history.items import Turn
from mob.values import Continuity, ToolStatus, Via


@frozen(slots=True)
class RunStarted:
    """A process began to write the run (again, if `resumed`). `digest` is the team file's SHA-256."""

    kind: ClassVar[str] = "run_started"
    mob: str
    digest: str
    seed: int
    resumed: bool = False


@frozen(slots=True)
class RunStopped:
    """A process stopped writing the run, in order."""

    kind: ClassVar[str] = "run_stopped"
    reason: str


@frozen(slots=True)
class MemberSpawned:
    """A member came to life. `generation` is higher than any before it for this identity.

    `overrides`: the profile keys that it was spawned with, as JSON says them.
    """

    kind: ClassVar[str] = "member_spawned"
    member: str
    generation: int
    profile: str
    model: str
    overrides: dict[str, Any] = field(factory=dict, hash=False)


@frozen(slots=True)
class MemberEnded:
    """A member's generation ended: `reason` is retired, respawned, crashed or failed."""

    kind: ClassVar[str] = "member_ended"
    member: str
    generation: int
    reason: str
    error: str | None = None


@frozen(slots=True)
class ChannelOpened:
    """A live channel became ready."""

    kind: ClassVar[str] = "channel_opened"
    member: str
    channel_id: str
    epoch: int
    continuity: Continuity


@frozen(slots=True)
class TurnRow:
    """A committed turn."""

    kind: ClassVar[str] = "turn"
    member: str
    turn: Turn
    generation: int = 0


@frozen(slots=True)
class TranscriptFilled:
    """A transcript that came after its turn was committed fills the empty slot of `item_id`."""

    kind: ClassVar[str] = "transcript_filled"
    member: str
    item_id: str
    text: str
    failed: bool = False


@frozen(slots=True)
class ToolStarted:
    """The ledger: written before the tool starts. `effect` is read or write."""

    kind: ClassVar[str] = "tool_started"
    member: str
    call_id: str
    name: str
    arguments: str
    effect: str
    turn_id: str | None = None
    response_id: str | None = None


@frozen(slots=True)
class ToolEnded:
    """The ledger: the call's one terminal state. Fills the result of a turn committed without it."""

    kind: ClassVar[str] = "tool_ended"
    member: str
    call_id: str
    name: str
    status: ToolStatus
    output: str
    elapsed_ms: int = 0


@frozen(slots=True)
class MessageAdmitted:
    """A message between members was taken: the route existed at this position of the log."""

    kind: ClassVar[str] = "message_admitted"
    member: str
    message_id: str
    sender: str
    via: Via
    text: str
    hops: int = 0


@frozen(slots=True)
class MessageEnded:
    """The message's one outcome. For an ask, `answer` went to the sender and to nobody else."""

    kind: ClassVar[str] = "message_ended"
    member: str
    message_id: str
    status: ToolStatus
    answer: str = ""


@frozen(slots=True)
class FloorMoved:
    """The human now talks with `to` (None: with nobody). `turns` names the committed user turns it must see."""

    kind: ClassVar[str] = "floor_moved"
    member: None
    origin: str | None
    to: str | None
    reason: str
    turns: tuple[str, ...] = ()


@frozen(slots=True)
class Wired:
    """A route was added (or removed) while the mob runs."""

    kind: ClassVar[str] = "wired"
    member: None
    origin: str
    to: str
    via: tuple[Via, ...] = ()
    removed: bool = False


Row = (
    RunStarted
    | RunStopped
    | MemberSpawned
    | MemberEnded
    | ChannelOpened
    | TurnRow
    | TranscriptFilled
    | ToolStarted
    | ToolEnded
    | MessageAdmitted
    | MessageEnded
    | FloorMoved
    | Wired
)


@frozen(slots=True)
class Stored:
    """A row as the store has it: `seq` counts from 1 within the run, `at` is unix seconds."""

    seq: int
    at: float
    row: Row = field()


def member_of(row: Row) -> str | None:
    """The member a row is about; None when it is about the run."""
    return None if isinstance(row, RunStarted | RunStopped) else row.member
