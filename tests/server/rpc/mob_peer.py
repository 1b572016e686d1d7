"""A JSON-RPC client over memory streams, and a small team, for the tests of mob/* in virtual time."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import trio
import trio.testing

from mob.carriers.links import StreamLink
from mob.server.limits import DoorLimits
from mob.server.realm.realm import RealmSettings, open_realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.door import LiveDoor, rpc_methods

CREW = {
    "id": "crew",
    "profiles": {
        "host": {"model": "gpt-5.6-terra", "instructions": "You welcome people. We open at noon."},
        "scribe": {"model": "gpt-5.6-terra", "peer_description": "Writes down what was said."},
    },
    "rehearsal": {
        "host": [
            {"when": "slow", "say": "That took a while.", "after_ms": 5000},
            {"when": "", "say": "Welcome!"},
        ],
        "scribe": [{"when": "", "say": "Written down."}],
    },
}


class RpcFailed(Exception):
    """The server answered with an error."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.number, self.message = error["code"], error["message"]
        self.data = error.get("data") or {}
        self.code = self.data.get("code")
        self.details = self.data.get("details")


class Peer:
    """The client's end. `told` has the notifications, in order."""

    def __init__(self, stream):
        self._stream = stream
        self._sending = trio.Lock()
        self._waiting = {}
        self._last = 0
        self.told = []
        self._news = trio.lowlevel.ParkingLot()

    async def __call__(self, method, **params):
        """Call a method; its result, or RpcFailed."""
        self._last += 1
        event = trio.Event()
        self._waiting[self._last] = waiting = [event, None]
        request = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        async with self._sending:
            await self._stream.send_all(json.dumps(request).encode() + b"\n")
        await event.wait()
        answer = waiting[1]
        if "error" in answer:
            raise RpcFailed(answer["error"])
        return answer["result"]

    async def notified(self, condition):
        """Wait until this holds of what was told."""
        while not condition(self.told):
            await self._news.park()

    async def run(self):
        buffer = b""
        async for data in self._stream:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, message):
        if "id" in message:
            waiting = self._waiting.pop(message["id"])
            waiting[1] = message
            waiting[0].set()
            return
        self.told.append((message["method"], message["params"]))
        self._news.unpark_all()


@asynccontextmanager
async def open_peer(realm, methods, limits=None):
    """One client of these methods, until the block is left: then it hangs up."""
    ours, theirs = trio.testing.memory_stream_pair()
    limits = limits or realm.limits

    async def serve():
        async with theirs:
            await RpcClient(StreamLink(theirs, theirs, max_bytes=limits.max_request_bytes), methods.call, limits).run()

    failure = None
    async with trio.open_nursery() as nursery:
        peer = Peer(ours)
        nursery.start_soon(serve)
        nursery.start_soon(peer.run)
        try:
            yield peer
        except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
            failure = error
        await ours.send_eof()
    if failure is not None:
        raise failure


@asynccontextmanager
async def open_door(limits=None, store=None):
    """A realm whose members are rehearsed, and its methods."""
    limits = limits or DoorLimits()
    async with open_realm(RealmSettings("test", rehearse=True, seed=1), limits=limits, store=store) as realm:
        yield realm, rpc_methods(realm, live=LiveDoor("ws://127.0.0.1:1"))


@asynccontextmanager
async def open_crew(limits=None, definition=CREW):
    """A client with one mob, `crew`, in which nobody is yet."""
    async with open_door(limits) as (realm, methods), open_peer(realm, methods) as peer:
        await peer("mob/create", definition=definition)
        yield realm, peer


async def spawn(peer, identity, profile="host", **more):
    """Bring a member in."""
    return await peer("mob/spawn", mob_id="crew", profile=profile, agent_identity=identity, **more)
