"""The members of a running mob: who is prepared, started, restarted, retired, and which tools each has now.

Every change of who there is, or who reaches whom, goes through here: first its rows, then its effect, then the tools of
everybody it concerns. Tools are brought up to date by one task that looks at the whole team after a change, so ten
changes at once make one update, and an open live channel is refreshed only when its member's tools have changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import evolve, frozen

from mob.definition.catalogue import capabilities_for
from mob.definition.keys_models import BUILT_WIRES
from mob.definition.member_overrides import checked_overrides
from mob.definition.model import Member, MobDefinition, Profile, Route
from mob.definition.names import name_fault
from mob.errors import LiveClosed, LiveError, MemberNotRunning, MemberUnknown, MobError, ProviderError, UsageError
from mob.history.fold import History
from mob.history.rows import FloorMoved, MemberEnded, MemberSpawned
from mob.ids import Ids
from mob.live.network import Dialler
from mob.live.watchdog import Watchdog
from mob.sessions.budget import BudgetMeter
from mob.sessions.events import ErrorOccurred, RunEvent
from mob.sessions.session import Session
from mob.sessions.tools import ToolBox, ToolFunction, load_tools
from mob.team.floor import FloorMachine
from mob.team.host import MemberHost
from mob.team.restart import RestartPolicy
from mob.team.routing import RouteTool, route_tools
from mob.team.state import TeamState, wiring_of
from mob.team.teamlog import TeamLog

_MAX_THREADS = 32


@frozen(slots=True)
class Reach:
    """How a member is reached: over a live channel or by request/response; at a vendor, or rehearsed."""

    model: str
    live: bool
    rehearsed: bool

    def as_facts(self) -> dict[str, object]:
        """For MobStarted."""
        return {"model": self.model, "live": self.live, "rehearsed": self.rehearsed}


class Crew:
    """The members. `make_tool` turns a route into what a session can call; `nursery` is where members live.

    `hosts` is the team's own table of who there is, filled here.
    """

    def __init__(
        self,
        definition: MobDefinition,
        hosts: dict[str, MemberHost],
        *,
        state: TeamState,
        machine: FloorMachine,
        log: TeamLog,
        dialler: Dialler,
        ids_of: Callable[[str], Ids],
        budget: BudgetMeter,
        make_tool: Callable[[str, RouteTool], ToolFunction],
        publish: Callable[[RunEvent], object],
        wall: Callable[[], float],
        watchdog: Watchdog,
        nursery: trio.Nursery,
    ) -> None:
        self.definition = definition
        self._written = definition.members
        self.hosts = hosts
        self._state = state
        self._machine = machine
        self._log = log
        self._dialler = dialler
        self._ids_of = ids_of
        self._budget = budget
        self._make_tool = make_tool
        self._publish = publish
        self._wall = wall
        self._watchdog = watchdog
        self._nursery = nursery
        self._threads = trio.CapacityLimiter(_MAX_THREADS)
        self._own_tools: dict[str, tuple[ToolFunction, ...]] = {}
        self._stale_tools = trio.lowlevel.ParkingLot()
        self._tools_are_stale = False
        self._changing = trio.Lock()
        self._change: trio.CancelScope | None = None
        self._closed = False
        self.has_floor = False
        """Whether the floor has been given for the first time: from then on it is given back to the entry member."""

    def __iter__(self) -> Iterator[MemberHost]:
        return iter(tuple(self.hosts.values()))

    def host(self, identity: str) -> MemberHost:
        """MemberUnknown names those that there are."""
        host = self.hosts.get(identity)
        if host is None:
            raise MemberUnknown(f"there is no member {identity!r} in this mob; there is {', '.join(self.hosts)}")
        return host

    def reach(self, identity: str) -> MemberHost:
        """The member, running. MemberUnknown, MemberNotRunning, MemberFailed."""
        host = self.host(identity)
        _ = host.session
        return host

    # Making members.

    async def prepare(self, identity: str, profile_name: str, overrides: Mapping[str, Any]) -> tuple[MemberHost, Reach]:
        """A host for the member's next generation, with all that could refuse it done: keys, tools, model, credential.

        The definition has the member from now on as it will be. UsageError, CredentialMissing.
        """
        profile = self._enter(identity, profile_name, overrides)
        model = capabilities_for(profile, self.definition)
        own_tools = load_tools(self.definition, profile.tools, threads=self._threads)
        endpoint = await self._dialler.endpoint(identity, profile, model)
        if not endpoint.rehearsed and model.wire not in BUILT_WIRES:
            raise UsageError(
                f"{identity} cannot be reached: {model.id} speaks {model.wire}, which mob does not speak yet; "
                f"choose a model that speaks {' or '.join(sorted(BUILT_WIRES))} (see `mob models`), or rehearse it"
            )
        self._own_tools[identity] = own_tools
        host = MemberHost(
            identity,
            profile_name=profile_name,
            overrides=overrides,
            profile=profile,
            model=model,
            generation=self._state.roster.generation(identity) + 1,
            policy=RestartPolicy.from_limits(self.definition.limits),
            make=self._make_session,
            began=self._write_start,
            ended=self._write_end,
            changed=self._changed,
            publish=self._publish,
        )
        return host, Reach(model.id, model.realtime, endpoint.rehearsed)

    async def start(self, hosts: Sequence[MemberHost]) -> None:
        """Start prepared members whose MemberSpawned rows are written. Returns when each runs or has failed to."""
        for host in hosts:
            self.hosts[host.identity] = host
        async with trio.open_nursery() as starting:
            for host in hosts:
                starting.start_soon(self._start_one, host)
        self.update_tools()

    async def _start_one(self, host: MemberHost) -> None:
        await self._nursery.start(host.run, name=f"member {host.identity}")

    def _enter(self, identity: str, profile_name: str, overrides: Mapping[str, Any]) -> Profile:
        """Put the member into the definition: the profile, what the team file says of it, what it is spawned with."""
        if profile_name not in self.definition.profiles:
            known = ", ".join(self.definition.profiles)
            raise UsageError(f"there is no [profiles.{profile_name}] in the team file; there is {known}")
        written = self._written.get(identity)
        own = written.overrides if written is not None and written.profile == profile_name else {}
        if overrides:
            own = {**own, **checked_overrides(self.definition, identity, profile_name, overrides)}
        members = {**self.definition.members, identity: Member(identity, profile_name, own)}
        self.definition = evolve(self.definition, members=members)
        return self.definition.profile_of(identity)

    async def _make_session(self, host: MemberHost) -> Session:
        identity = host.identity
        history = History(identity)
        async for stored in self._log.read(member=identity):
            history.apply(stored)
        return Session(
            identity,
            host.generation,
            host.profile,
            host.model,
            definition=self.definition,
            log=self._log,
            history=history,
            tools=ToolBox((*self._own_tools[identity], *self._route_tools(identity))),
            dialler=self._dialler,
            ids=self._ids_of(f"{identity}:{host.generation}"),
            budget=self._budget.child(identity),
            publish=self._publish,
            wall=self._wall,
            watchdog=self._watchdog,
            routes=lambda: self._routes_of(identity),
        )

    # Who comes and goes.

    async def close(self) -> None:
        """From now on nobody comes or goes; a change under way is given up. Returns when it has ended."""
        self._closed = True
        if self._change is not None:
            self._change.cancel()
        async with self._changing:
            pass

    @asynccontextmanager
    async def _one_change(self) -> AsyncIterator[None]:
        """One change after the other, none once the crew is closed."""
        async with self._changing:
            with trio.CancelScope() as self._change:
                if self._closed:
                    self._change.cancel()
                await trio.lowlevel.checkpoint()
                yield
            given_up = self._change.cancelled_caught
            self._change = None
        if given_up:
            raise MemberNotRunning("the mob stopped before this was done; resume the run to see how far it came")

    async def spawn(self, identity: str, profile_name: str, overrides: Mapping[str, Any]) -> MemberHost:
        """Bring a new member in, or a retired one back as its next generation, wired as its role is.

        `overrides` are plain (mob.definition.member_overrides).
        UsageError, CredentialMissing, StoreError; then nobody came.
        """
        fault = name_fault("member", identity)
        if fault is not None:
            raise UsageError(f"{identity!r} cannot be a member: {fault}")
        async with self._one_change():
            present = self.hosts.get(identity)
            if present is not None and present.state not in ("retired", "stopped"):
                raise UsageError(
                    f"{identity} is in this mob already ({present.state}); respawn it, or take another name"
                )
            before = self.definition
            newcomer = identity not in before.members
            try:
                host, _ = await self.prepare(identity, profile_name, overrides)
                wiring = wiring_of(self.definition, identity) if newcomer else ()
                await self._log.append(host.spawned, *wiring)
            except BaseException:
                self.definition = before
                raise
            for row in wiring:
                self._state.routes.apply(row)
            await self.start([host])
            return host

    async def retire(self, identity: str) -> None:
        """Let a member finish and go; it keeps its history. MemberUnknown, MemberNotRunning, StoreError."""
        async with self._one_change():
            host = self.host(identity)
            if host.state in ("retired", "stopped"):
                raise MemberNotRunning(f"{identity} is {host.state} already")
            await host.retire()
            # Written also for a generation that has crashed: a resumed run must know that nobody wants it back.
            await self._write_end(MemberEnded(identity, host.generation, "retired"))

    async def respawn(self, identity: str) -> MemberHost:
        """End the member's generation, whatever its state, and begin the next one with the same history."""
        async with self._one_change():
            old = self.host(identity)
            host, _ = await self.prepare(identity, old.profile_name, old.overrides)
            await old.retire()
            if self._state.roster.seat(identity).ended is None:
                await self._write_end(MemberEnded(identity, old.generation, "respawned"))
            host.generation = self._state.roster.generation(identity) + 1
            await self._log.append(host.spawned)
            await self.start([host])
            return host

    async def _write_end(self, row: MemberEnded) -> None:
        words = f"{row.member} {row.reason}" if row.error is None else f"{row.member} {row.reason}: {row.error}"
        move = self._machine.ended(row.member, words)
        await self._log.append(row, *_present(move))

    async def _write_start(self, row: MemberSpawned) -> None:
        await self._log.append(row)

    def _changed(self, host: MemberHost) -> None:
        if host.state == "running" and self.has_floor:
            self._nursery.start_soon(self._floor_back, host.identity)
        self.update_tools()

    async def _floor_back(self, identity: str) -> None:
        move = self._machine.running(identity)
        if move is not None:
            try:
                await self._log.append(move)
            except MobError as error:
                self._publish(ErrorOccurred(error_class=error.code, message=error.message, recovery="fatal"))

    # Their tools.

    def update_tools(self) -> None:
        """Who there is, or who reaches whom, has changed."""
        self._tools_are_stale = True
        self._stale_tools.unpark_all()

    async def keep_tools(self) -> None:
        """Bring everybody's route tools up to date after each change; runs until cancelled."""
        while True:
            while not self._tools_are_stale:
                await self._stale_tools.park()
            self._tools_are_stale = False
            async with trio.open_nursery() as nursery:
                for host in self:
                    if host.state == "running" and host.last_session is not None:
                        nursery.start_soon(self._update_tools_of, host.last_session)

    async def _update_tools_of(self, session: Session) -> None:
        wanted = {tool.name: tool for tool in self._route_tools(session.identity)}
        own = {tool.name for tool in self._own_tools[session.identity]}
        present = {tool.name: tool for tool in session.tools.standing if tool.name not in own}
        if {name: tool.schema for name, tool in wanted.items()} == {n: tool.schema for n, tool in present.items()}:
            return
        for name in present.keys() - wanted.keys():
            session.tools.remove(name)
        for tool in wanted.values():
            session.tools.add(tool)
        if session.channel is not None:
            try:
                config = session.seed().config
                await session.channel.refresh(instructions=config.instructions, tools=config.tools)
            except LiveClosed:
                pass  # it ends just now, as all do when the mob stops: the next channel begins with the new tools
            except (LiveError, ProviderError) as error:
                # A channel that is reopening takes the new tools with its next connection.
                self._publish(
                    ErrorOccurred(
                        member=session.identity, error_class=error.code, message=error.message, recovery="benign"
                    )
                )

    def _route_tools(self, identity: str) -> tuple[ToolFunction, ...]:
        there = [host.identity for host in self if host.state not in ("failed", "retired", "stopped")]
        descriptions = {host.identity: host.profile.peer_description for host in self}
        tools = route_tools(self._state.routes, identity, there, descriptions)
        return tuple(self._make_tool(identity, tool) for tool in tools)

    def _routes_of(self, identity: str) -> tuple[Route, ...]:
        reached = self._state.routes.reached_from(identity).items()
        there = {host.identity for host in self if host.state not in ("failed", "retired", "stopped")}
        return tuple(Route(identity, to, via) for to, via in reached if to in there)


def _present(move: FloorMoved | None) -> tuple[FloorMoved, ...]:
    return () if move is None else (move,)
