"""When a rehearsal rule matches: words, or a pattern between slashes.

Patterns come from a file, and a backtracking engine can be made to hang by one (`/(a+)+b/`). So the pattern is
compiled to a set of states that are all walked at once (Thompson's construction): time is at most text length times
pattern length, whatever is written. The language is the regular part of what Python's `re` has:

    abc   .   [a-z]   [^a-z]   \\d \\w \\s \\D \\W \\S   \\b   ^ $   (…) (?:…)   |   * + ? {n} {n,} {n,m}

Case is ignored, and the pattern may match anywhere in the text.

A program is a list of steps, with targets counted from the program's start: Char consumes a character, Jump goes to
one or more others, Edge lets by where its test holds, and Match is the end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NoReturn

from attrs import define, field, frozen

MAX_PATTERN = 500
MAX_STEPS = 4000
_MAX_GROUPS = 50

Matcher = Callable[[str], bool]
_WORD = re.compile(r"\w+")


class PatternError(ValueError):
    """The pattern cannot be read. `offset` counts characters from the opening slash."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@frozen(slots=True)
class _Char:
    test: Callable[[str], bool]


@frozen(slots=True)
class _Jump:
    to: tuple[int, ...]

    def moved(self, by: int) -> _Jump:
        return _Jump(tuple(target + by for target in self.to))


@frozen(slots=True)
class _Edge:
    test: Callable[[str, int], bool]


@frozen(slots=True)
class _Match:
    pass


_Step = _Char | _Jump | _Edge | _Match


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


def _run(program: list[_Step], text: str) -> bool:
    text = _folded(text)
    current: set[int] = set()
    for position in range(len(text) + 1):
        current = _reachable(program, {0, *current}, text, position)
        if len(program) - 1 in current:
            return True
        if position < len(text):
            current = {index + 1 for index in current if _consumes(program[index], text[position])}
    return False


def _consumes(step: _Step, char: str) -> bool:
    return isinstance(step, _Char) and step.test(char)


def _reachable(program: list[_Step], starts: set[int], text: str, position: int) -> set[int]:
    """The consuming steps that can be come to from `starts` without consuming."""
    seen: set[int] = set()
    waiting = list(starts)
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        match program[index]:
            case _Jump(to=targets):
                waiting.extend(targets)
            case _Edge(test=holds) if holds(text, position):
                waiting.append(index + 1)
            case _:
                pass
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

    def program(self) -> list[_Step]:
        if len(self.source) > MAX_PATTERN:
            raise PatternError(f"The pattern is longer than {MAX_PATTERN} characters.", MAX_PATTERN)
        steps = self._alternatives()
        if self.position < len(self.source):
            self._fail("There is a ) that no ( opens.")
        return [*steps, _Match()]

    def _fail(self, message: str) -> NoReturn:
        raise PatternError(message, self.position + 1)

    def _peek(self) -> str:
        return self.source[self.position : self.position + 1]

    def _take(self) -> str:
        char = self._peek()
        self.position += 1
        return char

    def _alternatives(self) -> list[_Step]:
        steps = self._sequence()
        while self._peek() == "|":
            self._take()
            other = self._sequence()
            steps = _either(steps, other)
            self._measure(steps)
        return steps

    def _sequence(self) -> list[_Step]:
        steps: list[_Step] = []
        while self._peek() not in ("", "|", ")"):
            steps = _chain(steps, self._repeated())
            self._measure(steps)
        return steps

    def _measure(self, steps: list[_Step]) -> None:
        if len(steps) > MAX_STEPS:
            self._fail("The pattern's repetitions make it too large.")

    def _repeated(self) -> list[_Step]:
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

    def _counted(self, steps: list[_Step]) -> list[_Step]:
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

    def _atom(self) -> list[_Step]:
        char = self._peek()
        if char in "*+?{":
            self._fail(f"There is nothing for {char} to repeat.")
        self._take()
        match char:
            case "(":
                return self._group()
            case "[":
                return [_Char(self._set())]
            case ".":
                return [_Char(lambda _: True)]
            case "^" | "$":
                return [_Edge(_EDGES[char])]
            case "\\":
                return [self._escape()]
        return [_Char(_equals(char))]

    def _group(self) -> list[_Step]:
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

    def _escape(self) -> _Step:
        char = self._take()
        if char == "":
            self._fail("The pattern ends with a backslash.")
        if char == "b":
            return _Edge(_at_word_edge)
        return _Char(self._escaped(char))

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


def _moved(steps: list[_Step], by: int) -> list[_Step]:
    """The same steps where jumps lead `by` places further."""
    return [step.moved(by) if isinstance(step, _Jump) else step for step in steps]


def _chain(first: list[_Step], second: list[_Step]) -> list[_Step]:
    return [*first, *_moved(second, len(first))]


def _either(first: list[_Step], second: list[_Step]) -> list[_Step]:
    behind = len(first) + len(second) + 2
    return [
        _Jump((1, len(first) + 2)),
        *_moved(first, 1),
        _Jump((behind,)),
        *_moved(second, len(first) + 2),
    ]


def _optional(steps: list[_Step]) -> list[_Step]:
    return [_Jump((1, len(steps) + 1)), *_moved(steps, 1)]


def _star(steps: list[_Step]) -> list[_Step]:
    return [_Jump((1, len(steps) + 2)), *_moved(steps, 1), _Jump((0,))]


def _times(steps: list[_Step], least: int, most: int | None) -> list[_Step]:
    out: list[_Step] = []
    for _ in range(least):
        out = _chain(out, steps)
    if most is None:
        return _chain(out, _star(steps))
    for _ in range(most - least):
        out = _chain(out, _optional(steps))
    return out
