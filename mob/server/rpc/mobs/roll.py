"""Who there is in a mob and who reaches whom: the fold of its log (P28).

A running mob knows it, and is asked. Of one that does not run, and of members that left before it was started again,
the log itself is folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from mob.definition.model import Route
from mob.errors import MemberUnknown
from mob.history.rows import MemberEnded, MemberSpawned, Wired
from mob.server.hosted import HostedMob
from mob.server.realm.realm import Realm
from mob.server.rpc.mobs.shapes import MemberStatus, MemberView
from mob.team.roster import Roster, Seat
from mob.team.routing import RouteTable
from mob.values import Via

_KINDS = (MemberSpawned.kind, MemberEnded.kind, Wired.kind)
_STATUSES: dict[str, MemberStatus] = {"failed": "broken", "retired": "completed"}


@frozen(slots=True)
class Roll:
    """The members of one mob, in the order in which they first came, and the routes between them."""

    mob_id: str
    views: tuple[MemberView, ...]
    routes: tuple[Route, ...]

    def view(self, identity: str) -> MemberView:
        """One member, whatever became of it. MemberUnknown."""
        for view in self.views:
            if view.identity == identity:
                return view
        known = ", ".join(view.identity for view in self.present()) or "nobody"
        raise MemberUnknown(f"there is no member {identity!r} in the mob {self.mob_id}; there is {known}")

    def present(self) -> Iterator[MemberView]:
        """Those that are members now: the retired are not."""
        return (view for view in self.views if view.status != "completed")

    def ways(self, origin: str, to: str) -> frozenset[Via]:
        """In which ways `origin` reaches `to`."""
        return frozenset(via for route in self.routes if (route.origin, route.to) == (origin, to) for via in route.via)


async def roll_of(realm: Realm, hosted: HostedMob) -> Roll:
    """The mob's members as of now. StoreError."""
    return _asked(hosted) if hosted.running else await _folded(realm, hosted)


async def view_of(realm: Realm, hosted: HostedMob, identity: str) -> MemberView:
    """One member, also one that left long ago. MemberUnknown, StoreError."""
    roll = await roll_of(realm, hosted)
    if hosted.running and identity not in hosted.mob.members:
        left = (await _folded(realm, hosted)).views
        return Roll(roll.mob_id, (*roll.views, *left), roll.routes).view(identity)
    return roll.view(identity)


def _asked(hosted: HostedMob) -> Roll:
    mob = hosted.mob
    members, routes = mob.members, mob.routes
    peers = _peers([name for name, handle in members.items() if handle.state != "retired"], routes)
    views = (
        MemberView(
            mob_id=hosted.mob_id,
            identity=name,
            role=handle.profile_name,
            model=handle.model.id,
            generation=handle.generation,
            status=_STATUSES.get(handle.state, "active"),
            state=handle.state,
            wired_to=peers.get(name, ()),
        )
        for name, handle in members.items()
    )
    return Roll(hosted.mob_id, tuple(views), routes)


async def _folded(realm: Realm, hosted: HostedMob) -> Roll:
    roster = Roster()
    table = RouteTable(hosted.definition, roster.roles)
    if hosted.began:
        async for stored in realm.store.read_run(hosted.run_id, kinds=_KINDS):
            roster.apply(stored)
            if isinstance(stored.row, Wired):
                table.apply(stored.row)
    seats = list(roster)
    if not hosted.began:
        seats = [Seat(name, member.profile, "", 0) for name, member in hosted.definition.members.items()]
    present = [seat.identity for seat in seats if seat.ended != "retired"]
    reached = ((origin, to, table.ways(origin, to)) for origin in present for to in present)
    routes = tuple(Route(origin, to, via) for origin, to, via in reached if via)
    peers = _peers(present, routes)
    views = (
        MemberView(
            mob_id=hosted.mob_id,
            identity=seat.identity,
            role=seat.profile,
            model=seat.model,
            generation=seat.generation,
            status=_STATUSES.get(seat.ended or "", "active"),
            state="retired" if seat.ended == "retired" else "stopped",
            wired_to=peers.get(seat.identity, ()),
        )
        for seat in seats
    )
    return Roll(hosted.mob_id, tuple(views), routes)


def _peers(present: Sequence[str], routes: Iterable[Route]) -> dict[str, tuple[str, ...]]:
    """Of each member those with whom it has a route, one way or the other, in the order of the roll."""
    place = {name: number for number, name in enumerate(present)}
    peers: dict[str, set[str]] = {name: set() for name in present}
    for route in routes:
        if route.origin in peers and route.to in peers:
            peers[route.origin].add(route.to)
            peers[route.to].add(route.origin)
    return {name: tuple(sorted(others, key=place.__getitem__)) for name, others in peers.items()}
