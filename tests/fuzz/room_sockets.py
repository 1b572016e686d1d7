"""The two doors for speech, spoken to by mutants: the live socket of one channel, and the realtime gateway.

What a client of `control=1` names is answered once; what it does not name is done or refused, and the channel lives. A
plain client is told why before its channel ends. A gateway's client gets an `error` event, and goes on. Beside the
mutants another client holds a channel of another session, which must not notice.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import seeds
import trio
import trio.testing
from attrs import define, field
from fuzzing import must
from house import House, open_house, session_definition
from mutations import Mutator, words_of
from targets_protocol import text_of

from mob.errors import LiveRejected
from mob.jsontext import read_json
from mob.live.transport import Transport, TransportClosed, open_websocket
from mob.protocol.speech import unpack_audio
from mob.server.channels.held import HeldChannel
from mob.server.realm.realm import SessionRef

_BATCH = 12
_LIFE = 120
_PATIENCE_S = 600.0
_MARK = "the_last_of_this_batch"
_FULL = "format=pcm_24k_mono&audio=binary&control=1&receipts=1"
_PLAIN = "format=pcm_24k_mono"


@define(eq=False)
class Socket:
    """One client: `frames` is what came and is JSON."""

    transport: Transport
    frames: list[dict[str, Any]] = field(factory=list)
    closed: int | None = None
    _news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    async def run(self) -> None:
        """Hear everything, until the other side closes."""
        try:
            while True:
                for message in await self.transport.receive():
                    if isinstance(message, bytes):
                        unpack_audio(message, "")
                    else:
                        self.frames.append(json.loads(message, parse_constant=float))
                self._news.unpark_all()
        except TransportClosed as closed:
            self.closed = closed.close_code
            self._news.unpark_all()

    async def until(self, condition: Any, what: str) -> None:
        """Wait for it, or for the end of the socket."""
        with trio.move_on_after(_PATIENCE_S) as patience:
            while self.closed is None and not condition():
                await self._news.park()
        must(not patience.cancelled_caught, what)

    def send(self, message: str | bytes) -> bool:
        """False when it has closed, or cannot be sent."""
        try:
            self.transport.send_nowait(message)
        except (TransportClosed, LiveRejected):
            return False
        return True


@asynccontextmanager
async def visit(house: House, target: str) -> AsyncIterator[Socket]:
    """A WebSocket at this target."""
    transport = await open_websocket(house.connect(), f"ws://127.0.0.1{target}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run_writer)
        socket = Socket(transport)
        nursery.start_soon(socket.run)
        try:
            yield socket
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()
            nursery.cancel_scope.cancel()


async def _channel(house: House) -> HeldChannel:
    """A live channel of a new session."""
    ref: SessionRef = house.realm.add_session(session_definition("gpt-realtime-2"))
    await ref.hosted.start()
    return await house.realm.channels.open(ref)


def _target(held: HeldChannel, terms: str) -> str:
    return f"/live/ws?token={held.mint_token()}&channel={held.channel_id}&{terms}"


class _Frames:
    """Draws frames: JSON that is spoilt, text that is none, bytes that are speech or not. `live`: with verbs' ids."""

    def __init__(self, mutator: Mutator, values: list[Any], *, ids: bool) -> None:
        self._mutator = mutator
        self._values = values
        self._ids = ids
        self._last = 0
        self._written = [json.dumps(value).encode() for value in values]

    def draw(self) -> tuple[str | bytes, Any]:
        """A frame, and the id that it has, when a reader can find one."""
        rng, mutator = self._mutator.random, self._mutator
        if self._ids and rng.random() < 0.06:
            return mutator.spoil_bytes(bytes(64), [seeds.SPEECH[0]]), None
        self._last += 1
        value = rng.choice(self._values)
        spoilt = mutator.spoil_value(value, self._values) if rng.random() < 0.85 else dict(value)
        if self._ids and isinstance(spoilt, dict) and rng.random() < 0.9:
            spoilt["id"] = self._last
        data = mutator.write(spoilt)
        if rng.random() < 0.1:
            data = mutator.spoil_bytes(data, self._written)
        text = text_of(data).encode("utf-8", "replace").decode()
        return text, _id_of(text)


def _id_of(text: str) -> Any:
    try:
        found = read_json(text)
    except ValueError:
        return None
    ident = found.get("id") if isinstance(found, dict) else None
    if isinstance(ident, str):
        return ident if len(ident) <= 128 else None
    return ident if type(ident) is int and abs(ident) < 2**53 else None


# -- the live socket ---------------------------------------------------------------------------------------------------


async def fuzz_live(count: int, seed: int) -> int:
    """So many mutants on live sockets, one after the other."""
    mutator = Mutator(seed, words_of(seeds.FRAMES))
    frames = _Frames(mutator, seeds.FRAMES, ids=True)
    sent = 0
    async with open_house() as house:
        while sent < count:
            await house.renew()
            quiet = await _channel(house)
            async with visit(house, _target(quiet, _FULL)) as other:
                await other.until(lambda: _greeted(other), "no greeting")
                before = len(other.frames)
                held = await _channel(house)
                terms = _FULL if mutator.random.random() < 0.8 else _PLAIN
                sent += await _talk(house, held, terms, frames, min(_LIFE, count - sent))
                must(other.closed is None, "another client's channel has ended")
                must(quiet.status == "ready", "another client's channel has ended")
                must(len(other.frames) == before, f"another client was told {other.frames[before:]!r:.300}")
            house.check()
        await house.check_works()
    return sent


def _greeted(socket: Socket) -> bool:
    return [frame.get("observation") for frame in socket.frames] == ["attached", "connected"]


async def _talk(house: House, held: HeldChannel, terms: str, frames: _Frames, count: int) -> int:
    expected: Counter[Any] = Counter()
    sent = 0
    async with visit(house, _target(held, terms)) as socket:

        def answered() -> Counter[Any]:
            return Counter(frame["id"] for frame in socket.frames if "id" in frame and _answers(frame))

        while sent < count and socket.closed is None:
            for _ in range(_BATCH):
                message, ident = frames.draw()
                if not socket.send(message):
                    break
                sent += 1
                if ident is not None and terms == _FULL:
                    expected[ident] += 1
            await socket.until(lambda: answered() == expected, f"unanswered: {expected - answered()}")
            house.check_log_is_quiet()
        _check_told(socket, held, terms)
    return max(sent, 1)


def _answers(frame: dict[str, Any]) -> bool:
    return frame.get("observation") in ("command_accepted", "command_rejected", "pong")


def _check_told(socket: Socket, held: HeldChannel, terms: str) -> None:
    for frame in socket.frames:
        if "error" in frame and "observation" not in frame:
            must(frame["reason"] and frame["message"], f"no sentence: {frame}")
        if frame.get("observation") == "command_rejected":
            must(0 < len(frame["message"]) < 3000, f"no sentence: {frame!r:.300}")
            must(isinstance(frame["code"], dict), "no code")
    if socket.closed is not None:
        must(socket.closed in (1000, 1008), f"closed with {socket.closed}")
        must(terms == _PLAIN or held.status == "closed" or socket.closed == 1008, "closed for no reason")


# -- the gateway -------------------------------------------------------------------------------------------------------


async def fuzz_gateway(count: int, seed: int) -> int:
    """So many mutants to the gateway, to a member that is reached live and to one that is not."""
    mutator = Mutator(seed, words_of(seeds.REALTIME))
    frames = _Frames(mutator, seeds.REALTIME, ids=False)
    sent = 0
    async with open_house() as house:
        while sent < count:
            await house.renew()
            async with visit(house, "/v1/realtime?model=honest/ben") as other:
                await other.until(lambda: other.frames, "no greeting")
                member = mutator.random.choice(("ann", "ben"))
                sent += await _converse(house, member, frames, min(_LIFE, count - sent))
                must(other.closed is None, "another client's connection has ended")
                must(len(other.frames) == 1, f"another client was told {other.frames[1:]!r:.300}")
            house.check()
        await house.check_works()
    return sent


async def _converse(house: House, member: str, frames: _Frames, count: int) -> int:
    sent = 0
    async with visit(house, f"/v1/realtime?model=crew/{member}") as socket:
        while sent < count and socket.closed is None:
            for _ in range(_BATCH):
                message, _ = frames.draw()
                if not socket.send(message):
                    break
                sent += 1
            marks = _marks(socket) + 1
            if not socket.send(f'{{"type": "{_MARK}"}}'):
                break
            await socket.until(functools.partial(_has_marks, socket, marks), "the gateway does not answer any more")
            house.check_log_is_quiet()
        for error in _errors(socket):
            must(error["message"] and len(error["message"]) < 4000, f"no sentence: {error!r:.300}")
            must(error["code"], f"no code: {error!r:.300}")
        must(socket.closed in (None, 1000, 1008), f"closed with {socket.closed}: {socket.frames[-1:]!r:.500}")
    return max(sent, 1)


def _errors(socket: Socket) -> list[dict[str, Any]]:
    return [frame["error"] for frame in socket.frames if frame["type"] == "error"]


def _marks(socket: Socket) -> int:
    """How often the event that nobody knows was refused."""
    return sum(_MARK in error["message"] for error in _errors(socket))


def _has_marks(socket: Socket, count: int) -> bool:
    return _marks(socket) >= count
