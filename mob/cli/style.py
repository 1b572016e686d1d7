"""Colour and emphasis for a terminal, and nothing at all when there is no terminal (or NO_COLOR is set)."""

from __future__ import annotations

import os
import sys
import zlib

from attrs import frozen

_MEMBER_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)


@frozen(slots=True)
class Style:
    """Wraps text in ANSI attributes, or leaves it alone when `on` is False."""

    on: bool

    @classmethod
    def for_stdout(cls) -> Style:
        """On when stdout is a terminal that may show colour (https://no-color.org)."""
        return cls(on=sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb")

    def _wrap(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text

    def bold(self, text: str) -> str:
        """For what one looks for."""
        return self._wrap(text, "1")

    def faint(self, text: str) -> str:
        """For what one may skip."""
        return self._wrap(text, "2")

    def red(self, text: str) -> str:
        """For what failed."""
        return self._wrap(text, "31")

    def unheard(self, text: str) -> str:
        """For words that were generated and never heard: dim and struck through, or ~~between tildes~~."""
        if not text.strip():
            return ""
        return self._wrap(text, "2;9") if self.on else f" ~~{text.strip()}~~"

    def struck(self, text: str) -> str:
        """The same for words that are still on the screen: nothing but attributes."""
        return self._wrap(text, "2;9")

    def member(self, name: str) -> str:
        """The member's name in its own colour, the same in every run."""
        return self._wrap(name, f"1;{_MEMBER_COLOURS[zlib.crc32(name.encode()) % len(_MEMBER_COLOURS)]}")


def dollars(cost: float) -> str:
    """What something cost; never nothing when it was something."""
    return "<$0.0001" if 0 < cost < 0.00005 else f"${cost:.4f}"
