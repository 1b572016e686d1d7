"""The JSON-RPC door, spoken to by mutants: requests in any order, over lines, to every method there is.

Each request that can be read as one is answered once, by a result or by a typed error that is no failure of the server;
what cannot be read is answered without an id. The connection goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import seeds
import trio
import trio.testing
from fuzzing import must
from house import LIMITS, House, open_house, session_definition
from mutations import Mutator, words_of

from mob.carriers.links import StreamLink
from mob.protocol.jsonrpc import INTERNAL_ERROR, PARSE_ERROR, Malformed, Request, read_message
from mob.server.rpc.client import RpcClient

_BATCH = 16
_RENEW = 320
_PATIENCE_S = 8000.0
"""Longer than any method may wait: an hour for kick-offs, and the turns in front of it."""

_PARAMS = [params for _, params in seeds.REQUESTS]
_ANSWERS = [{"content": "it rains"}, {"content": [{"type": "text", "text": "rain"}], "is_error": True}, None, 7, {}]


class Hostile:
    """One client that sends mutants. `answers` counts what came back by id; `None` for what could not be read."""

    def __init__(self, house: House, stream: trio.abc.Stream, mutator: Mutator) -> None:
        self.house = house
        self.stream = stream
        self.mutator = mutator
        self.answers: Counter[Any] = Counter()
        self.expected: Counter[Any] = Counter()
        self.ids = {"SESSION": "", "OTHER": "", "CHANNEL": "", "STREAM": "stream-1"}
        self._numbers = 0
        self._news = trio.lowlevel.ParkingLot()
        self._ended = False

    async def run(self) -> None:
        """Hear everything."""
        buffer = b""
        async for data in self.stream:
            *lines, buffer = (buffer + bytes(data)).split(b"\n")
            for line in lines:
                await self._hear(line)
        self._ended = True
        self._news.unpark_all()

    async def _hear(self, line: bytes) -> None:
        message = json.loads(line, parse_constant=float)
        line.decode()
        must(message.get("jsonrpc") == "2.0", "no message")
        if "method" in message:
            if "id" in message:
                await self._answer(message)
            return
        self.answers[message["id"]] += 1
        self._news.unpark_all()
        self.house.check_log_is_quiet()
        if "error" in message:
            _check_error(message["error"], known=message["id"] is not None)
        else:
            self._note(message["result"])

    async def _answer(self, asked: Any) -> None:
        """A tool of ours is called."""
        rng = self.mutator.random
        result = rng.choice(_ANSWERS) if rng.random() < 0.7 else self.mutator.any_value(_PARAMS)
        body = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        await self.stream.send_all(self.mutator.write(body).replace(b"\n", b" ") + b"\n")

    def _note(self, result: Any) -> None:
        """What was made can be spoken of from now on."""
        for name, key in (("SESSION", "session_id"), ("CHANNEL", "channel_id"), ("STREAM", "stream_id")):
            found = result.get(key) if isinstance(result, dict) else None
            if isinstance(found, str) and found != self.house.honest.session_id:
                self.ids["OTHER"], self.ids[name] = self.ids[name] or found, found

    async def send(self, count: int) -> None:
        """So many mutants, and wait for their answers."""
        for _ in range(count):
            line = self._mutant().replace(b"\n", b" ")
            message = read_message(line)
            if line.strip() and isinstance(message, Request | Malformed):
                self.expected[message.id] += 1
            await self.stream.send_all(line + b"\n")
        with trio.move_on_after(_PATIENCE_S) as patience:
            while self.answers != self.expected and not self._ended:
                await self._news.park()
        missing = self.expected - self.answers
        must(not patience.cancelled_caught, f"never answered: {missing}")
        must(self.answers == self.expected, f"{'the server hung up, and ' * self._ended}unanswered: {missing}")

    def _mutant(self) -> bytes:
        rng = self.mutator.random
        self._numbers += 1
        method, params = rng.choice(seeds.REQUESTS)
        what = rng.random()
        spoilt = params if what < 0.15 else self.mutator.spoil_value(params, _PARAMS)
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": self._numbers, "method": method, "params": self._named(spoilt)}
        if what > 0.9:
            body = self.mutator.spoil_value(body, seeds.MESSAGES)
        text = self.mutator.write(body)
        return self.mutator.spoil_bytes(text, [text, b"[]"]) if what > 0.97 else text

    def _named(self, value: Any) -> Any:
        """The names in capitals, by what is there now."""
        match value:
            case str():
                return self.ids.get(value, value)
            case dict():
                return {key: self._named(each) for key, each in value.items()}
            case list():
                return [self._named(each) for each in value]
        return value


def _check_error(error: Any, *, known: bool) -> None:
    must(type(error["code"]) is int, "no number")
    must(isinstance(error["message"], str) and error["message"], "no sentence")
    must(len(error["message"]) < 5000, f"a long sentence: {error['message'][:100]}")
    data = error.get("data") or {}
    must(data.get("code") != "internal_error", f"the server failed: {error['message']}")
    own = data.get("error") or {}
    if not own:
        must(error["code"] != INTERNAL_ERROR, f"the server failed: {error['message']}")
        must(known or error["code"] <= INTERNAL_ERROR or error["code"] >= PARSE_ERROR, "no number of JSON-RPC's")
    if own.get("code") == "bad_request":
        must("field" in own.get("details", {}), f"no field: {error['message'][:300]}")


async def fuzz_rpc(count: int, seed: int) -> int:
    """So many mutants, over connections that come and go."""
    mutator = Mutator(seed, words_of([*_PARAMS, {method: method for method, _ in seeds.REQUESTS}]))
    sent = 0
    async with open_house() as house:
        while sent < count:
            await house.renew()
            session = house.realm.add_session(session_definition("gpt-realtime-2"))
            await session.hosted.start()
            sent += await _visit(house, mutator, session.session_id, min(_RENEW, count - sent))
            await house.check_works()
    return sent


async def _visit(house: House, mutator: Mutator, session_id: str, count: int) -> int:
    ours, theirs = trio.testing.memory_stream_pair()
    sent = 0
    async with trio.open_nursery() as nursery:
        hostile = Hostile(house, ours, mutator)
        hostile.ids["SESSION"] = session_id

        async def serve() -> None:
            async with theirs:
                link = StreamLink(theirs, theirs, max_bytes=LIMITS.max_request_bytes)
                await RpcClient(link, house.methods.call, LIMITS).run()

        nursery.start_soon(serve)
        nursery.start_soon(hostile.run)
        while sent < count:
            now = min(_BATCH, count - sent)
            await hostile.send(now)
            sent += now
            house.check()
        await ours.send_eof()
    return sent
