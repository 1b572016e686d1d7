"""A JSON-RPC client over memory streams that runs tools, and what the published Meerkat client makes of answers."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress

import trio
import trio.testing
from meerkat import MeerkatClient
from meerkat.event_envelope import parse_agent_event_envelope
from meerkat.events import UnknownEvent
from mob_peer import Peer, RpcFailed

from mob.carriers.links import StreamLink
from mob.server.limits import DoorLimits
from mob.server.realm.realm import RealmSettings, open_realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.door import LiveDoor, rpc_methods

__all__ = [
    "HOST",
    "LIVE",
    "WEATHER",
    "RpcFailed",
    "ToolPeer",
    "check_events",
    "check_history",
    "join",
    "open_server",
    "payloads",
]

HOST = "You are the host.\nWe are open from noon to eleven.\nThere is free parking behind the house."
WEATHER = {"name": "weather", "description": "The weather of today: rain, sun and wind.", "input_schema": {}}
LIVE = LiveDoor("ws://127.0.0.1:1")


class ToolPeer(Peer):
    """A peer that answers `tool/execute` with `run_tool(params)`: a result, or None for no answer at all."""

    def __init__(self, stream):
        super().__init__(stream)
        self.asked = []
        self.run_tool = lambda params: {"content": f"{params['name']} ran", "is_error": False}

    def _take(self, message):
        if "method" in message and "id" in message:
            self.asked.append(message)
            result = self.run_tool(message["params"])
            if result is not None:
                answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
                self.nursery.start_soon(self.send, answer)
            return
        if "id" in message and message["id"] is None:
            self.told.append(("refused", message["error"]))
            return
        super()._take(message)

    async def run(self):
        """Read until one of the two hangs up."""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await super().run()

    async def send(self, message):
        """Write any message, or any bytes as a line."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        async with self._sending:
            await self._stream.send_all(data + b"\n")


@asynccontextmanager
async def open_server(*, live=LIVE, limits=None, files=None, store=None, faults=()):
    """A rehearsed realm and all its methods."""
    settings = RealmSettings("test", rehearse=True, seed=1, faults=faults)
    async with open_realm(settings, limits=limits or DoorLimits(), files=files, store=store) as realm:
        yield realm, rpc_methods(realm, live=live)


@asynccontextmanager
async def join(realm, methods):
    """One client, until the block is left: then it hangs up, and the server has let go of it."""
    ours, theirs = trio.testing.memory_stream_pair()
    link = StreamLink(theirs, theirs, max_bytes=realm.limits.max_request_bytes)
    client = RpcClient(link, methods.call, realm.limits)
    gone = trio.Event()

    async def serve():
        try:
            async with theirs:
                await client.run()
        finally:
            gone.set()

    failure = None
    async with trio.open_nursery() as nursery:
        peer = ToolPeer(ours)
        peer.client, peer.nursery = client, nursery
        nursery.start_soon(serve)
        nursery.start_soon(peer.run)
        try:
            yield peer
        except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
            failure = error
        await ours.aclose()
        await gone.wait()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def payloads(told, method="session/event"):
    """The payloads of these notifications, in order."""
    return [params["event"]["payload"] for name, params in told if name == method]


def check_events(told):
    """Every event is one that the published client knows, and none of another shape than it takes."""
    for name, params in told:
        if name in ("session/event", "session/stream_event"):
            parsed = parse_agent_event_envelope(params["event"])
            assert not isinstance(parsed.payload, UnknownEvent), params["event"]["payload"]


def check_history(result):
    """The published client takes this page of a history; its rows as that client has them."""
    return MeerkatClient._parse_session_history(result).messages
