"""What an adversary found at the doors: each test is one way in, or one way to keep others out, that is shut now."""

from __future__ import annotations

import json
import ssl
from contextlib import suppress

import pytest
import trio
import trio.testing
import trustme
from attrs import evolve
from live_sockets import FULL, attached, definition, open_channel, query_of, started

import mob
from mob.carriers.links import StreamLink
from mob.cli.run import last_run
from mob.errors import RunUnknown, ServerGone, UsageError
from mob.live.network import TcpNetwork
from mob.live.transport import open_websocket
from mob.remote.bridge import PatientLink
from mob.server.front.auth import Gatekeeper
from mob.server.front.listening import Address, tls_context
from mob.server.front.port import Front
from mob.server.front.routes import SocketRoute, Table, Visit
from mob.server.limits import DoorLimits
from mob.server.realm.realm import Realm, RealmSettings, open_realm
from mob.server.rpc.door import rpc_methods, serve_rpc_lines
from mob.server.serve import DoorSettings, Served, serve_doors
from mob.store.sqlite import SqliteStore

SECRET = "a-secret-that-is-long-enough"
LIST = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "session/list", "params": {}}).encode()


async def lines_told(gatekeeper: Gatekeeper | None, data: bytes) -> list[dict]:
    """What a client of the JSON lines that says this and no more is answered."""
    async with open_realm(RealmSettings("test", rehearse=True)) as realm:
        ours, theirs = trio.testing.memory_stream_pair()
        told = bytearray()

        async def serve() -> None:
            link = StreamLink(theirs, theirs, max_bytes=realm.limits.max_request_bytes)
            await serve_rpc_lines(link, rpc_methods(realm, live=None), realm.limits, gatekeeper=gatekeeper)
            await theirs.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await ours.send_all(data)
            await ours.send_eof()
            async for piece in ours:
                told += piece
        return [json.loads(line) for line in told.splitlines()]


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_page_of_a_browser_cannot_reach_the_json_lines_by_an_http_request(method, autojump_clock):
    page = f"{method} / HTTP/1.1\r\nHost: 127.0.0.1:9\r\nOrigin: http://evil.example\r\n\r\n".encode()
    (refusal,) = await lines_told(Gatekeeper(), page + LIST + b"\n")
    assert refusal["error"]["data"]["code"] == "SCOPE_DENIED"
    assert refusal["id"] is None


async def test_json_lines_that_begin_with_a_message_are_served_also_past_what_is_none(autojump_clock):
    told = await lines_told(Gatekeeper(), b"\n \n" + LIST + b"\nno JSON\n" + LIST + b"\n")
    assert sorted(("result" in each, each["id"] is None) for each in told) == [
        (False, True),
        (True, False),
        (True, False),
    ]


async def test_the_standard_streams_have_no_entrance(autojump_clock):
    _malformed, answer = await lines_told(None, b"no JSON\n" + LIST + b"\n")
    assert "result" in answer


async def test_a_bridge_passes_over_what_is_too_long_and_says_so(autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    link = PatientLink(StreamLink(theirs, theirs, max_bytes=100))
    await ours.send_all(b"x" * 1000 + b"\n" + LIST + b"\n")
    assert await link.receive() == LIST
    refusal = json.loads(bytes(await ours.receive_some()))
    assert (refusal["id"], refusal["error"]["code"]) == (None, -32600)


class Torn(trio.abc.Stream):
    """A client that sends one request, and whose line breaks after it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.data:
            raise trio.BrokenResourceError("reset by peer")
        data, self.data = self.data, b""
        return data

    async def send_all(self, data) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_client_that_was_lost_is_not_kept_until_its_requests_are_answered(autojump_clock):
    async with open_realm(RealmSettings("test", rehearse=True)) as realm:
        methods = rpc_methods(realm, live=None)

        async def for_ever(_client, _params):
            await trio.sleep_forever()

        methods.add({"for_ever": for_ever})
        stream = Torn(b'{"jsonrpc":"2.0","id":1,"method":"for_ever"}\n')
        with trio.fail_after(1):
            link = StreamLink(stream, stream, max_bytes=1000)
            await serve_rpc_lines(link, methods, realm.limits, gatekeeper=Gatekeeper())


async def test_who_is_refused_a_websocket_is_not_listened_to_at_length(autojump_clock):
    front = Front(Table(), Gatekeeper(SECRET), DoorLimits())
    ours, theirs = trio.testing.memory_stream_pair()
    head = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nContent-Length: 16000000\r\n\r\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve_stream, theirs)
        await ours.send_all(head.encode())
        with trio.fail_after(1):
            answer = bytes(await ours.receive_some())
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_sockets_with_false_tokens_take_nobodys_place(autojump_clock):
    async with open_channel(DoorLimits(max_sockets=1)) as (door, held):
        for _ in range(3):
            ours, theirs = trio.testing.memory_stream_pair()
            door.nursery.start_soon(door.front.serve_stream, theirs)
            await open_websocket(ours, f"ws://127.0.0.1/live/ws?{query_of(held, token='x')}")  # and it reads no more
        async with attached(door, held, FULL) as client:
            assert client.frames[0]["observation"] == "attached"


@pytest.mark.parametrize("line", ["Authorization Bearer {}", "Authorization: Bearer {}\x01", "{}"])
@pytest.mark.parametrize("upgrade", ["", "Upgrade: websocket\r\n"])
async def test_a_head_that_is_wrong_is_not_quoted(line, upgrade, autojump_clock, caplog):
    caplog.set_level("DEBUG")
    table = Table((), [SocketRoute("/rpc", _nobody_comes, "Nobody.", auth="open")])
    front = Front(table, Gatekeeper(), DoorLimits())
    for head in (f"GET /rpc HTTP/1.1\r\nHost: localhost\r\n{upgrade}{line.format(SECRET)}", line.format(SECRET)):
        ours, theirs = trio.testing.memory_stream_pair()
        told = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(front.serve_stream, theirs)
            await ours.send_all(f"{head}\r\n\r\n".encode())
            await ours.send_eof()
            async for piece in ours:
                told += piece
        assert SECRET not in told.decode("latin-1")
    assert SECRET not in caplog.text


async def _nobody_comes(_: Visit) -> None:
    raise AssertionError("nobody comes in")


async def test_the_last_run_to_resume_is_the_teams_own_whatever_its_clients_began(tmp_path):
    state = tmp_path / "state.sqlite"
    async with open_realm(RealmSettings("test", rehearse=True), store=SqliteStore(state)) as realm:
        team = realm.add_mob(evolve(definition(), id="desk"))
        await team.start()
        session = await started(realm)
    assert [run.run_id for run in await SqliteStore(state).runs()] == [team.run_id, session.hosted.run_id]
    assert await last_run(state, "desk") == team.run_id
    with pytest.raises(RunUnknown, match="other"):
        await last_run(state, "other")


@pytest.mark.parametrize("tiny", [b"\x89\x80\0\0\0\0", b"\x00\x80\0\0\0\0"], ids=["pings", "fragments"])
async def test_a_flood_of_tiny_frames_leaves_others_their_turn(tiny):
    table = Table((), [SocketRoute("/flood", _listen, "Listens.", auth="open")])
    front = Front(table, Gatekeeper(), DoorLimits())
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(front.serve_stream, theirs)
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        head = f"GET /flood HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
        await ours.send_all(head.encode())
        assert bytes(await ours.receive_some()).startswith(b"HTTP/1.1 101")
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        begin, end = b"\x01\x80\0\0\0\0", b"\x80\x80\0\0\0\0"
        await ours.send_all(begin + tiny * 10_000 + end)
        nursery.start_soon(other)
        answer = b""
        while b"done" not in answer:
            answer += bytes(await ours.receive_some())
        assert turns >= 60_000 // 8192
        nursery.cancel_scope.cancel()


async def _listen(visit: Visit) -> None:
    await visit.transport.receive()
    visit.transport.send_nowait("done")
    await trio.sleep_forever()


# -- certificates ------------------------------------------------------------------------------------------------------


def pem_files(tmp_path, *, password: bytes | None = None):
    from cryptography.hazmat.primitives import serialization

    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    if password is not None:
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        encryption = serialization.BestAvailableEncryption(password)
        pkcs8 = serialization.PrivateFormat.PKCS8
        key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, pkcs8, encryption))
    return authority, cert, key


def test_a_certificate_that_does_not_do_is_said_and_nobody_is_asked_for_a_password(tmp_path):
    _, cert, key = pem_files(tmp_path, password=b"four words and more")
    with pytest.raises(UsageError, match="not encrypted"):
        tls_context(cert, key)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(UsageError) as refused:
        tls_context(nonsense, None)
    assert "None" not in refused.value.message


async def serve(realm: Realm, settings: DoorSettings, task_status: trio.TaskStatus[Served]) -> None:
    await serve_doors(realm, settings, on_ready=task_status.started)


@pytest.mark.real_socket
async def test_json_lines_travel_by_tls_where_there_is_a_certificate(tmp_path):
    authority, cert, key = pem_files(tmp_path)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    settings = DoorSettings(rpc=Address("localhost", 0), gatekeeper=Gatekeeper(SECRET), tls=tls_context(cert, key))
    async with (
        open_realm(RealmSettings("test", rehearse=True)) as realm,
        trio.open_nursery() as nursery,
    ):
        await realm.add_mob(definition()).start()
        served = await nursery.start(serve, realm, settings)
        assert served.rpc is not None
        assert served.rpc.startswith("tls://")
        port = int(served.rpc.rpartition(":")[2])
        first = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"secret": SECRET}}
        told = b""
        async with await trio.open_tcp_stream("localhost", port) as plain:
            with suppress(trio.BrokenResourceError):
                await plain.send_all(json.dumps(first).encode() + b"\n")
                async for data in plain:
                    told += data
        assert b"jsonrpc" not in told
        where = f"tls://localhost:{port}"
        async with mob.connect(where, secret=SECRET, network=TcpNetwork(ssl_context=trust)) as team:
            assert list(team.members) == ["agent"]
        with pytest.raises(ServerGone, match="certificate"):
            async with mob.connect(where, secret=SECRET):
                pass
        nursery.cancel_scope.cancel()
