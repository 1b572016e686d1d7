"""One client and one member: the frames in between, from the greeting to the farewell.

    connection
    ├─ holder       the member's side: its channel, or its turns; and whoever it hands the client over to
    ├─ reader       frames to the protocol engine, what it makes of them to the speaker (the caller's task)
    └─ keeper       asks a silent client for a sign of life; ends the connection at its age

Whatever ends it is said first: an `error` event that names it, then a close code. Close codes: 1000 the client has
gone; 1001 the connection is too old, or the server stops; 1008 the client gives no sign of life; 1011 the member is
gone; 4000, as the vendor has it, for what is refused at the beginning.

A client that does not take what it is sent is not read from either, nor is the member's channel: what the channel keeps
for it is bounded, sound by being dropped and counted, all else by ending the channel.
"""

from __future__ import annotations

import trio
from attrs import frozen

from mob.errors import LiveClosed, MobError
from mob.live.transport import Transport, TransportClosed
from mob.providers.openai_realtime import (
    AudioAppended,
    InputCleared,
    InputCommitted,
    ItemCreated,
    ItemTruncated,
    RealtimeServer,
    ResponseCancelled,
    ResponseRequested,
    ServerEvent,
    SessionUpdated,
)
from mob.server.gateway.client import Client
from mob.server.gateway.client_tools import ClientTools
from mob.server.gateway.holder import Holder
from mob.server.gateway.speaker import SpeakerGone
from mob.server.limits import DoorLimits
from mob.values import ToolSchema


@frozen(slots=True)
class Farewell:
    """How a connection ends: the error that is said, if any, and the close."""

    close_code: int
    code: str | None = None
    message: str = ""
    kind: str = "server_error"

    @property
    def reason(self) -> str:
        """What the close frame says."""
        return f"{self.kind}.{self.code}" if self.code is not None else ""


class Connection:
    """One client's connection to a member. `serve` is its life."""

    def __init__(
        self,
        transport: Transport,
        client: Client,
        tools: ClientTools,
        limits: DoorLimits,
    ) -> None:
        self._transport = transport
        self._client = client
        self._server: RealtimeServer = client.server
        self._tools = tools
        self._holder: Holder
        self._limits = limits
        self._farewell: Farewell | None = None
        self._scope = trio.CancelScope()
        self._deaf = False

    async def serve(self, holder: Holder) -> None:
        """Talk until either side ends it; then say why, and close."""
        self._holder = holder
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await self._talk(nursery)
                    nursery.cancel_scope.cancel()
        except Exception:
            self._farewell = Farewell(1011, "internal_error", "The server failed; its log says why.")
            raise
        finally:
            with trio.CancelScope(shield=True):
                await self._tools.take_back()
                await self._say_farewell()

    async def refuse(self, code: str, message: str) -> None:
        """It does not come to a conversation."""
        self._farewell = Farewell(4000, code, message, "invalid_request_error")
        await self._say_farewell()

    async def _say_farewell(self) -> None:
        farewell = self._farewell or Farewell(1001, "server_stopping", "The server stops.")
        if farewell.code is not None:
            self._server.error(farewell.code, farewell.message, kind=farewell.kind)
        self._client.flush()
        await self._transport.aclose(farewell.close_code, farewell.reason)

    async def _talk(self, nursery: trio.Nursery) -> None:
        try:
            await nursery.start(self._holder.run)
        except MobError as error:
            self._leave(Farewell(4000, error.code, error.message, "invalid_request_error"))
            return
        nursery.start_soon(self._keep)
        self._server.open()
        try:
            await self._lend(self._server.session.config.tools)
        except MobError as error:
            self.member_gone(error)
            return
        self._client.flush()
        await self._read()

    def member_gone(self, error: MobError) -> None:
        """Whom the client talked with can be talked with no more."""
        word = error.word if isinstance(error, SpeakerGone) else error.code
        self._leave(Farewell(1011, word, error.message))

    def _leave(self, farewell: Farewell) -> None:
        """End it; the first reason counts."""
        self._farewell = self._farewell or farewell
        self._scope.cancel()

    # -- what comes in ---------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                for frame in await self._transport.receive():
                    for event in self._server.receive(frame):
                        await self._act(event)
                    self._client.flush()
                    if self._client.busy:
                        await self._client.room()
        except TransportClosed:
            self._leave(Farewell(1000))

    async def _act(self, event: ServerEvent) -> None:
        """Hand on what the protocol allowed. What the member refuses all the same, the client is told."""
        try:
            await self._hand_on(event)
        except LiveClosed:
            pass  # the speaker has been told of the same, and ends the connection
        except MobError as error:
            if not (isinstance(event, AudioAppended) and self._deaf):
                self._server.error(error.code, error.message, kind="invalid_request_error")
            self._deaf = isinstance(event, AudioAppended)
        else:
            self._deaf = False

    async def _hand_on(self, event: ServerEvent) -> None:
        speaker = self._holder.current
        match event:
            case AudioAppended(pcm=data):
                await speaker.hear(self._client.heard(data))
            case InputCommitted():
                await speaker.commit(event)
            case InputCleared():
                await speaker.clear()
            case ItemCreated(item=item):
                await speaker.take(item)
            case ItemTruncated(item_id=item_id, audio_end_ms=ms):
                await speaker.truncate(item_id, ms)
            case ResponseRequested(params=params):
                await speaker.respond(params)
            case ResponseCancelled():
                await speaker.cancel()
            case SessionUpdated(config=config):
                self._client.reformat()
                await self._lend(config.tools)
                await speaker.configure(config)

    async def _lend(self, tools: tuple[ToolSchema, ...]) -> None:
        await self._tools.lend(self._holder.current.member, tools)

    # -- bounds ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        limits = self._limits
        began = trio.current_time()
        while trio.current_time() - began < limits.realtime_s:
            await trio.sleep(limits.idle_s / 4)
            silent_s = trio.current_time() - self._transport.last_received
            if silent_s > limits.idle_s:
                self._leave(Farewell(1008, "client_silent", f"Nothing came from you for {silent_s:.0f} s."))
                return
            self._transport.ping_nowait()
        minutes = limits.realtime_s / 60
        message = f"Your session hit the maximum duration of {minutes:.0f} minutes."
        self._leave(Farewell(1001, "session_expired", message, "invalid_request_error"))
