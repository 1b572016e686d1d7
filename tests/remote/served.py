"""A server in memory, in virtual time: `server.connect()` is `mob.connect` to its one mob."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import frozen

import mob
from mob.carriers.links import StreamLink
from mob.definition.model import (
    Budget,
    Limits,
    Member as MemberDefinition,
    MobDefinition,
    Profile,
    RehearsalRule,
    Route,
)
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Table
from mob.server.hosted import HostedMob
from mob.server.limits import DoorLimits
from mob.server.livesocket.socket import live_sockets
from mob.server.realm.realm import Realm, RealmSettings, open_realm
from mob.server.rpc.door import LiveDoor, rpc_methods, rpc_sockets, serve_rpc_lines
from mob.testing import MemoryNetwork

DEFINITIONS = Path(__file__).resolve().parents[2] / "definitions"
HTTP, LINES = "http://localhost:80", "tcp://localhost:7"
TEXT_MODEL = "gpt-5.6-terra"


@frozen(slots=True)
class Server:
    """The server and the network on which it listens."""

    realm: Realm
    hosted: HostedMob
    network: MemoryNetwork

    def connect(self, url: str = HTTP, **more):
        return mob.connect(url, network=self.network, **more)

    @property
    def mob(self) -> mob.Mob:
        return self.hosted.mob


def desk() -> MobDefinition:
    return mob.load(DEFINITIONS / "front-desk.toml")


def crew(names="ann bob cyd", *, rules=(), limits: Limits | None = None, budget: Budget | None = None, **more):
    """Members that answer by request/response; each may ask and hand over to each. `rules` of all their models."""
    members = names.split()
    routes = tuple(Route(a, b, ("ask", "hand_off")) for a in members for b in members if a != b)
    slow = RehearsalRule(when="slow", say="That took a while.", after_ms=5000)
    well = RehearsalRule(say="Well, well.")
    return MobDefinition(
        "crew",
        {name: Profile(name, TEXT_MODEL, instructions="Be brief.") for name in members},
        {name: MemberDefinition(name, name) for name in members},
        description="Three who talk.",
        entry=members[0],
        routes=routes,
        limits=limits or Limits(),
        budget=budget or Budget(),
        rehearsal=dict.fromkeys(members, (*rules, slow, well)),
        **more,
    )


@asynccontextmanager
async def serving(
    definition: MobDefinition | None = None,
    *,
    limits: DoorLimits | None = None,
    secret: str | None = None,
    seed: int = 1,
    start: bool = True,
) -> AsyncIterator[Server]:
    """One mob, started, behind all doors that mob.connect knows."""
    settings = RealmSettings("test", rehearse=True, seed=seed)
    failure = None
    async with open_realm(settings, limits=limits) as realm, trio.open_nursery() as nursery:
        hosted = realm.add_mob(definition or desk())
        if start:
            await hosted.start()
        try:
            yield Server(realm, hosted, listen(realm, nursery, secret))
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def listen(realm: Realm, nursery: trio.Nursery, secret: str | None = None) -> MemoryNetwork:
    """The realm's doors in memory."""
    methods = rpc_methods(realm, live=LiveDoor("ws://localhost:80"))
    gatekeeper = Gatekeeper(secret)
    front = Front(Table((), [*rpc_sockets(realm, methods), *live_sockets(realm)]), gatekeeper, realm.limits)
    network = MemoryNetwork(nursery)
    network.listen("localhost", 80, front.serve_stream)

    async def lines(stream: trio.abc.Stream) -> None:
        link = StreamLink(stream, stream, max_bytes=realm.limits.max_request_bytes)
        await serve_rpc_lines(link, methods, realm.limits, gatekeeper=gatekeeper)

    network.listen("localhost", 7, lines)
    return network
