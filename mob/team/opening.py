"""Opens a run: takes its log, folds its past, and says by which rows this process begins.

A new run begins with nothing. A run that is resumed goes on from its log: seed, floor, generations, routes, members
that were spawned or retired, what was said and spent. Everything that the last process left open is ended first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from attrs import field, frozen

from mob.definition.model import MobDefinition
from mob.errors import UsageError
from mob.history.rows import Row, RunStarted
from mob.ids import Ids
from mob.store.port import RunLog, Store
from mob.team.floor import FloorMachine
from mob.team.state import TeamState


@frozen(slots=True)
class Wanted:
    """A member that is to run, and the profile keys that it was spawned with."""

    identity: str
    profile: str
    overrides: Mapping[str, Any] = field(factory=dict)


@frozen(slots=True)
class OpenRun:
    """A run's log, held for writing, and its past folded.

    `seed` makes ids repeatable; None: they are random. `began_at`: the last row of the past, 0 for a new run.
    """

    log: RunLog
    state: TeamState
    seed: int | None
    resumed: bool
    began_at: int

    def ids_of(self, whose: str) -> Ids:
        """Ids for one part of this process: with a seed the same each time, whatever the other parts do meanwhile.

        Never those of an earlier process of the run, which began at another row of the log.
        """
        return Ids(None if self.seed is None else f"{self.seed}:{self.began_at}:{whose}")

    def first_rows(self, definition: MobDefinition) -> tuple[Row, ...]:
        """The rows by which this process begins: what was left open, ended, and that the run goes on."""
        started = RunStarted(definition.id, definition.digest, self.seed or 0, resumed=self.resumed)
        return (*self.state.loose_ends(), started)

    def members(self, definition: MobDefinition) -> tuple[Wanted, ...]:
        """Who is to run: the team file's members and those spawned, not the retired.

        A spawned member whose profile is not in the team file any more is left out. The profile of the team file's own
        members is what the file says; the keys they were spawned with hold as long as it is the same.
        """
        wanted = {name: Wanted(name, member.profile) for name, member in definition.members.items()}
        for seat in self.state.roster:
            own = wanted.get(seat.identity)
            if seat.ended == "retired":
                wanted.pop(seat.identity, None)
            elif (own is None and seat.profile in definition.profiles) or (own and own.profile == seat.profile):
                wanted[seat.identity] = Wanted(seat.identity, seat.profile, seat.overrides)
        return tuple(wanted.values())


@asynccontextmanager
async def open_past(
    definition: MobDefinition,
    machine: FloorMachine,
    *,
    store: Store,
    run_id: str | None,
    resume: bool,
    seed: int | None,
) -> AsyncIterator[OpenRun]:
    """Hold the run's log while the block runs. UsageError, RunUnknown, StoreLocked, StoreCorrupt, StoreError."""
    if resume and run_id is None:
        raise UsageError("which run is to be resumed? Give its id; `mob history` lists the runs")
    # Never from the seed: the same seed gives the same run again, but never the same run's log.
    async with store.open_run(run_id or Ids().new("run"), create=not resume) as log:
        if log.last_seq and not resume:
            raise UsageError(f"run {log.run_id!r} is in the store already; resume it, or take another id")
        state = TeamState(definition)
        async for stored in log.read():
            state.replay(stored, machine)
        if state.mob is not None and state.mob != definition.id:
            raise UsageError(
                f"run {log.run_id!r} was made by the team {state.mob!r} and cannot go on with {definition.id!r}; "
                "give the team file it was started with"
            )
        kept = state.seed or None if seed is None else seed
        yield OpenRun(log, state, kept, resume, log.last_seq)
