"""`SessionConfig` as the vendor's session object, and the part of it that changed.

`session.update` merges: only the fields it names change. So after the first, whole update only differences are sent;
objects that the vendor reads as one choice (turn detection, a format, the tools) go whole or not at all.
Source: OpenAI Realtime reference, session object and update rules.
"""

from __future__ import annotations

from typing import Final

from mob.providers.commands import SessionConfig
from mob.providers.frames import JsonObject
from mob.values import ToolSchema, TurnDetection

_MERGED: Final = frozenset({"audio", "input", "output"})
"""The objects that are only groups of fields; every other object is one value."""

_CLEARED_BY_NULL: Final = frozenset({"turn_detection", "transcription", "noise_reduction", "tracing"})

_DETECTION_DEFAULTS: Final[JsonObject] = {
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "eagerness": "auto",
}
"""The vendor's own. Said outright when a field is given up, since servers differ in whether omission resets it."""


def session_update(config: SessionConfig, previous: SessionConfig | None) -> JsonObject:
    """The `session` of an update that puts `config` in force where `previous` is (None: a fresh session).

    It always holds `type`, so that an update without changes is still one, and is acknowledged.
    """
    wanted = _session(config)
    changes = wanted if previous is None else _difference(wanted, _session(previous))
    return {"type": "realtime", **changes}


def _session(config: SessionConfig) -> JsonObject:
    voice = {} if config.voice is None else {"voice": config.voice}
    # A fresh session has no transcription; naming it null there would only tell the vendor what it knows.
    heard = {} if config.transcription_model is None else {"transcription": {"model": config.transcription_model}}
    session: JsonObject = {
        "output_modalities": [config.output],
        "instructions": config.instructions,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": config.input_rate},
                "turn_detection": _turn_detection(config.turn_detection),
                **heard,
            },
            "output": {"format": {"type": "audio/pcm", "rate": config.output_rate}, **voice},
        },
        "tools": [_tool(tool) for tool in config.tools],
    }
    return _merged(session, config.params)


def _turn_detection(detection: TurnDetection) -> JsonObject | None:
    if detection.mode == "manual":
        return None
    said: JsonObject = {
        "type": detection.mode,
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }
    if detection.mode == "semantic_vad":
        own: JsonObject = {"eagerness": detection.eagerness}
    else:
        own = {
            "threshold": detection.threshold,
            "prefix_padding_ms": detection.prefix_padding_ms,
            "silence_duration_ms": detection.silence_duration_ms,
            "idle_timeout_ms": detection.idle_timeout_ms,
        }
    return said | {key: value for key, value in own.items() if value is not None}


def _tool(tool: ToolSchema) -> JsonObject:
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _merged(base: JsonObject, extra: JsonObject) -> JsonObject:
    """`extra` laid over `base`, object by object: the author's own fields have the last word."""
    result = dict(base)
    for key, value in extra.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            # Another type is another object: nothing of the old one belongs to it.
            same = value.get("type", inner.get("type")) == inner.get("type")
            result[key] = _merged(inner, value) if same else value
        else:
            result[key] = value
    return result


def _detection_change(wanted: JsonObject | None, present: JsonObject | None) -> JsonObject | None:
    if wanted is None or present is None or wanted.get("type") != present.get("type"):
        return wanted
    given_up = present.keys() - wanted.keys()
    return {**{key: _DETECTION_DEFAULTS[key] for key in sorted(given_up) if key in _DETECTION_DEFAULTS}, **wanted}


def _difference(wanted: JsonObject, present: JsonObject) -> JsonObject:
    changes: JsonObject = {}
    for key, value in wanted.items():
        if key not in present:
            changes[key] = value
        elif key in _MERGED and isinstance(value, dict) and isinstance(present[key], dict):
            inner = _difference(value, present[key])
            if inner:
                changes[key] = inner
        elif value != present[key]:
            changes[key] = _detection_change(value, present[key]) if key == "turn_detection" else value
    # What is no longer wanted can be taken back only where the vendor has a word for it.
    gone = {key: None for key in present.keys() - wanted.keys() if key in _CLEARED_BY_NULL}
    return changes | gone
