"""Server-sent events, both ways, without I/O (WHATWG HTML, "Server-sent events").

The decoder takes bytes as they come, however they are cut: in the middle of a line ending, of a UTF-8 character, of
a field. Comments and unknown fields are passed over. Each byte is looked at once, so an endless line costs no more
than its length until it is refused.
"""

from __future__ import annotations

import codecs
import re

from attrs import frozen

from mob.errors import WireError

MAX_EVENT_BYTES = 16 * 1024 * 1024

_LINE_END = re.compile("\r\n|\r|\n")


@frozen(slots=True)
class SseEvent:
    """One event's `data`. `error`: it came in a field named error, as llama.cpp's server writes its faults."""

    data: str
    error: bool = False


class SseDecoder:
    """Bytes in, events out."""

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []
        self._data: list[str] = []
        self._error = False
        self._size = 0
        self._begun = False
        self._after_return = False

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that these bytes complete. WireError when one grows past MAX_EVENT_BYTES."""
        events = self._read(self._text.decode(data))
        if self._size > MAX_EVENT_BYTES:
            raise WireError(f"an event of the stream is larger than {MAX_EVENT_BYTES} bytes", recovery="fatal")
        return events

    def end(self) -> list[SseEvent]:
        """The stream ended. What stands there without its empty line is given too: servers forget it at the end."""
        return self._read(self._text.decode(b"", final=True) + "\n\n")

    def _read(self, text: str) -> list[SseEvent]:
        if not text:
            return []
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        ended_by_return, self._after_return = self._after_return, text.endswith("\r")
        if ended_by_return:
            text = text.removeprefix("\n")  # the other half of a CRLF; the CR has ended the line already
        *lines, rest = _LINE_END.split(text)
        events: list[SseEvent] = []
        for line in lines:
            self._take(line)
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._take(rest)
        return events

    def _take(self, piece: str) -> None:
        if piece:
            self._line.append(piece)
            self._size += len(piece)

    def _end_line(self) -> SseEvent | None:
        line = "".join(self._line)
        self._line.clear()
        if line:
            name, _, value = line.partition(":")
            if name in ("data", "error"):
                self._data.append(value.removeprefix(" "))
                self._error = self._error or name == "error"
            return None
        event = SseEvent("\n".join(self._data), self._error) if self._data else None
        self._data.clear()
        self._error = False
        self._size = 0
        return event


def encode_event(data: str) -> bytes:
    """One event. Each line of `data` becomes a field of its own."""
    return "".join(f"data: {line}\n" for line in data.split("\n")).encode() + b"\n"


def encode_comment(text: str) -> bytes:
    """A comment: keeps a connection alive and says nothing."""
    return f": {text}\n\n".encode()
