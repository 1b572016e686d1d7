"""Our values in Meerkat's shapes: every difference between the two vocabularies of a session stands here.

    Turn                     rows of a history: system, user, block_assistant, tool_results, system_notice
    UserMessage              user; of another member: a system_notice of kind comms
    AgentMessage             block_assistant: what was written is a text block, what was heard a transcript block
    ToolCall, ToolResult     a tool_use block of the message before it; tool_results
    Note                     system_notice; one that was put in as context: user with transcript_role injected_context
    Usage                    input_tokens, output_tokens, cache_read_tokens, total_tokens
    ModelCapabilities        an entry of the catalogue; seven bools of a session; nine bools of a live channel

What has no word there stands beside it under our own name (`interrupted`, `heard_ms`, `item_id`), where their clients
pass over what they do not know. Nothing here asks anybody anything: values in, JSON out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from mob.definition.model import ModelCapabilities
from mob.history.items import AgentMessage, Item, Note, ToolCall, ToolResult, Turn, UserMessage
from mob.jsontext import MAX_INNER_DEPTH, read_json
from mob.values import Image, Usage

JSON = dict[str, Any]

CONTEXT_NOTE = "context"
"""The kind of a note that somebody put in without a turn."""

_PROVIDERS = ("anthropic", "openai", "gemini", "self_hosted")
_SELF_HOSTED = ("ollama", "vllm")


# -- histories ---------------------------------------------------------------------------------------------------------


def count_rows(instructions: str, turns: Sequence[Turn]) -> int:
    """How many rows a history has."""
    return bool(instructions) + sum(sum(1 for _ in _grouped(turn.items)) for turn in turns)


def history_page(
    instructions: str, created_at: float, turns: Sequence[Turn], *, offset: int, limit: int
) -> tuple[list[JSON], int]:
    """Rows `offset` to `offset + limit` of a session's history, and how many it has: the instructions, then the turns.

    Only rows of the page are made.
    """
    rows: list[JSON] = []
    at, until = 0, offset + limit
    if instructions:
        if offset == 0 < limit:
            rows.append({"role": "system", "content": instructions, "created_at": timestamp(created_at)})
        at = 1
    for turn in turns:
        after = at + sum(1 for _ in _grouped(turn.items))
        if after > offset and at < until:
            rows.extend(list(turn_rows(turn))[max(offset - at, 0) : until - at])
        at = after
    return rows, at


def turn_rows(turn: Turn) -> Iterator[JSON]:
    """The rows of one turn."""
    stamp = {"created_at": timestamp(turn.timings.started_at), "run_id": turn.id}
    for group in _grouped(turn.items):
        match group[0]:
            case AgentMessage() | ToolCall():
                yield {**_assistant(group, turn), **stamp}
            case ToolResult():
                yield {
                    "role": "tool_results",
                    "results": [_result(each) for each in group if isinstance(each, ToolResult)],
                    **stamp,
                }
            case UserMessage(author=None) as message:
                yield {**_user(message), **stamp}
            case UserMessage() as message:
                yield {**_peer(message), **stamp}
            case Note() as note:
                yield {**_note(note), **stamp}


def _grouped(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items that make one row: what the member said and called in one go; the results of its calls."""
    group: list[Item] = []
    for item in items:
        together = bool(group) and (
            (isinstance(item, AgentMessage | ToolCall) and isinstance(group[0], AgentMessage | ToolCall))
            or (isinstance(item, ToolResult) and isinstance(group[0], ToolResult))
        )
        if group and not together:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _user(message: UserMessage) -> JSON:
    row: JSON = {
        "role": "user",
        "content": content_of(message.text, message.images),
        "transcript_role": "conversational",
        "item_id": message.id,
    }
    if message.spoken:
        row |= {"spoken": True, "transcript": message.transcript}
    return row


def _peer(message: UserMessage) -> JSON:
    author = message.author or ""
    block = {
        "type": "comms",
        "direction": "incoming",
        "kind": "message",
        "peer": {"id": author, "display_name": author},
        "content": blocks_of(message.text, message.images),
    }
    body = f"from {author}: {message.text}"
    return {"role": "system_notice", "kind": "comms", "body": body, "blocks": [block], "item_id": message.id}


def _note(note: Note) -> JSON:
    if note.kind == CONTEXT_NOTE:
        return {"role": "user", "content": note.text, "transcript_role": "injected_context", "item_id": note.id}
    block = {"type": "runtime_notice", "category": note.kind, "detail": note.text}
    return {"role": "system_notice", "kind": "generic", "body": note.text, "blocks": [block], "item_id": note.id}


def _assistant(group: Sequence[Item], turn: Turn) -> JSON:
    blocks: list[JSON] = []
    message_id, interrupted, calls = None, False, False
    for item in group:
        if isinstance(item, AgentMessage):
            message_id = message_id or item.id
            interrupted |= item.interrupted
            blocks.extend(_said(item))
        elif isinstance(item, ToolCall):
            calls = True
            data = {"id": item.call_id, "name": item.name, "args": arguments_of(item.arguments)}
            blocks.append({"block_type": "tool_use", "data": data})
    row: JSON = {
        "role": "block_assistant",
        "blocks": blocks,
        "stop_reason": stop_reason(turn, interrupted=interrupted, calls=calls),
    }
    if message_id is not None:
        row["assistant_message_id"] = message_id
    return row


def _said(message: AgentMessage) -> Iterator[JSON]:
    """What was written, and what was heard, each in its own lane."""
    facts: JSON = {"item_id": message.id}
    if message.interrupted:
        facts["interrupted"] = True
    if message.generated_ms is not None:
        facts |= {"generated_ms": message.generated_ms, "heard_ms": message.heard_ms, "fidelity": message.fidelity}
    if message.display_text:
        yield {"block_type": "text", "data": {"text": message.display_text, **facts}}
    if message.spoken_text or message.generated_ms is not None:
        source = {"kind": "spoken"}
        yield {"block_type": "transcript", "data": {"text": message.spoken_text, "source": source, **facts}}


def _result(result: ToolResult) -> JSON:
    return {
        "tool_use_id": result.call_id,
        "content": result.output,
        "is_error": result.status != "done",
        "status": result.status,
    }


def stop_reason(turn: Turn, *, interrupted: bool, calls: bool = False) -> str:
    """Why the member's message ends where it does."""
    if interrupted or turn.status == "cancelled":
        return "cancelled"
    return "tool_use" if calls else "end_turn"


def arguments_of(text: str) -> Any:
    """A call's arguments as JSON; as the model wrote them when they are none."""
    try:
        return read_json(text, max_depth=MAX_INNER_DEPTH) if text.strip() else {}
    except ValueError:
        return text


def content_of(text: str, images: Sequence[Image]) -> str | list[JSON]:
    """What was said: plain text, or blocks when there are pictures."""
    return blocks_of(text, images) if images else text


def blocks_of(text: str, images: Sequence[Image] = ()) -> list[JSON]:
    """Content blocks."""
    pictures = (
        {"type": "image", "media_type": each.mime, "source": "inline", "data": base64.b64encode(each.data).decode()}
        for each in images
    )
    return [*([{"type": "text", "text": text}] if text or not images else []), *pictures]


# -- runs --------------------------------------------------------------------------------------------------------------


def run_result(session_id: str, name: str | None, turn: Turn | None, total: Usage) -> JSON:
    """What a turn came to. None: there was none, only a beginning. `total` is the session's usage so far."""
    result: JSON = {
        "session_id": session_id,
        "text": "" if turn is None else turn.agent_text,
        "turns": 0 if turn is None else max(turn.usage.requests, 1),
        "tool_calls": 0 if turn is None else sum(isinstance(item, ToolCall) for item in turn.items),
        "usage": usage_of(total),
    }
    if name is not None:
        result["session_ref"] = name
    if turn is not None:
        result |= {"run_usage": usage_of(turn.usage), "turn_id": turn.id}
    return result


def usage_of(usage: Usage) -> JSON:
    """Tokens. `reported` False: the provider said nothing, so that nought is not taken for free."""
    shown: JSON = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cached_tokens,
        "total_tokens": usage.total_tokens,
    }
    if not usage.reported:
        shown["reported"] = False
    if usage.cost_usd is not None:
        shown["cost_usd"] = usage.cost_usd
    return shown


# -- models ------------------------------------------------------------------------------------------------------------


def provider_of(model: ModelCapabilities) -> str:
    """The provider in Meerkat's words."""
    if model.provider in _SELF_HOSTED:
        return "self_hosted"
    return model.provider if model.provider in _PROVIDERS else "other"


def resolved_capabilities(model: ModelCapabilities) -> JSON:
    """What a session's model can do."""
    sees = "image" in model.input_modalities
    return {
        "vision": sees,
        "image_input": sees,
        "image_tool_results": False,
        "inline_video": False,
        "realtime": model.realtime,
        "web_search": False,
        "image_generation": False,
    }


def channel_capabilities(model: ModelCapabilities) -> JSON:
    """What a live channel to this model takes and gives."""
    takes, gives = model.input_modalities, model.output_modalities
    return {
        "audio_in": "audio" in takes,
        "audio_out": "audio" in gives,
        "text_in": "text" in takes,
        "text_out": "text" in gives,
        "image_in": "image" in takes,
        "video_in": False,
        "transcript_supported": model.transcription_model is not None or "audio" in gives,
        "barge_in_supported": model.can_interrupt,
        "provider_native_resume": False,
    }


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
