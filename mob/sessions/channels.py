"""The one live channel of a session: who opened it, who uses it, and that there is never a second one.

Theory. The states, and what moves them:

    none ──client opens──> client's ──client leaves──> none
    none ──a member asks──> own ──client opens──> client's (the same channel, taken over)
    own ──client opens with other options──> (what is asked over it ends, it is closed) ──> client's, opened anew
    own, client's ──the channel ends by itself──> none

Opening happens under one lock, so that at every instant there is at most one channel (law 8). The channel runs in the
session's nursery and so belongs to the member: it is gone when the member is, whoever opened it. While nobody listens
to the session's own channel, its events are read and thrown away; what matters of them is in the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio
from attrs import evolve

from mob.definition.model import Limits
from mob.errors import AlreadyOpen, MemberNotRunning, MobError, NotRealtime, ProviderUnreachable
from mob.ids import Ids
from mob.live.channel import LiveChannel
from mob.live.network import Dialler
from mob.live.ports import ChannelLimits, ChannelOptions, SessionPort
from mob.live.watchdog import Watchdog
from mob.sessions.binding import Binding, Bindings


def channel_limits(limits: Limits) -> ChannelLimits:
    """A channel's bounds, from the team file's."""
    return ChannelLimits(
        connect_timeout_s=limits.connect_timeout_s,
        response_timeout_s=limits.response_timeout_s,
        turn_timeout_s=limits.turn_timeout_s,
        tool_timeout_s=limits.tool_timeout_s,
        close_timeout_s=min(limits.shutdown_timeout_s / 2, ChannelLimits().close_timeout_s),
    )


class _Hosted:
    """A channel in the session's nursery. `opened` is set when it is ready, or will not become so.

    `unasked` is set while nothing is asked over it.
    """

    def __init__(self, channel: LiveChannel, options: ChannelOptions) -> None:
        self.channel = channel
        self.options = options
        self.asks = 0
        self.unasked = trio.Event()
        self.unasked.set()
        self.client = False
        self.ready = False
        self.error: MobError | None = None
        self.opened = trio.Event()
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        self.draining = trio.CancelScope()
        self.drained: trio.Event | None = None

    def started(self, value: None = None) -> None:
        """The channel is ready: what it says by way of its task status."""
        self.ready = True
        self.opened.set()

    def begin_ask(self) -> None:
        """Something is asked over it."""
        self.asks += 1
        if self.asks == 1:
            self.unasked = trio.Event()

    def end_ask(self) -> None:
        """What was asked has ended."""
        self.asks -= 1
        if self.asks == 0:
            self.unasked.set()


class ChannelHost:
    """Opens, shares and closes a session's channel. `port` is the session itself."""

    def __init__(
        self,
        identity: str,
        port: SessionPort,
        *,
        bindings: Bindings,
        dialler: Dialler,
        ids: Ids,
        limits: Limits,
        nursery: trio.Nursery,
        wall: Callable[[], float],
        watchdog: Watchdog,
    ) -> None:
        self._identity = identity
        self._port = port
        self._bindings = bindings
        self._dialler = dialler
        self._ids = ids
        self._limits = limits
        self._nursery = nursery
        self._wall = wall
        self._watchdog = watchdog
        self._lock = trio.Lock()
        self._hosted: _Hosted | None = None
        self._over = False
        self.binding = bindings.first
        """The model of the channel that is open or being opened: what the channel is seeded for."""

    @property
    def channel(self) -> LiveChannel | None:
        """The channel that is open now."""
        return None if self._hosted is None else self._hosted.channel

    @property
    def has_client(self) -> bool:
        """Whether somebody holds the channel, rather than the session itself."""
        return self._hosted is not None and self._hosted.client

    @asynccontextmanager
    async def client(self, options: ChannelOptions | None) -> AsyncIterator[LiveChannel]:
        """The channel, for a client, until the block is left. AlreadyOpen, NotRealtime, ProviderError."""
        async with self._lock:
            if self.has_client:
                raise AlreadyOpen(f"{self._identity} has an open live channel; close that one first")
            wanted = self._bounded(options or ChannelOptions())
            hosted = await self._current(wanted) or await self._open(wanted)
            hosted.client = True
        try:
            await self._stop_draining(hosted)
            yield hosted.channel
        finally:
            await self._close(hosted)

    @asynccontextmanager
    async def for_prompts(self) -> AsyncIterator[LiveChannel]:
        """The channel to ask the member over; the session opens one for itself when there is none.

        No client has it closed in order to open its own while the block lasts.
        """
        async with self._lock:
            hosted = await self._current()
            if hosted is None:
                hosted = await self._open(self._bounded(ChannelOptions()))
                hosted.drained = trio.Event()
                self._nursery.start_soon(self._drain, hosted, hosted.drained)
            hosted.begin_ask()
        try:
            yield hosted.channel
        finally:
            hosted.end_ask()

    async def ended(self, channel: LiveChannel) -> None:
        """Wait until this channel, which is closing, is gone."""
        hosted = self._hosted
        if hosted is not None and hosted.channel is channel:
            await hosted.ended.wait()

    async def close(self) -> None:
        """Close the channel that is open, whosever it is, within bounds."""
        if self._hosted is not None:
            await self._close(self._hosted)

    def shut(self) -> None:
        """The session is over: whoever is about to open a channel is refused."""
        self._over = True

    async def _current(self, wanted: ChannelOptions | None = None) -> _Hosted | None:
        """The channel that is open, if it will do.

        One of the session's own that speaks with a model which is not the wanted one any more, or that was opened
        otherwise than its client now wants, is closed when what is asked over it has ended.
        """
        hosted = self._hosted
        if hosted is None or hosted.client:
            return hosted
        if self.binding.model.id in self._wanted() and wanted in (None, hosted.options):
            return hosted
        await hosted.unasked.wait()
        await self._close(hosted)
        return None

    def _wanted(self) -> set[str]:
        return {binding.model.id for binding in self._bindings.usable() if binding.model.realtime}

    async def _open(self, options: ChannelOptions) -> _Hosted:
        realtime = [binding for binding in self._bindings.usable() if binding.model.realtime]
        if not realtime:
            raise NotRealtime(
                f"{self._identity} speaks with {self._bindings.first.model.id}, which is not reached over a live "
                "channel; ask it in text, or give its profile a realtime model (see `mob models`)"
            )
        *spare, last = realtime
        for binding in spare:
            with suppress(ProviderUnreachable):
                return await self._open_with(binding, options)
            self._bindings.mark_down(binding)
        return await self._open_with(last, options)

    async def _open_with(self, binding: Binding, options: ChannelOptions) -> _Hosted:
        self.binding = binding
        endpoint = await self._dialler.endpoint(self._identity, binding.profile, binding.model)
        channel = LiveChannel(
            self._port,
            endpoint=endpoint,
            network=self._dialler.network,
            model=binding.model,
            ids=self._ids,
            options=options,
            wall=self._wall,
            watchdog=self._watchdog,
        )
        hosted = _Hosted(channel, options)
        if self._over:
            raise self._not_running()
        self._hosted = hosted
        self._nursery.start_soon(self._host, hosted)
        try:
            await hosted.opened.wait()
        except trio.Cancelled:
            await self._end(hosted)
            raise
        if not hosted.ready:
            raise hosted.error or self._not_running()
        return hosted

    def _bounded(self, options: ChannelOptions) -> ChannelOptions:
        return options if options.limits is not None else evolve(options, limits=channel_limits(self._limits))

    async def _host(self, hosted: _Hosted) -> None:
        try:
            with hosted.scope:
                await hosted.channel.run(hosted)
        except MobError as error:
            hosted.error = error
        finally:
            self._forget(hosted)
            hosted.opened.set()
            hosted.ended.set()

    def _not_running(self) -> MemberNotRunning:
        return MemberNotRunning(f"{self._identity} stopped before its live channel was open")

    def _forget(self, hosted: _Hosted) -> None:
        if self._hosted is hosted:
            self._hosted = None

    async def _drain(self, hosted: _Hosted, drained: trio.Event) -> None:
        with hosted.draining:
            async for _ in hosted.channel:
                pass
        drained.set()

    async def _stop_draining(self, hosted: _Hosted) -> None:
        """A channel has one reader: the session's own is gone before a client begins."""
        hosted.draining.cancel()
        if hosted.drained is not None:
            await hosted.drained.wait()

    async def _close(self, hosted: _Hosted) -> None:
        """Close within bounds, whoever cancels: the socket must not outlive the block that opened it."""
        bound = trio.current_time() + channel_limits(self._limits).close_timeout_s
        with trio.CancelScope(shield=True, deadline=bound):
            await hosted.channel.close()
            await hosted.ended.wait()
        await self._end(hosted)

    async def _end(self, hosted: _Hosted) -> None:
        """It is not to go on; returns when nothing of it is left. The channel itself bounds how long that takes."""
        hosted.scope.cancel()
        with trio.CancelScope(shield=True):
            await hosted.ended.wait()
