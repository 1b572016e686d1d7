"""A realm with a live socket on memory streams, and a plain client of it: it keeps everything that comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from attrs import define, evolve, field

from mob.definition.model import Member, MobDefinition, Profile
from mob.live.events import AudioDelta
from mob.live.transport import Transport, TransportClosed, open_websocket
from mob.protocol.frames import ClientFrame, Command, encode_frame
from mob.protocol.speech import unpack_audio
from mob.rehearsal.faults import Fault
from mob.server.channels.held import HeldChannel
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Table
from mob.server.limits import DoorLimits
from mob.server.livesocket.socket import live_sockets
from mob.server.realm.realm import AGENT, Realm, RealmSettings, SessionRef, open_realm
from mob.values import TurnDetection

REHEARSED = RealmSettings("test", rehearse=True, seed=1)
NOON = "You know the time. It is noon. Lunch is served at one."
PLAIN = "format=pcm_24k_mono"
FULL = "format=pcm_24k_mono&control=1"


def definition(model: str = "gpt-realtime-2", turns: str = "manual", output: str | None = None) -> MobDefinition:
    profile = Profile(AGENT, model, instructions=NOON, turn_detection=TurnDetection(mode=turns))
    if output is not None:
        profile = evolve(profile, output=output)
    return MobDefinition("session", {AGENT: profile}, {AGENT: Member(AGENT, AGENT)})


async def started(realm: Realm, **how: str) -> SessionRef:
    """A stand-alone session that has been started."""
    ref = realm.add_session(definition(**how))
    await ref.hosted.start()
    return ref


@define(eq=False)
class Client:
    """One socket. `frames` is every JSON frame that came, `speech` every piece of speech, `numbers` all numbers."""

    transport: Transport
    stream: trio.abc.Stream
    frames: list[dict[str, Any]] = field(factory=list)
    speech: list[AudioDelta] = field(factory=list)
    numbers: list[int] = field(factory=list)
    closed: tuple[int, str] | None = None

    def say(self, command: Command, frame_id: str | int | None = None) -> None:
        self.transport.send_nowait(encode_frame(ClientFrame(command, frame_id)))

    async def read(self) -> list[dict[str, Any]]:
        """The next frames; binary ones stand as `{"observation": "binary"}`. TransportClosed."""
        came = []
        try:
            messages = await self.transport.receive()
        except TransportClosed as closed:
            self.closed = (closed.close_code, closed.reason)
            raise
        for message in messages:
            if isinstance(message, bytes):
                seq, event = unpack_audio(message, "")
                self.speech.append(event)
                frame: dict[str, Any] = {"observation": "binary", "seq": seq}
            else:
                frame = json.loads(message)
            if "seq" in frame:
                self.numbers.append(frame["seq"])
            self.frames.append(frame)
            came.append(frame)
        return came

    async def until(self, wanted: str | Callable[[dict[str, Any]], bool], within_s: float = 60) -> dict[str, Any]:
        """Read until such a frame comes."""
        matches = (lambda frame: frame.get("observation") == wanted) if isinstance(wanted, str) else wanted
        with trio.fail_after(within_s):
            while True:
                for frame in await self.read():
                    if matches(frame):
                        return frame

    async def until_closed(self, within_s: float = 60) -> tuple[int, str]:
        with trio.fail_after(within_s):
            try:
                while True:
                    await self.read()
            except TransportClosed:
                assert self.closed is not None
                return self.closed

    async def settle(self, seconds: float) -> None:
        """Read whatever comes within so much (virtual) time."""
        with trio.move_on_after(seconds):
            while True:
                await self.read()

    def of(self, observation: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame.get("observation") == observation]

    async def drop(self) -> None:
        """Be gone without a word."""
        self.transport.abort("dropped")
        await trio.aclose_forcefully(self.stream)
        await trio.testing.wait_all_tasks_blocked()


@define(eq=False)
class Door:
    realm: Realm
    front: Front
    nursery: trio.Nursery

    @asynccontextmanager
    async def visit(self, query: str, *, narrow: bool = False) -> AsyncIterator[Client]:
        """A socket at this query. `narrow`: nothing is on the way, so that a client that does not read is felt."""
        ours, theirs = trio.testing.lockstep_stream_pair() if narrow else trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.front.serve_stream, theirs)
        transport = await open_websocket(ours, f"ws://127.0.0.1/live/ws?{query}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.run_writer)
            client = Client(transport, ours)
            try:
                yield client
            finally:
                with trio.CancelScope(shield=True):
                    await transport.aclose()
                nursery.cancel_scope.cancel()

    def attach(self, held: HeldChannel, terms: str = FULL, *, narrow: bool = False):
        """A socket at this channel, with a fresh token."""
        return self.visit(query_of(held, token=held.mint_token()) + "&" + terms, narrow=narrow)

    def resume(self, held: HeldChannel, token: str, after: int, terms: str = FULL, *, narrow: bool = False):
        """A socket that comes back."""
        return self.visit(query_of(held, resume=token, after=after) + "&" + terms, narrow=narrow)


@asynccontextmanager
async def attached(door: Door, held: HeldChannel, terms: str = FULL) -> AsyncIterator[Client]:
    """A socket at this channel, of which the first frame was read."""
    async with door.attach(held, terms) as client:
        await client.read()
        yield client


def query_of(held: HeldChannel, **values: object) -> str:
    return "&".join(f"{name}={value}" for name, value in {"channel": held.channel_id, **values}.items())


@asynccontextmanager
async def open_door(limits: DoorLimits | None = None, *faults: Fault) -> AsyncIterator[Door]:
    """A realm whose live socket is served."""
    settings = evolve(REHEARSED, faults=faults)
    async with open_realm(settings, limits=limits) as realm, trio.open_nursery() as nursery:
        front = Front(Table((), live_sockets(realm)), Gatekeeper(), realm.limits)
        yield Door(realm, front, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_channel(
    limits: DoorLimits | None = None, *faults: Fault, **how: str
) -> AsyncIterator[tuple[Door, HeldChannel]]:
    """A door, and a channel that is held behind it."""
    async with open_door(limits, *faults) as door:
        held = await door.realm.channels.open(await started(door.realm, **how))
        yield door, held
