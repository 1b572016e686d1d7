"""What the terminal shows, as a fold of events: the member strip, the floor, and what is being said right now.

Pure: no clock, no screen. `mob.cli.toolbar` draws it; tests read it.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from mob.history.heard import HeardText
from mob.live.events import (
    AgentTranscript,
    AgentTranscriptDelta,
    AudioDone,
    Interrupted,
    LiveEvent,
    SpeechStarted,
    SpeechStopped,
    TextDelta,
)
from mob.sessions.events import (
    ChannelClosed,
    ChannelOpened,
    FloorChanged,
    MemberChanged,
    RunEvent,
    TurnEnded,
)


@define(slots=True)
class Saying:
    """One item of an answer that is not committed yet. `played_ms` of its sound were played; `cut`: no more will be."""

    spoken: HeardText = field(factory=HeardText)
    written: str = ""
    played_ms: int = 0
    cut: bool = False

    @property
    def parts(self) -> tuple[str, str]:
        """The words that were heard (or read), and those that were not yet."""
        heard = self.spoken.heard_prefix(self.played_ms)
        return self.written + heard, self.spoken.text[len(heard) :]


@define(slots=True)
class MemberView:
    """One row of the strip. `saying` is the answer in progress, item by item, as far as it was generated."""

    identity: str
    live: bool = False
    rehearsed: bool = False
    state: str = "idle"
    turns: int = 0
    saying: dict[str, Saying] = field(factory=dict)
    cost_usd: float | None = None

    def item(self, item_id: str) -> Saying:
        """This item, made on first mention. The remains of a cut answer make room for the next one."""
        if item_id not in self.saying:
            self.saying = {name: item for name, item in self.saying.items() if not item.cut}
            self.saying[item_id] = Saying()
        return self.saying[item_id]

    @property
    def words(self) -> tuple[str, str]:
        """What is being said: the part that was heard, and the rest."""
        parts = [item.parts for item in self.saying.values()]
        return "".join(heard for heard, _ in parts), "".join(rest for _, rest in parts)

    @property
    def cut(self) -> bool:
        """Whether the answer was cut off."""
        return any(item.cut for item in self.saying.values())


@define(slots=True)
class RunView:
    """Everything on the screen that is not scrolled history."""

    members: dict[str, MemberView] = field(factory=dict)
    floor: str | None = None

    def member(self, identity: str) -> MemberView:
        """The row of this member, made on first mention (members can be spawned while the mob runs)."""
        return self.members.setdefault(identity, MemberView(identity))

    def apply_run_event(self, event: RunEvent, items: Iterable[str] = ()) -> None:
        """Fold one event of the run. `items` are the ids of the items of the turn that ended."""
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
                for item_id in ("", *items):
                    row.saying.pop(item_id, None)
                if usage.cost_usd is not None:
                    row.cost_usd = (row.cost_usd or 0.0) + usage.cost_usd
            case _:
                pass

    def apply_live_event(self, identity: str, event: LiveEvent) -> None:
        """Fold one event of a member's channel."""
        row = self.member(identity)
        match event:
            case AgentTranscriptDelta(item_id=item_id, delta=delta):
                row.item(item_id).spoken.transcript(delta)
                row.state = "speaking"
            case AgentTranscript(item_id=item_id, text=text) if item_id in row.saying:
                row.saying[item_id].spoken.final_transcript(text)
            case AudioDone(item_id=item_id) if item_id in row.saying:
                row.saying[item_id].spoken.end(complete=True)
            case TextDelta(item_id=item_id, delta=delta):
                row.item(item_id).written += delta
                row.state = "speaking"
            case Interrupted(item_id=item_id, heard_ms=heard_ms):
                for item in row.saying.values():
                    item.cut = True
                if item_id is not None:
                    self.played(identity, item_id, heard_ms)
            case SpeechStarted():
                row.state = "listening"
            case SpeechStopped():
                row.state = "thinking"
            case _:
                pass

    def sound(self, identity: str, item_id: str, ms: int) -> None:
        """So much more of this item's sound has come, milliseconds."""
        self.member(identity).item(item_id).spoken.audio(ms)

    def played(self, identity: str, item_id: str, ms: int) -> None:
        """The loudspeaker is this far into the item, milliseconds."""
        item = self.member(identity).saying.get(item_id)
        if item is not None:
            item.played_ms = max(item.played_ms, ms)

    @property
    def cost_usd(self) -> float | None:
        """What the run cost so far; None while no priced model was used."""
        costs = [row.cost_usd for row in self.members.values() if row.cost_usd is not None]
        return sum(costs) if costs else None
