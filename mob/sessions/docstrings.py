"""What a docstring says: its first paragraph, and a sentence for each parameter (Google's and Sphinx's manner)."""

from __future__ import annotations

import inspect
import re

from attrs import field, frozen

_SECTION = re.compile(r"^(args|arguments|parameters|params):\s*$", re.IGNORECASE)
_OTHER_SECTION = re.compile(r"^[A-Z][A-Za-z ]{2,30}:\s*$")
_GOOGLE = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_SPHINX = re.compile(r"^\s*:(?:param|parameter|arg|argument)\s+(?:[^:]*?\s)?\*{0,2}(\w+):\s*(.*)$")
_SPHINX_OTHER = re.compile(r"^\s*:\w+[^:]*:")


@frozen(slots=True)
class Documentation:
    """A docstring, read. `parameters` maps a parameter's name to what is said of it, on one line."""

    summary: str = ""
    parameters: dict[str, str] = field(factory=dict, hash=False)


def read_docstring(text: str | None) -> Documentation:
    """Read a docstring; whatever has another shape is simply not found in it."""
    if not text:
        return Documentation()
    lines = inspect.cleandoc(text).splitlines()
    return Documentation(_summary(lines), {**_google(lines), **_sphinx(lines)})


def _summary(lines: list[str]) -> str:
    taken: list[str] = []
    for line in lines:
        if not line.strip() or _SECTION.match(line) or _SPHINX_OTHER.match(line):
            break
        taken.append(line.strip())
    return " ".join(taken)


def _google(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    inside, indent, current = False, 0, ""
    for line in lines:
        if _SECTION.match(line):
            inside, indent, current = True, 0, ""
        elif inside and _OTHER_SECTION.match(line):
            inside = False
        elif inside and line.strip():
            entry = _GOOGLE.match(line)
            if entry and (not indent or len(entry[1]) <= indent):
                indent, current = len(entry[1]), entry[2]
                found[current] = [entry[3]]
            elif current and line.startswith(" "):
                found[current].append(line.strip())
            else:
                inside = False
    return {name: " ".join(part for part in parts if part) for name, parts in found.items()}


def _sphinx(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        entry = _SPHINX.match(line)
        if entry:
            current = found[entry[1]] = [entry[2]]
        elif not line.strip() or _SPHINX_OTHER.match(line):
            current = None
        elif current is not None:
            current.append(line.strip())
    return {name: " ".join(part for part in parts if part) for name, parts in found.items()}
