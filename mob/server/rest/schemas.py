"""The component schemas of the OpenAPI document."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]


def component(name: str) -> JSON:
    """A reference to a component; KeyError for one that there is not."""
    _ = COMPONENTS[name]
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: JSON, *, required: list[str] | None = None, text: str = "") -> JSON:
    made: JSON = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }
    return {**made, "description": text} if text else made


_TEXT: JSON = {"type": "string"}
_COUNT: JSON = {"type": "integer", "minimum": 0}

COMPONENTS: dict[str, JSON] = {
    "Health": _object({"status": {"const": "ok"}}),
    "Readiness": _object(
        {"status": {"enum": ["ready", "not_ready"]}, "mobs": {"type": "object", "additionalProperties": _TEXT}}
    ),
    "ChatRequest": _object(
        {
            "model": {"type": "string", "description": "MEMBER, or MOB/MEMBER."},
            "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
            "stream": {"type": ["boolean", "null"]},
            "tools": {"type": ["array", "null"], "items": {"type": "object"}},
        },
        required=["model", "messages"],
        text="OpenAI's request. Only what comes after the last assistant message is said to the member.",
    ),
    "ChatAnswer": _object(
        {"id": _TEXT, "object": _TEXT, "created": _COUNT, "model": _TEXT, "choices": {"type": "array"}},
        text="OpenAI's answer; with `stream`, a stream of its chunks.",
    ),
}
