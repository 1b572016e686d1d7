"""The component schemas of the OpenAPI document, and what routes say of their answers."""

from __future__ import annotations

from typing import Any

from mob.server.front.openapi import ERROR
from mob.server.rest.reading import MOST_WHOLE

JSON = dict[str, Any]

COUNT_QUERY: JSON = {"type": "integer", "minimum": 0, "maximum": MOST_WHOLE}
ERRORS: dict[int, JSON] = dict.fromkeys((404, 409, 429, 500, 502, 503, 504), ERROR)
"""How an operation on a member can be refused."""


def component(name: str) -> JSON:
    """A reference to a component; KeyError for one that there is not."""
    _ = COMPONENTS[name]
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(name: str, of: str) -> JSON:
    """An object with one list of components."""
    return _object({name: {"type": "array", "items": component(of)}})


def _object(properties: JSON, *, required: list[str] | None = None, text: str = "") -> JSON:
    made: JSON = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }
    return {**made, "description": text} if text else made


def _picture(mime: str, pattern: str) -> JSON:
    """A picture of one kind. Its first bytes are those of the kind, and so are the first letters of their base64."""
    data = {"type": "string", "pattern": pattern, "description": "The file's bytes in base64."}
    return _object({"mime": {"const": mime}, "data": data})


_GROUPS = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_TEXT: JSON = {"type": "string"}
_COUNT: JSON = {"type": "integer", "minimum": 0}

COMPONENTS: dict[str, JSON] = {
    "Health": _object({"status": {"const": "ok"}}),
    "Readiness": _object(
        {"status": {"enum": ["ready", "not_ready"]}, "mobs": {"type": "object", "additionalProperties": _TEXT}}
    ),
    "Usage": {"type": "object", "description": "Tokens and dollars; what is zero is left out."},
    "Model": {"type": "object", "description": "The model's row of the catalogue.", "required": ["id", "provider"]},
    "Turn": {
        "type": "object",
        "description": "A committed turn with its items: user, agent, tool_call, tool_result, note.",
        "required": ["id", "cause", "items"],
    },
    "Mob": _object(
        {
            "mob": _TEXT,
            "run": _TEXT,
            "description": _TEXT,
            "state": {"enum": ["stopped", "running", "failed", "ended"]},
            "created_at": {"type": "number"},
            "members": {"type": "array", "items": _TEXT},
            "floor": {"type": ["string", "null"]},
            "usage": {"$ref": "#/components/schemas/Usage"},
            "routes": {"type": "array", "items": {"type": "object"}},
            "reason": _TEXT,
        },
        required=["mob", "run", "description", "state", "created_at", "members"],
    ),
    "Session": _object(
        {
            "session_id": _TEXT,
            "mob": {"type": ["string", "null"]},
            "member": _TEXT,
            "state": _TEXT,
            "profile": _TEXT,
            "model": {"$ref": "#/components/schemas/Model"},
            "generation": _COUNT,
            "usage": {"$ref": "#/components/schemas/Usage"},
        },
        required=["session_id", "mob", "member", "state", "profile", "model"],
    ),
    "HistoryPage": _object(
        {
            "session_id": _TEXT,
            "offset": _COUNT,
            "total": _COUNT,
            "has_more": {"type": "boolean"},
            "turns": {"type": "array", "items": {"$ref": "#/components/schemas/Turn"}},
        }
    ),
    "Image": {
        "oneOf": [
            _picture("image/png", f"^iVBORw0KGg(o=|[o-r][A-Za-z0-9+/]{_GROUPS})$"),
            _picture("image/jpeg", f"^/9j/{_GROUPS}$"),
        ]
    },
    "TurnRequest": {
        **_object(
            {
                "text": {"type": ["string", "null"]},
                "images": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Image"}, "maxItems": 64},
                "timeout_s": {"type": ["integer", "null"], "minimum": 1, "maximum": 3600},
            },
            required=[],
            text="What is said: text, pictures, or both.",
        ),
        "anyOf": [
            {"required": ["text"], "properties": {"text": {"type": "string", "pattern": "[A-Za-z0-9]"}}},
            {"required": ["images"], "properties": {"images": {"type": "array", "minItems": 1}}},
        ],
        "additionalProperties": False,
    },
    "TurnAnswer": _object(
        {"session_id": _TEXT, "text": _TEXT, "turn": {"$ref": "#/components/schemas/Turn"}},
    ),
    "Interrupted": _object({"interrupted": {"type": "boolean"}}),
    "Catalogue": _object(
        {"contract_version": {"type": "object"}, "providers": {"type": "array", "items": {"type": "object"}}}
    ),
    "OpenAiModel": _object({"id": _TEXT, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT}),
    "OpenAiModels": _object(
        {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/OpenAiModel"}},
        }
    ),
    "ClientSecretRequest": {
        **_object(
            {
                "expires_after": {
                    "type": ["object", "null"],
                    "properties": {
                        "anchor": {"enum": ["created_at", None]},
                        "seconds": {"type": ["integer", "null"], "minimum": 10, "maximum": 7200},
                    },
                    "additionalProperties": False,
                },
                "session": {"type": ["object", "null"], "description": "OpenAI's realtime session object."},
            },
            required=[],
        ),
        "additionalProperties": False,
    },
    "ClientSecret": _object({"value": _TEXT, "expires_at": _COUNT, "session": {"type": "object"}}),
    "ChatMessage": _object(
        {
            "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"type": ["string", "array", "null"], "items": {"type": "object"}},
            "tool_calls": {"type": ["array", "null"], "items": {"type": "object"}},
            "tool_call_id": {"type": ["string", "null"]},
        },
        required=["role"],
    ),
    "ChatTool": _object(
        {
            "type": {"const": "function"},
            "function": _object(
                {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
                    "description": {"type": ["string", "null"]},
                    "parameters": {"type": ["object", "null"]},
                },
                required=["name"],
            ),
        }
    ),
    "ChatRequest": _object(
        {
            "model": {"type": "string", "description": "MEMBER, or MOB/MEMBER."},
            "messages": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/ChatMessage"}},
            "stream": {"type": ["boolean", "null"]},
            "stream_options": {
                "type": ["object", "null"],
                "properties": {"include_usage": {"type": ["boolean", "null"]}},
            },
            "tools": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/ChatTool"}, "maxItems": 128},
            "tool_choice": {"enum": ["auto", "none", None]},
            "parallel_tool_calls": {"type": ["boolean", "null"]},
            "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1},
            "max_tokens": {"type": ["integer", "null"], "minimum": 1},
            "n": {"enum": [1, None]},
        },
        required=["model", "messages"],
        text="OpenAI's request. Only what comes after the last assistant message is said to the member.",
    ),
    "ChatAnswer": _object(
        {"id": _TEXT, "object": _TEXT, "created": _COUNT, "model": _TEXT, "choices": {"type": "array"}},
        text="OpenAI's answer; with `stream`, a stream of its chunks.",
    ),
}
