"""Collects what there is to say about a team file, and puts it in the file's order at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable

import tomli
from attrs import define, field, frozen

from mob.definition.findings import CODES, Finding, Severity
from mob.definition.names import nearest
from mob.definition.positions import Path, Positions

MAX_FINDINGS = 200
"""How many findings are shown; a hostile file must not cost more than it is worth."""
_LONGEST_MESSAGE = 1000
_LONGEST_PART = 80


@frozen(slots=True)
class _Entry:
    severity: Severity
    code: str
    message: str
    path: Path
    word: str | None
    known: tuple[str, ...]


@define(slots=True)
class Report:
    """What was found so far. Positions and near misses are worked out only in `findings`, for what is shown."""

    entries: list[_Entry] = field(factory=list)
    _failed: set[Path] = field(factory=set)
    """Every path that has an error at it or under it."""

    def error(self, code: str, message: str, path: Path, *, word: str | None = None, known: Iterable[str] = ()) -> None:
        """The file cannot be used. `word` is the name that is wrong, `known` what it might have been meant to be."""
        self._add("error", code, message, path, word, known)

    def warn(self, code: str, message: str, path: Path, *, word: str | None = None, known: Iterable[str] = ()) -> None:
        """Worth knowing; the file can be used."""
        self._add("warning", code, message, path, word, known)

    def failed(self, *prefixes: Path) -> bool:
        """Whether there is an error at or under one of these paths; without any, whether there is one at all."""
        return any(prefix in self._failed for prefix in prefixes or ((),))

    def findings(self, text: str | None) -> tuple[Finding, ...]:
        """All of it in the file's order, errors kept before warnings where there are too many to show.

        `text` None: there is no text with lines; what was found stands in the order in which it was found.
        """
        if not self.entries:
            return ()
        shown = sorted(self.entries, key=lambda entry: entry.severity == "warning")[:MAX_FINDINGS]
        place = Positions(text).of if text is not None else lambda _path: (0, 0)
        placed = sorted(((place(entry.path), entry) for entry in shown), key=lambda pair: pair[0])
        found = [_finding(entry, *position) for position, entry in placed]
        if len(self.entries) > len(shown):
            message = f"{len(self.entries) - len(shown)} more are not shown; mend these first."
            found.append(Finding("warning", "too_many_findings", message))
        return tuple(found)

    def _add(
        self, severity: Severity, code: str, message: str, path: Path, word: str | None, known: Iterable[str]
    ) -> None:
        if code not in CODES:
            raise AssertionError(f"{code} is not in the list of codes")
        if severity == "error":
            self._failed.update(path[:length] for length in range(len(path) + 1))
        shown = message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
        self.entries.append(_Entry(severity, code, shown, path, word, tuple(known)))


def _finding(entry: _Entry, line: int, column: int) -> Finding:
    near = nearest(entry.word, entry.known) if entry.word is not None else None
    return Finding(entry.severity, entry.code, entry.message, dotted(entry.path), line, column, near)


def dotted(path: Path) -> str:
    """A key path as it is written: `profiles.host.model`, `wiring.routes[0].to`, `models."gpt-5.5"`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
            continue
        plain = len(part) <= _LONGEST_PART and re.fullmatch(r"[A-Za-z0-9_-]+", part)
        out += ("." if out else "") + (part if plain else f'"{_escaped(part)}"')
    return out


def _escaped(part: str) -> str:
    shown = part if len(part) <= _LONGEST_PART else part[:_LONGEST_PART] + "…"
    return shown.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def syntax_finding(error: tomli.TOMLDecodeError) -> Finding:
    """What tomli says, with its line and column."""
    advice = " Every text stands in quotes." if error.msg == "Invalid value" else ""
    return Finding("error", "toml_syntax", f"This is not TOML: {error.msg}.{advice}", "", error.lineno, error.colno)
