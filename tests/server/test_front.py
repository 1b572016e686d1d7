"""The front: one port for HTTP and WebSockets, bounded, typed in what it refuses, unharmed by what comes."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
import trustme
from attrs import evolve
from hypothesis import given, settings, strategies as st

from mob import errors
from mob.errors import LiveRejected, MobError, MobUnknown, RequestInvalid, SessionBusy
from mob.live.transport import HandshakeRefused, open_websocket
from mob.live.transport_port import TransportClosed
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front, body_of, status_of
from mob.server.front.routes import Call, Route, SocketRoute, Table, Visit
from mob.server.limits import DoorLimits

SECRET = "0123456789abcdef-a-secret"
BEARER = f"Authorization: Bearer {SECRET}"


async def echo(call: Call) -> None:
    length = len(call.request.body)
    await call.reply.send_json(200, {"params": dict(call.params), "query": call.request.query, "length": length})


async def refuse(_: Call) -> None:
    raise RequestInvalid("`colour` is wrong", field="colour")


async def fail(_: Call) -> None:
    raise ZeroDivisionError("a secret of the server")


async def half(call: Call) -> None:
    await call.reply.start(200, "text/plain")
    await call.reply.write(b"begun")
    raise MobUnknown("gone")


async def echo_socket(visit: Visit) -> None:
    while True:
        visit.transport.send_nowait(await visit.transport.receive())


async def failing_socket(_: Visit) -> None:
    raise ZeroDivisionError("odd")


async def refusing_socket(_: Visit) -> None:
    raise LiveRejected("not this way", reason="unsupported")


def admit(head, params) -> None:
    if head.query.get("token") != "good":
        raise MobUnknown(f"no mob {params['mob']}")


ROUTES = (
    Route("GET", "/open", echo, "Open.", auth="open"),
    Route("GET", "/things/{thing}", echo, "One."),
    Route("POST", "/things", echo, "Make.", body={}),
    Route("GET", "/refuse", refuse, "Refuses."),
    Route("GET", "/fail", fail, "Fails."),
    Route("GET", "/half", half, "Fails half way."),
    Route("GET", "/stream", echo, "Streams.", streams=True),
)
SOCKETS = (
    SocketRoute("/ws", echo_socket, "Echo.", subprotocols=("realtime",)),
    SocketRoute("/ws/{mob}", echo_socket, "Admitted.", auth="open", admit=admit),
    SocketRoute("/ws-fails", failing_socket, "Fails.", auth="open"),
    SocketRoute("/ws-refuses", refusing_socket, "Refuses.", auth="open"),
)


def make_front(*, secret: str | None = None, tls: ssl.SSLContext | None = None, **limits: object) -> Front:
    keeper = Gatekeeper(secret, origins=("https://desk.example",))
    return Front(Table(ROUTES, SOCKETS), keeper, evolve(DoorLimits(), **limits), tls=tls)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    fields = [*headers, f"Content-Length: {len(body)}"] if body else headers
    return "\r\n".join((f"{line} HTTP/1.1", "Host: localhost", *fields, "", "")).encode() + body


async def talk(front: Front, *pieces: bytes) -> bytes:
    """Send pieces on one connection, and read until it ends."""
    client, server = trio.testing.memory_stream_pair()
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve_stream, server)
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await client.send_all(piece)
            await client.send_eof()
        with suppress(trio.BrokenResourceError):
            while data := await client.receive_some(65536):
                received += bytes(data)
    return received


async def answer(front: Front, line: str, *headers: str, body: bytes = b"") -> tuple[int, dict, str]:
    """Status, JSON body, and head of one answer."""
    received = await talk(front, request(line, *headers, body=body))
    head, _, rest = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(rest) if rest else {}, head.decode().casefold()


# -- statuses ----------------------------------------------------------------------------------------------------------


def every_error() -> list[type[MobError]]:
    found, todo = [], [MobError]
    while todo:
        for cls in todo.pop().__subclasses__():
            if cls.__module__ == errors.__name__:
                found.append(cls)
            todo.append(cls)
    return found


@pytest.mark.parametrize("cls", every_error())
def test_every_error_of_ours_has_a_status_and_a_body(cls):
    error = cls.__new__(cls)
    error.message = "what happened"
    status = status_of(error)
    assert 400 <= status < 600
    body = body_of(error)["error"]
    assert (body["message"], body["code"]) == ("what happened", cls.code)
    assert body["type"]


def test_a_subclass_is_answered_as_itself_first():
    assert status_of(SessionBusy("x")) == 409
    assert status_of(MobUnknown("x")) == 404
    assert status_of(errors.BudgetExceeded("x")) == 429
    assert status_of(errors.TurnTimedOut("x")) == 504


# -- routes ------------------------------------------------------------------------------------------------------------


async def test_a_route_is_found_by_method_and_path():
    front = make_front()
    status, body, _ = await answer(front, "GET /things/a%20b%2Fc?x=1&y=")
    assert (status, body["params"], body["query"]) == (200, {"thing": "a b/c"}, {"x": "1", "y": ""})
    assert (await answer(front, "POST /things", body=b"12345"))[1]["length"] == 5
    status, body, head = await answer(front, "DELETE /things/a")
    assert (status, body["error"]["code"]) == (405, "method_not_allowed")
    assert "allow: get" in head
    for path in ("/", "/things/", "/things/a/b", "/Things/a", "//"):
        assert (await answer(front, f"GET {path}"))[0] in (404, 405)
    status, body, head = await answer(front, "GET /ws")
    assert (status, body["error"]["code"]) == (426, "upgrade_required")
    assert "upgrade: websocket" in head


async def test_head_is_answered_without_a_body():
    received = await talk(make_front(), request("HEAD /open"), request("GET /open"))
    first, second = received.split(b"HTTP/1.1 200")[1:]
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b"}")
    assert (await talk(make_front(), request("HEAD /nowhere"))).endswith(b"\r\n\r\n")
    assert b" 405 " in await talk(make_front(), request("HEAD /stream"))


async def test_what_a_handler_refuses_is_typed(caplog):
    status, body, _ = await answer(make_front(), "GET /refuse")
    assert (status, body["error"]["param"], body["error"]["code"]) == (400, "colour", "bad_request")
    assert not caplog.records


async def test_what_fails_is_logged_and_not_told(caplog):
    status, body, _ = await answer(make_front(), "GET /fail")
    assert (status, body["error"]["type"]) == (500, "server_error")
    assert "secret of the server" not in json.dumps(body)
    assert "ZeroDivisionError" in caplog.text


async def test_an_answer_that_had_begun_is_cut_off():
    received = await talk(make_front(), request("GET /half"))
    assert b"begun" in received
    assert not received.endswith(b"0\r\n\r\n"), "the client must see that it is not whole"


# -- who may come in ---------------------------------------------------------------------------------------------------


async def test_the_secret_is_wanted_everywhere_but_where_it_is_open():
    front = make_front(secret=SECRET)
    assert (await answer(front, "GET /open"))[0] == 200
    for headers in ((), ("Authorization: Bearer wrong",)):
        status, body, head = await answer(front, "GET /things/a", *headers)
        assert (status, body["error"]["code"]) == (401, "unauthorized")
        assert "www-authenticate: bearer" in head
    assert (await answer(front, "GET /things/a", BEARER))[0] == 200
    assert front.statistics().refused == 2


async def test_pages_from_elsewhere_are_refused_before_anything_happens():
    front = make_front()
    status, body, head = await answer(front, "GET /open", "Origin: https://evil.example")
    assert (status, body["error"]["code"]) == (401, "unauthorized")
    assert "access-control-allow-origin" not in head
    status, _, head = await answer(front, "GET /open", "Origin: https://desk.example")
    assert status == 200
    assert "access-control-allow-origin: https://desk.example" in head
    assert "vary: origin" in head


async def test_refused_pages_and_names_stand_in_the_log_once(caplog):
    """A page shows its developer a failed request, and nobody the reason: whoever runs the server must see it."""
    caplog.set_level("INFO", logger="mob.server.front.port")
    front = make_front()
    await talk(front, request("POST /things", "Origin: https://evil.example", "Content-Length: 2") + b"{}")
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "https://evil.example" in record.getMessage()
    assert "--allow-origin" in record.getMessage()


async def test_a_browser_asks_before_it_sends():
    front = make_front(secret=SECRET)
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-own")
    received = await talk(front, request("OPTIONS /things", "Origin: https://desk.example", *asked))
    assert received.startswith(b"HTTP/1.1 204")
    assert b"access-control-allow-headers: authorization,x-own" in received
    assert b"content-length" not in received
    assert b" 401 " in await talk(front, request("OPTIONS /things", "Origin: https://evil.example", *asked))


async def test_a_name_that_is_pointed_at_us_is_refused():
    rebound = b"GET /open HTTP/1.1\r\nHost: rebound.example\r\n\r\n"
    assert b" 401 " in await talk(make_front(), rebound)


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_bodies_are_bounded_and_those_of_strangers_more_so(autojump_clock):
    front = make_front(secret=SECRET, max_body_bytes=200_000)
    body = b"x" * 150_000
    assert (await answer(front, "POST /things", BEARER, body=body))[0] == 200
    assert (await answer(front, "POST /things", body=body))[0] == 413
    assert (await answer(front, "POST /things", body=b"x"))[0] == 401
    assert (await answer(front, "GET /things/a", BEARER, body=body))[0] == 413, "nobody looks at it there"
    assert (await answer(front, "POST /things", BEARER, body=body * 2))[0] == 413
    chunk = b"%x\r\n%s\r\n" % (len(body), body)
    sent = request("POST /things", BEARER, "Transfer-Encoding: chunked") + chunk * 2
    assert b" 413 " in (await talk(front, sent))[:20]


async def test_heads_are_bounded(autojump_clock):
    assert b" 431 " in (await talk(make_front(), request("GET /open", "X: " + "a" * 70_000)))[:20]


async def test_there_are_only_so_many_connections(autojump_clock):
    front = make_front(max_connections=2)
    async with trio.open_nursery() as nursery:
        clients = []
        for _ in range(2):
            client, server = trio.testing.memory_stream_pair()
            clients.append(client)
            nursery.start_soon(front.serve_stream, server)
        await trio.testing.wait_all_tasks_blocked()
        assert await talk(front, request("GET /open")) == b""
        assert (front.statistics().open, front.statistics().turned_away) == (2, 1)
        for client in clients:
            await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert front.statistics().open == 0
    assert b" 200 " in await talk(front, request("GET /open"))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: local", b"\x16\x03\x01"])
async def test_a_slow_loris_is_let_go(autojump_clock, said):
    """One byte a second for ever, or silence: the head has its time, and no more than a moment after it."""
    front = make_front(head_s=10, close_s=2)
    client, server = trio.testing.memory_stream_pair()

    async def drip() -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await client.send_all(said)
            while said:
                await client.send_all(b"a")
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        await front.serve_stream(server)
        nursery.cancel_scope.cancel()
    assert trio.current_time() <= 12.5
    assert front.statistics().open == 0


async def test_a_connection_that_is_silent_between_requests_is_let_go(autojump_clock):
    front = make_front(idle_s=30)
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(request("GET /open"))
    await front.serve_stream(server)
    assert trio.current_time() == 30


# -- WebSockets --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def dialled(front: Front, path: str, *, host: str = "localhost", **options):
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve_stream, server)
        transport = await open_websocket(client, f"ws://{host}{path}", **options)
        nursery.start_soon(transport.run_writer)
        try:
            yield transport
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()
            nursery.cancel_scope.cancel()


async def refusal_of(front: Front, path: str, **options) -> HandshakeRefused:
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve_stream, server)
        with pytest.raises(HandshakeRefused) as refused:
            await open_websocket(client, f"ws://localhost{path}", **options)
    return refused.value


async def test_sockets_are_admitted_as_requests_are(autojump_clock):
    front = make_front(secret=SECRET)
    assert (await refusal_of(front, "/ws")).status == 401
    assert (await refusal_of(front, "/ws", headers={"Origin": "https://evil.example"})).status == 401
    assert (await refusal_of(front, "/nowhere")).status == 404
    refused = await refusal_of(front, "/ws/desk?token=bad")
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (404, "mob_unknown")
    shown = ("realtime", f"openai-insecure-api-key.{SECRET}")
    async with dialled(front, "/ws", subprotocols=shown) as transport:
        assert transport.subprotocol == "realtime"
    async with dialled(front, "/ws/desk?token=good"):
        pass
    assert front.statistics().open == 0


async def test_a_socket_that_fails_harms_nobody(autojump_clock, caplog):
    front = make_front()
    async with trio.open_nursery() as nursery:  # as serve_listeners does it
        for path, code in (("/ws-fails", 1011), ("/ws-refuses", 1008)):
            client, server = trio.testing.memory_stream_pair()
            nursery.start_soon(front.serve_stream, server)
            transport = await open_websocket(client, f"ws://localhost{path}")
            nursery.start_soon(transport.run_writer)
            with pytest.raises(TransportClosed) as closed:
                await transport.receive()
            assert closed.value.close_code == code
            await transport.aclose()
        assert b" 200 " in await talk(front, request("GET /open"))
    assert "ZeroDivisionError" in caplog.text
    assert front.statistics().open == 0


async def test_tls_is_served_and_a_client_without_it_let_go(autojump_clock):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    front = make_front(tls=context, tls_s=5)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve_stream, server)
        secured = trio.SSLStream(client, trust, server_hostname="localhost", https_compatible=True)
        await secured.send_all(request("GET /open"))
        assert bytes(await secured.receive_some()).startswith(b"HTTP/1.1 200")
        await secured.aclose()
    assert b"HTTP/1.1" not in await talk(front, request("GET /open"))
    _silent, server = trio.testing.memory_stream_pair()
    began = trio.current_time()
    await front.serve_stream(server)
    assert trio.current_time() - began == 5
    assert front.statistics().open == 0


# -- anything at all ---------------------------------------------------------------------------------------------------

GOOD = [request("GET /open"), request("POST /things", body=b"{}"), request("GET /ws", "Upgrade: websocket")]


@st.composite
def mangled(draw) -> bytes:
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(data)


@settings(deadline=None, max_examples=200)
@given(st.lists(mangled() | st.binary(max_size=80), min_size=1, max_size=3))
def test_law_26_any_bytes_are_answered_or_dropped(pieces):
    async def main() -> None:
        front = make_front()
        with trio.fail_after(120):
            received = await talk(front, *pieces)
        assert received == b"" or received.startswith(b"HTTP/1.1 ")
        assert front.statistics().open == 0
        assert b" 200 " in await talk(front, request("GET /open"))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
