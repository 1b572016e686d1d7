"""The shape of every client event, as one table. Source: OpenAI Realtime reference, client events and objects."""

from __future__ import annotations

from typing import Final

from mob.providers.openai_realtime.checks import (
    Check,
    anything,
    array,
    base64,
    boolean,
    choice,
    integer,
    invalid,
    json_object,
    matching,
    nullable,
    number,
    record,
    tagged,
    text,
    word_or,
    wrong_type,
)
from mob.providers.openai_realtime.names import AUDIO_RATE, MAX_APPEND_BYTES, MAX_ITEM_ID

VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")

_MS: Final = integer(0, 2**31 - 1)
_NAME: Final = text(shortest=1, longest=128)
_EFFORT: Final = choice("minimal", "low", "medium", "high", "xhigh")

_FORMAT: Final = tagged(
    "type",
    {
        "audio/pcm": record({"type": anything}, {"rate": choice(AUDIO_RATE)}),
        "audio/pcmu": record({"type": anything}),
        "audio/pcma": record({"type": anything}),
    },
)

_VOICE: Final = word_or(choice(*VOICES), record({"id": _NAME}))


def _modalities(value: object, path: str) -> object:
    # Both together were legal in the beta and are not in GA.
    if value not in (["audio"], ["text"]):
        raise invalid(path, f"Invalid '{path}'. Supported combinations are: ['audio'], ['text'].")
    return value


_TURN_DETECTION: Final = tagged(
    "type",
    {
        "server_vad": record(
            {"type": anything},
            {
                "threshold": nullable(number(0, 1)),
                "prefix_padding_ms": nullable(_MS),
                "silence_duration_ms": nullable(_MS),
                "idle_timeout_ms": nullable(integer(5_000, 30_000)),
                "create_response": boolean,
                "interrupt_response": boolean,
            },
        ),
        "semantic_vad": record(
            {"type": anything},
            {
                "eagerness": choice("low", "medium", "high", "auto"),
                "create_response": boolean,
                "interrupt_response": boolean,
            },
        ),
    },
)

_MCP_FIELDS: Final = (
    "server_url",
    "connector_id",
    "server_description",
    "allowed_tools",
    "require_approval",
    "headers",
    "authorization",
)

_TOOL: Final = tagged(
    "type",
    {
        "function": record(
            {"type": anything, "name": _NAME}, {"description": nullable(text()), "parameters": nullable(json_object)}
        ),
        "mcp": record(
            {"type": anything, "server_label": _NAME},
            dict.fromkeys(_MCP_FIELDS, anything),
        ),
    },
)

_TOOL_CHOICE: Final = word_or(
    choice("none", "auto", "required"),
    tagged(
        "type",
        {
            "function": record({"type": anything, "name": _NAME}),
            "mcp": record({"type": anything, "server_label": _NAME}, {"name": _NAME}),
        },
    ),
)

_MAX_OUTPUT: Final = word_or(choice("inf"), integer(1, 4096))
_REASONING: Final = record(optional={"effort": nullable(_EFFORT)})
_PROMPT: Final = nullable(record({"id": _NAME}, {"version": nullable(text()), "variables": nullable(json_object)}))

_INPUT: Final = record(
    optional={
        "format": _FORMAT,
        "noise_reduction": nullable(record({"type": choice("near_field", "far_field")})),
        "transcription": nullable(
            record(
                optional={
                    "model": _NAME,
                    "language": nullable(text()),
                    "languages": nullable(array(text())),
                    "keywords": nullable(array(text())),
                    "prompt": nullable(text()),
                    "delay": nullable(_EFFORT),
                }
            )
        ),
        "turn_detection": nullable(_TURN_DETECTION),
    }
)

SESSION: Final = record(
    {"type": choice("realtime")},
    {
        "model": text(),
        "output_modalities": _modalities,
        "instructions": text(),
        "audio": record(
            optional={
                "input": _INPUT,
                "output": record(optional={"format": _FORMAT, "voice": _VOICE, "speed": number(0.25, 1.5)}),
            }
        ),
        "tools": array(_TOOL),
        "tool_choice": _TOOL_CHOICE,
        "parallel_tool_calls": boolean,
        "reasoning": _REASONING,
        "max_output_tokens": _MAX_OUTPUT,
        "tracing": nullable(
            word_or(choice("auto"), record(optional=dict.fromkeys(("workflow_name", "group_id", "metadata"), anything)))
        ),
        "truncation": word_or(
            choice("auto", "disabled"),
            record(
                {"type": choice("retention_ratio"), "retention_ratio": number(0, 1)},
                {"token_limits": record(optional={"post_instructions": integer(0, 2**31 - 1)})},
            ),
        ),
        "prompt": _PROMPT,
        "include": nullable(array(choice("item.input_audio_transcription.logprobs"))),
    },
)

_ITEM_ID: Final = text(shortest=1, longest=MAX_ITEM_ID)
_ITEM_COMMON: Final[dict[str, Check]] = {
    "id": nullable(_ITEM_ID),
    "object": nullable(choice("realtime.item")),
    "status": nullable(choice("completed", "incomplete", "in_progress")),
}

_INPUT_TEXT: Final = record({"type": anything, "text": text()})
_USER_PARTS: Final = {
    "input_text": _INPUT_TEXT,
    "input_audio": record({"type": anything, "audio": base64}, {"transcript": nullable(text())}),
    "input_image": record(
        {
            "type": anything,
            "image_url": matching(r"data:image/(png|jpeg);base64,", "a data URI of a PNG or JPEG image"),
        },
        {"detail": nullable(choice("auto", "low", "high"))},
    ),
}


def _message(parts: dict[str, Check]) -> Check:
    needed: dict[str, Check] = {"type": anything, "role": anything, "content": array(tagged("type", parts))}
    return record(needed, _ITEM_COMMON)


_ITEMS: Final[dict[str, Check]] = {
    "message": tagged(
        "role",
        {
            "system": _message({"input_text": _INPUT_TEXT}),
            "user": _message(_USER_PARTS),
            # Assistant audio cannot be supplied, only its words.
            "assistant": _message({"output_text": _INPUT_TEXT}),
        },
    ),
    "function_call": record(
        {"type": anything, "name": _NAME, "arguments": text()}, {**_ITEM_COMMON, "call_id": nullable(_NAME)}
    ),
    "function_call_output": record({"type": anything, "call_id": _NAME, "output": text()}, _ITEM_COMMON),
}

ITEM: Final = tagged("type", _ITEMS)
_INPUT_ITEM: Final = tagged("type", {**_ITEMS, "item_reference": record({"type": anything, "id": _NAME})})


def _metadata(value: object, path: str) -> object:
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    array(text(longest=64), longest=16)(list(value), path)
    return {key: text(longest=512)(entry, f"{path}.{key}") for key, entry in value.items()}


RESPONSE: Final = record(
    optional={
        "conversation": choice("auto", "none"),
        "input": nullable(array(_INPUT_ITEM)),
        "instructions": nullable(text()),
        "output_modalities": _modalities,
        "audio": record(optional={"output": record(optional={"format": _FORMAT, "voice": _VOICE})}),
        "tools": array(_TOOL),
        "tool_choice": _TOOL_CHOICE,
        "max_output_tokens": _MAX_OUTPUT,
        "metadata": nullable(_metadata),
        "prompt": _PROMPT,
        "reasoning": _REASONING,
        "parallel_tool_calls": boolean,
    }
)


def _event(required: dict[str, Check] | None = None, optional: dict[str, Check] | None = None) -> Check:
    own: dict[str, Check] = {"event_id": nullable(text(longest=512))}
    return record({"type": anything, **(required or {})}, {**own, **(optional or {})})


def _audio(value: object, path: str) -> object:
    text(longest=MAX_APPEND_BYTES)(value, path)
    return base64(value, path)


CLIENT_EVENT: Final = tagged(
    "type",
    {
        "session.update": _event({"session": SESSION}),
        "input_audio_buffer.append": _event({"audio": _audio}),
        "input_audio_buffer.commit": _event(),
        "input_audio_buffer.clear": _event(),
        "conversation.item.create": _event({"item": ITEM}, {"previous_item_id": nullable(_NAME)}),
        "conversation.item.delete": _event({"item_id": text()}),
        "conversation.item.retrieve": _event({"item_id": text()}),
        "conversation.item.truncate": _event(
            {"item_id": text(), "content_index": integer(0, 1000), "audio_end_ms": _MS}
        ),
        "response.create": _event(optional={"response": nullable(RESPONSE)}),
        "response.cancel": _event(optional={"response_id": nullable(text())}),
    },
)
"""What a client may send over a WebSocket (`output_audio_buffer.clear` exists on WebRTC and SIP alone)."""
