"""What the tests of this package share: a realm with the front desk in it, served over memory streams or loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import trio
import trio.testing
from attrs import frozen
from openai import AsyncOpenAI

import mob
from mob.definition.model import MobDefinition
from mob.rehearsal.faults import Fault
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Route, Table
from mob.server.gateway.door import gateway_sockets
from mob.server.limits import DoorLimits
from mob.server.realm.realm import Realm, RealmSettings, open_realm
from mob.server.rest.door import rest_routes

DEFINITIONS = Path(__file__).resolve().parents[3] / "definitions"
SECRET = "a secret of the tests, of some length".replace(" ", "-")


@frozen
class Doors:
    """A realm that is served."""

    realm: Realm
    front: Front
    nursery: trio.Nursery
    routes: tuple[Route, ...]


def desk() -> MobDefinition:
    return mob.load(DEFINITIONS / "front-desk.toml")


@asynccontextmanager
async def open_doors(
    *definitions: MobDefinition,
    limits: DoorLimits | None = None,
    gatekeeper: Gatekeeper | None = None,
    start: bool = True,
    faults: tuple[Fault, ...] = (),
) -> AsyncIterator[Doors]:
    """A rehearsed realm with these mobs (the front desk, when none is named), running, and its front."""
    bounds = limits or DoorLimits()
    async with open_realm(RealmSettings("test", rehearse=True, faults=faults), limits=bounds) as realm:
        for definition in definitions or (desk(),):
            hosted = realm.add_mob(definition)
            if start:
                await hosted.start()
        keeper = gatekeeper or Gatekeeper()
        async with trio.open_nursery() as nursery:
            routes = rest_routes(realm, nursery=nursery, table=lambda: table, front=lambda: front)
            table = Table(routes, gateway_sockets(realm, keeper))
            front = Front(table, keeper, bounds)
            yield Doors(realm, front, nursery, table.routes)
            nursery.cancel_scope.cancel()


Scenario = Callable[[AsyncOpenAI], Awaitable[None]]


async def play(doors: Doors, scenario: Scenario, *, key: str = "unused", retries: int = 0) -> None:
    """Run an asyncio scenario of the official client in a thread, against a real listener."""

    async def main(url: str) -> None:
        async with AsyncOpenAI(base_url=url, api_key=key, max_retries=retries) as client:
            await asyncio.wait_for(scenario(client), 30)

    async with served(doors) as url:
        await trio.to_thread.run_sync(asyncio.run, main(f"{url}/v1"))


@asynccontextmanager
async def served(doors: Doors) -> AsyncIterator[str]:
    """The doors on a port of loopback; its URL."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, doors.front.serve_stream, [listener])
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@frozen
class Got:
    """An answer: its status, its headers, its body as text."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self):
        return json.loads(self.text)


class Http:
    """A small HTTP client over one memory stream to the front."""

    def __init__(self, doors: Doors) -> None:
        self.stream, self.end = trio.testing.memory_stream_pair()
        self._connection = h11.Connection(h11.CLIENT)
        doors.nursery.start_soon(doors.front.serve_stream, self.end)

    async def ask(self, method: str, target: str, body: object = None, **headers: str) -> Got:
        """One request and its whole answer."""
        await self.send(method, target, body, **headers)
        head = await self.head()
        data = b""
        while piece := await self.piece():
            data += piece
        self._connection.start_next_cycle()
        return Got(head.status, head.headers, data.decode())

    async def send(self, method: str, target: str, body: object = None, **headers: str) -> None:
        """Only the request."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = [("host", "localhost"), ("content-length", str(len(data)))]
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        out = self._connection.send(h11.Request(method=method, target=target, headers=fields)) or b""
        out += self._connection.send(h11.Data(data=data)) or b""
        out += self._connection.send(h11.EndOfMessage()) or b""
        await self.stream.send_all(out)

    async def head(self) -> Got:
        """The answer's head."""
        event = await self._next()
        assert isinstance(event, h11.Response), event
        return Got(event.status_code, {k.decode(): v.decode("latin-1") for k, v in event.headers}, "")

    async def piece(self) -> bytes:
        """More of the body; empty at its end."""
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _next(self):
        while (event := self._connection.next_event()) is h11.NEED_DATA:
            self._connection.receive_data(bytes(await self.stream.receive_some(65536)))
        return event


async def ask(doors: Doors, method: str, target: str, body: object = None, **headers: str) -> Got:
    """One request on a connection of its own."""
    http = Http(doors)
    got = await http.ask(method, target, body, **headers)
    await http.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    return got
