"""The human's line: what is said goes to whoever has the floor, and only the holder is heard.

Theory. The line holds the live channel of each realtime member (all from the start, or each when it is first needed),
and reopens one that ended when its member is there again and is needed. What comes over these channels is passed on as
(member, event), with three rules: audio of a member that has not the floor is left out; a holder that is reached by
request/response is given the same events, made of the run's own (TextDelta, Text, TurnCommitted); moves of the floor
and errors come as run events.

What the human does:

    types or speaks to a live holder    over its channel; typing while it speaks cuts in
    types to a text holder              a turn over request/response; typing while it answers cuts in
    while a hand-over is pending        the handing turn is cut off, the floor moves, and the new holder is spoken to
    while the floor moves               the old holder falls silent. Words that were begun to the old holder are sent
                                        again, from their beginning, to the new one, who hears them whole; where it
                                        cannot hear, or they were over already, it is told of them (mob.team.floor)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

import trio
from attrs import define, field, frozen

from mob.definition.model import Limits
from mob.errors import LiveClosed, MemberNotRunning, MemberUnknown, MobError, NotRealtime
from mob.history.items import Cause, Turn
from mob.live.channel import LiveChannel
from mob.live.events import (
    AudioDelta,
    LiveEvent,
    SpeechStarted,
    SpeechStopped,
    Text,
    TextDelta,
    TurnCommitted,
)
from mob.sessions.events import AgentWriting, AgentWrote, ErrorOccurred, FloorChanged, RunEvent, TurnEnded
from mob.team.bus import Subscription
from mob.team.changes import Changes
from mob.team.floor import FloorMachine
from mob.team.host import MemberHost

LineEvent = tuple[str, LiveEvent | RunEvent]

_HUMAN = Cause("text")
_BUFFER = 256
_DEFAULT_RATE = 24000
_KEPT_S, _KEPT_SPEECH_S = 1.0, 30.0
"""How much of the audio that was sent is kept, to be sent again: in silence, and while the human speaks."""
_HEARING_S = 1.0
"""For so long after the last audio that was sent, somebody may still begin to answer it."""


@frozen(slots=True)
class LineStatistics:
    """`live`: members whose channels are open. Counts: events passed on, pieces of audio left out."""

    live: tuple[str, ...]
    passed: int
    left_out: int


@define(eq=False, slots=True)
class _Wire:
    """One realtime member on the line.

    `needed` is set when its channel is wanted; `live` is there while it is open; `hears` while the human speaks to it.
    """

    host: MemberHost
    needed: trio.Event = field(factory=trio.Event)
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    live: LiveChannel | None = None
    error: MobError | None = None
    hears: bool = False


class Line:
    """One human's line. Get it with `mob.open_line()`; iterate it for (member, event) pairs."""

    def __init__(
        self,
        hosts: Mapping[str, MemberHost],
        *,
        machine: FloorMachine,
        events: Subscription,
        hand_off: Callable[[str], Awaitable[None]],
        seen: Callable[[str], tuple[str, Turn] | None],
        changes: Changes,
        check_open: Callable[[], None],
        on_line: set[str],
        limits: Limits,
    ) -> None:
        self._hosts = hosts
        self._machine = machine
        self._events = events
        self._hand_off = hand_off
        self._seen = seen
        self._changes = changes
        self._check_open = check_open
        self._on_line = on_line
        self._limits = limits
        self._wires: dict[str, _Wire] = {}
        self._send, self._receive = trio.open_memory_channel[LineEvent](_BUFFER)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._open_all = False
        self._last_audio = float("-inf")
        self._spoken_to: _Wire | None = None
        self._spoken = bytearray()
        self._passed = self._left_out = 0

    # What the human does.

    async def send_text(self, text: str) -> None:
        """Say something in writing to whoever has the floor; when they speak, this cuts in.

        MemberNotRunning: nobody has the floor. BudgetExceeded, LiveError, ProviderError, MailboxFull.
        """
        host = await self._listener()
        if host.model.realtime:
            await (await self._channel(host)).send_text(text)
        else:
            if host.talks_with_the_user:
                await host.session.interrupt()
            host.tell(text, cause=_HUMAN)

    async def send_audio(self, pcm: bytes) -> None:
        """Speak to whoever has the floor: PCM16 mono at `input_rate`. NotRealtime when it cannot hear. LiveError."""
        holder = self._machine.holder
        wire = None if holder is None else self._wires.get(holder)
        if wire is None or wire.live is None:
            wire = self._wire(await self._listener())
            await self._channel(wire.host)
        if wire is not self._spoken_to:
            await self._turn_to(wire)
        self._last_audio = trio.current_time()
        kept_s = _KEPT_SPEECH_S if wire.hears else _KEPT_S
        self._spoken += pcm
        del self._spoken[: max(len(self._spoken) - int(kept_s * 2 * self.input_rate), 0)]
        if wire.live is not None:
            await wire.live.send_audio(pcm)

    async def commit(self) -> None:
        """What was spoken is a turn: for a holder whose `turn_detection` is manual. LiveRejected."""
        await (await self._channel(await self._listener())).commit()

    async def _turn_to(self, wire: _Wire) -> None:
        """The human's audio goes to another member from now on; words that were begun go with it."""
        before, self._spoken_to = self._spoken_to, wire
        begun, self._spoken = bytes(self._spoken), bytearray()
        if before is None or before.live is None:
            return
        if before.hears and wire.live is not None:
            await wire.live.send_audio(begun)
            self._spoken += begun
        before.hears = False
        with suppress(MobError):  # nothing to clear, or the channel ends just now
            await before.live.clear()

    async def interrupt(self) -> bool:
        """Cut off what the holder says. False when it says nothing."""
        holder = self._machine.holder
        if holder is None or not self._hosts[holder].talks_with_the_user:
            return False
        return await self._hosts[holder].session.interrupt()

    def played(self, member: str, item_id: str, ms: int) -> None:
        """The receipt: this much of the item was heard. Of a channel that is gone it changes nothing."""
        wire = self._wires.get(member)
        if wire is not None and wire.live is not None:
            wire.live.played(item_id, ms)

    async def hand_off(self, member: str) -> None:
        """Talk with this member from now on. See Mob.hand_off."""
        await self._hand_off(member)

    def say_to(self, member: str, text: str) -> None:
        """Say something in writing to another member, beside the conversation; its answer is in its history."""
        self._check_open()
        host = self._hosts.get(member)
        if host is None:
            raise MemberUnknown(f"there is no member {member!r} to talk to; there is {', '.join(self._hosts)}")
        host.tell(text, cause=_HUMAN)

    # What the human hears.

    def __aiter__(self) -> AsyncIterator[LineEvent]:
        return self

    async def __anext__(self) -> LineEvent:
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopAsyncIteration from None

    @property
    def holder(self) -> str | None:
        """Who has the floor."""
        return self._machine.holder

    @property
    def input_rate(self) -> int:
        """Hz, of what the holder hears."""
        live = self._holders_channel()
        return _DEFAULT_RATE if live is None else live.input_rate

    @property
    def output_rate(self) -> int:
        """Hz, of what the holder speaks."""
        live = self._holders_channel()
        return _DEFAULT_RATE if live is None else live.output_rate

    @property
    def busy(self) -> bool:
        """Whether something that was just said may still find an answer."""
        return trio.current_time() - self._last_audio < _HEARING_S

    def statistics(self) -> LineStatistics:
        """Counts, as of now."""
        live = tuple(name for name, wire in self._wires.items() if wire.live is not None)
        return LineStatistics(live, self._passed, self._left_out)

    # Its life.

    async def run(self, open_all: bool, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: FBT001 - nursery.start
        """Hold the channels until closed. Started when those that were to be open are, or could not be."""
        self._open_all = open_all
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._follow_run)
                    for host in tuple(self._hosts.values()):
                        if host.model.realtime and host.state == "running":
                            self._wire(host)
                    if open_all:
                        await self._opened()
                    task_status.started()
        finally:
            self._nursery = None
            self._on_line.clear()
            self._send.close()
            self._ended.set()

    async def aclose(self) -> None:
        """Close the channels. Bounded by what closing each may take."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            if self._nursery is not None:
                await self._ended.wait()
        self._receive.close()

    async def _opened(self) -> None:
        with trio.move_on_after(self._limits.connect_timeout_s):
            await self._changes.until(lambda: all(wire.live or wire.error for wire in self._wires.values()))

    def _wire(self, host: MemberHost) -> _Wire:
        wire = self._wires.get(host.identity)
        if wire is not None and wire.host is host:
            return wire
        if wire is not None:
            wire.scope.cancel()
        wire = self._wires[host.identity] = _Wire(host)
        self._on_line.add(host.identity)
        if self._open_all:
            wire.needed.set()
        if self._nursery is None:
            raise LiveClosed("the line is closed; open a new one", reason="closed")
        self._nursery.start_soon(self._hold, wire)
        return wire

    async def _hold(self, wire: _Wire) -> None:
        """Keep this member's channel: open when needed, passed on while open, reopened when needed again."""
        member = wire.host.identity
        with wire.scope:
            while True:
                await wire.needed.wait()
                wire.needed = trio.Event()
                try:
                    async with wire.host.session.open_live() as live:
                        wire.live, wire.error = live, None
                        self._changes.happened()
                        async for event in live:
                            if isinstance(event, SpeechStarted | SpeechStopped):
                                wire.hears = isinstance(event, SpeechStarted)
                            await self._pass_on(member, event)
                except MobError as error:
                    wire.error = error
                    self._changes.happened()
                    told = ErrorOccurred(
                        member=member, error_class=error.code, message=error.message, recovery="reopen"
                    )
                    await self._send.send((member, told))
                finally:
                    wire.live, wire.hears = None, False

    async def _pass_on(self, member: str, event: LiveEvent) -> None:
        if isinstance(event, AudioDelta) and member != self._machine.holder:
            self._left_out += 1
            return
        self._passed += 1
        await self._send.send((member, event))

    async def _follow_run(self) -> None:
        async with self._events as events:
            async for event in events:
                match event:
                    case FloorChanged(origin=origin, to=to):
                        await self._floor_moved(origin, to)
                        await self._send.send((to or "", event))
                    case ErrorOccurred(member=member):
                        await self._send.send((member or "", event))
                    case (
                        AgentWriting(member=str(member))
                        | AgentWrote(member=str(member))
                        | TurnEnded(member=str(member))
                    ):
                        for told in self._as_live(member, event):
                            await self._pass_on(member, told)

    def _as_live(self, member: str, event: RunEvent) -> list[LiveEvent]:
        """What a live holder would have told: of a holder by request/response, in what it says to the human."""
        host = self._hosts[member]
        if host.model.realtime or member != self._machine.holder:
            return []
        channel, epoch, t = f"text_{member}", host.generation, event.t
        match event:
            case AgentWriting(delta=delta) if host.talks_with_the_user:
                return [TextDelta(channel_id=channel, epoch=epoch, t=t, item_id="", response_id="", delta=delta)]
            case AgentWrote(text=text) if host.talks_with_the_user:
                return [Text(channel_id=channel, epoch=epoch, t=t, item_id="", response_id="", text=text)]
            case TurnEnded(turn=turn_id):
                seen = self._seen(turn_id)
                return [] if seen is None else [TurnCommitted(channel_id=channel, epoch=epoch, t=t, turn=seen[1])]
        return []

    async def _floor_moved(self, origin: str | None, to: str | None) -> None:
        new = self._hosts.get(to) if to is not None else None
        if new is not None and new.model.realtime and new.state == "running":
            self._wire(new).needed.set()
        old = self._wires.get(origin) if origin is not None else None
        if old is not None and old.live is not None:
            with suppress(MobError):  # nothing to cut, or the channel ends just now
                if old.host.talks_with_the_user:
                    await old.live.interrupt()

    async def _listener(self) -> MemberHost:
        """The member that hears what is said now; a pending hand-over is carried out first."""
        self._check_open()
        holder = self._machine.holder
        if self._machine.pending is not None and holder is not None:
            await self._hosts[holder].hush(self._changes)
            with trio.move_on_after(self._limits.hand_off_timeout_s):
                await self._changes.until(lambda: self._machine.pending is None)
            holder = self._machine.holder
        if holder is None:
            raise MemberNotRunning("nobody has the floor; hand it to a member that runs: /hand_off NAME")
        return self._hosts[holder]

    async def _channel(self, host: MemberHost) -> LiveChannel:
        """The open channel to this member; opened now if it is not. What kept it from opening is raised."""
        if not host.model.realtime:
            raise NotRealtime(
                f"{host.identity} speaks with {host.model.id}, which hears no sound; write to it, or hand the floor "
                "to a member with a realtime model"
            )
        wire = self._wire(host)
        if wire.live is None:
            wire.error = None
            wire.needed.set()
            with trio.move_on_after(self._limits.connect_timeout_s):
                await self._changes.until(lambda: wire.live is not None or wire.error is not None)
        if wire.live is not None:
            return wire.live
        raise wire.error or LiveClosed(
            f"the live channel to {host.identity} did not open within {self._limits.connect_timeout_s:g} s",
            reason="not_open",
        )

    def _holders_channel(self) -> LiveChannel | None:
        wire = self._wires.get(self._machine.holder or "")
        return None if wire is None else wire.live
