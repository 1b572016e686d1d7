"""mob/*: who reaches whom. Meerkat's edges are undirected, ours are routes with a direction and ways.

    wire a, b      routes both ways, to ask and to tell
    unwire a, b    all routes between the two are taken away, hand-overs included
    an edge is there when each of the two may reach the other

Whom an external address names cannot be reached from here, and is refused.
"""

from __future__ import annotations

from typing import Final

import trio
from attrs import frozen

from mob.errors import CapabilityUnavailable
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.mobs.door import MobDoor
from mob.server.rpc.mobs.roll import roll_of
from mob.server.rpc.mobs.shapes import JSON
from mob.values import Via

_WAYS: Final[tuple[Via, ...]] = ("ask", "tell")
_MOST_EDGES: Final = 1000


@frozen(slots=True)
class Edge:
    """Two members, in the order of their names."""

    a: str
    b: str

    def as_json(self) -> JSON:
        """As clients are shown it."""
        return {"a": self.a, "b": self.b}


def wiring_methods(door: MobDoor) -> dict[str, Serve]:
    """The methods of this module."""
    wiring = Wiring(door)
    return {
        "mob/wire": wiring.wire,
        "mob/unwire": wiring.unwire,
        "mob/wire_members_batch": wiring.wire_batch,
    }


class Wiring:
    """The edges of running mobs."""

    def __init__(self, door: MobDoor) -> None:
        self._door = door

    async def wire(self, _client: RpcClient, params: Params) -> JSON:
        """Let two members reach each other. MemberUnknown, CapabilityUnavailable for a peer elsewhere."""
        hosted = await self._door.started(params)
        edge = _edge_to(params)
        new = await self._wire(hosted, edge)
        return {"mob_id": hosted.mob_id, "wired": True, "already_wired": not new}

    async def unwire(self, _client: RpcClient, params: Params) -> JSON:
        """Let two members reach each other no more. MemberUnknown."""
        hosted = await self._door.started(params)
        edge = _edge_to(params)
        with trio.CancelScope(shield=True):
            for origin, to in ((edge.a, edge.b), (edge.b, edge.a)):
                await hosted.mob.unwire(origin, to)
        return {"mob_id": hosted.mob_id, "unwired": True}

    async def wire_batch(self, _client: RpcClient, params: Params) -> JSON:
        """Several edges; all are looked at before the first is made."""
        hosted = await self._door.started(params)
        edges = [
            _edge(each, each.text("a", most=200), each.text("b", most=200))
            for each in params.children("edges", most=_MOST_EDGES)
        ]
        for edge in edges:
            hosted.member(edge.a)
            hosted.member(edge.b)
        wired: list[JSON] = []
        already: list[JSON] = []
        for edge in edges:
            (wired if await self._wire(hosted, edge) else already).append(edge.as_json())
        return {"mob_id": hosted.mob_id, "requested": len(edges), "wired": wired, "already_wired": already}

    async def _wire(self, hosted: HostedMob, edge: Edge) -> bool:
        """Whether there was anything to do."""
        hosted.member(edge.a)
        hosted.member(edge.b)
        roll = await roll_of(self._door.realm, hosted)
        both = ((edge.a, edge.b), (edge.b, edge.a))
        lacking = [pair for pair in both if not roll.ways(*pair).issuperset(_WAYS)]
        with trio.CancelScope(shield=True):
            for origin, to in lacking:
                await hosted.mob.wire(origin, to, *_WAYS)
        return bool(lacking)


def _edge_to(params: Params) -> Edge:
    peer = params.child("peer")
    if peer.values.get("external") is not None:
        raise CapabilityUnavailable(
            "members of other servers cannot be wired here; a peer is {local: IDENTITY}", field="peer.external"
        )
    return _edge(params, params.text("member", most=200), peer.text("local", most=200))


def _edge(params: Params, one: str, other: str) -> Edge:
    if one == other:
        raise params.wrong("b" if "b" in params else "peer.local", f"is {one} itself; an edge has two ends")
    return Edge(*sorted((one, other)))
