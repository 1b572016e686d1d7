"""The supervisor: opens a run, keeps its members alive, and ends it within its declared time (laws 22 and 24).

    open_supervisor
    ├─ the run's log                 the store's own writer
    ├─ members                       one host each; a crash ends that member's generation only
    │   └─ session                   mailbox, turn, live channel: all in the generation's scope
    ├─ the team's own tasks          hand-overs, tells under way, tools kept up to date, one watchdog, the human's line
    └─ stopping                      once it is asked for, whoever asks

Nothing is spawned outside this tree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from mob.definition.model import MobDefinition
from mob.live.network import Dialler
from mob.store.port import Store
from mob.team.floor import FloorMachine
from mob.team.host import MemberHost
from mob.team.opening import open_past
from mob.team.running import Mob as Mob
from mob.team.tree import Tree, open_branch


@asynccontextmanager
async def open_supervisor(
    definition: MobDefinition,
    *,
    dialler: Dialler,
    store: Store,
    run_id: str | None = None,
    resume: bool = False,
    seed: int | None = None,
) -> AsyncIterator[Mob]:
    """Run a team; leaving the block stops it, and nothing of it is left.

    `run_id` None: a new run with an id of its own; with `resume` the run of this id goes on. `seed` makes ids (and a
    rehearsed run) repeatable. Raises before anything runs: CredentialMissing, UsageError (a tool that cannot be
    imported, a wire that is not spoken), RunUnknown, StoreLocked, StoreCorrupt, StoreError. What the block raises
    comes out as it is, after the mob was stopped.
    """
    hosts: dict[str, MemberHost] = {}
    on_line: set[str] = set()
    machine = FloorMachine(
        entry=definition.entry_member,
        max_hops=definition.limits.max_hops,
        runs=lambda identity: identity in hosts and hosts[identity].state == "running",
        on_line=on_line.__contains__,
    )
    opened = open_past(definition, machine, store=store, run_id=run_id, resume=resume, seed=seed)
    failure: Exception | None = None
    async with opened as run, trio.open_nursery() as root:
        tree = Tree(root, await root.start(open_branch), await root.start(open_branch))
        mob = Mob(definition, run, machine, hosts, on_line, dialler=dialler, tree=tree)
        reason = "cancelled"
        try:
            await mob.start()
            yield mob
            reason = "done"
        except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
            failure, reason = error, "failed"
        finally:
            with trio.CancelScope(shield=True):
                await mob.stop(reason, drain=reason == "done")
    if failure is not None:
        raise failure
