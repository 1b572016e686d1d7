"""A history's items as what a request/response provider is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mob.history.items import AgentMessage, Item, Note, ToolCall, ToolResult, UserMessage
from mob.providers.commands import AddMessage, AddToolCall, AddToolResult


def told(items: Iterable[Item]) -> Iterator[AddMessage | AddToolCall | AddToolResult]:
    """The items of a projection, in the wires' vocabulary and order. Notes are the system speaking."""
    for item in items:
        match item:
            case UserMessage(id=item_id, text=text, images=images):
                yield AddMessage(item_id, "user", text, images)
            case AgentMessage(id=item_id, text=text):
                yield AddMessage(item_id, "assistant", text)
            case Note(id=item_id, text=text):
                yield AddMessage(item_id, "system", text)
            case ToolCall(id=item_id, call_id=call_id, name=name, arguments=arguments):
                yield AddToolCall(item_id, call_id, name, arguments)
            case ToolResult(id=item_id, call_id=call_id, output=output):
                yield AddToolResult(item_id, call_id, output)
