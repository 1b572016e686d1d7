"""The OpenAPI document (3.1) of a server, made from its table of routes: what is served is what is described.

A route's own answers are joined by those that the front gives anywhere: a refused secret or origin, a body too large, a
server that is full. WebSockets are no operations of OpenAPI; they are listed under `x-websockets`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mob.server.front.routes import Call, Handler, Route, Table

JSON = dict[str, Any]

ERROR = {"$ref": "#/components/schemas/Error"}

_ERROR_SCHEMA: JSON = {
    "type": "object",
    "description": "OpenAI's error object. `code` is stable and meant for programs.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_EVERYWHERE = {400: "The request cannot be understood.", 401: "The secret or the page's origin is not accepted."}
_WITH_BODY = {413: "The body is too large."}
_PHRASES = {
    200: "As asked.",
    201: "Made.",
    404: "There is no such thing here.",
    409: "Not in the state that it is in.",
    429: "A limit is reached; try later.",
    500: "The server failed.",
    502: "The model's provider failed.",
    503: "Not ready, or full.",
    504: "It took too long.",
}


def document(table: Table, components: Mapping[str, JSON], *, version: str) -> JSON:
    """The document. `components`: schemas by name, for routes to refer to."""
    paths: JSON = {}
    for route in table.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mob", "version": version, "description": "A team of talking agents, served."},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR_SCHEMA, **components},
            "securitySchemes": {"secret": {"type": "http", "scheme": "bearer"}},
        },
        "x-websockets": [{"path": socket.path, "summary": socket.summary} for socket in table.sockets],
    }


def serve_document(table: Callable[[], Table], components: Mapping[str, JSON], *, version: str) -> Handler:
    """A handler that gives the document of this table, which may be made after it."""

    async def serve(call: Call) -> None:
        await call.reply.send_json(200, document(table(), components, version=version))

    return serve


def _operation(route: Route) -> JSON:
    operation: JSON = {
        "operationId": _name(route),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
        "security": [] if route.auth == "open" else [{"secret": []}, {}],
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": route.body}}}
    return operation


def _name(route: Route) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", route.path) if word]
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[JSON]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{([^}]+)\}", route.path)
    ]


def _query_parameters(route: Route) -> list[JSON]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in route.query.items()]


def _responses(route: Route) -> JSON:
    own = "text/event-stream" if route.streams else route.content_type
    good: JSON = {"description": _phrase(route.status)}
    if route.answer is not None:
        good["content"] = {own: {"schema": route.answer}}
    responses: JSON = {str(route.status): good}
    everywhere = {**_EVERYWHERE, **(_WITH_BODY if route.body is not None else {})}
    for status, phrase in everywhere.items():
        responses[str(status)] = _answer(phrase, ERROR)
    for status, schema in route.answers.items():
        responses[str(status)] = _answer(_phrase(status), schema)
    return responses


def _answer(phrase: str, schema: Mapping[str, Any]) -> JSON:
    return {"description": phrase, "content": {"application/json": {"schema": schema}}}


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "Refused.")
