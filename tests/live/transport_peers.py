"""The far ends of a transport under test, and the links between: a conversation of two, over memory or loopback."""

import ssl
from contextlib import asynccontextmanager
from functools import cache

import trio
import trio.testing
import trio_websocket
import trustme
from websockets.frames import Close, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from mob.live.outbox import Message, Outbox
from mob.live.ports import ChannelLimits
from mob.live.transport import TransportClosed, TransportStatistics, open_websocket

URL = "ws://127.0.0.1/v1/realtime?model=m"
TLS_URL = "wss://127.0.0.1/v1/realtime?model=m"
LARGE = 16 * 1024 * 1024


class TrioWebSocketPeer:
    """A server end by trio-websocket (wsproto)."""

    def __init__(self, nursery, stream, *, subprotocol=None):
        self.nursery, self.stream, self.subprotocol = nursery, stream, subprotocol
        self.ready = trio.Event()

    async def accept(self):
        request = await trio_websocket.wrap_server_stream(self.nursery, self.stream)
        self.path, self.headers = request.path, dict(request.headers)
        self.connection = await request.accept(subprotocol=self.subprotocol)
        self.connection._max_message_size = LARGE
        self.ready.set()

    async def get(self):
        return await self.connection.get_message()

    async def send(self, message):
        await self.connection.send_message(message)

    async def ping(self):
        await self.connection.ping(b"are you there")

    async def close(self, code, reason):
        await self.connection.aclose(code, reason)

    async def wait_closed(self):
        """The close code and reason that this end was told."""
        try:
            await self.connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            return (closed.reason.code, closed.reason.reason) if closed.reason else (1006, "")
        raise AssertionError("a message came instead of the end")

    async def vanish(self):
        await trio.aclose_forcefully(self.stream)

    async def aclose(self):
        await self.vanish()


class SansIoPeer:
    """A server end by the sans-io protocol of websockets, whose bytes a test can also write by hand."""

    def __init__(self, nursery, stream, *, subprotocol=None):
        self.nursery, self.stream = nursery, stream
        self.protocol = ServerProtocol(max_size=LARGE, subprotocols=[subprotocol] if subprotocol else None)
        self.ready = trio.Event()
        self.frames = []

    async def accept(self):
        while self.protocol.state is State.CONNECTING:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError
            self.protocol.receive_data(data)
            for request in self.protocol.events_received():
                self.path, self.headers = request.path, {k.lower(): v for k, v in request.headers.raw_items()}
                self.protocol.send_response(self.protocol.accept(request))
        await self.flush()
        self.ready.set()

    async def flush(self):
        data = b"".join(self.protocol.data_to_send())
        if data:
            await self.stream.send_all(data)

    async def frame(self):
        """The next frame, or None at the end of the stream."""
        while not self.frames:
            data = await self.stream.receive_some(65536)
            if not data:
                self.protocol.receive_eof()
                return None
            self.protocol.receive_data(data)
            self.frames += self.protocol.events_received()
            await self.flush()
        return self.frames.pop(0)

    async def get(self):
        while True:
            frame = await self.frame()
            assert frame is not None, "the stream ended"
            if frame.opcode is Opcode.TEXT:
                return bytes(frame.data).decode()
            if frame.opcode is Opcode.BINARY:
                return bytes(frame.data)

    async def send(self, message):
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self.flush()

    async def ping(self):
        self.protocol.send_ping(b"are you there")
        await self.flush()
        frame = await self.frame()
        assert (frame.opcode, bytes(frame.data)) == (Opcode.PONG, b"are you there")

    async def close(self, code, reason):
        self.protocol.send_close(code, reason)
        await self.flush()
        while (frame := await self.frame()) is not None and frame.opcode is not Opcode.CLOSE:
            pass
        await self.stream.aclose()

    async def wait_closed(self):
        while (frame := await self.frame()) is not None:
            if frame.opcode is Opcode.CLOSE:
                close = Close.parse(bytes(frame.data))
                await trio.aclose_forcefully(self.stream)
                return close.code, close.reason
        return 1006, ""

    async def vanish(self):
        await trio.aclose_forcefully(self.stream)

    async def aclose(self):
        await self.vanish()


class TrioWebSocketDriver:
    """A second driver of the Transport port, by trio-websocket: what the suite demands is no quirk of ours."""

    def __init__(self, connection, stream, limits):
        self._connection, self._stream, self._limits = connection, stream, limits
        self._outbox = Outbox(limits)
        self._work = trio.Event()
        self._leaving = self._aborted = None
        self.last_received = trio.current_time()
        self._in = self._out = self._bytes_in = self._pings = 0

    @property
    def subprotocol(self):
        return self._connection.subprotocol

    async def receive(self):
        if self._aborted:
            await trio.lowlevel.checkpoint()
            raise TransportClosed(1006, self._aborted, by="local")
        try:
            message = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise self._closed(closed.reason) from None
        self.last_received = trio.current_time()
        self._in += 1
        self._bytes_in += len(message)
        return [message]

    def _closed(self, reason):
        if self._aborted:
            return TransportClosed(1006, self._aborted, by="local")
        if self._leaving:
            return TransportClosed(*self._leaving, by="local")
        if reason is None or reason.code == 1006:
            return TransportClosed(1006, "lost", by="network")
        return TransportClosed(reason.code, reason.reason or "", by="peer")

    def send_nowait(self, message, *, audio=False):
        if self._connection.closed or self._leaving or self._aborted:
            raise self._closed(self._connection.closed)
        self._out += 1
        text = isinstance(message, str)
        self._outbox.put(Message(message.encode() if text else message, text, audio))
        if self._outbox.overflow:
            self.abort(self._outbox.overflow)
        self._work.set()

    def ping_nowait(self):
        self._pings += 1
        self._work.set()

    async def run_writer(self):
        while True:
            for message in self._outbox.take(1):
                await self._write(
                    self._connection.send_message(message.payload.decode() if message.text else message.payload)
                )
            if self._pings:
                self._pings -= 1
                await self._write(self._connection.ping())
                self.last_received = trio.current_time()
            if not self._outbox and not self._pings:
                self._work = trio.Event()
                await self._work.wait()

    async def _write(self, sending):
        try:
            await sending
        except trio_websocket.ConnectionClosed:
            self._outbox.clear()

    def abort(self, reason):
        self._aborted = self._aborted or reason
        self._stream.socket.close() if hasattr(self._stream, "socket") else _cut(self._stream)

    async def aclose(self, code=1000, reason=""):
        self._leaving = self._leaving or (code, reason)
        with trio.move_on_after(self._limits.close_timeout_s):
            while self._outbox and not self._aborted and not self._connection.closed:
                await trio.lowlevel.checkpoint()
            await self._connection.aclose(code, reason)
        await trio.aclose_forcefully(self._stream)

    def statistics(self):
        return TransportStatistics(
            messages_in=self._in,
            messages_out=self._out,
            bytes_in=self._bytes_in,
            bytes_out=0,
            reads=self._in,
            writes=self._out,
            pings_in=0,
            audio_dropped=self._outbox.dropped,
            audio_bytes_dropped=self._outbox.dropped_bytes,
            audio_bytes_waiting=self._outbox.audio_bytes,
            control_frames_waiting=self._outbox.control_frames,
            last_received=self.last_received,
            closed=bool(self._connection.closed or self._aborted or self._leaving),
        )


def _cut(stream):
    for half in (stream.send_stream, stream.receive_stream):
        half.close()


async def open_ours(nursery, stream, *, limits, tls, subprotocols):
    return await open_websocket(
        stream, TLS_URL if tls else URL, headers={"x-from": "mob"}, limits=limits, tls=tls, subprotocols=subprotocols
    )


async def open_trio_websocket(nursery, stream, *, limits, tls, subprotocols):
    raw = stream
    if tls:
        stream = trio.SSLStream(stream, tls, server_hostname="127.0.0.1", https_compatible=True)
    connection = await trio_websocket.wrap_client_stream(
        nursery,
        stream,
        "127.0.0.1",
        "/v1/realtime?model=m",
        subprotocols=subprotocols,
        extra_headers=[(b"x-from", b"mob")],
    )
    connection._max_message_size = limits.max_frame_bytes
    return TrioWebSocketDriver(connection, raw, limits)


async def memory_link():
    await trio.lowlevel.checkpoint()
    ours, theirs = trio.testing.memory_stream_pair()
    return ours, theirs, None


async def socket_link():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.testing.open_stream_to_socket_listener(listener)
        theirs = await listener.accept()
    return ours, theirs, None


async def tls_link():
    ours, theirs, _ = await socket_link()
    server, client = contexts()
    return ours, trio.SSLStream(theirs, server, server_side=True, https_compatible=True), client


@cache
def contexts():
    """TLS for both ends, by an authority that only the test knows."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


LINKS = {"memory": memory_link, "socket": socket_link, "tls": tls_link}
DRIVERS = {"ours": open_ours, "trio-websocket": open_trio_websocket}
PEERS = {"trio-websocket": TrioWebSocketPeer, "websockets": SansIoPeer}


@asynccontextmanager
async def conversation(driver="ours", link="memory", peer="websockets", *, limits=None, subprotocol=None, writer=True):
    """An open transport and the peer at its other end, its writer running."""
    async with trio.open_nursery() as nursery:
        ours, theirs, tls = await LINKS[link]()
        far = PEERS[peer](nursery, theirs, subprotocol=subprotocol)
        nursery.start_soon(far.accept)
        offered = ["other", subprotocol] if subprotocol else []
        limits = limits or ChannelLimits()
        near = await DRIVERS[driver](nursery, ours, limits=limits, tls=tls, subprotocols=offered)
        if writer:
            nursery.start_soon(near.run_writer)
        await far.ready.wait()
        try:
            yield near, far
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await far.aclose()
                await near.aclose()
            nursery.cancel_scope.cancel()
