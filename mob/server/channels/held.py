"""The live channels that doors hold: opened for a session, kept until somebody closes them, read by whoever follows.

Theory. A client of `open_live` holds its channel as a block of code; a program at a door holds nothing but an id. So
the server holds the channel for it, in one task of the realm, which reads the channel without pause into a bounded ring
(`mob.server.channels.ring`) and wakes those who follow. The states, in Meerkat's words:

    opening ──ready──> ready <──reconnects──> degraded
    ready, degraded ──close, end of the channel, end of the member, client lost for good──> closing ──> closed

`closed` with its reason can be read for `keep_closed_s`. Which channels there are, `mob.server.channels.book` knows. At
most one client is *attached* (`mob.server.channels.attached`): a socket that gets the sound and may report what was
played. Many may follow.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, Protocol

import trio
from attrs import frozen

from mob.definition.model import ModelCapabilities
from mob.errors import LiveClosed, LiveRejected
from mob.history.items import AgentMessage, ToolResult, Turn, UserMessage
from mob.live.channel import LiveChannel
from mob.live.events import AudioDelta, Disconnected, Interrupted, LiveEvent, TurnCommitted
from mob.protocol.observations import ContentCommitted
from mob.server.channels.attached import Place
from mob.server.channels.inputs import PictureBook, check_format, check_text
from mob.server.channels.ring import Cursor, EventRing, Gap, Numbered, RingLimits, RingStatistics
from mob.server.channels.tokens import Purpose, TokenBook
from mob.server.hosted import HostedMob
from mob.server.limits import DoorLimits
from mob.server.rooms import Room
from mob.team.handles import MemberHandle
from mob.values import Continuity, Image, Modality

_log = logging.getLogger(__name__)

ChannelStatus = Literal["idle", "opening", "ready", "degraded", "closing", "closed"]

_EVENT_BYTES = 128
"""About what an event takes beside its text."""
_TRACKS = 64
"""Of how many items of speech the length is remembered."""
_PICTURES: Room[PictureBook] = Room("pictures")


class Session(Protocol):
    """Which session a channel is opened for: `mob.server.realm.realm.SessionRef` is one."""

    @property
    def session_id(self) -> str:
        """Its id."""
        ...

    @property
    def hosted(self) -> HostedMob:
        """The mob it belongs to."""
        ...

    @property
    def identity(self) -> str:
        """The member whose it is."""
        ...

    @property
    def member(self) -> MemberHandle:
        """The member's handle of now. SessionIdle, MemberNotRunning."""
        ...


@frozen(slots=True)
class HeldStatistics:
    """`followers`: who follows now, the attached client included."""

    status: ChannelStatus
    followers: int
    attached: bool
    ring: RingStatistics


class HeldChannel:
    """One live channel that the server holds, or knows of. Made by the book (`mob.server.channels.book`)."""

    def __init__(
        self,
        ref: Session,
        limits: DoorLimits,
        tokens: TokenBook,
        *,
        ends_by_silence_ms: int | None = None,
        leased: bool = False,
    ) -> None:
        self.ref = ref
        self.leased = leased
        """Somebody else talks over it (`ChannelBook.lease`): it can be looked at, interrupted and closed from here."""
        self.channel_id = ""
        self.ends_by_silence_ms = ends_by_silence_ms
        """With so much silence `commit` ends a turn that ends by voice; None: as the channel itself has it."""
        self.reason: str | None = None
        """Why it has ended; None until then."""
        self.ring: EventRing[LiveEvent] = EventRing(
            RingLimits(limits.max_kept_events, limits.max_kept_event_bytes, max_audio_bytes=limits.max_kept_audio_bytes)
        )
        self.turn_from = 0
        """The number of the event after which the turn in progress began."""
        self.ended_at = float("inf")
        self.place = Place(limits.resume_s)
        """Who is attached, and how long a lost one is waited for."""
        self.opening = trio.CancelScope()
        """Whoever opens it does so in this scope: closed before it is open, it opens no further."""
        self._limits = limits
        self._tokens = tokens
        self._live: LiveChannel | None = None
        self._closing: str | None = None
        self._ended = trio.Event()
        self._followers: dict[int, Callable[[], None]] = {}
        self._following = 0
        self._tracks: dict[str, int] = {}
        self._shown: dict[str, str] = {}
        self._pictures = ref.hosted.rooms.enter(_PICTURES, lambda: PictureBook(limits), of=ref.identity)

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def live(self) -> LiveChannel:
        """The channel itself: what doors say on it, they say here. LiveClosed before it is open."""
        if self._live is None:
            raise LiveClosed("the channel is not open yet", reason="opening")
        return self._live

    @property
    def session_id(self) -> str:
        """The session that it delivers."""
        return self.ref.session_id

    @property
    def status(self) -> ChannelStatus:
        """What it is doing. `degraded`: a new connection to the provider is being made; what is sent is kept for it."""
        if self._ended.is_set():
            return "closed"
        if self._closing is not None:
            return "closing"
        if self._live is None:
            return "opening"
        return "ready" if self._live.connected else "degraded"

    @property
    def continuity(self) -> Continuity:
        """What the provider was told of the past when the connection was last opened."""
        return self.live.continuity

    @property
    def capabilities(self) -> ModelCapabilities:
        """What the catalogue says of the model."""
        return self.live.capabilities

    def statistics(self) -> HeldStatistics:
        """As of now."""
        attached = self.place.client is not None
        return HeldStatistics(self.status, len(self._followers), attached, self.ring.statistics())

    # -- what doors do with it -------------------------------------------------------------------------------------

    def mint_token(self, purpose: Purpose = "live") -> str:
        """A token that attaches one client to this channel, once, within `token_s`.

        LiveRejected, LiveClosed, DoorFull.
        """
        self.check_talks()
        return self._tokens.mint(self.channel_id, purpose, now=trio.current_time(), ttl_s=self._limits.token_s)

    async def send_audio(self, pcm: bytes, rate: int, channels: int = 1) -> None:
        """Speech with the format that its sender says it has. InputRefused, LiveRejected, LiveClosed."""
        self.check_talks()
        check_format(rate, channels, expected=self.live.input_rate)
        await self.live.send_audio(pcm)

    async def send_text(self, text: str, output: Modality | None = None, *, item_id: str | None = None) -> None:
        """A typed user turn, as LiveChannel.send_text; refused when too much waits.

        InputRefused, LiveRejected, LiveClosed.
        """
        self.check_talks()
        check_text(text, self.live.statistics().machine.turns_waiting, self._limits)
        await self.live.send_text(text, output, item_id=item_id)

    async def send_image(self, key: str, image: Image, *, item_id: str | None = None) -> None:
        """A picture for the user's next turn, once for each key. InputRefused, LiveRejected, LiveClosed.

        When the turn that it belongs to is in the log, those who follow get ContentCommitted.
        """
        self.check_talks()
        if not self._pictures.check(key, image):
            return
        digest = hashlib.blake2s(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        name = item_id or f"image_{digest}"
        await self.live.send_image(image, item_id=name)
        self._pictures.note(key, image)
        self._shown[name] = key

    async def commit(self, output: Modality | None = None) -> None:
        """The user's turn is over; it is answered with `output`. LiveRejected, LiveClosed.

        Where turns end by voice it is ended by silence, if the channel was opened so; that cannot say an `output`.
        """
        self.check_talks()
        if self.ends_by_silence_ms is None or output is not None:
            await self.live.commit(output)
        else:
            await self.live.send_audio(bytes(2 * self.live.input_rate * self.ends_by_silence_ms // 1000))

    async def refresh(self, **changes: Any) -> None:
        """Change these on the open channel, as LiveChannel.refresh; who ends turns from now on, `commit` obeys.

        Without any: put the session's settings as they are now (instructions, tools, voice) in force.
        ReopenRequired when the voice has changed and was heard already. LiveRejected, LiveClosed.
        """
        self.check_talks()
        if changes:
            await self.live.refresh(**changes)
            if changes.get("turn_detection") is not None:
                self.ends_by_silence_ms = None
            return
        config = self.ref.member.session.seed().config
        await self.live.refresh(instructions=config.instructions, tools=config.tools, voice=config.voice)

    def playback_complete(self, item_id: str) -> bool:
        """All that was sent of this item was played. False: it is not known, or its turn is long over."""
        length = self._tracks.get(item_id)
        if length is None:
            return False
        self.live.played(item_id, length)
        return True

    def follow(self, after: int | None = None) -> Follower:
        """Its events after this number, in order; by default from now on. Leave it with `close`."""
        return Follower(self, self.ring.last if after is None else after)

    async def close(self, reason: str = "client_closed") -> None:
        """End it and wait until it has ended; again does nothing. What was heard of an answer is committed."""
        why = self.leave(reason)
        if self._live is None:
            self.opening.cancel()
        else:
            await self._live.close(why)
        await self._ended.wait()

    def leave(self, reason: str) -> str:
        """Somebody is ending it, for this reason. The first counts, and is given back."""
        if self._closing is None:
            self._closing = reason
        return self._closing

    async def wait_closed(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()

    def check_talks(self) -> None:
        """Whether something may be said on it from here. LiveClosed, LiveRejected (not_yours)."""
        if self.leased:
            raise LiveRejected(
                "another client talks over this channel; it alone says something there", reason="not_yours"
            )
        if self._ended.is_set() or self._closing is not None:
            reason = self.reason or self._closing or "closed"
            raise LiveClosed(f"the channel has ended ({reason}); open a new one", reason=reason)

    # -- those who follow ------------------------------------------------------------------------------------------

    def listen(self, heard: Callable[[], None]) -> int:
        """Call this, which must not wait and not raise, whenever something is new. Gives the name to `unlisten`."""
        self._following += 1
        self._followers[self._following] = heard
        return self._following

    def unlisten(self, name: int) -> None:
        """Do not call it any more."""
        self._followers.pop(name, None)

    def _wake(self) -> None:
        for heard in tuple(self._followers.values()):
            heard()

    # -- its life, for the book ------------------------------------------------------------------------------------

    def begin(self, channel_id: str, live: LiveChannel) -> None:
        """It is open, under this id."""
        self.channel_id, self._live = channel_id, live

    async def run(self, live: LiveChannel) -> None:
        """Read the channel to its end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.place.watch, self.close)
            async for event in live:
                self._take(event)
                self._wake()
            nursery.cancel_scope.cancel()

    def _take(self, event: LiveEvent) -> None:
        if isinstance(event, AudioDelta):
            self.ring.append_audio(event, len(event.pcm), event.item_id)
            self._measure(event)
            return
        if isinstance(event, Interrupted) and event.item_id is not None:
            item_id = event.item_id
            self.ring.discard(lambda piece: isinstance(piece, AudioDelta) and piece.item_id == item_id)
        self.ring.append(event, size_of(event))
        if isinstance(event, TurnCommitted):
            self._committed(event)
            self.turn_from = self.ring.last
        elif isinstance(event, Disconnected) and event.final:
            self.reason = event.reason

    def _committed(self, event: TurnCommitted) -> None:
        """The pictures of this turn are in the log: who showed them may forget them."""
        for item in event.turn.items:
            key = self._shown.pop(item.id, None)
            if key is not None and isinstance(item, UserMessage) and item.images:
                committed = ContentCommitted(
                    channel_id=event.channel_id,
                    epoch=event.epoch,
                    t=event.t,
                    idempotency_key=key,
                    item_id=item.id,
                    media_type=item.images[0].mime,
                )
                self.ring.append(committed, _EVENT_BYTES)

    def _measure(self, event: AudioDelta) -> None:
        end = event.start_ms - len(event.pcm) * -500 // self.live.output_rate
        if event.item_id not in self._tracks and len(self._tracks) >= _TRACKS:
            del self._tracks[next(iter(self._tracks))]
        self._tracks[event.item_id] = end

    def end(self, reason: str) -> None:
        """It is over; again does nothing."""
        if self._ended.is_set():
            return
        self.reason = self.reason or self._closing or reason
        self.ended_at = trio.current_time()
        self._tokens.revoke(self.channel_id, "live", now=self.ended_at)
        self._ended.set()
        self._wake()


class Follower:
    """Somebody who reads a channel's events at their own pace: `async for` gives Numbered and Gap, then it stops.

    SlowReader ends it when it falls too far behind; the channel goes on.
    """

    def __init__(self, held: HeldChannel, after: int) -> None:
        self._held = held
        self._cursor = Cursor(held.ring, after)
        self._news = trio.Event()
        self._name = held.listen(self._wake)

    def __aiter__(self) -> AsyncIterator[Numbered[LiveEvent] | Gap]:
        return self

    async def __anext__(self) -> Numbered[LiveEvent] | Gap:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            found = self._cursor.next()
            if found is not None:
                return found
            if self._held.status == "closed":
                self.close()
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()

    def close(self) -> None:
        """It is not read any more."""
        self._held.unlisten(self._name)

    def _wake(self) -> None:
        self._news.set()


def size_of(event: LiveEvent) -> int:
    """About how many bytes a control event takes, so that what is kept can be bounded."""
    if isinstance(event, TurnCommitted):
        return _EVENT_BYTES + _size_of_turn(event.turn)
    size = _EVENT_BYTES
    for name in ("delta", "text", "output", "arguments", "message", "reason"):
        size += len(getattr(event, name, None) or "")
    return size


def _size_of_turn(turn: Turn) -> int:
    size = 0
    for item in turn.items:
        match item:
            case UserMessage(text=text, images=images):
                size += len(text) + sum(len(image.data) for image in images)
            case AgentMessage():
                size += len(item.display_text) + len(item.spoken_text) + len(item.generated_text)
            case ToolResult(output=output):
                size += len(output)
            case _:
                size += _EVENT_BYTES
    return size
