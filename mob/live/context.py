"""What the parts of the channel machine share: the clock, the epoch, the rules they were opened with, the way out.

A part never returns effects; it puts them here in the order in which they are to happen.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from attrs import define, field

from mob.definition.model import ModelCapabilities
from mob.history.heard import SpeechRate
from mob.ids import Ids
from mob.live.effects import Effect, Publish, Send
from mob.live.events import ChannelError, LiveEvent
from mob.live.overrides import Overrides
from mob.live.playback import Receipts
from mob.live.ports import ChannelLimits
from mob.providers.commands import SessionConfig, WireCommand
from mob.values import Recovery

CANCEL_GRACE_S = 3.0
"""How long a cancelled response may take to end. Some providers never say (OpenAI-family servers, reference)."""

DRAIN_GRACE_S = 10.0
"""How long receipts may fail to come before it is taken that nobody plays any more."""

BACKOFF_S = 0.5
"""The first wait before something is tried again; it doubles."""

MAX_BACKOFF_S = 8.0

MAX_RETRIES = 2
"""How often one turn asks again after a failure that may pass."""

MAX_ASKED = 2
"""How often one turn is asked for when nobody answers at all."""

_MAX_REFS = 512


class ToolPolicy(Protocol):
    """What the machine must know of a tool; `SessionPort` is one."""

    def runs_tool(self, name: str) -> bool:
        """Whether the session runs it."""
        ...

    def keeps_running(self, name: str) -> bool:
        """Whether a running call survives the interruption of its turn."""
        ...

    def ends_turn(self, name: str) -> bool:
        """Whether nothing is said after it."""
        ...


@define(slots=True)
class Context:
    """One channel's shared state. `now` is seconds on the run's clock, `wall_offset` what makes it unix time.

    `epoch` is that of the connection whose events count; `seeded` says that it was told the log, or is being told;
    `ready` that it has it, and frames may be sent to it; `voiced_epoch` is the last in which the member has spoken.
    """

    channel_id: str
    ids: Ids
    limits: ChannelLimits
    model: ModelCapabilities
    tools: ToolPolicy
    wall_offset: float = 0.0
    overrides: Overrides = field(factory=Overrides)
    seed_max_chars: int | None = None
    config: SessionConfig = field(factory=SessionConfig)
    now: float = 0.0
    epoch: int = 0
    seeded: bool = False
    ready: bool = False
    voiced_epoch: int = 0
    out: list[Effect] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    voice: SpeechRate = field(factory=SpeechRate)
    receipts: Receipts = field(factory=Receipts)
    _refs: dict[str, str] = field(factory=dict)

    @property
    def wall(self) -> float:
        """Unix seconds."""
        return self.now + self.wall_offset

    @property
    def tool_names(self) -> frozenset[str]:
        """The tools that the model was told of."""
        return frozenset(tool.name for tool in self.config.tools)

    def emit(self, effect: Effect) -> None:
        """This is to be done."""
        self.out.append(effect)

    def send(self, command: WireCommand) -> None:
        """This is to be written to the current connection."""
        self.out.append(Send(self.epoch, command))

    def send_to(self, epoch: int, command: WireCommand) -> None:
        """This is to be written to the connection of this epoch, which need not be ready."""
        self.out.append(Send(epoch, command))

    def publish(self, event_type: type[LiveEvent], **fields: Any) -> None:
        """The client is to be told: the event's own fields, without the three that all have."""
        event = event_type(channel_id=self.channel_id, epoch=self.epoch, t=self.now, **fields)
        self.out.append(Publish(event))

    def report(self, code: str, message: str, recovery: Recovery) -> None:
        """Something went wrong that the client should know."""
        self.publish(ChannelError, code=code, message=message, recovery=recovery)

    def count(self, what: str, by: int = 1) -> None:
        """For `statistics()`."""
        self.counts[what] += by

    def new_ref(self, purpose: str) -> str:
        """A name for a command, so that a fault about it can be told from others: see `purpose_of`."""
        ref = self.ids.new("ev")
        self._refs[ref] = purpose
        if len(self._refs) > _MAX_REFS:
            del self._refs[next(iter(self._refs))]
        return ref

    def purpose_of(self, ref: str | None) -> str | None:
        """What the command of this ref was for; None when it is not ours, or long ago."""
        return None if ref is None else self._refs.get(ref)


def backoff_s(tries: int, retry_after_s: float | None = None) -> float:
    """How long to wait before try number `tries` + 1; what the provider asked for comes first."""
    if retry_after_s is not None:
        return min(max(retry_after_s, 0.0), 60.0)
    return min(BACKOFF_S * float(2**tries), MAX_BACKOFF_S)
