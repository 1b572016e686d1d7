"""What a new connection is told of the past: history items as wire commands, and which of them it has confirmed.

Past speech is told as its words, the member's as far as they were heard: they are a projection of the log (law 15).
The OpenAI Realtime reference: one `conversation.item.create` per item, in order, before anything else; each is
confirmed by an item event with the id that we chose, of at most 32 characters.
"""

from __future__ import annotations

from attrs import define, field

from mob.history.items import AgentMessage, Item, Note, ToolCall, ToolResult, UserMessage
from mob.ids import Ids
from mob.live.ports import Seed
from mob.providers.commands import AddMessage, AddToolCall, AddToolResult, WireCommand
from mob.values import Continuity

MAX_ID = 32
"""How long an item's id may be at the provider (OpenAI Realtime reference)."""


def item_commands(item: Item, item_id: str, ref: str) -> tuple[AddMessage | AddToolCall | AddToolResult, ...]:
    """The commands that put `item` into a provider's conversation as `item_id`; none for an item without content."""
    item_id = item_id[:MAX_ID]
    match item:
        case UserMessage(text=text, images=images) if text or images:
            return (AddMessage(item_id, "user", text, images=images, ref=ref),)
        case AgentMessage(text=text) if text:
            return (AddMessage(item_id, "assistant", text, ref=ref),)
        case Note(text=text) if text:
            return (AddMessage(item_id, "system", text, ref=ref),)
        case ToolCall(call_id=call_id, name=name, arguments=arguments):
            return (AddToolCall(item_id, call_id, name, arguments, ref=ref),)
        case ToolResult(call_id=call_id, output=output):
            return (AddToolResult(item_id, call_id, output, ref=ref),)
    return ()


@define(slots=True)
class Seeding:
    """One connection's seed on its way: `unconfirmed` are the item ids that were sent and not yet confirmed."""

    seed: Seed
    unconfirmed: set[str] = field(factory=set)
    by_ref: dict[str, str] = field(factory=dict)
    refused: int = 0

    def commands(self, ids: Ids) -> list[WireCommand]:
        """The seed's items as commands, each with an id of its own."""
        out: list[WireCommand] = []
        for item in self.seed.items:
            item_id, ref = ids.new("seed"), ids.new("ev")
            commands = item_commands(item, item_id, ref)
            if commands:
                self.unconfirmed.add(item_id)
                self.by_ref[ref] = item_id
                out.extend(commands)
        return out

    def confirm(self, item_id: str) -> bool:
        """The provider has this item. False when it is none of the seed's."""
        if item_id not in self.unconfirmed:
            return False
        self.unconfirmed.discard(item_id)
        return True

    def refuse(self, ref: str | None) -> bool:
        """The provider refused this command. False when it was none of the seed's."""
        item_id = None if ref is None else self.by_ref.get(ref)
        if item_id is None or not self.confirm(item_id):
            return False
        self.refused += 1
        return True

    @property
    def continuity(self) -> Continuity:
        """What the provider knows of the past: less than was meant, when it refused or never confirmed an item."""
        if self.refused or self.unconfirmed:
            return "degraded"
        return self.seed.continuity
