"""Server-sent events, both ways, without I/O (WHATWG HTML, "Server-sent events").

The decoder takes bytes as they come, however they are cut: in the middle of a line ending, of a UTF-8 character, of
a field. Comments and unknown fields are passed over.
"""

from __future__ import annotations

import codecs

from mob.errors import WireError

MAX_EVENT_BYTES = 16 * 1024 * 1024


class SseDecoder:
    """Bytes in, the `data` of each event out."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._buffer = ""
        self._data: list[str] = []
        self._size = 0
        self._begun = False

    def feed(self, data: bytes) -> list[str]:
        """The events that these bytes complete. WireError when one grows past MAX_EVENT_BYTES."""
        self._buffer += self._text.decode(data)
        if not self._begun and self._buffer:
            self._begun = True
            self._buffer = self._buffer.removeprefix("\ufeff")
        lines, self._buffer = _whole_lines(self._buffer)
        self._size += len(data)
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size > MAX_EVENT_BYTES:
            raise WireError(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes", recovery="fatal")
        return events

    def end(self) -> list[str]:
        """The stream ended. What is buffered without its empty line is given too: servers forget it at the end."""
        rest, self._buffer = self._buffer + self._text.decode(b"", final=True), ""
        events = [event for event in (self._line(rest.rstrip("\r")), self._line("")) if event is not None]
        self._size = 0
        return events

    def _line(self, line: str) -> str | None:
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        self._size = len(self._buffer)
        if not self._data:
            return None
        event, self._data = "\n".join(self._data), []
        return event


def _whole_lines(text: str) -> tuple[list[str], str]:
    """The lines that are ended (by CR, LF or CRLF), and the rest. A CR at the very end may be half of a CRLF."""
    held = "\r" if text.endswith("\r") else ""
    body = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
    *lines, rest = body.split("\n")
    return lines, rest + held


def encode_event(data: str) -> bytes:
    """One event. Each line of `data` becomes a field of its own."""
    return "".join(f"data: {line}\n" for line in data.split("\n")).encode() + b"\n"


def encode_comment(text: str) -> bytes:
    """A comment: keeps a connection alive and says nothing."""
    return f": {text}\n\n".encode()
