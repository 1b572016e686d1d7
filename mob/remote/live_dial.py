"""Opening live channels at a server: asked for over JSON-RPC, then dialled at the live socket, ended with the block."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from mob.errors import CapabilityUnavailable, MobError, ProviderError, ServerGone
from mob.history.codec import as_json
from mob.live.buffer import ClientBuffer
from mob.live.events import AudioDelta, Disconnected, Interrupted, LiveEvent
from mob.live.network import Network
from mob.live.ports import ChannelLimits, ChannelOptions
from mob.live.transport import Transport, connect_websocket
from mob.live.watchdog import Watchdog
from mob.remote.connection import Connection
from mob.remote.dial import bearer, unreached
from mob.remote.live import RemoteLive
from mob.remote.live_socket import LiveSocket
from mob.remote.replica import codec_read

if TYPE_CHECKING:
    from mob.remote.member import RemoteMember

JSON = dict[str, Any]

_CONNECT_S = 10.0
_CLOSE_S = 5.0
_MAX_FRAME_BYTES = 32 * 1024 * 1024


class LiveDialler:
    """Opens live channels at one server. `base` is where its live sockets are, when the way there says so."""

    def __init__(
        self, connection: Connection, network: Network, *, base: str | None, secret: str | None, watchdog: Watchdog
    ) -> None:
        self._connection = connection
        self._network = network
        self._base = base
        self._secret = secret
        self._watchdog = watchdog

    @asynccontextmanager
    async def open(self, member: RemoteMember, options: ChannelOptions | None) -> AsyncIterator[RemoteLive]:
        """The member's live channel, ready, until the block is left. What the server refuses; ServerGone."""
        params: JSON = {"member": member.identity, "generation": member.generation}
        if options is not None:
            params["options"] = _options_json(options)
        opened = await self._ask(params)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            try:
                live, socket = self._make(opened)
                await nursery.start(socket.run)
                yield live
            except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
                failure = error
            finally:
                with trio.move_on_after(_CLOSE_S, shield=True):
                    await self._close(opened)
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _ask(self, params: JSON) -> JSON:
        try:
            return await self._connection.call("team/live_open", params, undo=self._forget)
        except CapabilityUnavailable as error:
            if error.field == "team/live_open":  # it does not even offer the method
                raise self._no_sockets() from None
            raise

    def _no_sockets(self) -> CapabilityUnavailable:
        where = self._connection.peer.where
        return CapabilityUnavailable(f"{where} has no live sockets; start it with --live-ws ADDRESS", field="live")

    def _make(self, opened: JSON) -> tuple[RemoteLive, LiveSocket]:
        limits = ChannelLimits()
        buffer = ClientBuffer(max_control=limits.max_client_events, max_audio_bytes=limits.max_client_audio_bytes)
        url = self._url(opened)
        socket = LiveSocket(
            functools.partial(self._dial, url),
            channel=str(opened.get("channel")),
            token=str(opened.get("token")),
            rate=codec_read(opened.get("input_rate"), int, "input_rate"),
            told=functools.partial(_put, buffer),
            watchdog=self._watchdog,
        )
        return RemoteLive(socket, buffer, opened), socket

    def _url(self, opened: Mapping[str, Any]) -> str:
        base = self._base or opened.get("url")
        if not isinstance(base, str):
            raise self._no_sockets()
        return base.rstrip("/") + str(codec_read(opened.get("path"), str, "path"))

    async def _dial(self, url: str, query: str) -> Transport:
        where = f"the live socket at {urlsplit(url).netloc}"
        limits = ChannelLimits(max_frame_bytes=_MAX_FRAME_BYTES)
        with trio.move_on_after(_CONNECT_S):
            try:
                return await connect_websocket(
                    self._network, f"{url}?{query}", headers=bearer(self._secret), limits=limits
                )
            except ProviderError as error:
                raise unreached(where, error) from error
        raise ServerGone(f"{where} did not answer within {_CONNECT_S:g} s")

    async def _close(self, opened: JSON) -> None:
        """End the channel at the server, whatever has become of its socket."""
        with suppress(MobError):  # it has ended, or the server has gone
            await self._connection.call("team/live_close", {"channel": opened.get("channel")})

    def _forget(self, opened: Any) -> None:
        """The channel was opened after whoever wanted it had gone."""
        if isinstance(opened, dict):
            params = {"mob": self._connection.replica.mob_id, "channel": opened.get("channel")}
            self._connection.peer.tell("team/live_close", params, _ended_already)


def _put(buffer: ClientBuffer, event: LiveEvent) -> None:
    """An event for the client, as a LiveChannel would buffer it."""
    if isinstance(event, AudioDelta):
        buffer.put_audio(event)
        return
    if isinstance(event, Interrupted) and event.item_id is not None:
        buffer.discard(frozenset({event.item_id}))
    buffer.put(event)
    if isinstance(event, Disconnected) and event.final:
        buffer.close()


def _options_json(options: ChannelOptions) -> JSON:
    """The options as they are sent: the limits are the server's own."""
    body = as_json(options)
    body.pop("limits", None)
    return body


def _ended_already(_: MobError) -> None:
    """Then there is nothing to close."""
