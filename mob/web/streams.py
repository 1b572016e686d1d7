"""Bytes under the protocols: looking at a request's head before choosing who reads it, and cutting a line hard."""

from __future__ import annotations

import socket
import struct

import trio
from attrs import field, frozen

from mob.web.http import IDLE_S, MAX_HEAD_BYTES, parse_query

_READ_BYTES = 16 * 1024


class ReplayedStream(trio.abc.Stream):
    """A stream some of whose bytes were read already: they come first again."""

    def __init__(self, stream: trio.abc.Stream, seen: bytes) -> None:
        self._stream = stream
        self._seen = seen

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What was read already, then what comes."""
        if not self._seen:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        count = len(self._seen) if max_bytes is None else max_bytes
        data, self._seen = self._seen[:count], self._seen[count:]
        return data

    def release(self) -> tuple[trio.abc.Stream, bytes]:
        """The stream below, and what was read of it and is still to come; this object is of no use afterwards."""
        seen, self._seen = self._seen, b""
        return self._stream, seen

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream below."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As the stream below."""
        await self._stream.aclose()


@frozen(slots=True)
class Head:
    """The first lines of a request, read leniently: enough to see where it wants to go."""

    target: str
    headers: dict[str, str] = field(repr=False)

    @property
    def is_upgrade(self) -> bool:
        """Whether a WebSocket is asked for."""
        return "websocket" in self.headers.get("upgrade", "").casefold()

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the first of each."""
        return parse_query(self.target)


async def read_head(stream: trio.abc.Stream, *, within_s: float = IDLE_S) -> tuple[Head | None, ReplayedStream]:
    """The head, and the stream with nothing taken from it. None when there was none within bounds."""
    seen = b""
    with trio.move_on_after(within_s):
        while b"\r\n\r\n" not in seen and len(seen) <= MAX_HEAD_BYTES:
            data = await stream.receive_some(_READ_BYTES)
            if not data:
                break
            seen += data
    return _parse_head(seen), ReplayedStream(stream, seen)


def _parse_head(seen: bytes) -> Head | None:
    head, found, _ = seen.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if not found or len(words) < 2:
        return None
    fields = (line.partition(":") for line in lines[1:])
    return Head(words[1], {name.strip().casefold(): value.strip() for name, _, value in fields})


async def reset(stream: trio.abc.Stream) -> None:
    """Cut the line: a TCP connection is reset, so that the peer sees an error and no orderly end."""
    if isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)
