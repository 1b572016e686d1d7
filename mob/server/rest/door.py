"""Everything of the server that is plain HTTP, as routes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import trio

from mob.server.chat import ChatDoor
from mob.server.chat_turns import ChatTurns
from mob.server.openapi import serve_document
from mob.server.realm import Realm
from mob.server.rest.events import EventStreams
from mob.server.rest.health import health_routes
from mob.server.rest.openai import openai_routes
from mob.server.rest.schemas import COMPONENTS, ERRORS, component
from mob.server.rest.sessions import session_routes
from mob.server.routes import Route, Table


def rest_routes(realm: Realm, *, nursery: trio.Nursery, table: Callable[[], Table]) -> list[Route]:
    """The routes. `nursery` holds the turns that span requests, and ends before the realm does.

    `table` gives the whole table that these routes become part of, once it is made: it is what /openapi.json describes.
    """
    turns = ChatTurns(nursery, realm.limits)
    return [
        *health_routes(realm),
        *_document_routes(table),
        *session_routes(realm, EventStreams(realm.limits)),
        *openai_routes(realm),
        *chat_routes(realm, turns),
    ]


def chat_routes(realm: Realm, turns: ChatTurns) -> list[Route]:
    """Chat completions."""
    door = ChatDoor(realm, turns)
    return [
        Route(
            "POST",
            "/v1/chat/completions",
            door.complete,
            "Say something to a member, as OpenAI's clients talk with a model.",
            tag="openai",
            body=component("ChatRequest"),
            answer=component("ChatAnswer"),
            answers=ERRORS,
        )
    ]


def _document_routes(table: Callable[[], Table]) -> list[Route]:
    serve = serve_document(table, COMPONENTS, version=metadata.version("mob"))
    return [
        Route(
            "GET",
            "/openapi.json",
            serve,
            "What this server serves, as OpenAPI.",
            auth="open",
            tag="server",
            answer={"type": "object"},
        )
    ]
