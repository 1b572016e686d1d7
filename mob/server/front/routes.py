"""What is served at which path: one table, from which requests are dispatched and the OpenAPI document is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote

from attrs import field, frozen

from mob.live.transport_port import Transport
from mob.web.http import HttpReply, HttpRequest
from mob.web.streams import Head

Auth = Literal["open", "secret", "own"]
"""Who may come: everybody; who has the server's secret; whoever the handler itself lets in."""


@frozen(slots=True)
class Call:
    """One HTTP request on its way to its handler. `params` are the parts of the path that the route names."""

    request: HttpRequest
    reply: HttpReply
    params: Mapping[str, str]


@frozen(slots=True)
class Visit:
    """One WebSocket on its way to its handler: admitted, shaken hands with, and closed when the handler returns."""

    head: Head
    transport: Transport
    params: Mapping[str, str]


Handler = Callable[[Call], Awaitable[None]]
SocketHandler = Callable[[Visit], Awaitable[None]]
Schema = Mapping[str, Any]


@frozen(slots=True)
class Route:
    """An HTTP operation. `path` has its parameters in braces: `/sessions/{session_id}`.

    What the rest says goes into the OpenAPI document: `body` and `answer` are JSON Schemas (or references into
    `components`), `answers` maps further statuses to their schemas, `query` names to schemas. `streams`: the answer is
    a server-sent event stream.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    auth: Auth = "secret"
    tag: str = "mob"
    body: Schema | None = None
    answer: Schema | None = None
    status: int = 200
    answers: Mapping[int, Schema] = field(factory=dict)
    query: Mapping[str, Schema] = field(factory=dict)
    content_type: str = "application/json"
    streams: bool = False


@frozen(slots=True)
class SocketRoute:
    """A WebSocket path. `admit` looks at the request before the handshake and raises a MobError to refuse it.

    `subprotocols`: the first of these that the client offers is chosen.
    """

    path: str
    handler: SocketHandler
    summary: str
    auth: Auth = "secret"
    admit: Callable[[Head, Mapping[str, str]], None] | None = None
    subprotocols: tuple[str, ...] = ()
    max_frame_bytes: int | None = None


@frozen(slots=True)
class Match:
    """What a path leads to: a route with its parameters, or the methods that would be served there."""

    route: Route | None
    params: Mapping[str, str]
    methods: tuple[str, ...] = ()


class Table:
    """All routes of a server."""

    def __init__(self, routes: Sequence[Route] = (), sockets: Sequence[SocketRoute] = ()) -> None:
        self.routes = tuple(routes)
        self.sockets = tuple(sockets)

    def find(self, method: str, path: str) -> Match:
        """The operation, or what else this path has. HEAD is answered as GET is, without a body; streams have none."""
        methods: list[str] = []
        for route in self.routes:
            params = _match(route.path, path)
            if params is None:
                continue
            answers_head = method == "HEAD" and route.method == "GET" and not route.streams
            if route.method == method or answers_head:
                return Match(route, params)
            methods.append(route.method)
        return Match(None, {}, tuple(methods))

    def find_socket(self, path: str) -> tuple[SocketRoute, Mapping[str, str]] | None:
        """The WebSocket at this path."""
        for socket in self.sockets:
            params = _match(socket.path, path)
            if params is not None:
                return socket, params
        return None


def _match(pattern: str, path: str) -> dict[str, str] | None:
    names, parts = pattern.split("/"), path.split("/")
    if len(names) != len(parts):
        return None
    params: dict[str, str] = {}
    for name, part in zip(names, parts, strict=True):
        if name.startswith("{"):
            if not part:
                return None
            params[name[1:-1]] = unquote(part)
        elif name != part:
            return None
    return params
