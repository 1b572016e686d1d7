"""What the terminal shows, as a fold of events: the member strip, the floor, and what is being said right now.

Pure: no clock, no screen. `Screen` draws it; tests read it.
"""

from __future__ import annotations

from attrs import define, field

from mob.live.events import AgentTranscriptDelta, Interrupted, LiveEvent, SpeechStarted, SpeechStopped, TextDelta
from mob.sessions.events import (
    ChannelClosed,
    ChannelOpened,
    FloorChanged,
    MemberChanged,
    RunEvent,
    TurnEnded,
)


@define(slots=True)
class MemberView:
    """One row of the strip. `saying` is the text of the answer in progress, as far as it was generated."""

    identity: str
    live: bool = False
    rehearsed: bool = False
    state: str = "idle"
    turns: int = 0
    saying: str = ""
    cost_usd: float | None = None


@define(slots=True)
class RunView:
    """Everything on the screen that is not scrolled history."""

    members: dict[str, MemberView] = field(factory=dict)
    floor: str | None = None

    def member(self, identity: str) -> MemberView:
        """The row of this member, made on first mention (members can be spawned while the mob runs)."""
        return self.members.setdefault(identity, MemberView(identity))

    def apply_run_event(self, event: RunEvent) -> None:
        """Fold one event of the run."""
        match event:
            case FloorChanged(to=to):
                self.floor = to
            case MemberChanged(member=str(identity), state=state):
                self.member(identity).state = state
            case ChannelOpened(member=str(identity)):
                self.member(identity).live = True
            case ChannelClosed(member=str(identity)):
                self.member(identity).live = False
            case TurnEnded(member=str(identity), usage=usage):
                row = self.member(identity)
                row.turns += 1
                row.saying = ""
                if usage.cost_usd is not None:
                    row.cost_usd = (row.cost_usd or 0.0) + usage.cost_usd
            case _:
                pass

    def apply_live_event(self, identity: str, event: LiveEvent) -> None:
        """Fold one event of a member's channel."""
        row = self.member(identity)
        match event:
            case AgentTranscriptDelta(delta=delta) | TextDelta(delta=delta):
                row.saying += delta
                row.state = "speaking"
            case Interrupted():
                row.saying = ""
            case SpeechStarted():
                row.state = "listening"
            case SpeechStopped():
                row.state = "thinking"
            case _:
                pass

    @property
    def cost_usd(self) -> float | None:
        """What the run cost so far; None while no priced model was used."""
        costs = [row.cost_usd for row in self.members.values() if row.cost_usd is not None]
        return sum(costs) if costs else None
