"""A server to be spoken to by mutants: a realm in virtual time, with an honest client whose session must stay as it is.

What holds of every room: nothing is logged as an error (an untyped exception anywhere is), the honest client's session
answers as before and its log has no row that it did not ask for, and every row of the store reads back as it is.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import seeds
import trio
import trio.testing
from attrs import define, evolve
from fuzzing import must

from mob.definition.model import Member, MobDefinition, Profile
from mob.history import codec
from mob.history.items import Turn
from mob.server.front.auth import Gatekeeper
from mob.server.front.port import Front
from mob.server.front.routes import Table
from mob.server.gateway.door import gateway_sockets
from mob.server.limits import DoorLimits
from mob.server.livesocket.socket import live_sockets
from mob.server.realm.documents import definition_of
from mob.server.realm.realm import AGENT, Realm, RealmSettings, SessionRef, open_realm
from mob.server.rest.door import rest_routes
from mob.server.rpc.dispatch import Methods
from mob.server.rpc.door import LiveDoor, rpc_methods, rpc_sockets
from mob.values import TurnDetection

LIMITS = evolve(DoorLimits(), max_sessions=24, max_mobs=8, max_members=12, max_streams=8, max_channels=12)


class Complaints(logging.Handler):
    """What the server logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.said.append(logging.Formatter().format(record)[-3000:])


@define(eq=False)
class House:
    """`honest`: the session that no mutant knows the name of. `crew`: the mob that they speak to."""

    realm: Realm
    methods: Methods
    front: Front
    nursery: trio.Nursery
    complaints: Complaints
    honest: SessionRef
    before: tuple[Turn, ...] = ()

    def check(self) -> None:
        """What must hold at every moment."""
        self.check_log_is_quiet()
        must(self.honest.member.history() == self.before, "the honest client's session has changed")

    def check_log_is_quiet(self) -> None:
        """The server has not failed anywhere."""
        must(not self.complaints.said, "\n".join(self.complaints.said[:2]))

    async def check_works(self) -> None:
        """The honest client is still answered."""
        self.check()
        answer = await self.honest.member.ask("When do you open?")
        must(bool(answer.text), "no answer")
        self.before = self.honest.member.history()

    async def check_log(self) -> None:
        """Every row that was written reads back as it is."""
        for run in await self.realm.store.runs():
            async for stored in self.realm.store.read_run(run.run_id):
                again = codec.decode(codec.encode(stored.row))
                must(again == stored.row, f"a row reads otherwise: {stored.row!r:.300}")

    async def renew(self, *, crew: bool = True) -> None:
        """Take away what mutants made, and give them a new crew to speak to."""
        for hosted in tuple(self.realm._mobs.values()):
            if hosted is not self.honest.hosted and hosted.mob_id != "honest":
                await self.realm.end_mob(hosted)
        if crew:
            await self.realm.add_mob(definition_of(seeds.CREW), document=seeds.CREW).start()

    def connect(self) -> trio.abc.Stream:
        """A connection to the front."""
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.front.serve_stream, theirs)
        return ours


def session_definition(model: str = "gpt-5.6-terra") -> MobDefinition:
    """A stand-alone session's mob of one."""
    told = "We open at noon. Lunch is served at one."
    detection = TurnDetection(mode="manual") if "realtime" in model else None
    profile = Profile(AGENT, model, instructions=told, turn_detection=detection)
    return MobDefinition("session", {AGENT: profile}, {AGENT: Member(AGENT, AGENT)})


@asynccontextmanager
async def open_house(gatekeeper: Gatekeeper | None = None) -> AsyncIterator[House]:
    """The server, with all its doors, until the block is left."""
    complaints = Complaints()
    log = logging.getLogger("mob")
    log.addHandler(complaints)
    try:
        async with open_realm(RealmSettings("test", rehearse=True, seed=1), limits=LIMITS) as realm:
            async with trio.open_nursery() as nursery:
                house = _house(realm, nursery, complaints, gatekeeper or Gatekeeper())
                honest = {**seeds.CREW, "id": "honest"}
                await realm.add_mob(definition_of(honest), document=honest).start()
                await house.honest.hosted.start()
                await house.check_works()
                await house.renew()
                yield house
                await house.check_works()
                await house.check_log()
                nursery.cancel_scope.cancel()
        must(not complaints.said, "\n".join(complaints.said[:2]))
    finally:
        log.removeHandler(complaints)


def _house(realm: Realm, nursery: trio.Nursery, complaints: Complaints, gatekeeper: Gatekeeper) -> House:
    methods = rpc_methods(realm, live=LiveDoor("ws://127.0.0.1:1"))
    table = Table(
        [
            *rest_routes(
                realm, nursery=nursery, table=lambda: table, front=lambda: front, rpc_served=lambda: methods.served
            ),
        ],
        [*live_sockets(realm), *gateway_sockets(realm, gatekeeper), *rpc_sockets(realm, methods)],
    )
    front = Front(table, gatekeeper, LIMITS)
    return House(realm, methods, front, nursery, complaints, realm.add_session(session_definition()))


def in_virtual_time(room: Callable[..., Awaitable[int]], *arguments: object) -> int:
    """Run it to its end on a clock that jumps over every wait."""
    return trio.run(room, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))
