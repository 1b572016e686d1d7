"""Who there is in a mob and who reaches whom: the fold of its log, with what each member does now laid over it (P28).

The fold is the same whether the mob runs, was stopped, or is of an earlier process; only the word for what a member
does this moment comes from the running mob.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from mob.errors import MemberUnknown
from mob.history.rows import MemberEnded, MemberSpawned, Wired
from mob.server.hosted import HostedMob
from mob.server.realm import Realm
from mob.server.rpc.mobs_shapes import MemberView, member_status
from mob.team.roster import Roster, Seat
from mob.team.routing import RouteTable

_KINDS = (MemberSpawned.kind, MemberEnded.kind, Wired.kind)


@frozen(slots=True)
class Roll:
    """The members of one mob, in the order in which they first came, and the routes between them."""

    mob_id: str
    views: tuple[MemberView, ...]
    routes: RouteTable

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


async def roll_of(realm: Realm, hosted: HostedMob) -> Roll:
    """The mob's members as of now. StoreError."""
    roster = Roster()
    routes = RouteTable(hosted.definition, roster.roles)
    if hosted.began:
        async for stored in realm.store.read_run(hosted.run_id, kinds=_KINDS):
            roster.apply(stored)
            if isinstance(stored.row, Wired):
                routes.apply(stored.row)
    seats = list(roster)
    if not hosted.began:
        seats = [Seat(name, member.profile, "", 0) for name, member in hosted.definition.members.items()]
    present = [seat.identity for seat in seats if seat.ended != "retired"]
    return Roll(hosted.mob_id, tuple(_view(hosted, seat, routes, present) for seat in seats), routes)


def _view(hosted: HostedMob, seat: Seat, routes: RouteTable, present: list[str]) -> MemberView:
    state = ""
    if hosted.running and seat.identity in hosted.mob.members:
        state = hosted.mob.member(seat.identity).state
    peers = [
        other
        for other in present
        if other != seat.identity and (routes.ways(seat.identity, other) or routes.ways(other, seat.identity))
    ]
    return MemberView(
        mob_id=hosted.mob_id,
        identity=seat.identity,
        role=seat.profile,
        model=seat.model,
        generation=seat.generation,
        status=member_status(state, seat.ended),
        state=state or "stopped",
        wired_to=tuple(peers) if seat.identity in present else (),
    )
