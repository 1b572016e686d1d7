"""The client's end of a connection: the protocol engine, the socket, and the client's format of sound between them."""

from __future__ import annotations

from contextlib import suppress

from mob.live.transport import Transport, TransportClosed
from mob.providers.openai_realtime import RealtimeServer, ResponseWriter
from mob.providers.openai_realtime.outbox import AUDIO_OPENING
from mob.server.gateway.g711 import inwards, outwards

_AHEAD_BYTES = 256 * 1024
"""About four seconds of sound, as it goes over the wire."""
_AHEAD_EVENTS = 128


class Client:
    """What speakers write to. What the socket does not take, the transport keeps within bounds."""

    def __init__(self, server: RealtimeServer, transport: Transport) -> None:
        self.server = server
        self._transport = transport
        self._formats = ("audio/pcm", "audio/pcm")
        self._in, self._out = (inwards("audio/pcm"), outwards("audio/pcm"))

    def reformat(self) -> None:
        """The session may have another format of sound now."""
        session = self.server.session
        formats = (session.input_format["type"], session.output_format["type"])
        if formats[0] != self._formats[0]:
            self._in = inwards(formats[0])
        if formats[1] != self._formats[1]:
            self._out = outwards(formats[1])
        self._formats = formats

    def heard(self, data: bytes) -> bytes:
        """The client's sound as PCM16 at 24 kHz."""
        return self._in.turn(data)

    def speak(self, writer: ResponseWriter, pcm: bytes) -> None:
        """PCM16 at 24 kHz, in the client's format."""
        writer.audio(self._out.turn(pcm))

    def flush(self) -> None:
        """Send what was written. Audio may be dropped where the client is slow; all else never is."""
        try:
            for frame in self.server.data_to_send():
                self._transport.send_nowait(frame, audio=frame.startswith(AUDIO_OPENING))
        except TransportClosed:
            pass  # the reader is told of it, and ends the connection

    @property
    def busy(self) -> bool:
        """Whether something is on its way that the socket has not taken yet."""
        return self._transport.busy

    async def room(self) -> None:
        """Wait while much is on its way: whoever makes it goes on when the client has taken it."""
        if not self._transport.busy:
            return
        waiting = self._transport.statistics()
        if waiting.audio_bytes_waiting > _AHEAD_BYTES or waiting.control_frames_waiting > _AHEAD_EVENTS:
            with suppress(TransportClosed):
                await self._transport.wait_sent()
