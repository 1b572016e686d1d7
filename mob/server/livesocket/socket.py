"""The live socket: one WebSocket for one live channel, its client let in by a token that is used once.

    GET /live/ws?token=…&channel=…&format=pcm_24k_mono[&audio=binary][&control=1][&receipts=1][&resume=…&after=…]

Theory. A visit, from the handshake on:

    looked at ──no──> {"error": …, "reason": …}, closed with 1008; nothing was changed, the token neither
       └─yes──> attached: the token is spent, a client that was not known to be lost leaves, receipts are agreed
                   │       what the channel tells goes out (mob.server.livesocket.telling), what the client says is done
                   │       (mob.server.livesocket.hearing): one task for each direction
                   └─> the channel ended: its last event was sent, then the socket is closed
                       the socket ended:  with control=1 the client is waited for, else the channel ends
                       the client was too slow, or confused: it is told so, then as above

docs/live-socket.md is the contract.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import trio

from mob.errors import ChannelUnknown, DoorFull, LiveRejected, MobError, RequestInvalid, TokenRefused
from mob.live.transport_port import Transport, TransportClosed
from mob.protocol.plain import READY
from mob.server.channels.attached import AlreadyAttached
from mob.server.channels.held import HeldChannel
from mob.server.channels.ring import SlowReader
from mob.server.channels.tokens import Purpose
from mob.server.front.routes import SocketRoute, Visit
from mob.server.livesocket.hearing import Confused, Listener
from mob.server.livesocket.telling import Teller
from mob.server.livesocket.terms import PATH, Terms, format_of, terms_of
from mob.server.realm.realm import Realm

REFUSED = 1008
"""The close code of every refusal (RFC 6455: policy)."""


class LiveSockets:
    """All live sockets of a realm."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._counts = realm.channels.sockets

    async def serve(self, visit: Visit) -> None:
        """One WebSocket, to its end. Only those that are let in count: a refused one takes nobody's place."""
        try:
            terms = terms_of(visit.head.query)
            session = self._attach(terms, visit.transport)
        except MobError as error:
            await self._refuse(visit.transport, error)
            return
        counts = self._counts
        counts.open += 1
        counts.attached += 1
        try:
            with self._realm.channels.watchdog.watch(visit.transport):
                await session.run()
        finally:
            counts.open -= 1
            counts.lost_audio_bytes += session.teller.lost_bytes
            counts.lost_events += session.teller.lost_events
            counts.commands_refused += session.listener.refused

    def _attach(self, terms: Terms, transport: Transport) -> _Session:
        """Let the client in, wholly or not at all.

        TokenRefused, DoorFull, ChannelUnknown, AlreadyAttached, RequestInvalid.
        """
        tokens, now = self._realm.tokens, trio.current_time()
        purpose: Purpose = "live" if terms.resume is None else "resume"
        tokens.peek(terms.shown, purpose, now=now, channel=terms.channel)
        if self._counts.open >= self._realm.limits.max_sockets:
            raise DoorFull(f"{self._counts.open} live sockets are open, which is all this server takes")
        held = self._realm.channels.get(terms.channel)
        expected = format_of(held.live.input_rate)
        if terms.format not in (None, expected):
            raise RequestInvalid(f"`format` is {expected} on this channel", field="format")
        if terms.after is not None and terms.after > held.ring.last:
            raise RequestInvalid(f"`after` is beyond {held.ring.last}, the last event there was", field="after")
        if terms.resume is None:
            held.place.check_free()
        resume = None
        if terms.control:
            resume = tokens.mint(terms.channel, "resume", now=now, ttl_s=float("inf"))
        tokens.admit(terms.shown, terms.channel, purpose, now=now)
        tokens.revoke(terms.channel, "resume", now=now, but=resume)
        session = _Session(self._realm, held, transport, terms, resume)
        held.place.take(session)
        held.live.expect_receipts(expected=terms.receipts)
        return session

    async def _refuse(self, transport: Transport, error: MobError) -> None:
        self._counts.refused += 1
        await _part(transport, _error_frame(error), REFUSED, error.code, within_s=self._realm.limits.close_s)


class _Session:
    """One client while it is attached. `resume`: the token with which it may come back."""

    def __init__(self, realm: Realm, held: HeldChannel, transport: Transport, terms: Terms, resume: str | None) -> None:
        self._realm = realm
        self._held = held
        self._transport = transport
        self._terms = terms
        self._resume = resume
        self._scope = trio.CancelScope()
        self._farewell: MobError | None = None
        self._may_return = terms.control
        self._after = held.turn_from if terms.after is None else terms.after
        self.teller = Teller(held, transport, terms, self._after, self._scope.cancel)
        self.listener = Listener(held, terms, self._say)

    def leave(self, reason: str) -> None:
        """Another client has taken the place."""
        self._farewell = AlreadyAttached(f"this client was {reason}: it has come back on another socket")
        self._scope.cancel()

    async def run(self) -> None:
        """Be attached until either end is gone."""
        held = self._held
        name = held.listen(self.teller.news)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.teller.run)
                    await self._listen()
                    nursery.cancel_scope.cancel()
        finally:
            held.unlisten(name)
            farewell = self._farewell or self.teller.failure
            self._give_up(farewell)
        if farewell is not None:
            await self._part(_error_frame(farewell), REFUSED, farewell.code)
        elif held.status == "closed":
            await self._part(None, 1000, held.reason or "closed")

    async def _listen(self) -> None:
        try:
            self._greet()
            while True:
                for message in await self._transport.receive():
                    await self.listener.hear(message)
        except TransportClosed as closed:
            said_goodbye = closed.by == "peer" and closed.close_code == 1000
            self._may_return = self._may_return and not said_goodbye
        except Confused as confused:
            self._farewell = confused

    def _greet(self) -> None:
        held, live = self._held, self._held.live
        if self._resume is None:
            if held.status == "ready":
                self._say(READY)
            return
        self._say(
            {
                "observation": "attached",
                "channel_id": live.channel_id,
                "session_id": held.session_id,
                "resume": self._resume,
                "window_ms": round(self._realm.limits.resume_s * 1000),
                "status": held.status,
                "continuity": held.continuity,
                "expires_at": live.expires_at,
                "input_rate": live.input_rate,
                "output_rate": live.output_rate,
                "seq": self._after,
                "t": trio.current_time(),
                "epoch": live.epoch,
            }
        )

    def _give_up(self, farewell: MobError | None) -> None:
        held = self._held
        why = "client_disconnected" if farewell is None else str(_error_frame(farewell)["error"])
        until = held.place.give_up(self, why, may_return=self._may_return)
        if until is not None:
            self._realm.tokens.limit(held.channel_id, "resume", until=until)

    async def _part(self, frame: dict[str, Any] | None, code: int, reason: str) -> None:
        await _part(self._transport, frame, code, reason, within_s=self._realm.limits.close_s)

    def _say(self, frame: dict[str, Any]) -> None:
        self._transport.send_nowait(json.dumps(frame, separators=(",", ":")))


def live_sockets(realm: Realm) -> Sequence[SocketRoute]:
    """The live socket of this realm, for the front's table."""
    sockets = LiveSockets(realm)
    return [
        SocketRoute(
            PATH,
            sockets.serve,
            "A live channel: speech and text in, observations and speech out",
            auth="own",
            max_frame_bytes=realm.limits.max_frame_bytes,
        )
    ]


def _error_frame(error: MobError) -> dict[str, Any]:
    """What a client is told that is not let in, or not kept, in Meerkat's words."""
    match error:
        case TokenRefused(reason=reason):
            word, why = "invalid_token", str(reason)
        case ChannelUnknown():
            word, why = "channel_not_found", error.message
        case AlreadyAttached():
            word, why = "session_already_bound", error.message
        case SlowReader():
            word, why = "slow_reader", error.message
        case Confused():
            word, why = "unsupported_command", error.message
        case _:
            word, why = error.code, error.message
    return {"error": word, "reason": why, "message": error.message}


async def _part(transport: Transport, frame: dict[str, Any] | None, code: int, reason: str, *, within_s: float) -> None:
    """Say the last word and close. What waits is sent first, for so long; then the goodbye has its own bound."""
    try:
        if frame is not None:
            transport.send_nowait(json.dumps(frame, separators=(",", ":")))
        with trio.move_on_after(within_s):
            await transport.wait_sent()
    except (TransportClosed, LiveRejected):
        pass
    await transport.aclose(code, reason)
