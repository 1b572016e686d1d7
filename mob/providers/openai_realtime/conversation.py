"""The vendor's conversation: items in order, each with a unique id, and how much audio each answer has.

Source: OpenAI Realtime reference, conversation items. `previous_item_id` omitted means at the end, "root" in front.
An item's wire form never carries audio bytes: the vendor echoes items without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, field

from mob.providers.events import ItemKind
from mob.providers.frames import JsonObject
from mob.providers.openai_realtime.checks import Refusal, invalid
from mob.providers.openai_realtime.server_events import ConversationItem

ROOT: Final = "root"

_KINDS: Final[dict[str, ItemKind]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "function_call": "tool_call",
    "function_call_output": "tool_result",
}


@define(slots=True)
class Entry:
    """An item in the conversation. `wire` is what is echoed; `audio_ms` the length of each spoken part.

    `cut`: the client truncated it, so that its words are not kept, not even those still to be written.
    """

    wire: JsonObject
    audio_ms: dict[int, float] = field(factory=dict)
    cut: bool = False

    def drop_images(self) -> None:
        """Forget the pictures, which are large; what was echoed of them was echoed."""
        parts: list[JsonObject] = self.wire.get("content", [])
        self.wire["content"] = [part for part in parts if part["type"] != "input_image"]

    @property
    def id(self) -> str:
        """The item's id."""
        item_id: str = self.wire["id"]
        return item_id

    def view(self, audio: bytes = b"") -> ConversationItem:
        """The item as the application reads it; `audio` is the sound it came with, which is not kept."""
        wire = self.wire
        parts: list[JsonObject] = wire.get("content", [])
        said = [part.get("text") or part.get("transcript") or "" for part in parts]
        return ConversationItem(
            id=wire["id"],
            kind=_KINDS[wire.get("role") or wire["type"]],
            text=wire["output"] if "output" in wire else "\n".join(line for line in said if line),
            audio=audio,
            images=tuple(part["image_url"] for part in parts if part["type"] == "input_image"),
            call_id=wire.get("call_id"),
            name=wire.get("name"),
            arguments=wire.get("arguments"),
            status=wire["status"],
        )


class Conversation:
    """The default conversation of one session. Of more than `max_items` the oldest are forgotten."""

    def __init__(self, max_items: int | None = None) -> None:
        self._max_items = max_items
        self._order: list[str] = []
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return (self._entries[item_id] for item_id in self._order)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, item_id: str) -> Entry | None:
        """The entry of this id, if it is there."""
        return self._entries.get(item_id)

    def last_id(self) -> str | None:
        """The id of the last item."""
        return self._order[-1] if self._order else None

    def before(self, item_id: str) -> str | None:
        """The id of the item before this one; None when it is first, or no longer there."""
        if item_id not in self._entries:
            return None
        index = self._order.index(item_id)
        return self._order[index - 1] if index else None

    def append(self, entry: Entry) -> str | None:
        """Put a new item at the end; gives the id before it."""
        previous = self.last_id()
        self._order.append(entry.id)
        self._entries[entry.id] = entry
        self._forget_oldest()
        return previous

    def insert(self, entry: Entry, previous_item_id: str | None) -> str | None:
        """Put a client's item where it says; gives the id before it. Refusal for an id taken or a place unknown."""
        if entry.id in self._entries:
            raise invalid("item.id", f"Error adding item: an item with id '{entry.id}' already exists.")
        if previous_item_id is None:
            return self.append(entry)
        index = 0
        if previous_item_id != ROOT:
            if previous_item_id not in self._entries:
                raise _no_such_item("create", "adding", previous_item_id, "previous_item_id")
            index = self._order.index(previous_item_id) + 1
        self._order.insert(index, entry.id)
        self._entries[entry.id] = entry
        previous = self._order[index - 1] if index else None
        self._forget_oldest()
        return previous

    def _forget_oldest(self) -> None:
        while self._max_items is not None and len(self._order) > self._max_items:
            del self._entries[self._order.pop(0)]

    def retrieve(self, item_id: str) -> Entry:
        """The entry of this id. Refusal when there is none."""
        entry = self._entries.get(item_id)
        if entry is None:
            raise _no_such_item("retrieve", "retrieving", item_id, "item_id")
        return entry

    def delete(self, item_id: str) -> None:
        """Take an item out. Refusal when there is none."""
        if self._entries.pop(item_id, None) is None:
            raise _no_such_item("delete", "deleting", item_id, "item_id")
        self._order.remove(item_id)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut a spoken answer. Its transcript goes with the cut: the vendor keeps no words that may be unheard."""
        entry = self._entries.get(item_id)
        if entry is None:
            raise _no_such_item("truncate", "truncating", item_id, "item_id")
        if entry.wire.get("role") != "assistant":
            raise invalid("item_id", "Only model output audio messages can be truncated.")
        length = entry.audio_ms.get(content_index, 0.0)
        if not length:
            raise Refusal(
                "unsupported_content_type",
                f"Only model output audio messages can be truncated: item '{item_id}' has no audio at content index "
                f"{content_index}.",
                param="content_index",
            )
        if audio_end_ms > length:
            message = f"Audio content of {int(length)}ms is already shorter than {audio_end_ms}ms"
            raise invalid("audio_end_ms", message)
        entry.audio_ms[content_index] = float(audio_end_ms)
        entry.cut = True
        if content_index < len(entry.wire["content"]):
            entry.wire["content"][content_index].pop("transcript", None)


def entry_from(item: JsonObject, item_id: str, call_id: str) -> tuple[Entry, bytes]:
    """The entry of a checked client item, and the sound that came in it.

    `item_id` and `call_id` serve where the client chose none.
    """
    wire = {**item, "id": item.get("id") or item_id, "object": "realtime.item", "status": "completed"}
    if wire["type"] == "function_call":
        wire["call_id"] = item.get("call_id") or call_id
    sounds: list[bytes] = []
    if wire["type"] == "message":
        wire["content"] = [_without_audio(part, sounds) for part in item["content"]]
    return Entry(wire), b"".join(sounds)


def _without_audio(part: JsonObject, sounds: list[bytes]) -> JsonObject:
    if part["type"] != "input_audio":
        return dict(part)
    sounds.append(part["audio"])
    return {"type": "input_audio", "transcript": part.get("transcript")}


def _no_such_item(verb: str, doing: str, item_id: str, param: str) -> Refusal:
    code = f"item_{verb}_invalid_{param}"
    return Refusal(code, f"Error {doing} item: the item with id '{item_id[:80]}' does not exist.", param=param)
