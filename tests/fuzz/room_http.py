"""The port of HTTP and WebSockets, spoken to by mutants: heads, bodies and paths, over connections that come and go.

Whatever comes is answered by responses that a strict client reads, none of them a failure of the server, or is hung up
on; and then nothing is left of the connection.
"""

from __future__ import annotations

import json
from typing import Any

import h11
import seeds
import trio
import trio.testing
from fuzzing import must
from house import House, open_house
from mutations import Mutator, words_of

_RENEW = 300
_PATIENCE_S = 400.0
"""Longer than a silent client is waited for, and than a turn lasts."""

_BODIES: list[tuple[str, bytes, list[Any]]] = [
    ("POST", b"/mobs/crew/members/ann/turns", seeds.TURNS),
    ("POST", b"/sessions/SESSION/turns", seeds.TURNS),
    ("POST", b"/v1/chat/completions", seeds.CHATS),
    ("POST", b"/v1/realtime/client_secrets", seeds.CLIENT_SECRETS),
    ("POST", b"/mobs/crew/members/ann/interrupt", [{}]),
    ("GET", b"/mobs/crew/members/ann/history?offset=0&limit=5", [{}]),
    ("GET", b"/mobs/crew/members/ann/events?after=0", [{}]),
    ("GET", b"/v1/models/crew/ann", [{}]),
    ("GET", b"/metrics", [{}]),
]
_VALUES = [value for _, _, values in _BODIES for value in values]
_ERROR_KEYS = {"message", "type", "param", "code"}


class Visitor:
    """Sends mutants and reads what comes back."""

    def __init__(self, house: House, mutator: Mutator) -> None:
        self._house = house
        self._mutator = mutator

    async def visit(self) -> None:
        """One connection, with one to three requests on it, and an end."""
        rng = self._mutator.random
        requests = [self._request() for _ in range(rng.choice((1, 1, 2, 3)))]
        stream = self._house.connect()
        try:
            with trio.move_on_after(_PATIENCE_S) as patience:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, stream, b"".join(requests))
                    data = await self._read(stream)
                    nursery.cancel_scope.cancel()
            must(not patience.cancelled_caught, f"the connection hangs after {requests!r:.1000}")
            if not any(b"HEAD" in request for request in requests):  # whose answers have no bodies
                check_responses(data)
        finally:
            await trio.aclose_forcefully(stream)

    async def _send(self, stream: trio.abc.Stream, data: bytes) -> None:
        rng = self._mutator.random
        cut = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)
        try:
            await stream.send_all(data[:cut])
            await stream.send_all(data[cut:])
            await stream.send_eof()  # type: ignore[attr-defined]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _request(self) -> bytes:
        rng, mutator = self._mutator.random, self._mutator
        if rng.random() < 0.35:
            return mutator.spoil_bytes(rng.choice(seeds.HEADS), seeds.HEADS)
        method, path, values = rng.choice(_BODIES)
        path = path.replace(b"SESSION", b"unknown")
        value = rng.choice(values)
        body = mutator.write(mutator.spoil_value(value, _VALUES) if rng.random() < 0.85 else value)
        if rng.random() < 0.2:
            path = mutator.spoil_bytes(path, [each for _, each, _ in _BODIES])
        head = b"%s %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (method.encode(), path, len(body))
        request = head + (b"" if method == "GET" else body)
        if method == "GET":
            request = request.replace(b"content-length: %d" % len(body), b"content-length: 0")
        return mutator.spoil_bytes(request, seeds.HEADS) if rng.random() < 0.15 else request

    async def _read(self, stream: trio.abc.Stream) -> bytes:
        """Everything, until the server hangs up."""
        data = b""
        try:
            async for piece in stream:
                data += piece
        except trio.BrokenResourceError:
            pass
        return data


def check_responses(data: bytes) -> None:
    """Nothing, or whole responses one after the other; the last may be cut off."""
    while data and not data.startswith(b"HTTP/1.1 101 "):
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        client.receive_data(b"")
        response, body = None, b""
        try:
            while True:
                event = client.next_event()
                match event:
                    case h11.Response():
                        response = event
                    case h11.Data(data=piece):
                        body += piece
                    case h11.EndOfMessage():
                        break
                    case h11.ConnectionClosed() | h11.PAUSED | h11.NEED_DATA:
                        return
        except h11.RemoteProtocolError:
            must(response is not None, f"no response: {data[:300]!r}")
            return
        assert response is not None
        check_response(response, body)
        data = client.trailing_data[0]


def check_response(response: h11.Response, body: bytes) -> None:
    """Not a failure; what is wrong is said in the vendor's shape."""
    status = response.status_code
    must(status != 500, f"the server failed: {body[:500]!r}")
    kinds = [value for name, value in response.headers if name == b"content-type"]
    if status >= 400 and kinds == [b"application/json"] and body:
        error = json.loads(body.decode(), parse_constant=float)["error"]
        must(set(error) == _ERROR_KEYS, f"no error of the vendor's shape: {body[:300]!r}")
        must(error["message"] and len(error["message"]) < 5000, f"no sentence: {body[:300]!r}")
        must(error["code"] != "bad_request" or error["param"] is not None, f"no field: {body[:300]!r}")


async def fuzz_http(count: int, seed: int) -> int:
    """So many connections."""
    mutator = Mutator(seed, words_of(_VALUES))
    async with open_house() as house:
        visitor = Visitor(house, mutator)
        for number in range(count):
            await visitor.visit()
            house.check()
            if number % _RENEW == _RENEW - 1:
                await trio.testing.wait_all_tasks_blocked()
                must(house.front.statistics().open == 0, "a connection is left")
                await house.renew()
                await house.check_works()
    return count
