"""The nursery tree of a run, and how a branch of it is ended while the rest goes on."""

from __future__ import annotations

import trio
from attrs import frozen


@frozen(slots=True)
class Branch:
    """A nursery in a task of its own. Tasks started in it end with it."""

    nursery: trio.Nursery
    ended: trio.Event

    async def cancel(self) -> None:
        """Cancel its tasks and wait until none is left."""
        self.nursery.cancel_scope.cancel()
        await self.ended.wait()


@frozen(slots=True)
class Tree:
    """Where a run's tasks live. Members end first, then the team's own tasks, then the root."""

    root: trio.Nursery
    team: Branch
    members: Branch


async def open_branch(*, task_status: trio.TaskStatus[Branch]) -> None:
    """Be a branch; to be started in its parent nursery."""
    ended = trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            task_status.started(Branch(nursery, ended))
            await trio.sleep_forever()
    finally:
        ended.set()
