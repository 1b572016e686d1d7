"""Where each key of a TOML text stands: key path to line and column.

No TOML parser tells the position of a valid value, and a finding such as "no such profile" needs one. So this scans
the text once more, only when there is something to report. It relies on the text being valid (tomli has read it) and
therefore only has to find the ends of things: keys, strings, the rest up to a delimiter.

Theory. A statement is a header `[a.b]`, an array header `[[a.b]]`, or `key = value`. The base path is set by the last
header; where the path runs through an array of tables, the table last begun is meant. Values are walked with a stack
of open brackets instead of recursion, because nesting is under the author's control and Python's stack is not. Below
`MAX_DEPTH` nothing is recorded; a path's position is then that of its nearest recorded ancestor.
"""

from __future__ import annotations

import re
from bisect import bisect_right

import tomli
from attrs import define, field

Path = tuple[str | int, ...]

MAX_DEPTH = 64

_GAP = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*+")
_BLANK = re.compile(r"[ \t]*+")
_KEY = re.compile(r"[A-Za-z0-9_-]++|\"(?:[^\"\\\n]++|\\.)*+\"|'[^'\n]*+'|[^\s.=\]\[\"'#{},]++")
_STRING = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)
# A date and a time may be parted by a space, which ends every other bare value.
_BARE = re.compile(r"\d{4}-\d\d-\d\d [\d:][^\s,\]}#]*+|[^\s,\]}#]++")


class Positions:
    """The index of one text. `of(path)` gives (line, column), both from 1."""

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.offsets: dict[Path, int] = _Scanner(text).scan()

    def of(self, path: Path) -> tuple[int, int]:
        """Where this path stands, or else its nearest ancestor that stands anywhere; (0, 0) for none."""
        for length in range(len(path), 0, -1):
            offset = self.offsets.get(path[:length])
            if offset is not None:
                return self.at(offset)
        return 0, 0

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1


@define(slots=True)
class _Open:
    """A bracket that is not closed yet: its path (None below the recorded depth), and the index of the next item."""

    path: Path | None
    closer: str
    count: int = 0


@define(slots=True)
class _Scanner:
    text: str
    offsets: dict[Path, int] = field(factory=dict)
    arrays: dict[Path, int] = field(factory=dict)

    def scan(self) -> dict[Path, int]:
        base: Path | None = ()
        position = self._skip(_GAP, 0)
        while position < len(self.text):
            if self.text[position] == "[":
                base, position = self._header(position)
            else:
                path, position = self._key(position, base)
                position = self._value(position, path)
            position = self._skip(_GAP, position)
        return self.offsets

    def _skip(self, pattern: re.Pattern[str], position: int) -> int:
        match = pattern.match(self.text, position)
        return match.end() if match else position

    def _key_parts(self, position: int) -> tuple[list[str], int]:
        """The parts of a dotted key, and the position behind it and any blanks."""
        parts: list[str] = []
        while True:
            match = _KEY.match(self.text, self._skip(_BLANK, position))
            if match is None:  # not reached for valid TOML; go on behind the character rather than for ever
                return parts, position + 1
            parts.append(_unquoted(match.group()))
            position = self._skip(_BLANK, match.end())
            if not self.text.startswith(".", position):
                return parts, position
            position += 1

    def _header(self, start: int) -> tuple[Path | None, int]:
        """Record `[a.b]` or `[[a.b]]`; returns the path it opens and the position behind it."""
        brackets = 2 if self.text.startswith("[[", start) else 1
        parts, position = self._key_parts(start + brackets)
        position += brackets
        if len(parts) >= MAX_DEPTH // 2:  # each part may bring an index with it
            return None, position
        path: Path = ()
        for part in parts[:-1]:
            path = (*path, part)
            self.offsets.setdefault(path, start)
            if path in self.arrays:
                path = (*path, self.arrays[path] - 1)
        path = (*path, *parts[-1:])
        if brackets == 1:
            # A header of its own is a better place for a table than a longer header that implied it.
            self.offsets[path] = start
            return path, position
        self.offsets.setdefault(path, start)
        index = self.arrays.get(path, 0)
        self.arrays[path] = index + 1
        path = (*path, index)
        self.offsets[path] = start
        return path, position

    def _key(self, start: int, base: Path | None) -> tuple[Path | None, int]:
        """Record the key at `start`; returns its path and the position of its value."""
        parts, position = self._key_parts(start)
        path = base
        for part in parts:
            if path is None or len(path) >= MAX_DEPTH:
                path = None
                break
            path = (*path, part)
            self.offsets.setdefault(path, start)
        return path, self._skip(_BLANK, position + 1)

    def _value(self, position: int, path: Path | None) -> int:
        """Walk over a value; returns the position behind it."""
        stack: list[_Open] = []
        while True:
            position = self._begin(position, path, stack)
            position = self._close(position, stack)
            if not stack or position >= len(self.text):
                return position
            position, path = self._next_item(position, stack[-1])

    def _begin(self, position: int, path: Path | None, stack: list[_Open]) -> int:
        """Step over a scalar, or open a bracket."""
        closer = {"[": "]", "{": "}"}.get(self.text[position : position + 1])
        if closer is not None:
            stack.append(_Open(path, closer))
            return position + 1
        match = _STRING.match(self.text, position) or _BARE.match(self.text, position)
        return match.end() if match else position + 1

    def _close(self, position: int, stack: list[_Open]) -> int:
        """Close what closes here; returns where the next item of the innermost open bracket begins."""
        while stack:
            position = self._skip(_GAP, position)
            if self.text.startswith(",", position):
                position = self._skip(_GAP, position + 1)
            if not self.text.startswith(stack[-1].closer, position):
                return position
            stack.pop()
            position += 1
        return position

    def _next_item(self, position: int, bracket: _Open) -> tuple[int, Path | None]:
        if bracket.closer == "}":
            path, position = self._key(position, bracket.path)
            return position, path
        path = None
        if bracket.path is not None and len(bracket.path) < MAX_DEPTH:
            path = (*bracket.path, bracket.count)
            self.offsets[path] = position
        bracket.count += 1
        return position, path


def _unquoted(part: str) -> str:
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return str(next(iter(tomli.loads(f"{part} = 0"))))
    return part
