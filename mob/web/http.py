"""A small HTTP/1.1 server end: h11 pumped over any trio stream, with every size and wait bounded.

One request at a time per connection, kept alive between them. What is wrong with a request is answered in the shape
of OpenAI's errors, `{"error": {"message", "type", "param", "code"}}`, and the connection closed where it cannot go on.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qs

import h11
import trio
from attrs import evolve, field, frozen

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
IDLE_S = 60.0
_READ_BYTES = 64 * 1024
_MAX_QUERY_FIELDS = 50
_LINGER_S, _LINGER_READS = 0.5, 256

Headers = Sequence[tuple[str, str]]


@frozen(slots=True)
class HttpBounds:
    """What a connection may take: bytes of a body, seconds of silence (of the client, or of one that takes nothing),
    seconds from a request's first byte to its last.

    The head has `MAX_HEAD_BYTES`. `room` looks at a request's head and says how large its body may be, at most
    `max_body_bytes`: nobody needs to listen to much from whoever is refused anyway.
    """

    max_body_bytes: int = MAX_BODY_BYTES
    idle_s: float = IDLE_S
    request_s: float = IDLE_S
    room: Callable[[HttpRequest], int] | None = None


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

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the first of each."""
        return parse_query(self.target)


def parse_query(target: str) -> dict[str, str]:
    """The parameters of a target's query, the first of each; none when there are unreasonably many."""
    try:
        found = parse_qs(target.partition("?")[2], keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return {}
    return {key: values[0] for key, values in found.items()}


class HttpBadRequest(Exception):
    """The request cannot be served; answered with `status` and the connection closed. Never leaves this module."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_body(message: str, *, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, object]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class HttpReply:
    """Writes one response: `send_json`, or `start`, any number of `write`, and `end`.

    `always` are headers that go with it, whatever it turns out to be. `head_only`: HEAD was asked, no body goes out.
    """

    def __init__(self, connection: h11.Connection, stream: trio.abc.Stream, *, write_s: float = IDLE_S) -> None:
        self._connection = connection
        self._stream = stream
        self._write_s = write_s
        self.status: int | None = None
        self.always: Headers = ()
        self.head_only = False

    @property
    def started(self) -> bool:
        """Whether the head of the response is out, so that no other can be sent."""
        return self.status is not None

    async def send_json(self, status: int, value: object, headers: Headers = ()) -> None:
        """The whole response at once."""
        await self.send_bytes(status, _as_json(value), "application/json", headers)

    async def send_bytes(self, status: int, body: bytes, content_type: str, headers: Headers = ()) -> None:
        """The whole response at once."""
        # RFC 9110, 8.6: no content-length with 204.
        own = [] if status == 204 else [("content-type", content_type), ("content-length", str(len(body)))]
        self.status = status
        head = _response(status, [*own, *headers, *self.always])
        if self.head_only or not body:
            await self._send(head, h11.EndOfMessage())
        else:
            await self._send(head, h11.Data(data=body), h11.EndOfMessage())

    async def start(self, status: int, content_type: str, headers: Headers = ()) -> None:
        """Begin a chunked response."""
        self.status = status
        await self._send(_response(status, [("content-type", content_type), *headers, *self.always]))

    async def write(self, data: bytes) -> None:
        """One chunk."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """No more chunks."""
        await self._send(h11.EndOfMessage())

    async def while_there(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work`, and cancel it when the client hangs up or closes its half: BrokenResourceError then.

        For answers that take long. What the client sends meanwhile is kept for its turn; one that sends more than a
        request's head is not listened to any more, and so is found gone only when the answer is written.
        """
        failure: Exception | None = None
        gone = False

        async def watch() -> None:
            nonlocal gone
            await self._until_gone()
            gone = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                await work()
            except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if gone:
            raise trio.BrokenResourceError("the client hung up before its answer was whole")

    async def _until_gone(self) -> None:
        ahead = 0
        while ahead <= MAX_HEAD_BYTES:
            try:
                data = await self._stream.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            self._connection.receive_data(bytes(data))
            if not data:
                return
            ahead += len(data)
        await trio.sleep_forever()

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._connection.send(event) or b"" for event in events)
        if not data:
            return
        with trio.move_on_after(self._write_s) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            raise trio.BrokenResourceError(f"the client took nothing for {self._write_s:g} s")


HttpHandler = Callable[[HttpRequest, HttpReply], Awaitable[None]]


async def serve_http(stream: trio.abc.Stream, handler: HttpHandler, bounds: HttpBounds | None = None) -> None:
    """Serve requests on `stream` until the client closes, misbehaves, or is idle for too long. The caller closes it."""
    bounds = bounds or HttpBounds()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    while True:
        reply = HttpReply(connection, stream, write_s=bounds.idle_s)
        reader = _Reader(connection, stream, bounds)
        try:
            request = await reader.next_request()
            reply.head_only = reader.method == "HEAD"
            if request is None:
                return
            await handler(request, reply)
        except HttpBadRequest as bad:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                reply.head_only = reader.method == "HEAD"
                await reply.send_json(bad.status, error_body(str(bad)), [("connection", "close")])
                await _linger(stream)
            return
        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _linger(stream: trio.abc.Stream) -> None:
    """Read on for a moment: closing over unread bytes resets the connection, and the answer would be lost with it."""
    with trio.move_on_after(_LINGER_S):
        for _ in range(_LINGER_READS):
            if not await stream.receive_some(_READ_BYTES):
                return


class _Reader:
    """Reads one request: the wait for its first byte may be long, from there on it has to arrive."""

    def __init__(self, connection: h11.Connection, stream: trio.abc.Stream, bounds: HttpBounds) -> None:
        self._connection = connection
        self._stream = stream
        self._bounds = bounds
        self._deadline = float("inf")
        self._room = bounds.max_body_bytes
        self.method = ""

    async def next_request(self) -> HttpRequest | None:
        """The next whole request; None when the client has closed, says nothing, or does not come to an end."""
        request: HttpRequest | None = None
        body = bytearray()
        while True:
            match await self._next_event():
                case h11.Request() as head:
                    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
                    request = HttpRequest(head.method.decode("ascii"), head.target.decode("latin-1"), headers, b"")
                    self._make_room(request)
                case h11.Data(data=data):
                    body += data
                    if len(body) > self._room:
                        raise self._too_large()
                case h11.EndOfMessage() if request is not None:
                    return evolve(request, body=bytes(body))
                case _:
                    return None

    def _make_room(self, request: HttpRequest) -> None:
        self.method = request.method
        if self._bounds.room is not None:
            self._room = min(self._bounds.max_body_bytes, self._bounds.room(request))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._room:
            raise self._too_large()

    def _too_large(self) -> HttpBadRequest:
        return HttpBadRequest(413, f"The body is larger than {self._room} bytes.")

    async def _next_event(self) -> h11.Event | None:
        connection = self._connection
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                # What follows the colon is the line itself, and there may be a secret in it.
                what = str(error).partition(":")[0]
                raise HttpBadRequest(error.error_status_hint, f"This is not HTTP/1.1: {what}.") from None
            if event is not h11.NEED_DATA:
                return event if isinstance(event, h11.Event) else None
            if connection.they_are_waiting_for_100_continue:
                go_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                await self._stream.send_all(go_on or b"")
            data: bytes | bytearray | None = None
            with trio.move_on_at(min(trio.current_time() + self._bounds.idle_s, self._deadline)):
                data = await self._stream.receive_some(_READ_BYTES)
            if data is None:
                return None
            self._deadline = min(self._deadline, trio.current_time() + self._bounds.request_s)
            connection.receive_data(bytes(data))


def _as_json(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON text can carry and UTF-8 cannot
        return json.dumps(value).encode()


def _response(status: int, headers: Headers) -> h11.Response:
    return h11.Response(
        status_code=status, headers=[(name.encode(), value.encode("latin-1")) for name, value in headers]
    )
