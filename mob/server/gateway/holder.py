"""Whom a client talks with: the member it called, and then whoever that one hands it over to.

Theory. The floor is the mob's: it moves when its holder hands it off, and then the client of that holder goes along.
The next speaker is made ready when the hand-over is announced, so that nobody waits at it; it becomes the current one
when the floor moves, before it is told to speak. The one before falls silent, and keeps its channel: the floor may come
back. Where the client cannot follow (somebody else talks with that member, or its channel cannot be opened), it is told
so, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from mob.errors import MobError
from mob.server.gateway.client import Client
from mob.server.gateway.client_tools import ClientTools
from mob.server.gateway.speaker import Speaker, SpeakerGone
from mob.sessions.events import FloorChanged, MessageSent, RunEvent
from mob.team.bus import Subscription
from mob.team.running import Mob

_WAIT_S = 15.0
"""How long the next speaker may take to be ready."""


class Holder:
    """Holds the current speaker. `make` makes one for another member; `gone` is told what ended the current one."""

    def __init__(
        self,
        mob: Mob,
        first: Speaker,
        make: Callable[[str], Speaker],
        client: Client,
        tools: ClientTools,
        gone: Callable[[MobError], None],
    ) -> None:
        self.current = first
        self._mob = mob
        self._make = make
        self._client = client
        self._tools = tools
        self._gone = gone
        self._speakers: dict[str, Speaker] = {}
        self._coming: dict[str, trio.Event] = {}
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the floor; started when the first speaker is ready. Raises what keeps it from being so."""
        failure: MobError | None = None
        async with self._mob.events(after=self._mob.statistics().events.published) as events:
            async with trio.open_nursery() as self._nursery:
                try:
                    await self._nursery.start(self._host, self.current)
                except MobError as error:  # kept aside, so that it does not come out of the nursery as a group
                    failure = error
                else:
                    task_status.started()
                    await self._follow_all(events)
                    self._gone(SpeakerGone("the mob has stopped", word="member_gone"))
        if failure is not None:
            raise failure

    async def _follow_all(self, events: Subscription) -> None:
        async for event in events:
            try:
                await self._follow(event)
            except MobError as error:  # the member that it went to is gone already
                self._client.server.error(error.code, error.message)
            self._client.flush()

    async def _host(self, speaker: Speaker, *, task_status: trio.TaskStatus[None]) -> None:
        """One speaker's life. Its end matters while it is the current one."""
        status = Begun(task_status)
        try:
            await speaker.run(task_status=status)
        except MobError as error:
            if not status.begun:
                raise
            self._speakers.pop(speaker.ability.identity, None)
            if speaker is self.current:
                self._gone(error)

    # -- the floor -------------------------------------------------------------------------------------------------

    async def _follow(self, event: RunEvent) -> None:
        here = self.current.ability.identity
        match event:
            case MessageSent(origin=origin, to=to, via="hand_off") if origin == here:
                self._prepare(to)
            case FloorChanged(origin=origin, to=str(to)) if origin == here and to != here:
                await self._move(to)
            case _ if event.member == here:
                self.current.overhear(event)

    def _prepare(self, identity: str) -> trio.Event:
        """Make a speaker ready. The event is set when it is, or cannot be."""
        if identity not in self._coming:
            self._coming[identity] = trio.Event()
            self._nursery.start_soon(self._bring, identity, self._coming[identity])
        return self._coming[identity]

    async def _bring(self, identity: str, come: trio.Event) -> None:
        try:
            speaker = self._speakers.get(identity) or self._make(identity)
            if identity not in self._speakers:
                await self._nursery.start(self._host, speaker)
                self._speakers[identity] = speaker
        except MobError as error:
            message = f"You are handed over to {identity} and cannot follow: {error.message}"
            self._client.server.error("not_followed", message)
            self._client.flush()
        finally:
            del self._coming[identity]
            come.set()

    async def _move(self, to: str) -> None:
        """The floor is with another member now."""
        with trio.move_on_after(_WAIT_S):
            await self._prepare(to).wait()
        speaker = self._speakers.get(to)
        if speaker is None:
            return
        self._speakers[self.current.ability.identity] = before = self.current
        self.current = speaker
        begun = await before.fall_silent()
        await self._tools.move_to(speaker.member, speaker.called)
        await speaker.take_over(begun)


class Begun:
    """A task status that remembers whether the task has begun."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.begun = False

    def started(self, value: None = None) -> None:
        """It has."""
        self.begun = True
        self._task_status.started()
