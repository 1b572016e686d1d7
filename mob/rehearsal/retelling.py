"""From what a wire holds, its items or its messages, to the scene that the brain reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from mob.providers.openai_chat.server import ChatMessage, ChatServerRequest
from mob.providers.openai_realtime.server_events import ConversationItem, ResponseParams
from mob.rehearsal.pictures import describe_picture
from mob.rehearsal.scene import Called, Entry, Returned, Said, Scene


@frozen(slots=True)
class Heard:
    """What the ears made of a user's sound: words, or so many seconds of something else."""

    text: str
    unread_s: float = 0.0


def scene_of_items(params: ResponseParams, items: Iterable[ConversationItem], heard: Mapping[str, Heard]) -> Scene:
    """A realtime conversation as a Scene. `items` are the context of the response, `heard` what was spoken, by id."""
    return Scene(
        instructions=params.instructions,
        entries=tuple(entry for item in items if (entry := _entry_of_item(item, heard.get(item.id))) is not None),
        tools=params.tools,
        tool_choice=tool_choice_of(params.tool_choice),
    )


def scene_of_request(request: ChatServerRequest) -> Scene:
    """A chat completion request as a Scene: the system messages that lead are the instructions.

    When nothing follows them the last is what there is to react to, such as the note of a hand-over.
    """
    messages = request.messages
    leading = next((i for i, m in enumerate(messages) if m.role not in ("system", "developer")), len(messages))
    if leading == len(messages) > 1:
        leading -= 1
    return Scene(
        instructions="\n\n".join(message.text for message in messages[:leading]),
        entries=tuple(entry for message in messages[leading:] for entry in _entries_of_message(message)),
        tools=request.tools,
        tool_choice=tool_choice_of(request.params.get("tool_choice")),
    )


def tool_choice_of(choice: object) -> str:
    """`tool_choice` of either wire: "auto", "none", "required", or the name of the one tool."""
    if isinstance(choice, Mapping):
        spec = choice.get("function", choice)
        name = spec.get("name") if isinstance(spec, Mapping) else None
        return str(name) if name else "auto"
    return str(choice) if choice in ("none", "required") else "auto"


def _entry_of_item(item: ConversationItem, heard: Heard | None) -> Entry | None:
    images = tuple(describe_picture(url) for url in item.images)
    match item.kind:
        case "user" if heard is not None:
            return Said("user", heard.text, images, heard.unread_s)
        case "user":
            return Said("user", item.text, images)
        case "assistant":
            return Said("assistant", item.text)
        case "system":
            return Said("system", item.text)
        case "tool_call":
            return Called(item.call_id or "", item.name or "")
        case "tool_result":
            return Returned(item.call_id or "", item.text)
    return None


def _entries_of_message(message: ChatMessage) -> list[Entry]:
    images = tuple(describe_picture(url) for url in message.images)
    match message.role:
        case "tool":
            return [Returned(message.tool_call_id or "", message.text)]
        case "system" | "developer":
            return [Said("system", message.text)]
        case "assistant":
            calls: list[Entry] = [Called(call.call_id, call.name) for call in message.tool_calls]
            # A message that only carries calls says nothing.
            return calls if calls and not message.text else [Said("assistant", message.text), *calls]
    return [Said("user", message.text, images)]
