"""Lines that fit a window: broken between words, counted without colour. Pure."""

from __future__ import annotations

import re

_SGR = re.compile(r"\x1b\[[0-9;]*m")
_RESET = "\x1b[0m"
_HANGING = 2


def visible(text: str) -> str:
    """The text without its colours."""
    return _SGR.sub("", text)


def spans(text: str, width: int, first: int = 0) -> list[tuple[int, int]]:
    """Where each line of `text` begins and ends: as many words as fit `width`, a longer word broken.

    `first` columns of the first line are taken. The space at a break belongs to no line.
    """
    width = max(width, 1)
    lines: list[tuple[int, int]] = []
    start, room = 0, max(width - first, 1)
    while len(text) - start > room:
        space = text.rfind(" ", start, start + room + 1)
        end = space if space > start else start + room
        lines.append((start, end))
        start = end + (space > start)
        room = width
    return [*lines, (start, len(text))]


def fold(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns; what goes on stands two columns further in, in the same colour."""
    return "\n".join(_fold_line(line, width) for line in text.split("\n"))


def _fold_line(line: str, width: int) -> str:
    plain = visible(line)
    inset = len(plain) - len(plain.lstrip(" ")) + _HANGING
    if len(plain) <= width or width <= 2 * inset:
        return line
    head = spans(plain, width)[0]
    on = head[1] + (plain[head[1]] == " ")
    breaks = [head, *((on + start, on + end) for start, end in spans(plain[on:], width - inset))]
    return _cut(line, breaks, " " * inset)


def _cut(line: str, breaks: list[tuple[int, int]], inset: str) -> str:
    """The coloured line in the pieces that `breaks` names by visible columns."""
    out: list[str] = []
    colour, column, piece = "", 0, 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if _SGR.fullmatch(part):
            colour = "" if part == _RESET else part
            out.append(part)
            continue
        for character in part:
            if piece + 1 < len(breaks) and column == breaks[piece + 1][0]:
                piece += 1
                out.append(f"{_RESET if colour else ''}\n{inset}{colour}")
            if column < breaks[piece][1]:
                out.append(character)
            column += 1
    return "".join(out)
