"""The WebSocket transport: the sans-io protocol of `websockets`, pumped over a byte pipe.

Theory. Task switches, not frames, are what a channel costs, so there is one wait per wake-up and all else is done
without waiting: `receive` returns every message that one read delivered, and `send_nowait` writes straight to the
socket when nothing waits before it. Only what the socket did not take goes to the bounded backlog and its writer.

    send_nowait ──(nothing waits)──▶ pipe.write_now ──(all of it taken)──▶ done
         └───────(else, or the rest)──▶ backlog ──▶ run_writer ──▶ pipe.write

In the backlog audio is dropped oldest first and counted; control is never dropped, and too much of it ends the
connection. A write that is cancelled in the middle would tear the stream silently, so it closes the connection.
Messages come out whole, whatever fragments they came in (RFC 6455, 5.4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

import trio
from attrs import define, frozen
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from mob.errors import ProviderRefused, ProviderUnreachable, WireError
from mob.live.pipe import Pipe

MAX_FRAME_BYTES = 16 * 1024 * 1024
_ABNORMAL = 1006


class TransportClosed(Exception):
    """The connection has ended: the WebSocket close code and reason; 1006 when there was no close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection ended: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


@frozen(slots=True)
class TransportLimits:
    """What bounds a transport. Bytes, frames, seconds."""

    max_message_bytes: int = MAX_FRAME_BYTES
    max_audio_bytes: int = 1024 * 1024
    max_control_frames: int = 1024
    close_timeout_s: float = 2.0


@frozen(slots=True)
class TransportStatistics:
    """Counts since the connection opened, and what waits now. `last_received` is seconds on the run's clock."""

    messages_in: int
    messages_out: int
    audio_dropped: int
    audio_bytes_waiting: int
    control_frames_waiting: int
    last_received: float
    closed: bool


@define(slots=True)
class _Waiting:
    data: bytes
    audio: bool
    begun: bool = False


class Transport:
    """One open WebSocket, either end. One task receives, one task runs the writer, anybody may `send_nowait`."""

    def __init__(self, pipe: Pipe, protocol: Protocol, limits: TransportLimits) -> None:
        self._pipe = pipe
        self._protocol = protocol
        self._limits = limits
        self._backlog: deque[_Waiting] = deque()
        self._audio_waiting = 0
        self._control_waiting = 0
        self._wake = trio.Event()
        self._writing = False
        self._receiving = False
        self._closed: TransportClosed | None = None
        self._pipe_closed = False
        self._fragments: list[bytes] = []
        self._fragment_opcode = Opcode.TEXT
        self._inbox: list[str | bytes] = []
        self._last_received = trio.current_time()
        self._messages_in = self._messages_out = self._audio_dropped = 0

    @property
    def last_received(self) -> float:
        """When something last came in, in seconds on the run's clock. For a watchdog."""
        return self._last_received

    @property
    def subprotocol(self) -> str | None:
        """What was agreed on in the handshake."""
        return self._protocol.subprotocol

    def statistics(self) -> TransportStatistics:
        """The counts as they are now."""
        return TransportStatistics(
            messages_in=self._messages_in,
            messages_out=self._messages_out,
            audio_dropped=self._audio_dropped,
            audio_bytes_waiting=self._audio_waiting,
            control_frames_waiting=self._control_waiting,
            last_received=self._last_received,
            closed=self._closed is not None,
        )

    async def receive(self) -> list[str | bytes]:
        """Every whole message that one read delivered, in order; at least one.

        Raises TransportClosed at the end, after all messages before it were returned, and always from then on.
        """
        self._receiving = True
        try:
            while not self._inbox:
                if self._closed is not None:
                    raise self._closed
                await self._read_once()
        finally:
            self._receiving = False
        messages, self._inbox = self._inbox, []
        self._messages_in += len(messages)
        return messages

    def send_nowait(self, message: str | bytes, *, audio: bool = False) -> None:
        """Send a message, or queue it: text for `str`, binary for `bytes`. Nothing happens once it is closed.

        `audio`: may be dropped when the peer is slow. LiveRejected is the caller's business; here a control overflow
        ends the connection with code 1008, since control may neither be lost nor be kept without bound.
        """
        if self._closed is not None or self._protocol.state is not State.OPEN:
            return
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._messages_out += 1
        self._push(audio=audio)

    def ping_nowait(self) -> None:
        """Ask the peer for a sign of life; its pong moves `last_received`."""
        if self._closed is None and self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"mob")
            self._push(audio=False)

    async def run_writer(self) -> None:
        """Write what waits, for as long as the connection lives. Cancelled in a write, it ends the connection."""
        while self._closed is None:
            if not self._backlog and not self._pipe.unsent:
                self._wake = trio.Event()
                await self._wake.wait()
                continue
            await self._flush()

    def abort(self, reason: str, *, code: int = _ABNORMAL) -> None:
        """End the connection now, without a word to the peer. `receive` raises TransportClosed from here on."""
        self._end(code, reason)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye within `close_timeout_s`, then close whatever the peer does. May be called again."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(self._limits.close_timeout_s):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError, TransportClosed):
                    await self._say_goodbye(code, reason)
            self._end(code, reason)
            await self._close_pipe()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._closed is None and self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._push(audio=False)
        while not self._writing and (self._backlog or self._pipe.unsent):
            await self._flush()
        while self._closed is None and not self._receiving:
            await self._read_once()

    async def _read_once(self) -> None:
        try:
            data = await self._pipe.read()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(_ABNORMAL, str(error) or "connection reset")
            return
        self._last_received = trio.current_time()
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._push(audio=False)
        if self._protocol.state is State.CLOSED or not data:
            self._end(self._protocol.close_code or _ABNORMAL, self._protocol.close_reason or "")
        elif self._protocol.parser_exc is not None:
            # The protocol has already queued its close frame (1002, 1007 or 1009); no more can be understood.
            self._end(self._protocol.close_code or 1002, str(self._protocol.parser_exc))

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            if frame.fin:
                self._deliver(frame.opcode, bytes(frame.data))
                return
            self._fragment_opcode = frame.opcode
            self._fragments = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                whole, self._fragments = b"".join(self._fragments), []
                self._deliver(self._fragment_opcode, whole)

    def _deliver(self, opcode: Opcode, data: bytes) -> None:
        if opcode is Opcode.BINARY:
            self._inbox.append(data)
            return
        try:
            self._inbox.append(data.decode())
        except UnicodeDecodeError as error:
            self._protocol.fail(1007, f"text that is not UTF-8 at byte {error.start}")
            self._push(audio=False)
            self._end(1007, f"text that is not UTF-8 at byte {error.start}")

    def _push(self, *, audio: bool) -> None:
        """Take what the protocol wants to send: write it now if nothing waits, else let it wait."""
        data = b"".join(self._protocol.data_to_send())
        if not data or self._pipe_closed:
            return
        if not self._backlog and not self._writing:
            try:
                taken = self._pipe.write_now(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._end(_ABNORMAL, str(error) or "connection reset")
                return
            if taken == len(data):
                if self._pipe.unsent:
                    self._wake.set()
                return
            self._wait(_Waiting(data[taken:], audio, begun=taken > 0))
        else:
            self._wait(_Waiting(data, audio))
        self._wake.set()

    def _wait(self, frame: _Waiting) -> None:
        self._backlog.append(frame)
        if frame.audio:
            self._audio_waiting += len(frame.data)
            self._drop_old_audio()
            return
        self._control_waiting += 1
        if self._control_waiting > self._limits.max_control_frames:
            self._end(1008, f"more than {self._limits.max_control_frames} control messages wait for a slow peer")

    def _drop_old_audio(self) -> None:
        while self._audio_waiting > self._limits.max_audio_bytes:
            oldest = next((f for f in self._backlog if f.audio and not f.begun), None)
            if oldest is None:
                return
            self._backlog.remove(oldest)
            self._audio_waiting -= len(oldest.data)
            self._audio_dropped += 1

    async def _flush(self) -> None:
        data = b"".join(frame.data for frame in self._backlog)
        self._backlog.clear()
        self._audio_waiting = self._control_waiting = 0
        self._writing = True
        try:
            await self._pipe.write(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(_ABNORMAL, str(error) or "connection reset")
        except trio.Cancelled:
            self._end(_ABNORMAL, "cancelled in the middle of a write")
            await self._close_pipe()
            raise
        finally:
            self._writing = False

    def _end(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = TransportClosed(code, reason)
        self._wake.set()

    async def _close_pipe(self) -> None:
        if not self._pipe_closed:
            self._pipe_closed = True
            with trio.CancelScope(shield=True):
                await self._pipe.aclose()


async def open_websocket(
    pipe: Pipe,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    limits: TransportLimits | None = None,
) -> Transport:
    """Shake hands as the client; the caller bounds the time. The pipe is closed when this fails.

    ProviderRefused carries the HTTP status of a refusal (`body` is in its message, cut), ProviderUnreachable says
    that the peer is no WebSocket server or went away.
    """
    limits = limits or TransportLimits()
    try:
        protocol = ClientProtocol(
            parse_uri(url),
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            max_size=limits.max_message_bytes,
        )
        request = protocol.connect()
        for name, value in (headers or {}).items():
            request.headers[name] = value
        protocol.send_request(request)
        await pipe.write(b"".join(protocol.data_to_send()))
        await _await_response(pipe, protocol)
    except BaseException as error:
        await pipe.aclose()
        _translate(error)
    transport = Transport(pipe, protocol, limits)
    _deliver_early(transport, protocol)
    return transport


async def accept_websocket(
    pipe: Pipe, *, select_subprotocol: Sequence[str] = (), limits: TransportLimits | None = None
) -> tuple[Transport, Request]:
    """Shake hands as the server, choosing the first subprotocol of ours that the client offers.

    WireError when the peer does not ask for a WebSocket; it has had its HTTP answer and the pipe is closed.
    """
    limits = limits or TransportLimits()

    def select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((Subprotocol(name) for name in select_subprotocol if name in offered), None)

    protocol = ServerProtocol(select_subprotocol=select, max_size=limits.max_message_bytes)
    try:
        request = await _await_request(pipe, protocol)
        response = protocol.accept(request)
        protocol.send_response(response)
        await pipe.write(b"".join(protocol.data_to_send()))
        if protocol.handshake_exc is not None:
            raise WireError(f"no WebSocket handshake: {protocol.handshake_exc}", recovery="fatal")
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        await pipe.aclose()
        raise WireError(f"the peer left during the handshake: {error}") from error
    except BaseException:
        await pipe.aclose()
        raise
    transport = Transport(pipe, protocol, limits)
    _deliver_early(transport, protocol)
    return transport, request


def _deliver_early(transport: Transport, protocol: Protocol) -> None:
    """Messages that came in the same read as the end of the handshake."""
    for event in protocol.events_received():
        if isinstance(event, Frame):
            transport._take(event)  # noqa: SLF001 - the other half of this module


async def _await_response(pipe: Pipe, protocol: ClientProtocol) -> None:
    while protocol.state is State.CONNECTING:
        data = await pipe.read()
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        if not data:
            raise ProviderUnreachable("the peer closed the connection during the handshake", recovery="reopen")


async def _await_request(pipe: Pipe, protocol: ServerProtocol) -> Request:
    while True:
        data = await pipe.read()
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        if protocol.handshake_exc is not None:
            raise WireError(f"no WebSocket handshake: {protocol.handshake_exc}", recovery="fatal")
        for event in protocol.events_received():
            if isinstance(event, Request):
                return event
        if not data:
            raise WireError("the peer left during the handshake", recovery="fatal")


def _translate(error: BaseException) -> NoReturn:
    match error:
        case InvalidStatus(response=response):
            raise ProviderRefused(_refusal(response), status=response.status_code, recovery="fatal") from error
        case InvalidURI():
            raise ProviderUnreachable(f"not a WebSocket address: {error}", recovery="fatal") from error
        case InvalidHandshake() | InvalidMessage():
            raise ProviderUnreachable(f"the peer does not speak WebSocket: {error}", recovery="fatal") from error
        case trio.BrokenResourceError() | trio.ClosedResourceError():
            reason = str(error) or "reset"
            raise ProviderUnreachable(f"the connection broke in the handshake: {reason}", recovery="reopen") from error
        case _:
            raise error


def _refusal(response: Response) -> str:
    body = bytes(response.body or b"")[:300].decode(errors="replace").strip()
    where = response.headers.get("Location")
    redirect = f"; it points to {where}, and redirects are not followed" if where else ""
    return (
        f"the handshake was refused with HTTP {response.status_code} {response.reason_phrase}{redirect}. {body}".strip()
    )
