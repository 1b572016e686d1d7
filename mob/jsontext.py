"""JSON from outside, read with suspicion: what comes out can be walked, compared, stored and written again.

Python's own reader takes more than JSON has (NaN), makes infinity of a number like 1e999, which cannot be written
again, and nests as deep as its stack: what walks the value afterwards then fails in some other place. Whoever reads
what a peer sent reads it with this. Half a surrogate pair, which JSON escapes can spell and UTF-8 cannot, is let
through: it can be written as it came.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
"""Levels of nesting. The deepest object that anybody has reason to send, a tool's JSON Schema, needs about twenty."""
MAX_INNER_DEPTH: Final = 32
"""Of what is told inside another message, as the arguments of a call are: that has to be read, too."""


def read_json(text: str | bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value that `text` is; bytes are UTF-8, with or without a mark at their head.

    ValueError and nothing else: json.JSONDecodeError with the place where the text is no JSON, UnicodeDecodeError where
    bytes are no text; other ones say what the text does ("nests more than 64 levels deep").
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (json.JSONDecodeError, _Refused):
        raise
    except ValueError:  # more digits than the interpreter converts
        raise _Refused("holds an integer of too many digits") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    # Counting brackets is far cheaper than walking, and nearly every text has too few of them to be deep.
    if text.count("{") + text.count("[") > max_depth and _depth_exceeds(value, max_depth):
        raise _too_deep(max_depth)
    return value


class _Refused(ValueError):
    """JSON that is not taken."""


def _too_deep(max_depth: int) -> _Refused:
    return _Refused(f"nests more than {max_depth} levels deep")


def _refuse_constant(word: str) -> NoReturn:
    raise _Refused(f"holds {word}, which JSON does not have")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise _Refused("holds a number too large to be kept")
    return value


def _depth_exceeds(value: object, limit: int) -> bool:
    level: list[object] = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in found if isinstance(child, dict | list)]
