"""Spoils valid inputs: bytes, JSON and heads of HTTP requests, from one seed, the same way every time.

Theory. Random bytes hardly get past a parser's first look. So every mutant begins as something valid and is spoilt a
little: most keep their structure and have a wrong value, key or number of things somewhere inside; the others are cut,
doubled, spliced with each other, or have bytes exchanged. What JSON text can say and a Python value cannot (1e999, a
key twice, half a surrogate pair, nesting without an end) is put in as text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

JSON = Any

_MARK = "\x01raw:"

_TEXTS = (
    "",
    " ",
    "a",
    "null",
    "0",
    "audio",
    "\x00",
    "\r\nx-injected: 1\r\n\r\n",
    "\ud800",
    "\udfff\ud800",
    "\u202e\ufeff",
    "é" * 300,
    "\U0001f600" * 40,
    "x" * 3000,
    "../../etc/passwd",
    "%00%ff%zz",
    "===",
    "AAA",
    "AA=A",
    "AAECAw",
    "-_-_",
    "A" * 41,
    "AAECAwQ=" * 6,
    "1e999",
    "2026-01-01T00:00:00Z",
    "/(a+)+b/",
    "a:b",
    "{}",
    "[",
    "agent",
    "__proto__",
    "__class__",
)
_NUMBERS = (0, -0.0, 1, -1, 2, 7, 255, 256, 65536, 2**31, -(2**31), 2**53, 2**53 + 1, 2**63, -(2**63) - 1)
_LONG = (10**40, -(10**400), 10**400)
_FLOATS = (0.5, -0.5, 1.5, 1e300, 1e-300, 24000.0, 1.0)
_RAW = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1e-999",
    "9" * 400,
    "9" * 5000,
    "-" + "1" * 4400,
    "0.1e1",
    "01",
    "1.",
    "+1",
    "tru",
    "'a'",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\x41"',
    '"\x07"',
    "[" * 40 + "]" * 40,
    "[" * 80 + "]" * 80,
    '{"a":' * 70 + "1" + "}" * 70,
    "[" * 400 + "]" * 400,
    '{"a":' * 450 + "1" + "}" * 450,
    "[" * 1200,
    "[" * 3000 + "]" * 3000,
    '{"a":1,"a":{"a":2,"a":[]}}',
    "{}{}",
    "",
    "/*c*/1",
)
_PLAIN = (None, True, False, [], {}, [[]], [None], [{}], {"": None}, {"a": [1]}, {"type": "text"}, [[], {}, 0, ""])
_BYTES = (
    b"\x00",
    b"\xff",
    b"\xfe\xff",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n\n",
    b"\x1b[2J",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"e999",
    b"\\ud800",
    b"\x7f",
    b"-",
    b"\xff" * 8,
    b"\x00" * 6 + b"\xf0\x7f",
    b"\x00" * 4,
)


class Mutator:
    """Draws mutants from one random stream. `words` are spliced in, beside the nasty values that are known here."""

    def __init__(self, seed: int, words: Sequence[str] = ()) -> None:
        self.random = random.Random(seed)
        self._words = tuple(words) or ("x",)

    # -- bytes -----------------------------------------------------------------------------------------------------

    def spoil_bytes(self, data: bytes, others: Sequence[bytes]) -> bytes:
        """Cut, doubled, spliced, flipped, or with something put in: one to three times."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            data = self._spoil_once(data, others)
        return data

    def _spoil_once(self, data: bytes, others: Sequence[bytes]) -> bytes:
        rng = self.random
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((1, 1, 2, 4, 16, 200)))
        match rng.randrange(9):
            case 0:
                return data[:start]
            case 1:
                return data[start:]
            case 2:
                return data[:start] + data[end:]
            case 3:
                return data[:end] + data[start:]
            case 4:
                other = rng.choice(others)
                return data[:start] + other[rng.randrange(len(other) + 1) :]
            case 5:
                return data[:start] + rng.choice(_BYTES) + data[start:]
            case 6:
                instead = rng.choice(_BYTES)
                return data[:start] + instead + data[start + len(instead) :]
            case 7:
                return data[:start] + bytes(rng.randrange(256) for _ in range(end - start)) + data[end:]
        if start == len(data):
            return data + b"\x00"
        return data[:start] + bytes([data[start] ^ (1 << rng.randrange(8))]) + data[start + 1 :]

    # -- JSON ------------------------------------------------------------------------------------------------------

    def spoil_value(self, value: JSON, others: Sequence[JSON] = ()) -> JSON:
        """A copy with one to four things wrong in it. Text that is no JSON stands marked: `write` puts it in."""
        value = json.loads(json.dumps(value))
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            places = _places(value)
            if not places or self.random.random() < 0.02:
                value = self.any_value(others)
                continue
            self._spoil_place(*self.random.choice(places), others)
        return value

    def _spoil_place(self, holder: Any, key: Any, others: Sequence[JSON]) -> None:
        rng = self.random
        what = rng.random()
        if what < 0.55:
            holder[key] = self.any_value(others)
        elif what < 0.7:
            del holder[key]
        elif what < 0.8:
            holder[key] = self._near(holder[key])
        elif isinstance(holder, dict):
            if what < 0.9:
                holder[self._any_key()] = self.any_value(others)
            else:
                holder[self._any_key()] = holder.pop(key)
        elif what < 0.97:
            holder.insert(key, holder[key] if rng.random() < 0.5 else self.any_value(others))
        else:
            holder.extend([holder[key]] * rng.choice((2, 40, 300)))

    def _near(self, value: JSON) -> JSON:
        """Something like it."""
        rng = self.random
        match value:
            case bool():
                return int(value)
            case int() | float():
                near = (-value, value + 1, value * 1000, str(value))
                return rng.choice(near) if abs(value) > 2**64 else rng.choice((*near, float(value), value / 3))
            case str():
                at = rng.randrange(len(value) + 1)
                return rng.choice(
                    (value.upper(), value + value, value[:at], value[:at] + rng.choice(_TEXTS) + value[at:], [value])
                )
            case list():
                return rng.choice((value * 2, value[::-1], {str(i): each for i, each in enumerate(value)}, [value]))
            case dict():
                return rng.choice((list(value), list(value.values()), {**value, "x": 1}, [value]))
        return ""

    def any_value(self, others: Sequence[JSON] = ()) -> JSON:
        """Some value: nasty, plain, a known word, or a piece of another input."""
        rng = self.random
        match rng.randrange(9):
            case 0:
                return rng.choice(_TEXTS)
            case 1:
                return rng.choice(_NUMBERS if rng.random() < 0.9 else _LONG)
            case 2:
                return rng.choice(_FLOATS)
            case 3 | 4:
                return json.loads(json.dumps(rng.choice(_PLAIN)))
            case 5:
                return _MARK + str(rng.randrange(len(_RAW)))
            case 6 | 7:
                return rng.choice(self._words)
        if not others:
            return None
        places = _places(other := rng.choice(others))
        holder, key = rng.choice(places) if places else ([other], 0)
        return json.loads(json.dumps(holder[key]))

    def _any_key(self) -> str:
        return self.random.choice(self._words if self.random.random() < 0.7 else _TEXTS)

    def write(self, value: JSON) -> bytes:
        """The value as JSON text, with what was marked in it; sometimes a key stands twice."""
        rng = self.random
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
        while (at := text.find('"\\u0001raw:')) >= 0:
            end = text.find('"', at + 1)
            number = "".join(c for c in text[at + 11 : end] if c.isdigit())
            raw = _RAW[int(number) % len(_RAW)] if 0 < len(number) < 5 else ""
            text = f"{text[:at]}{raw}{text[end + 1 :]}"
        if rng.random() < 0.03 and (at := text.find("{")) >= 0:
            text = f'{text[: at + 1]}"{rng.choice(self._words)}":1,{text[at + 1 :]}'
        return text.encode("utf-8", "surrogatepass")


def _places(value: JSON) -> list[tuple[Any, Any]]:
    """Every value inside this one: what holds it, and under which key or index."""
    found: list[tuple[Any, Any]] = []
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        holder = waiting.pop()
        for key, child in holder.items() if isinstance(holder, dict) else enumerate(holder):
            found.append((holder, key))
            if isinstance(child, dict | list):
                waiting.append(child)
    return found


def words_of(values: Sequence[JSON]) -> list[str]:
    """The keys and short strings of these: the vocabulary that mutants are made with."""
    words: dict[str, None] = {}
    for value in values:
        for holder, key in _places(value):
            if isinstance(key, str):
                words[key] = None
            if isinstance(holder[key], str) and len(holder[key]) < 60:
                words[holder[key]] = None
    return list(words)
