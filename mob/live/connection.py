"""One connection to a provider as the channel sees it: neutral commands in, neutral events out, over a WebSocket.

This is where a wire meets the transport. The channel and its machine know neither frames nor close codes: what those
mean is the wire's own classification, and comes out of here as a ProviderError with its recovery.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from mob.definition.model import ModelCapabilities
from mob.errors import LiveRejected, NotRealtime, ProviderError, ProviderRefused, ProviderUnreachable, WireError
from mob.live.network import Endpoint, Network
from mob.live.ports import ChannelLimits
from mob.live.transport import HandshakeRefused, Transport, TransportClosed, TransportStatistics, connect_websocket
from mob.live.watchdog import Watchdog
from mob.providers.commands import AppendAudio, WireCommand
from mob.providers.events import ProviderFault, WireEvent
from mob.providers.openai_faults import classify_close, classify_handshake
from mob.providers.openai_realtime.client import RealtimeClient, RealtimeClientStatistics
from mob.providers.registry import REALTIME_CLIENTS


@frozen(slots=True)
class ConnectionStatistics:
    """What has passed: frames by the transport, events by the wire."""

    transport: TransportStatistics
    wire: RealtimeClientStatistics


class Connection(Protocol):
    """An open connection. One task receives, one task runs, everybody may send."""

    async def receive(self) -> list[WireEvent]:
        """What one read delivered, in order. Raises ProviderError at the end."""
        ...

    def send_nowait(self, command: WireCommand) -> None:
        """Say this. Nothing happens once the connection has ended. LiveRejected when it is too large to be sent."""
        ...

    def send_audio_nowait(self, pcm: bytes) -> None:
        """The user's audio; it may be dropped, oldest first, when the provider is slow."""
        ...

    async def run(self) -> None:
        """Whatever the connection needs a task for, until it ends."""
        ...

    async def aclose(self, reason: str) -> None:
        """Say goodbye within the transport's bound, and close."""
        ...

    def statistics(self) -> ConnectionStatistics | None:
        """The counts as they are now."""
        ...


class Connector(Protocol):
    """Opens connections, one after the other, always to the same place."""

    async def connect(self) -> Connection:
        """A new connection; the caller bounds the time. ProviderError."""
        ...


class WebSocketConnector:
    """Dials a model at an endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        network: Network,
        model: ModelCapabilities,
        limits: ChannelLimits,
        watchdog: Watchdog,
    ) -> None:
        wire = REALTIME_CLIENTS.get(model.wire)
        if wire is None or not model.realtime:
            raise NotRealtime(
                f"{model.id} speaks {model.wire!r}, which is no live channel; the realtime wires are "
                f"{', '.join(sorted(REALTIME_CLIENTS))} (see `mob models`)"
            )
        self._endpoint = endpoint
        self._network = network
        self._model = model
        self._limits = limits
        self._watchdog = watchdog
        self._wire = wire

    async def connect(self) -> Connection:
        """Dial. ProviderRefused with the HTTP status, ProviderUnreachable, UsageError for a bad address."""
        client = self._wire()
        endpoint = self._endpoint
        handshake = client.handshake(endpoint.base_url, self._model.id, endpoint.api_key, endpoint.headers)
        try:
            transport = await connect_websocket(
                self._network,
                handshake.url,
                headers=handshake.headers,
                subprotocols=handshake.subprotocols,
                limits=self._limits,
            )
        except HandshakeRefused as refusal:
            raise _refused(refusal) from refusal
        return WebSocketConnection(transport, client, self._watchdog)


def _refused(refusal: HandshakeRefused) -> ProviderRefused:
    fault = classify_handshake(refusal.status or 0, refusal.body, retry_after=refusal.headers.get("retry-after"))
    return ProviderRefused(
        fault.message,
        recovery="fatal" if fault.recovery == "reconfigure" else fault.recovery,
        provider_code=fault.code,
        status=refusal.status,
        retry_after_s=fault.retry_after_s if fault.retry_after_s is not None else refusal.retry_after_s,
    )


class WebSocketConnection:
    """A wire's client role over a WebSocket."""

    def __init__(self, transport: Transport, client: RealtimeClient, watchdog: Watchdog) -> None:
        self._transport = transport
        self._client = client
        self._watchdog = watchdog
        self._broken: WireError | None = None

    async def receive(self) -> list[WireEvent]:
        """See Connection. A frame that breaks the protocol ends it, after the events before it were delivered."""
        if self._broken is not None:
            raise self._broken
        try:
            frames = await self._transport.receive()
        except TransportClosed as closed:
            raise _lost(closed) from closed
        events: list[WireEvent] = []
        for frame in frames:
            try:
                events += self._client.decode(frame)
            except WireError as error:
                self._broken = error
                break
        return events

    def send_nowait(self, command: WireCommand) -> None:
        """See Connection."""
        if type(command) is AppendAudio:
            self.send_audio_nowait(command.pcm)
            return
        try:
            for frame in self._client.encode(command):
                self._transport.send_nowait(frame)
        except TransportClosed:
            return

    def send_audio_nowait(self, pcm: bytes) -> None:
        """See Connection."""
        try:
            for frame in self._client.encode(AppendAudio(pcm)):
                self._transport.send_nowait(frame, audio=True)
        except TransportClosed:
            return

    async def run(self) -> None:
        """Write what waits, and be watched for a peer that is gone without a word."""
        with self._watchdog.watch(self._transport):
            await self._transport.run_writer()

    async def aclose(self, reason: str) -> None:
        """See Connection."""
        await self._transport.aclose(1000, reason)

    def statistics(self) -> ConnectionStatistics:
        """See Connection."""
        return ConnectionStatistics(self._transport.statistics(), self._client.statistics())


def _lost(closed: TransportClosed) -> ProviderError:
    fault = classify_close(closed.close_code if closed.by == "peer" else None, closed.reason)
    recovery = "reopen" if fault.recovery == "reconfigure" else fault.recovery
    return ProviderUnreachable(fault.message, recovery=recovery, provider_code=fault.code)


def unsendable(command: WireCommand, error: LiveRejected) -> ProviderFault:
    """What a command that cannot be sent comes back as: a scoped fault about it, as if the provider had refused it."""
    return ProviderFault(error.reason, error.message, "benign", ref=getattr(command, "ref", None))
