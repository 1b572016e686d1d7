"""What a hostile server tells the client of `mob.connect`: answers and notifications, and the frames of a live socket.

The client's copy of a mob is of the types that it promises, whatever was told; what cannot be read is one WireError,
which ends this connection and nothing else.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import seeds
from fuzzing import Target, is_text, must
from targets_protocol import fits, text_of

from mob.definition.catalogue import catalogue
from mob.errors import MobError, WireError
from mob.history.codec import as_json
from mob.jsontext import read_json
from mob.live.events import Disconnected, LiveEvent
from mob.protocol.jsonrpc import read_message
from mob.remote import live_socket
from mob.remote.connection import Connection
from mob.remote.peer import _Call

_LIFE = 40
_STREAM = "team-1"


class Client:
    """A client's copy of a mob that hears mutants. Made anew now and then, and whenever it has given up."""

    def __init__(self) -> None:
        self._left = 0
        self._refused: list[MobError] = []
        self._connection: Connection

    def check(self, data: bytes) -> None:
        """It is taken, or refused as a whole."""
        if self._left == 0:
            self._left = _LIFE
            self._connection = Connection(SimpleNamespace(), "the server")  # type: ignore[arg-type]
            self._connection.replica.stream = _STREAM
        self._left -= 1
        connection = self._connection
        calls = self._calls()
        try:
            connection.peer._hear(read_message(data))
        except WireError as error:
            must(is_text(error.message, 3000), "no sentence")
            must(error.field is not None, f"no field: {error.message}")
            self._left = 0
        for call in calls:
            must(call.error is None or isinstance(call.error, MobError), "no error of ours")
        self._check_copy()

    def _calls(self) -> list[_Call]:
        """Three calls wait for their answers: one opens the copy, one is told, one is asked."""
        peer = self._connection.peer
        opening = _Call("team/events_open", applied=self._connection.replica.opened)
        told = _Call("team/tell", told=self._refused.append)
        peer._calls = {1: opening, 2: told, 3: _Call("team/ask")}
        peer._told = 1
        return list(peer._calls.values())

    def _check_copy(self) -> None:
        replica = self._connection.replica
        for facts in replica.members.values():
            fits(facts)
        fits(replica.usage)
        for route in replica.routes:
            fits(route)
        for identity in replica._turns:
            for turn in replica.history(identity):
                fits(turn)
        must(all(index >= 0 for _, index in replica.missing), "a turn in front of the first")
        must(replica.state in ("running", "draining", "cancelling", "stopped"), f"no state: {replica.state!r:.60}")
        must(type(replica.events.start) is int, "no place")


class Socket:
    """A client's live socket that hears mutants."""

    def __init__(self) -> None:
        self._left = 0
        self._told: list[LiveEvent] = []
        self._socket: live_socket.LiveSocket

    def check(self, data: bytes) -> None:
        """An event is told, or the channel's own fault; the last is one that says that it is over."""
        if self._left == 0:
            self._renew()
        self._left -= 1
        self._told.clear()
        message: str | bytes = data if data[:1] == b"\x01" else text_of(data)
        try:
            self._socket._hear(message)
        except WireError as error:
            must(is_text(error.message, 3000), "no sentence")
            must(error.field is not None or error.offset is not None, f"no place: {error.message}")
            self._left = 0
        for event in self._told:
            fits(event)
        if self._socket.reason:
            must(any(isinstance(event, Disconnected) and event.final for event in self._told), "it ends without a word")
            self._left = 0
        self._greet(message)

    def _renew(self) -> None:
        self._left = _LIFE
        self._socket = live_socket.LiveSocket(
            SimpleNamespace(),  # type: ignore[arg-type]
            channel="live_1",
            token="token",
            rate=24000,
            told=self._told.append,
            watchdog=SimpleNamespace(),  # type: ignore[arg-type]
        )

    def _greet(self, message: str | bytes) -> None:
        """The same, had it come as the greeting."""
        try:
            frame = read_json(message)
        except ValueError:
            return
        transport: Any = SimpleNamespace(send_nowait=lambda *_, **__: None)
        if not isinstance(frame, dict):
            return
        if "error" in frame:
            must(isinstance(live_socket._refusal(frame), MobError), "no error of ours")
        try:
            self._socket._greeted(frame, transport)
        except WireError as error:
            must(error.field is not None, "no field")
            return
        expires = self._socket.expires_at
        must(expires is None or type(expires) in (int, float), "no time")
        self._left = 0


_FACTS = {
    "generation": 1,
    "state": "idle",
    "session_id": "session_1",
    "profile": "host",
    "model": as_json(catalogue()["gpt-realtime-2"]),
    "usage": seeds.SHAPES["usage"][0],
}
_MOB = {
    "state": "running",
    "floor": "ann",
    "usage": seeds.SHAPES["usage"][0],
    "routes": [{"from": "ann", "to": "ben", "via": ["ask"]}],
}


def _told(**body: Any) -> Any:
    return {"jsonrpc": "2.0", "method": "team/event", "params": {"stream": _STREAM, **body}}


def _answered(ident: int, **body: Any) -> Any:
    return {"jsonrpc": "2.0", "id": ident, **body}


ANSWERS: tuple[Any, ...] = (
    _answered(1, result={"stream": _STREAM, "mob": "crew", "run": "run_1", "description": "", "after": 0}),
    _answered(2, result={}),
    _answered(3, result={"text": "It is noon.", "turn": seeds.SHAPES["turn"][0]}),
    *(
        _answered(number, error={"code": -32602, "message": "no", "data": {"code": "INVALID_PARAMS", "error": error}})
        for number, error in enumerate(seeds.SHAPES["error"][:3], 1)
    ),
    _told(mob=_MOB, members={"ann": _FACTS}, turns=[["ann", 0, seeds.SHAPES["turn"][0]], ["ben", 0, None]]),
    *(_told(event=event) for event in seeds.RUN_EVENTS),
    _told(ready=True),
    _told(ended=True),
)
GREETING = {
    "observation": "attached",
    "channel_id": "live_1",
    "session_id": "session_1",
    "resume": "token",
    "window_ms": 10000,
    "status": "ready",
    "continuity": "fresh",
    "expires_at": 9.5,
    "seq": 0,
    "t": 1.5,
    "epoch": 0,
}
FAREWELL = {"error": "slow_reader", "reason": "too slow", "message": "read faster"}

CLIENT = Client()
SOCKET = Socket()
TARGETS = (
    Target("answers to mob.connect", CLIENT.check, ANSWERS),
    Target(
        "live socket of mob.connect",
        SOCKET.check,
        (*seeds.OBSERVATIONS, GREETING, FAREWELL),
        tuple(seeds.SPEECH),
    ),
)
