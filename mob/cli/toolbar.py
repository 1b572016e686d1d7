"""What stands below the prompt: the words being said now, and the strip of members. Pure.

The words are those of the floor holder. What was heard stands plain, what was not yet is dim, and once the answer is
cut the rest is struck through. A long answer shows the lines around the place where the voice is.
"""

from __future__ import annotations

from mob.cli.fold import spans, visible
from mob.cli.style import Style, dollars
from mob.cli.view import MemberView, RunView

_WORD_LINES = 3
_GAP = "   "

_MARKS = {
    "idle": "○", "listening": "◔", "thinking": "◌", "speaking": "●", "tool": "◆",
    "connecting": "…", "restarting": "↻", "retired": "–", "failed": "✗",
}  # fmt: skip


def toolbar(view: RunView, style: Style, width: int) -> str:
    """The lines below the prompt, in a window of `width` columns."""
    holder = None if view.floor is None else view.members.get(view.floor)
    words = [] if holder is None else _words(holder, style, width)
    return "\n".join([*words, *_strip(view, style, width)])


def _words(row: MemberView, style: Style, width: int) -> list[str]:
    heard, rest = row.words
    text = " ".join(f"{heard}{rest}".split("\n"))
    if not text.strip():
        return []
    label = f"{row.identity}: "
    lines = spans(text, width, first=len(label))
    at = next((number for number, (_, end) in enumerate(lines) if end >= len(heard)), 0)
    first = max(0, min(at - 1, len(lines) - _WORD_LINES))
    unheard = style.struck if row.cut else style.faint
    shown = [
        text[start : max(start, min(end, len(heard)))] + unheard(text[max(start, min(end, len(heard))) : end])
        for start, end in lines[first : first + _WORD_LINES]
    ]
    if first == 0:
        shown[0] = f"{style.member(row.identity)}: {shown[0]}"
    return shown


def _strip(view: RunView, style: Style, width: int) -> list[str]:
    entries = [_entry(row, view.floor, style) for row in view.members.values()]
    if view.cost_usd is not None:
        entries.append(dollars(view.cost_usd))
    lines: list[str] = []
    for entry in entries:
        if lines and len(visible(lines[-1] + _GAP + entry)) <= width:
            lines[-1] += _GAP + entry
        else:
            lines.append(entry)
    return lines


def _entry(row: MemberView, floor: str | None, style: Style) -> str:
    name = style.member(row.identity) if row.identity == floor else row.identity
    live = "▮" if row.live else "▯"
    return f"{_MARKS.get(row.state, '·')}{live} {name} {row.state}"
