"""Everything of the server that is plain HTTP, as routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata

import trio

from mob.server.catalog import catalog
from mob.server.chat.door import ChatDoor
from mob.server.chat.turns import ChatTurns
from mob.server.front.openapi import serve_document
from mob.server.front.port import Front
from mob.server.front.routes import Call, Route, Table
from mob.server.realm.realm import Realm
from mob.server.rest.events import EventStreams
from mob.server.rest.health import health_routes
from mob.server.rest.metrics import Metric, front_metrics, one
from mob.server.rest.openai import openai_routes
from mob.server.rest.schemas import COMPONENTS, ERRORS, component
from mob.server.rest.sessions import session_routes


def rest_routes(
    realm: Realm,
    *,
    nursery: trio.Nursery,
    table: Callable[[], Table],
    front: Callable[[], Front] | None = None,
    rpc_served: Callable[[], int] | None = None,
) -> list[Route]:
    """The routes. `nursery` holds the turns that span requests, and ends before the realm does.

    `table` gives the whole table that these routes become part of, once it is made: it is what /openapi.json describes.
    `front` is what serves them, `rpc_served` counts what JSON-RPC has served: /metrics tells.
    """
    turns, streams = ChatTurns(nursery, realm.limits), EventStreams(realm.limits)

    def metrics() -> Iterator[Metric]:
        yield one("mob_event_streams", "gauge", "Streams of server-sent events that are open.", streams.open)
        yield one("mob_chat_turns", "gauge", "Turns of chat completions that have not ended.", turns.open)
        yield one("mob_chat_turns_total", "counter", "Turns of chat completions ever begun.", turns.begun)
        if rpc_served is not None:
            yield one("mob_rpc_requests_total", "counter", "JSON-RPC requests ever served.", rpc_served())
        if front is not None:
            yield from front_metrics(front().statistics())

    return [
        *health_routes(realm, metrics),
        *_document_routes(table),
        *_catalogue_routes(realm),
        *session_routes(realm, streams),
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


def _catalogue_routes(realm: Realm) -> list[Route]:
    async def serve(call: Call) -> None:
        await call.reply.send_json(200, catalog(realm.config.default_model))

    return [
        Route(
            "GET",
            "/models/catalog",
            serve,
            "The model catalogue, as Meerkat's clients read it.",
            tag="server",
            answer=component("Catalogue"),
        )
    ]
