"""Puts the parts together: the supervisor, a store, and who is dialled (the vendor, or a rehearsed model).

Only this module knows both the team and rehearsal; neither knows the other.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from mob.clock import is_virtual_time
from mob.definition.model import MobDefinition, ModelCapabilities, Profile
from mob.live.memory import MemoryNetwork
from mob.live.network import Dialler, Endpoint, Network, TcpNetwork
from mob.rehearsal.faults import Fault
from mob.rehearsal.serve import Rehearsal, open_rehearsal
from mob.sessions.connect import connect_realtime
from mob.sessions.dialling import VendorDialler
from mob.store.memory import MemoryStore
from mob.store.port import Store
from mob.store.sqlite import SqliteStore
from mob.team.dialler import FallbackDialler
from mob.team.supervisor import Mob, open_supervisor

__all__ = ["connect_realtime", "open_mob"]


class RehearsedDialler:
    """Reaches every member at a rehearsed provider: over loopback TCP, or memory streams under a virtual clock."""

    def __init__(self, rehearsal: Rehearsal, network: Network) -> None:
        self._rehearsal = rehearsal
        self.network = network

    async def endpoint(self, identity: str, profile: Profile, model: ModelCapabilities) -> Endpoint:
        """The member's own path at the rehearsed provider; never refuses, and knows who was spawned."""
        self._rehearsal.cast(identity, profile.name)
        return Endpoint(base_url=self._rehearsal.base_url(identity), api_key="rehearsed", rehearsed=True)


@asynccontextmanager
async def open_mob(
    definition: MobDefinition,
    *,
    rehearse: bool | None = None,
    store: Store | str | os.PathLike[str] | None = None,
    run_id: str | None = None,
    resume: bool = False,
    seed: int | None = None,
    faults: tuple[Fault, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Mob]:
    """Run a team; leaving the block stops it, and nothing of it is left (law 24).

    `rehearse`: True plays every member by the embedded provider, False dials vendors only (CredentialMissing when a
    key is not there), None dials a vendor where there is a key or a `base_url` and rehearses the rest. `store`: a
    path (SQLite), a Store, or None for memory. `run_id` with `resume` goes on with an earlier run: RunUnknown,
    StoreLocked. `seed` makes a rehearsed run repeatable. `faults` are played by the rehearsed provider. What the block
    raises comes out as it is.
    """
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        dialler = await _dialler(stack, definition, rehearse, seed or 0, faults, environ)
        supervisor = open_supervisor(
            definition, dialler=dialler, store=_store(store), run_id=run_id, resume=resume, seed=seed
        )
        try:
            async with supervisor as team:
                yield team
        except Exception as error:  # kept aside, so that it does not come out of the rehearsal as a group
            failure = error
    if failure is not None:
        raise failure


async def _dialler(
    stack: AsyncExitStack,
    definition: MobDefinition,
    rehearse: bool | None,  # noqa: FBT001 - private; the public keyword is open_mob's
    seed: int,
    faults: tuple[Fault, ...],
    environ: Mapping[str, str] | None,
) -> Dialler:
    vendor = VendorDialler(definition, environ=os.environ if environ is None else environ, network=TcpNetwork())
    if rehearse is False:
        return vendor
    rehearsal = await stack.enter_async_context(open_rehearsal(definition, seed=seed, faults=faults))
    rehearsed = RehearsedDialler(rehearsal, await _rehearsal_network(stack, rehearsal))
    return rehearsed if rehearse else FallbackDialler(vendor, rehearsed)


async def _rehearsal_network(stack: AsyncExitStack, rehearsal: Rehearsal) -> Network:
    """Sockets in real time; memory streams under a virtual clock, which must never wait for the kernel."""
    if not is_virtual_time():
        return TcpNetwork()
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)
    network = MemoryNetwork(nursery)
    network.listen_default(rehearsal.serve_stream)
    return network


def _store(store: Store | str | os.PathLike[str] | None) -> Store:
    if store is None:
        return MemoryStore()
    if isinstance(store, str | os.PathLike):
        return SqliteStore(Path(store))
    return store
