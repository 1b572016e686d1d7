"""The book of live channels: all that doors have open or are opening, and those that have ended lately.

A session has one channel at a time (law 8): its place here is taken before anything is waited for, and given back when
opening fails. Two kinds are in the book:

    open     held by the server, in a task of the realm, for clients that come and go (`mob.server.channels.held`)
    lease    a block of code of one door talks over it, and nobody else does; it is counted and found like the others
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio
from attrs import evolve

from mob.errors import AlreadyOpen, ChannelUnknown, DoorFull, LiveClosed, MobError
from mob.live.channel import LiveChannel
from mob.live.ports import ChannelOptions
from mob.live.watchdog import Watchdog
from mob.server.channels.attached import SocketCounts
from mob.server.channels.held import HeldChannel, Session
from mob.server.channels.tokens import TokenBook
from mob.server.limits import DoorLimits
from mob.team.handles import MemberHandle

_log = logging.getLogger(__name__)


class ChannelBook:
    """All channels that doors hold, and those that have ended lately."""

    def __init__(self, limits: DoorLimits, tokens: TokenBook, nursery: trio.Nursery) -> None:
        self._limits = limits
        self._tokens = tokens
        self._nursery = nursery
        self.sockets = SocketCounts()
        """The live sockets of all channels, on whichever port."""
        self.watchdog = Watchdog()
        """Looks after the sockets of attached clients."""
        nursery.start_soon(self.watchdog.run)
        self._channels: dict[str, HeldChannel] = {}
        self._sessions: dict[str, HeldChannel] = {}
        self._ended: deque[HeldChannel] = deque()
        """Those that were open and have ended, the oldest first."""

    def __iter__(self) -> Iterator[HeldChannel]:
        """Those that are open, or being opened."""
        return iter(tuple(self._sessions.values()))

    async def open(
        self, ref: Session, options: ChannelOptions | None = None, *, ends_by_silence_ms: int | None = None
    ) -> HeldChannel:
        """Open the session's live channel and hold it. When it fails, is cancelled or closed, nothing is left.

        Until a client attaches that promises receipts, what was heard is estimated by the clock. `ends_by_silence_ms`:
        see HeldChannel.
        SessionIdle, AlreadyOpen, DoorFull, LiveClosed (it was closed meanwhile), and what `MemberHandle.open_live`
        raises.
        """
        await self._wait_left(ref)
        member = ref.member
        held = HeldChannel(ref, self._limits, self._tokens, ends_by_silence_ms=ends_by_silence_ms)
        self._take_place(held)
        try:
            plain = evolve(options or ChannelOptions(), audio_receipts=False)
            await self._nursery.start(self._hold, held, member, plain)
        except BaseException:
            self._over(held)
            raise
        return held

    @asynccontextmanager
    async def lease(self, ref: Session, options: ChannelOptions) -> AsyncIterator[LiveChannel]:
        """Open the session's live channel for this block, which alone talks over it and reads its events.

        Errors as for `open`. Whoever closes it ends its events.
        """
        await self._wait_left(ref)
        member = ref.member
        held = HeldChannel(ref, self._limits, self._tokens, leased=True)
        self._take_place(held)
        async with self._opened(held, member, options) as live:
            try:
                yield live
            finally:
                held.leave("client_closed")

    def get(self, channel_id: str) -> HeldChannel:
        """The channel of this id, for `keep_closed_s` also after its end. ChannelUnknown."""
        self._forget_old()
        held = self._channels.get(channel_id)
        if held is None:
            raise ChannelUnknown(
                f"there is no live channel {channel_id[:128]!r}: it was never opened here, or ended more than "
                f"{self._limits.keep_closed_s:g} s ago"
            )
        return held

    def of_session(self, session_id: str) -> HeldChannel | None:
        """The open channel of this session."""
        held = self._sessions.get(session_id)
        return held if held is not None and held.channel_id else None

    async def close_all(self, reason: str) -> None:
        """Close every channel, all at once, each within its own bounds."""
        async with trio.open_nursery() as nursery:
            for held in self:
                nursery.start_soon(held.close, reason)

    async def _hold(
        self,
        held: HeldChannel,
        member: MemberHandle,
        options: ChannelOptions,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """One channel's task: it belongs to nobody but the realm, and what goes wrong in it ends this channel only."""
        try:
            async with self._opened(held, member, options) as live:
                task_status.started()
                await held.run(live)
        except Exception as error:
            if not held.channel_id:
                raise
            if not isinstance(error, MobError):
                _log.exception("the live channel %s failed", held.channel_id)

    @asynccontextmanager
    async def _opened(
        self, held: HeldChannel, member: MemberHandle, options: ChannelOptions
    ) -> AsyncIterator[LiveChannel]:
        """The channel, open for this block; its place is given back at the end of it, however that comes."""
        try:
            with held.opening:
                async with member.open_live(options) as live:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    self._enter(held, live)
                    yield live
            if not held.channel_id:
                held.end("closed")
                why = held.reason or "closed"
                raise LiveClosed(f"the channel was closed while it was being opened ({why})", reason=why)
        except Exception as error:
            held.reason = held.reason or (error.code if isinstance(error, MobError) else "internal_error")
            raise
        finally:
            self._over(held)

    async def _wait_left(self, ref: Session) -> None:
        """A channel of this session that is closing just now is let go first: within bounds it will have ended."""
        before = self._sessions.get(ref.session_id)
        if before is not None and before.status == "closing":
            await before.wait_closed()

    def _take_place(self, held: HeldChannel) -> None:
        """AlreadyOpen, DoorFull."""
        if held.session_id in self._sessions:
            raise AlreadyOpen(f"{held.ref.identity} has an open live channel; close that one first")
        if len(self._sessions) >= self._limits.max_channels:
            raise DoorFull(f"this server holds {self._limits.max_channels} live channels, which is all it takes")
        self._sessions[held.session_id] = held

    def _enter(self, held: HeldChannel, live: LiveChannel) -> None:
        """Give it its id: the channel's own, unless two seeded runs have drawn the same."""
        number, channel_id = 1, live.channel_id
        while channel_id in self._channels:
            number, channel_id = number + 1, f"{live.channel_id}.{number}"
        held.begin(channel_id, live)
        self._channels[channel_id] = held

    def _over(self, held: HeldChannel) -> None:
        """Give its place back; one that was open is known for a while yet. Again does nothing."""
        held.end("cancelled")
        if self._sessions.get(held.session_id) is held:
            del self._sessions[held.session_id]
            if held.channel_id:
                self._ended.append(held)

    def _forget_old(self) -> None:
        horizon = trio.current_time() - self._limits.keep_closed_s
        while self._ended and (self._ended[0].ended_at <= horizon or len(self._ended) > self._limits.max_channels):
            self._channels.pop(self._ended.popleft().channel_id, None)
