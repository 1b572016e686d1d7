"""The WebSocket pump: the sans-io protocol of `websockets` (RFC 6455) driven over a byte pipe.

Theory. Task switches, not frames, are what a channel costs. So there is one wait per wake-up and all else is done
without waiting: `receive` returns every message that one read delivered, and `send_nowait` writes straight to the
socket when nothing waits before it. What the socket does not take waits, and is the writer's:

    send_nowait ──nothing waits──▶ protocol ──▶ pipe.write_now ──all taken──▶ done
         │                                           └──the rest──▶ _pending ◀──┐ 64 KiB at a time, joined
         └──else──▶ outbox (audio drops, control never) ────────────────────────┴── run_writer ──▶ pipe.write_some

    reader:  read ──▶ protocol ──▶ messages to the inbox; the last ping of a read answered; close frames answered

Every step but the two waits (a read, a write) is synchronous, so no two tasks are ever within one. What has left the
outbox is committed: it is sent whole or the connection ends, for half a frame makes all that follows unreadable.

An end is noted once (`_ending`), by whoever notices first; the pipe stays open for our close frame until `aclose`.
The states of the closing handshake are the protocol's own (RFC 6455, 7): `aclose` sends what waits, then the close
frame, then reads until the peer's close frame or the end of the stream, whichever is first, within one time limit.
"""

from __future__ import annotations

import trio
from attrs import frozen
from websockets.frames import Frame, Opcode
from websockets.protocol import Event, Protocol, State

from mob.errors import LiveRejected
from mob.live.outbox import Message, Outbox
from mob.live.pipe import Pipe
from mob.live.ports import ChannelLimits
from mob.live.transport_port import ABNORMAL, EndedBy, TransportClosed, TransportStatistics

_COMMIT_BYTES = 65536
_TASTE_BYTES, _MANY_FRAMES = 8192, 256
"""A read is tasted first: when so little of it is so many frames, others have their turn before the rest is taken."""
_CLOSE_REASON_BYTES = 123


@frozen(slots=True)
class _Ending:
    code: int
    reason: str
    by: EndedBy


class WebSocketTransport:
    """Implements `Transport` over a pipe whose opening handshake is done. `early`: what came along with its end."""

    def __init__(self, pipe: Pipe, protocol: Protocol, limits: ChannelLimits, *, early: list[Event]) -> None:
        self._pipe = pipe
        self._protocol = protocol
        self._limits = limits
        self._outbox = Outbox(limits)
        self._pending: memoryview = memoryview(b"")
        self._pong = self._farewell = b""
        self._inbox: list[str | bytes] = []
        self._unread: memoryview = memoryview(b"")
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._ending: _Ending | None = None
        self._leaving: _Ending | None = None
        self._gone = self._deaf = self._mute = False
        self._reading = self._writing = self._has_writer = False
        self._writer_waits = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()
        self.last_received = trio.current_time()
        self._messages_in = self._messages_out = self._bytes_in = self._bytes_out = 0
        self._reads = self._writes = self._pings_in = 0
        self._digest(early)

    @property
    def subprotocol(self) -> str | None:
        """See Transport.subprotocol."""
        return self._protocol.subprotocol

    def statistics(self) -> TransportStatistics:
        """See Transport.statistics."""
        return TransportStatistics(
            messages_in=self._messages_in,
            messages_out=self._messages_out,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            reads=self._reads,
            writes=self._writes,
            pings_in=self._pings_in,
            audio_dropped=self._outbox.dropped,
            audio_bytes_dropped=self._outbox.dropped_bytes,
            audio_bytes_waiting=self._outbox.audio_bytes,
            control_frames_waiting=self._outbox.control_frames,
            last_received=self.last_received,
            closed=self._ending is not None,
        )

    # Receiving: the only one who reads is the task in `receive`, or `aclose` when there is none.

    async def receive(self) -> list[str | bytes]:
        """See Transport.receive."""
        ending = self._ending or self._leaving
        if self._inbox or ending is not None:
            await trio.lowlevel.checkpoint()
        while not self._inbox:
            if ending is not None:
                raise self._closed(ending)
            await self._read()
            ending = self._ending or self._leaving
        messages, self._inbox = self._inbox, []
        return messages

    async def _read(self) -> None:
        """Wait for one read and digest it; of a flood of tiny frames, piece by piece."""
        self._reading = True
        try:
            if self._unread:
                await trio.lowlevel.checkpoint()
            else:
                self._unread = memoryview(await self._pipe.read())
        except trio.BrokenResourceError as error:
            self._lose(str(error) or "connection reset")
            return
        except trio.ClosedResourceError:
            self._end(ABNORMAL, "closed while it was read", by="local")
            self._deaf = True
            return
        finally:
            self._reading = False
            self._progress.unpark_all()
        if not self._unread:
            self._lose("the stream ended")
            return
        self.last_received = trio.current_time()
        self._reads += 1
        if self._take(_TASTE_BYTES) < _MANY_FRAMES and self._unread and self._ending is None:
            self._take(len(self._unread))

    def _take(self, size: int) -> int:
        """Digest so many bytes of what was read; how many frames there were."""
        data, self._unread = self._unread[:size], self._unread[size:]
        self._bytes_in += len(data)
        self._protocol.receive_data(bytes(data))
        events = self._protocol.events_received()
        self._digest(events)
        return len(events)

    def _digest(self, events: list[Event]) -> None:
        """Take what the protocol made of a read: messages, pings, the beginning or the end of a goodbye."""
        pings = 0
        for frame in events:
            if not isinstance(frame, Frame):
                continue
            opcode = frame.opcode
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY or opcode is Opcode.CONT:
                try:
                    self._assemble(frame)
                except UnicodeDecodeError as error:
                    self._protocol.fail(1007, f"text that is not UTF-8 at byte {error.start}")
                    self._end(1007, f"text that is not UTF-8 at byte {error.start}", by="local")
                    break
            elif opcode is Opcode.PING:
                pings += 1
        self._answer(pings)
        self._notice_goodbye()

    def _assemble(self, frame: Frame) -> None:
        """Append the message that this frame completes, if it does (RFC 6455, 5.4)."""
        data = frame.data
        if frame.opcode is not Opcode.CONT:
            self._fragments_are_text = frame.opcode is Opcode.TEXT
            if not frame.fin:
                self._fragments = bytearray(data)
                return
        elif self._fragments is not None:
            self._fragments += data
            if not frame.fin:
                return
            data, self._fragments = self._fragments, None
        self._inbox.append(str(data, "utf-8") if self._fragments_are_text else bytes(data))
        self._messages_in += 1

    def _answer(self, pings: int) -> None:
        """Send what the protocol answers: one pong for each ping, then a close frame if it comes to that.

        Only the latest ping needs an answer (RFC 6455, 5.5.3), so a flood of them costs one pong a read, and one
        pong of memory when the peer does not read.
        """
        answers = self._protocol.data_to_send()
        self._pings_in += pings
        if pings:
            self._pong = answers[pings - 1]
        if len(answers) > pings:
            self._farewell = b"".join(answers[pings:])
            self._outbox.clear()
        if answers:
            self._push()

    def _notice_goodbye(self) -> None:
        protocol = self._protocol
        if protocol.state is State.OPEN:
            return
        if self._leaving is not None:
            if protocol.close_rcvd is not None:
                self._end(self._leaving.code, self._leaving.reason, by="local")
        elif protocol.close_rcvd is not None:
            self._end(protocol.close_rcvd.code, protocol.close_rcvd.reason, by="peer")
        elif protocol.close_sent is not None:
            # The peer broke the protocol; the close frame that says so (1002, 1007, 1009) is on its way.
            self._end(protocol.close_sent.code, protocol.close_sent.reason, by="local")

    def _lose(self, reason: str) -> None:
        """Nothing more will be read."""
        self._deaf = True
        self._protocol.receive_eof()
        self._end(ABNORMAL, reason, by="network")
        self._go_mute()

    # Sending: every step is synchronous but the wait in `_flush`, which the writer is in, or `aclose`.

    def send_nowait(self, message: str | bytes, *, audio: bool = False) -> None:
        """See Transport.send_nowait."""
        ending = self._ending or self._leaving
        if ending is not None:
            raise self._closed(ending)
        text = isinstance(message, str)
        payload = _utf8(message) if isinstance(message, str) else message
        if len(payload) > self._limits.max_frame_bytes:
            raise LiveRejected(
                f"a message of {len(payload)} bytes is over the limit of {self._limits.max_frame_bytes}",
                reason="too_large",
            )
        self._messages_out += 1
        if self._mute:
            return  # it would go nowhere; the reader is about to find out why
        if self._pending or self._writing or self._outbox or self._pipe.unsent:
            self._outbox.put(Message(payload, text, audio))
            self._writer_waits.unpark_all()
            if self._outbox.overflow is not None:
                self.abort(self._outbox.overflow)
        else:
            self._encode(payload, text=text)
            self._commit(self._protocol.data_to_send())
            self._push()

    @property
    def busy(self) -> bool:
        """See Transport.busy."""
        return self._work()

    async def wait_sent(self) -> None:
        """See Transport.wait_sent. It is the writer who sends."""
        await trio.lowlevel.checkpoint()
        while (ending := self._ending or self._leaving) is None and self._work():
            await self._progress.park()
        if ending is not None:
            raise self._closed(ending)

    def ping_nowait(self) -> None:
        """See Transport.ping_nowait. While something waits to be sent, a pong could not come in time: no ping."""
        if self._ending is None and self._leaving is None and not self._mute and not self._work():
            self._protocol.send_ping(b"")
            self._commit(self._protocol.data_to_send())
            self._push()

    def _encode(self, payload: bytes, *, text: bool) -> None:
        if text:
            self._protocol.send_text(payload)
        else:
            self._protocol.send_binary(payload)

    def _commit(self, frames: list[bytes]) -> None:
        self._pending = memoryview(frames[0] if len(frames) == 1 else b"".join(frames))

    def _work(self) -> bool:
        """Whether something waits to be written."""
        return not self._mute and bool(
            self._pending or self._pong or self._outbox or self._farewell or self._pipe.unsent
        )

    def _fill(self) -> None:
        """When nothing is committed, commit what is next: a pong, 64 KiB of messages, at last our close frame."""
        if self._pending:
            return
        for message in self._outbox.take(_COMMIT_BYTES):
            self._encode(message.payload, text=message.text)
        frames = [self._pong, *self._protocol.data_to_send()]
        self._pong = b""
        if not self._outbox:
            frames.append(self._farewell)
            self._farewell = b""
        self._commit(frames)

    def _push(self) -> None:
        """Write what can be written without waiting; the rest is the writer's."""
        if self._writing or self._mute:
            return
        self._fill()
        try:
            self._sent(self._pipe.write_now(self._pending))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._go_mute()
        if self._work():
            self._writer_waits.unpark_all()

    async def _flush(self) -> None:
        """Wait for the pipe to take some of what waits."""
        self._fill()
        self._writing = True
        try:
            self._sent(await self._pipe.write_some(self._pending))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._go_mute()
        except trio.Cancelled:
            self.abort("a write was cancelled, and may have ended in the middle of a message")
            raise
        finally:
            self._writing = False
            self._progress.unpark_all()

    def _sent(self, size: int) -> None:
        if size:
            self._writes += 1
            self._bytes_out += size
            self._pending = self._pending[size:]

    def _go_mute(self) -> None:
        """Nothing can be written any more. Why, the reader will be told, after what the peer said last."""
        self._mute = True
        self._pending = memoryview(b"")
        self._pong = self._farewell = b""
        self._outbox.clear()

    async def run_writer(self) -> None:
        """See Transport.run_writer."""
        if self._has_writer:
            raise trio.BusyResourceError("this transport has a writer already")
        self._has_writer = True
        try:
            while not self._gone:
                if self._work() and not self._writing:
                    # Cancelled before a write has begun, nothing is torn: `aclose` can still say goodbye.
                    await trio.lowlevel.checkpoint_if_cancelled()
                    await self._flush()
                else:
                    await self._writer_waits.park()
        finally:
            self._has_writer = False
            self._progress.unpark_all()

    # Ending.

    def abort(self, reason: str) -> None:
        """See Transport.abort."""
        self._end(ABNORMAL, reason, by="local")
        self._gone = self._deaf = True
        self._go_mute()
        self._pipe.close_now()
        self._writer_waits.unpark_all()
        self._progress.unpark_all()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """See Transport.aclose."""
        try:
            if not self._gone:
                with trio.move_on_after(self._limits.close_timeout_s):
                    await self._say_goodbye(code, reason)
        finally:
            self._leaving = self._leaving or _Ending(code, reason, "local")
            self._end(self._leaving.code, self._leaving.reason, by="local")
            self.abort("closed")
            await self._pipe.aclose()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._ending is None and self._leaving is None:
            self._leaving = _Ending(code, reason, "local")
            self._outbox.drop_audio()
            await self._drain_out()
            if self._protocol.state is State.OPEN and not self._mute:
                self._protocol.send_close(code, _cut(reason))
                self._farewell = b"".join(self._protocol.data_to_send())
        await self._drain_out()
        if self._protocol.eof_sent and not self._mute:
            # Ours to hang up first (RFC 6455, 7.1.1): a client waits for that after the close frames.
            try:
                await self._pipe.write_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the peer has hung up already
        while not self._deaf and not self._both_said_goodbye():
            if self._reading:
                await self._progress.park()
            else:
                await self._read()
                self._inbox.clear()

    def _both_said_goodbye(self) -> bool:
        return self._protocol.close_rcvd is not None and self._protocol.close_sent is not None

    async def _drain_out(self) -> None:
        while self._work():
            if self._has_writer:
                self._writer_waits.unpark_all()
                await self._progress.park()
            else:
                await self._flush()

    def _end(self, code: int, reason: str, *, by: EndedBy) -> None:
        if self._ending is None:
            self._ending = _Ending(code, reason, by)

    @staticmethod
    def _closed(ending: _Ending) -> TransportClosed:
        return TransportClosed(ending.code, ending.reason, by=ending.by)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LiveRejected(
            f"there is half a surrogate pair at character {error.start} of the text",
            reason="wrong_format",
        ) from error


def _cut(reason: str) -> str:
    """What of it fits into a close frame (RFC 6455, 5.5)."""
    return reason.encode(errors="replace")[:_CLOSE_REASON_BYTES].decode(errors="ignore")
