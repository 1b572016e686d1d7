"""The socket of one remote live channel: attached, lost, attached again, ended (docs/live-socket.md is the contract).

Theory. The states, and what moves them:

    attaching ──let in──> attached ──the last event came──> ended
                          attached ──the socket was lost──> away ──let in again, in time──> attached
                                                            away ──refused, or the window is over──> ended

Every event has a number, and coming back we name the last one that we have: what was told meanwhile comes in order, or
a gap that says what is missing. What the client sends while away is kept within bounds (speech, receipts) or waits
(commands). A command that was sent and not answered before the loss is refused: nobody knows whether it was done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard, cast, get_args
from urllib.parse import urlencode

import trio
from attrs import define, field, frozen

from mob.errors import (
    AlreadyOpen,
    ChannelUnknown,
    DoorError,
    DoorFull,
    LiveClosed,
    LiveRejected,
    MobError,
    ServerGone,
    TokenFault,
    TokenRefused,
    WireError,
)
from mob.jsontext import read_json
from mob.live.events import ChannelError, Connected, Disconnected, LiveEvent
from mob.live.transport_port import Transport, TransportClosed
from mob.live.watchdog import Watchdog
from mob.protocol.frames import ClientFrame, Command, Played, encode_frame
from mob.protocol.observations import event_of
from mob.protocol.shapes import error_of
from mob.protocol.speech import unpack_audio
from mob.values import Continuity

JSON = dict[str, Any]

_MAX_KEPT_AUDIO = 1024 * 1024
_MAX_PIECE = 256 * 1024
_BACK_OFF_S, _MAX_BACK_OFF_S = 0.1, 2.0
_GREETING_S = 10.0
_MAX_WINDOW_MS = 3_600_000
_MAX_NUMBER = 2**53
_MAY_RETURN = "slow_reader"
"""The one word of parting after which the place is kept."""

DialSocket = Callable[[str], Awaitable[Transport]]
"""Opens the live socket with this query. ServerGone, Unauthorized."""


@frozen(slots=True)
class SocketStatistics:
    """Times it was lost and attached again; speech not sent while away, bytes; events and speech that never came."""

    resumed: int
    audio_dropped: int
    lost_events: int
    lost_audio_bytes: int


@define(eq=False, slots=True)
class _Waiter:
    done: trio.Event = field(factory=trio.Event)
    error: MobError | None = None

    def end(self, error: MobError | None) -> None:
        self.error = error
        self.done.set()


class LiveSocket:
    """One channel's. `told` is called with each event, in order; the last is a final Disconnected. `run` is its life.

    `rate` is what the user's speech has, Hz. `watchdog` runs elsewhere.
    """

    def __init__(
        self,
        dial: DialSocket,
        *,
        channel: str,
        token: str,
        rate: int,
        told: Callable[[LiveEvent], None],
        watchdog: Watchdog,
    ) -> None:
        self.channel_id = channel
        self.epoch = 0
        self.connected = False
        self.continuity: Continuity = "fresh"
        self.expires_at: float | None = None
        self.reason = ""
        """Why it has ended; empty until then."""
        self.ended = trio.Event()
        self._dial = dial
        self._told = told
        self._watchdog = watchdog
        self._query = {"channel": channel, "format": f"pcm_{rate // 1000}k_mono", "audio": "binary"}
        self._query |= {"control": "1", "receipts": "1", "token": token, "after": "0"}
        self._window_s = 0.0
        self._seq = 0
        self._t = 0.0
        self._transport: Transport | None = None
        self._unheard: deque[str | bytes] = deque()
        self._changed = trio.Event()
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._receipts: dict[str, int] = {}
        self._waiters: dict[int, _Waiter] = {}
        self._last_id = 0
        self._parted: str | None = None
        self._resumed = self._dropped = self._lost_events = self._lost_bytes = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Attach, and stay so until the channel has ended. Started when attached; before that it raises why not."""
        try:
            async with trio.open_nursery() as writers:
                await self._attach(writers)
                task_status.started()
                while True:
                    await self._serve()
                    if self.reason or not await self._come_back(writers):
                        break
                writers.cancel_scope.cancel()
        finally:
            self._end("closed")

    def statistics(self) -> SocketStatistics:
        """Counts, as of now."""
        return SocketStatistics(self._resumed, self._dropped, self._lost_events, self._lost_bytes)

    # -- saying ----------------------------------------------------------------------------------------------------

    async def command(self, command: Command) -> None:
        """Have it done; while away, when we are back. What the channel raises; LiveClosed."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        while self._transport is None:
            await self._changed.wait()
            self._check_open()
        self._last_id += 1
        ident = self._last_id
        waiter = self._waiters[ident] = _Waiter()
        try:
            self._send(encode_frame(ClientFrame(command, ident)))
            await waiter.done.wait()
        finally:
            self._waiters.pop(ident, None)
        if waiter.error is not None:
            raise waiter.error

    def send_audio(self, pcm: bytes) -> None:
        """The user's speech, whole samples. LiveClosed."""
        self._check_open()
        for start in range(0, len(pcm), _MAX_PIECE):
            piece = pcm[start : start + _MAX_PIECE]
            if self._transport is None:
                self._keep(piece)
            else:
                self._send(piece, audio=True)

    def played(self, item_id: str, ms: int) -> None:
        """A receipt. Never fails; while away the furthest of each item is kept."""
        if self._transport is not None:
            self._send(encode_frame(ClientFrame(Played(item_id, ms))))
        elif not self.reason:
            self._receipts[item_id] = max(ms, self._receipts.get(item_id, 0))

    def _check_open(self) -> None:
        if self.reason:
            raise LiveClosed(f"the channel has ended ({self.reason}); open a new one", reason=self.reason)

    def _keep(self, piece: bytes) -> None:
        self._kept.append(piece)
        self._kept_bytes += len(piece)
        while self._kept_bytes > _MAX_KEPT_AUDIO:
            lost = self._kept.popleft()
            self._kept_bytes -= len(lost)
            self._dropped += len(lost)

    def _send(self, message: str | bytes, *, audio: bool = False) -> None:
        try:
            if self._transport is not None:
                self._transport.send_nowait(message, audio=audio)
        except TransportClosed:
            pass  # the reader finds it out too, and sees to what waits

    # -- attaching -------------------------------------------------------------------------------------------------

    async def _attach(self, writers: trio.Nursery) -> None:
        """Be let in. ServerGone when there is no socket; what refuses us, as the class that it is here."""
        transport = await self._dial(urlencode(self._query))
        writers.start_soon(transport.run_writer)
        try:
            with trio.fail_after(_GREETING_S):
                self._unheard = deque(await transport.receive())
            greeting = _object(self._unheard.popleft())
            if _is_farewell(greeting):
                raise _refusal(greeting)
            self._greeted(greeting, transport)
        except BaseException as error:
            with trio.CancelScope(shield=True):
                await transport.aclose()
            if isinstance(error, TransportClosed | trio.TooSlowError):
                raise ServerGone("the live socket was closed before it said anything") from error
            raise

    async def _come_back(self, writers: trio.Nursery) -> bool:
        """Attach again before the window is over. False when that cannot be."""
        pause = 0.0
        with trio.move_on_after(self._window_s):
            while True:
                await trio.sleep(pause)
                pause = min(pause * 2 or _BACK_OFF_S, _MAX_BACK_OFF_S)
                try:
                    await self._attach(writers)
                except ServerGone:
                    continue
                except MobError as error:
                    self._end(error.code)
                    return False
                self._resumed += 1
                return True
        self._end("connection_lost")
        return False

    def _greeted(self, greeting: JSON, transport: Transport) -> None:
        match greeting:
            case {
                "observation": "attached",
                "channel_id": str(channel_id),
                "resume": str(resume),
                "window_ms": int(window_ms),
                "epoch": int(epoch),
                "continuity": str(continuity),
                "status": str(status),
            }:
                pass
            case _:
                raise WireError(f"a live socket begins with `attached`, not {greeting!r:.60}", field="observation")
        self.channel_id, self.epoch, self._window_s = channel_id, epoch, min(window_ms, _MAX_WINDOW_MS) / 1000
        self.continuity = cast("Continuity", continuity)
        self.connected = status == "ready"
        expires_at = greeting.get("expires_at")
        self.expires_at = float(expires_at) if _is_number(expires_at) else None
        self._query.pop("token", None)
        self._query["resume"] = resume
        self._transport = transport
        self._catch_up()
        self._tell_changed()

    def _catch_up(self) -> None:
        """Say what was kept while we were away, receipts first: they are older than anything else."""
        receipts, self._receipts = self._receipts, {}
        for item_id, ms in receipts.items():
            self.played(item_id, ms)
        while self._kept:
            self._send(self._kept.popleft(), audio=True)
        self._kept_bytes = 0

    def _tell_changed(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # -- hearing ---------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Hear everything until the socket or the channel ends."""
        transport = self._transport
        assert transport is not None
        try:
            with self._watchdog.watch(transport):
                while not self.reason:
                    while self._unheard:
                        self._hear(self._unheard.popleft())
                    self._unheard.extend(await transport.receive())
        except TransportClosed:
            if self._parted not in (None, _MAY_RETURN):
                self._end(str(self._parted))
        except WireError as error:
            self._tell_fault(WireError.code, error.message, "fatal")
            self._end(WireError.code)
        finally:
            self._lost()
            with trio.CancelScope(shield=True):
                await transport.aclose()

    def _lost(self) -> None:
        self._transport = None
        self._unheard.clear()
        self._query["after"] = str(self._seq)
        for waiter in self._waiters.values():
            words = "the connection was lost before the server said whether this was done"
            waiter.end(LiveRejected(words, reason="connection_lost"))
        self._waiters.clear()

    def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._seq, delta = unpack_audio(message, self.channel_id)
            self._told(delta)
            return
        frame = _object(message)
        if _is_farewell(frame):
            self._parted = str(frame["error"])
            return
        match frame.get("observation"):
            case "command_accepted" | "pong":
                self._answered(frame, None)
            case "command_rejected":
                self._answered(frame, error_of(frame.get("error")))
            case "gap" | "audio_lost":
                self._missed(frame)
            case _:
                event = event_of(frame, self.channel_id)
                self._count(frame)
                if event is not None:
                    self._happened(event)

    def _answered(self, frame: JSON, error: MobError | None) -> None:
        ident = frame.get("id")
        waiter = self._waiters.pop(ident, None) if isinstance(ident, int) else None
        if waiter is not None:
            waiter.end(error)
        elif error is not None:  # of speech, which is not answered
            word = error.reason if isinstance(error, LiveRejected) else error.code
            self._tell_fault(word, error.message, "benign")

    def _missed(self, frame: JSON) -> None:
        events, size = frame.get("events"), frame.get("audio_bytes")
        if not isinstance(events, int) or not isinstance(size, int):
            raise WireError("a gap says how many `events` and `audio_bytes` are missing", field="events")
        self._count(frame)
        self._lost_events += events
        self._lost_bytes += size
        words = f"{events} events and {size} bytes of speech were lost on the way here"
        self._tell_fault(str(frame["observation"]), words, "benign")

    def _count(self, frame: JSON) -> None:
        seq, t = frame.get("seq"), frame.get("t")
        if isinstance(seq, int):
            self._seq = seq
        if _is_number(t):
            self._t = float(t)

    def _happened(self, event: LiveEvent) -> None:
        self.epoch = max(self.epoch, event.epoch)
        match event:
            case Connected(continuity=continuity, expires_at=expires_at):
                self.connected, self.continuity, self.expires_at = True, continuity, expires_at
            case Disconnected(reason=reason, final=final):
                self.connected = False
                if final:
                    self._end(reason, last=event)
                    return
        self._told(event)

    def _tell_fault(self, code: str, message: str, recovery: Any) -> None:
        self._told(
            ChannelError(
                channel_id=self.channel_id, epoch=self.epoch, t=self._t, code=code, message=message, recovery=recovery
            )
        )

    def _end(self, reason: str, *, last: Disconnected | None = None) -> None:
        """It is over; only the first reason counts."""
        if self.reason:
            return
        self.reason = reason
        self.connected = False
        self._told(
            last or Disconnected(channel_id=self.channel_id, epoch=self.epoch, t=self._t, reason=reason, final=True)
        )
        for waiter in self._waiters.values():
            waiter.end(LiveClosed(f"the channel has ended ({reason}) before this was done", reason=reason))
        self._waiters.clear()
        self.ended.set()
        self._tell_changed()


def _object(message: str | bytes) -> JSON:
    try:
        frame = read_json(message)
    except ValueError as error:
        raise WireError(f"a frame of the live socket is not JSON: {error}"[:300], field="frame") from None
    if not isinstance(frame, dict):
        raise WireError(f"a frame of the live socket is an object, not {frame!r:.60}", field="frame")
    return frame


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is one that a clock can show."""
    return type(value) in (int, float) and abs(cast("float", value)) < _MAX_NUMBER


def _is_farewell(frame: JSON) -> bool:
    """Whether the server parts with us. A refused command has an `error`, too, and is an observation."""
    return "error" in frame and "observation" not in frame


def _refusal(frame: JSON) -> MobError:
    """Why we are not let in."""
    word, reason, message = frame["error"], frame.get("reason"), str(frame.get("message") or frame["error"])
    if word == "invalid_token" and reason in get_args(TokenFault):
        return TokenRefused(message, reason=cast("TokenFault", reason))
    kinds: dict[object, type[MobError]] = {
        "channel_not_found": ChannelUnknown,
        "session_already_bound": AlreadyOpen,
        DoorFull.code: DoorFull,
    }
    return kinds.get(word if isinstance(word, str) else None, DoorError)(message)
