"""A small HTTP/1.1 server end: h11 pumped over any trio stream, with every size and wait bounded.

One request at a time per connection, kept alive between them. What is wrong with a request is answered in the shape
of OpenAI's errors, `{"error": {"message", "type", "param", "code"}}`, and the connection closed where it cannot go on.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

import h11
import trio
from attrs import field, frozen

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
IDLE_S = 60.0
_READ_BYTES = 64 * 1024

Headers = Sequence[tuple[str, str]]


@frozen(slots=True)
class HttpRequest:
    """A whole request. Header names are lower case; `path` has no query."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=lambda b: f"<{len(b)} bytes>")

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class HttpBadRequest(Exception):
    """The request cannot be served; answered with `status` and the connection closed. Never leaves this module."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_body(message: str, *, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, object]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class HttpReply:
    """Writes one response: `send_json`, or `start`, any number of `write`, and `end`."""

    def __init__(self, connection: h11.Connection, stream: trio.abc.Stream) -> None:
        self._connection = connection
        self._stream = stream

    async def send_json(self, status: int, value: object, headers: Headers = ()) -> None:
        """The whole response at once."""
        await self.send_bytes(status, json.dumps(value, ensure_ascii=False).encode(), "application/json", headers)

    async def send_bytes(self, status: int, body: bytes, content_type: str, headers: Headers = ()) -> None:
        """The whole response at once."""
        own = [("content-type", content_type), ("content-length", str(len(body)))]
        await self._send(_response(status, [*own, *headers]), h11.Data(data=body), h11.EndOfMessage())

    async def start(self, status: int, content_type: str, headers: Headers = ()) -> None:
        """Begin a chunked response."""
        await self._send(_response(status, [("content-type", content_type), *headers]))

    async def write(self, data: bytes) -> None:
        """One chunk."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """No more chunks."""
        await self._send(h11.EndOfMessage())

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._connection.send(event) or b"" for event in events)
        if data:
            await self._stream.send_all(data)


HttpHandler = Callable[[HttpRequest, HttpReply], Awaitable[None]]


async def serve_http(stream: trio.abc.Stream, handler: HttpHandler) -> None:
    """Serve requests on `stream` until the client closes, misbehaves, or is idle for a minute. The caller closes it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    while True:
        reply = HttpReply(connection, stream)
        try:
            request = await _next_request(connection, stream)
            if request is None:
                return
            await handler(request, reply)
        except HttpBadRequest as bad:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await reply.send_json(bad.status, error_body(str(bad)), [("connection", "close")])
            return
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _next_request(connection: h11.Connection, stream: trio.abc.Stream) -> HttpRequest | None:
    """The next whole request; None when the client has closed or says nothing."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        match await _next_event(connection, stream):
            case h11.Request() as head:
                pass
            case h11.Data(data=data):
                body += data
                if len(body) > MAX_BODY_BYTES:
                    raise HttpBadRequest(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
            case h11.EndOfMessage() if head is not None:
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
                return HttpRequest(head.method.decode("ascii"), head.target.decode("latin-1"), headers, bytes(body))
            case _:
                return None


async def _next_event(connection: h11.Connection, stream: trio.abc.Stream) -> h11.Event | None:
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise HttpBadRequest(error.error_status_hint, f"This is not HTTP/1.1: {error}.") from None
        if event is not h11.NEED_DATA:
            return event if isinstance(event, h11.Event) else None
        if connection.they_are_waiting_for_100_continue:
            await stream.send_all(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        data: bytes | bytearray | None = None
        with trio.move_on_after(IDLE_S):
            data = await stream.receive_some(_READ_BYTES)
        if data is None:
            return None
        connection.receive_data(bytes(data))


def _response(status: int, headers: Headers) -> h11.Response:
    return h11.Response(status_code=status, headers=[(name.encode(), value.encode()) for name, value in headers])
