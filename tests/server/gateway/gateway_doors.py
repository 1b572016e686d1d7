"""What the tests of the gateway share: a realm whose members are models, and clients of it.

`play` runs a scenario of the official `openai` package in a thread, over a real listener. `dialled` gives a plain
client on memory streams, for virtual time: it sends JSON and keeps everything that comes.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing
from attrs import define, evolve, field, frozen
from openai import AsyncOpenAI

import mob
from mob.definition.model import Member, MobDefinition, Profile
from mob.live.transport import Transport, TransportClosed, open_websocket
from mob.rehearsal.faults import Fault
from mob.rehearsal.voice import speak
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Table
from mob.server.gateway.door import gateway_sockets
from mob.server.limits import DoorLimits
from mob.server.realm.realm import Realm, RealmSettings, open_realm
from mob.server.rest.openai import openai_routes
from mob.store.memory import MemoryStore
from mob.values import TurnDetection

DEFINITIONS = Path(__file__).resolve().parents[3] / "definitions"
MS = 48
"""Bytes of PCM16 at 24 kHz in a millisecond."""
HOST = "You are the host.\nWe are open from noon to eleven.\nThere is free parking behind the house."
LONG = "You are the host. " + " ".join(
    f"Rule number {n} is that everybody is welcome here at any time." for n in range(4)
)


def alone(
    model: str = "gpt-realtime-2", *, instructions: str = HOST, identity: str = "host", **profile: Any
) -> MobDefinition:
    """A mob of one member."""
    made = evolve(Profile(identity, model, instructions=instructions), **profile)
    return MobDefinition("house", {identity: made}, {identity: Member(identity, identity)})


def desk() -> MobDefinition:
    return mob.load(DEFINITIONS / "front-desk.toml")


@frozen
class Doors:
    realm: Realm
    front: Front
    nursery: trio.Nursery

    def history(self, member: str = "host", team: str | None = None):
        hosted = self.realm.mobs[0] if team is None else self.realm.mob(team)
        return hosted.mob.member(member).history()


@asynccontextmanager
async def open_doors(
    *definitions: MobDefinition,
    limits: DoorLimits | None = None,
    gatekeeper: Gatekeeper | None = None,
    faults: Sequence[Fault] = (),
    seed: int | None = 1,
    start: bool = True,
    rest: bool = False,
) -> AsyncIterator[Doors]:
    """A rehearsed realm with these mobs (one of one host, when none is named), and the gateway before it."""
    bounds = limits or DoorLimits()
    settings = RealmSettings("test", rehearse=True, seed=seed, faults=tuple(faults))
    async with open_realm(settings, store=MemoryStore(), limits=bounds) as realm:
        for definition in definitions or (alone(),):
            hosted = realm.add_mob(definition)
            if start:
                await hosted.start()
        async with trio.open_nursery() as nursery:
            gate = gatekeeper or Gatekeeper()
            routes = openai_routes(realm) if rest else ()
            front = Front(Table(routes, gateway_sockets(realm, gate)), gate, bounds)
            yield Doors(realm, front, nursery)
            nursery.cancel_scope.cancel()


# -- the official package ------------------------------------------------------------------------------------------

Scenario = Callable[[AsyncOpenAI], Awaitable[None]]


@asynccontextmanager
async def listening(doors: Doors) -> AsyncIterator[str]:
    """The front on loopback; its URL."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, doors.front.serve_stream, [listener])
        yield f"http://127.0.0.1:{port}/v1"
        nursery.cancel_scope.cancel()


async def play(doors: Doors, *scenarios: Scenario, key: str = "unused") -> None:
    """Run scenarios side by side in one asyncio program."""

    async def main(url: str) -> None:
        async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            await asyncio.wait_for(asyncio.gather(*(scenario(client) for scenario in scenarios)), 60)

    async with listening(doors) as url:
        await trio.to_thread.run_sync(asyncio.run, main(url))


async def until(connection: Any, kind: str, sound: list[bytes] | None = None, *, errors: bool = False) -> Any:
    """Read events until one of the kind; collects audio."""
    async for event in connection:
        assert errors or event.type != "error" or kind == "error", event
        if event.type == "response.output_audio.delta" and sound is not None:
            sound.append(base64.b64decode(event.delta))
        if event.type == kind:
            return event
    raise AssertionError(f"closed before {kind}")


async def typed(connection: Any, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def spoken(connection: Any, text: str, *, silence_ms: int = 800) -> None:
    pcm = speak(text) + bytes(silence_ms * MS)
    for at in range(0, len(pcm), 200 * MS):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[at : at + 200 * MS]).decode())


async def configure(connection: Any, **session: Any) -> Any:
    await connection.session.update(session={"type": "realtime", **session})
    return await until(connection, "session.updated")


# -- a plain client ------------------------------------------------------------------------------------------------


@define(eq=False)
class Wire:
    """One connection. `events` is everything that came, in order."""

    transport: Transport
    stream: trio.abc.Stream
    events: list[dict[str, Any]] = field(factory=list)
    closed: tuple[int, str] | None = None
    _unread: list[dict[str, Any]] = field(factory=list)

    def send(self, kind: str, **fields: Any) -> None:
        self.transport.send_nowait(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        while not self._unread:
            try:
                messages = await self.transport.receive()
            except TransportClosed as closed:
                self.closed = (closed.close_code, closed.reason)
                raise
            self._unread += [json.loads(message) for message in messages]
        event = self._unread.pop(0)
        self.events.append(event)
        return event

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Read until this many more events of the kind have come; gives the last."""
        with trio.fail_after(3600):
            while True:
                event = await self.next()
                count -= event["type"] == kind
                if not count:
                    return event

    async def until_closed(self) -> tuple[int, str] | None:
        with trio.fail_after(100_000):
            try:
                while True:
                    await self.next()
            except TransportClosed:
                return self.closed

    async def settle(self, seconds: float = 30.0) -> None:
        """Read whatever comes within so much (virtual) time."""
        with trio.move_on_after(seconds):
            await self.until("never")

    async def session(self, **session: Any) -> dict[str, Any]:
        self.send("session.update", session={"type": "realtime", **session})
        return (await self.until("session.updated"))["session"]

    def say(self, text: str, *, before_ms: int = 0, after_ms: int = 800, piece_ms: int = 100) -> None:
        """Send tone speech with silence around it, in pieces, at once."""
        self.sound(bytes(before_ms * MS) + speak(text) + bytes(after_ms * MS), piece_ms=piece_ms)

    async def say_slowly(self, text: str, *, after_ms: int = 800, piece_ms: int = 20) -> None:
        """The same, as fast as it is spoken."""
        pcm = speak(text) + bytes(after_ms * MS)
        for at in range(0, len(pcm), piece_ms * MS):
            self.sound(pcm[at : at + piece_ms * MS])
            await trio.sleep(piece_ms / 1000)

    def sound(self, pcm: bytes, *, piece_ms: int = 100) -> None:
        for at in range(0, len(pcm), piece_ms * MS):
            audio = base64.b64encode(pcm[at : at + piece_ms * MS]).decode()
            self.send("input_audio_buffer.append", audio=audio)

    def type(self, text: str, *, role: str = "user", **item: Any) -> None:
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": role, "content": content, **item})

    async def ask(self, text: str, **response: Any) -> dict[str, Any]:
        """A typed turn; gives the finished response."""
        self.type(text)
        self.send("response.create", response=response)
        return (await self.until("response.done"))["response"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def pcm(self, item_id: str | None = None) -> bytes:
        deltas = self.of("response.output_audio.delta")
        return b"".join(base64.b64decode(e["delta"]) for e in deltas if item_id in (None, e["item_id"]))

    def transcript(self) -> str:
        return "".join(e["delta"] for e in self.of("response.output_audio_transcript.delta"))


@asynccontextmanager
async def dialled(
    doors: Doors,
    model: str = "host",
    *,
    greet: bool = True,
    headers: dict[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    query: str = "",
    server_nursery: trio.Nursery | None = None,
    narrow: bool = False,
) -> AsyncIterator[Wire]:
    """Connect over memory streams. `greet`: read `session.created`. `narrow`: what is not read is not taken."""
    pair = trio.testing.lockstep_stream_pair if narrow else trio.testing.memory_stream_pair
    client, server = pair()
    (server_nursery or doors.nursery).start_soon(doors.front.serve_stream, server)
    url = f"ws://127.0.0.1/v1/realtime?model={model}{query}"
    transport = await open_websocket(client, url, headers=headers or {}, subprotocols=subprotocols)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run_writer)
        wire = Wire(transport, client)
        try:
            if greet:
                await wire.until("session.created")
            yield wire
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()
            nursery.cancel_scope.cancel()


def manual() -> TurnDetection:
    return TurnDetection("manual")
