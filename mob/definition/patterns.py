"""When a rehearsal rule matches: words, or a pattern between slashes.

Patterns come from a file, and a backtracking engine can be made to hang by one (`/(a+)+b/`). So the pattern is
compiled to a set of states that are all walked at once (Thompson's construction): time is at most text length times
pattern length, whatever is written. The language is the regular part of what Python's `re` has:

    abc   .   [a-z]   [^a-z]   \\d \\w \\s \\D \\W \\S   \\b   ^ $   (…) (?:…)   |   * + ? {n} {n,} {n,m}

Case is ignored, and the pattern may match anywhere in the text.

A program is a list of steps: `("char", test)` consumes a character, `("split", a, b)` goes both ways, `("jump", a)`,
`("at", where)` passes at an edge, `("match",)`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn

from attrs import define, field

MAX_PATTERN = 500
MAX_STEPS = 4000
_MAX_GROUPS = 50

Matcher = Callable[[str], bool]
Step = tuple[Any, ...]
_WORD = re.compile(r"\w+")


class PatternError(ValueError):
    """The pattern cannot be read. `offset` counts characters from the opening slash."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@functools.lru_cache(maxsize=1024)
def matcher(when: str) -> Matcher:
    """What decides whether a text matches `when`. PatternError for a pattern that cannot be read."""
    if len(when) >= 2 and when.startswith("/") and when.endswith("/"):
        program = _Compiler(when[1:-1]).program()
        return lambda text: _run(program, text)
    wanted = frozenset(_words(when))
    return lambda text: wanted.issubset(_words(text))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _folded(text: str) -> str:
    """The text without case, character for character: those that would become two are left alone."""
    return "".join(low if len(low := char.casefold()) == 1 else char for char in text)


def _run(program: list[Step], text: str) -> bool:
    text = _folded(text)
    current: set[int] = set()
    for position in range(len(text) + 1):
        current = _reachable(program, {0, *current}, text, position)
        if any(program[step][0] == "match" for step in current):
            return True
        if position < len(text):
            char = text[position]
            current = {step + 1 for step in current if program[step][0] == "char" and program[step][1](char)}
    return False


def _reachable(program: list[Step], starts: set[int], text: str, position: int) -> set[int]:
    """The consuming steps that can be come to from `starts` without consuming."""
    seen: set[int] = set()
    waiting = list(starts)
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        step = program[index]
        if step[0] in ("split", "jump"):
            waiting.extend(step[1:])
        elif step[0] == "at" and step[1](text, position):
            waiting.append(index + 1)
    return seen


def _at_word_edge(text: str, position: int) -> bool:
    def is_word(index: int) -> bool:
        return 0 <= index < len(text) and (text[index].isalnum() or text[index] == "_")

    return is_word(position - 1) != is_word(position)


_EDGES: dict[str, Callable[[str, int], bool]] = {
    "^": lambda _, position: position == 0,
    "$": lambda text, position: position == len(text),
}
_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
    "D": lambda char: not char.isdecimal(),
    "W": lambda char: not (char.isalnum() or char == "_"),
    "S": lambda char: not char.isspace(),
}
_ESCAPES = {"n": "\n", "t": "\t"}
_REPEAT = re.compile(r"\{(\d{1,3})(?:(,)(\d{1,3})?)?\}")


@define(slots=True)
class _Compiler:
    """Reads a pattern by recursive descent; groups are bounded, and so is the recursion."""

    source: str
    position: int = 0
    groups: int = field(default=0)

    def program(self) -> list[Step]:
        if len(self.source) > MAX_PATTERN:
            raise PatternError(f"The pattern is longer than {MAX_PATTERN} characters.", MAX_PATTERN)
        steps = self._alternatives()
        if self.position < len(self.source):
            self._fail("There is a ) that no ( opens.")
        return [*steps, ("match",)]

    def _fail(self, message: str) -> NoReturn:
        raise PatternError(message, self.position + 1)

    def _peek(self) -> str:
        return self.source[self.position : self.position + 1]

    def _take(self) -> str:
        char = self._peek()
        self.position += 1
        return char

    def _alternatives(self) -> list[Step]:
        steps = self._sequence()
        while self._peek() == "|":
            self._take()
            other = self._sequence()
            steps = _either(steps, other)
            self._measure(steps)
        return steps

    def _sequence(self) -> list[Step]:
        steps: list[Step] = []
        while self._peek() not in ("", "|", ")"):
            steps = _chain(steps, self._repeated())
            self._measure(steps)
        return steps

    def _measure(self, steps: list[Step]) -> None:
        if len(steps) > MAX_STEPS:
            self._fail("The pattern's repetitions make it too large.")

    def _repeated(self) -> list[Step]:
        steps = self._atom()
        while (char := self._peek()) in ("*", "+", "?", "{"):
            if char == "{":
                steps = self._counted(steps)
            else:
                self._take()
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
                steps = _times(steps, least, most)
            self._measure(steps)
        return steps

    def _counted(self, steps: list[Step]) -> list[Step]:
        found = _REPEAT.match(self.source, self.position)
        if found is None:
            self._fail("After { comes a count: {2}, {2,} or {2,5}. A brace itself is written \\{.")
        least = int(found[1])
        most = least if found[2] is None else (int(found[3]) if found[3] else None)
        if most is not None and most < least:
            self._fail("The count's end is below its start.")
        if len(steps) * max(least, most or 0) > MAX_STEPS:
            self._fail("The pattern's repetitions make it too large.")
        self.position = found.end()
        return _times(steps, least, most)

    def _atom(self) -> list[Step]:
        char = self._peek()
        if char in "*+?{":
            self._fail(f"There is nothing for {char} to repeat.")
        self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return [("char", self._set())]
            case ".":
                return [("char", lambda _: True)]
            case "^" | "$":
                return [("at", _EDGES[char])]
            case "\\":
                return [self._escape()]
        return [("char", _equals(char))]

    def _group(self) -> list[Step]:
        self.groups += 1
        if self.groups > _MAX_GROUPS:
            self._fail(f"The pattern has more than {_MAX_GROUPS} groups.")
        if self._peek() == "?":
            if not self.source.startswith("?:", self.position):
                self._fail("Of the groups with ? only (?:…) is known.")
            self.position += 2
        steps = self._alternatives()
        if self._take() != ")":
            self._fail("A ( is not closed.")
        return steps

    def _escape(self) -> Step:
        char = self._take()
        if char == "":
            self._fail("The pattern ends with a backslash.")
        if char == "b":
            return ("at", _at_word_edge)
        return ("char", self._escaped(char))

    def _escaped(self, char: str) -> Callable[[str], bool]:
        if char in _CLASSES:
            return _CLASSES[char]
        if char.isalnum() and char not in _ESCAPES:
            self._fail(f"\\{char} is not known; a letter or digit needs no backslash.")
        return _equals(_ESCAPES.get(char, char))

    def _set(self) -> Callable[[str], bool]:
        negated = self._peek() == "^"
        if negated:
            self._take()
        tests: list[Callable[[str], bool]] = []
        while self._peek() != "]" or not tests:
            char = self._take()
            if char == "":
                self._fail("A [ is not closed.")
            if char == "\\":
                tests.append(self._escaped(self._take()))
            elif self._peek() == "-" and self.source[self.position + 1 : self.position + 2] not in ("]", ""):
                self._take()
                tests.append(self._range(char, self._take()))
            else:
                tests.append(_equals(char))
        self._take()
        return lambda char: any(test(char) for test in tests) != negated

    def _range(self, low: str, high: str) -> Callable[[str], bool]:
        if high == "\\" or high < low:
            self._fail("A range in [ ] runs from a lower to a higher character.")
        return lambda char: low <= char <= high or low <= char.upper() <= high


def _equals(wanted: str) -> Callable[[str], bool]:
    folded = _folded(wanted)
    return lambda char: char == folded


def _moved(steps: list[Step], by: int) -> list[Step]:
    """The same steps where jumps lead `by` places further."""
    return [
        (step[0], *(target + by for target in step[1:])) if step[0] in ("split", "jump") else step for step in steps
    ]


def _chain(first: list[Step], second: list[Step]) -> list[Step]:
    return [*first, *_moved(second, len(first))]


def _either(first: list[Step], second: list[Step]) -> list[Step]:
    behind = len(first) + len(second) + 2
    return [
        ("split", 1, len(first) + 2),
        *_moved(first, 1),
        ("jump", behind),
        *_moved(second, len(first) + 2),
    ]


def _optional(steps: list[Step]) -> list[Step]:
    return [("split", 1, len(steps) + 1), *_moved(steps, 1)]


def _star(steps: list[Step]) -> list[Step]:
    return [("split", 1, len(steps) + 2), *_moved(steps, 1), ("jump", 0)]


def _times(steps: list[Step], least: int, most: int | None) -> list[Step]:
    out: list[Step] = []
    for _ in range(least):
        out = _chain(out, steps)
    if most is None:
        return _chain(out, _star(steps))
    for _ in range(most - least):
        out = _chain(out, _optional(steps))
    return out
