"""Names: what profiles, members and tools may be called, the names of the tools that routes make, and near misses."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable

from mob.values import Via

ROUTE_PREFIXES: dict[Via, str] = {"ask": "ask_", "tell": "tell_", "hand_off": "hand_off_to_"}
"""A route from A to B by `via` becomes a tool of A's that is called by this prefix and B's identity."""

MAX_TOOL_NAME = 64  # OpenAI's limit for a function's name, and the strictest one known
MAX_MEMBER_NAME = MAX_TOOL_NAME - max(len(prefix) for prefix in ROUTE_PREFIXES.values())

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TOOL = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_GUESS = 64
_MOST_GUESSED = 300
"""Comparing words is slow: of more names than that the first are looked at."""


def name_fault(kind: str, name: str) -> str | None:
    """What is wrong with the name of a profile, member or tool, as a sentence; None when it is good."""
    longest = MAX_TOOL_NAME if kind == "tool" else MAX_MEMBER_NAME
    if kind == "tool" and not _TOOL.fullmatch(name):
        return "A tool's name is made of letters, digits, _ and -, because that is what models accept."
    if kind != "tool" and not _NAME.fullmatch(name):
        return f"A {kind}'s name begins with a letter or _ and goes on with letters, digits, _ and -."
    if len(name) > longest:
        return f"A {kind}'s name has at most {longest} characters."
    return None


def route_tool(via: Via, member: str) -> str:
    """The name of the tool by which a route reaches `member`."""
    return ROUTE_PREFIXES[via] + member


def alike(name: str) -> str:
    """The form in which two names that a model would mix up are the same."""
    return name.casefold().replace("-", "_")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that the author probably meant, or None."""
    if len(word) > _LONGEST_GUESS:
        return None
    by_form = {alike(name): name for name in itertools.islice(known, _MOST_GUESSED)}
    matches = difflib.get_close_matches(alike(word), by_form, n=1, cutoff=0.7)
    return by_form[matches[0]] if matches else None
