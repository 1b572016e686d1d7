"""Whether a value is what its class says, field by field: what a parser accepted must be of the types that it promises.

Nothing of the parsers is used for that, so that one that has forgotten a check is caught.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs


def misfit(value: Any, hint: Any, path: str = "") -> str | None:
    """Where the value is of another type than `hint`, and how; None when it fits."""
    wrong = f"{path or 'it'} is {value!r:.60}, no {hint}"
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return None
    if origin is Literal:
        return None if any(value == each and type(value) is type(each) for each in get_args(hint)) else wrong
    if origin in (Union, UnionType):
        found = [misfit(value, each, path) for each in get_args(hint)]
        return None if None in found else found[0] if len(found) == 1 else wrong
    if origin is tuple:
        if type(value) is not tuple:
            return wrong
        inner = get_args(hint)[0]
        return next(filter(None, (misfit(each, inner, f"{path}[{i}]") for i, each in enumerate(value))), None)
    if origin is not None and issubclass(origin, Mapping):
        return None if isinstance(value, Mapping) else wrong
    if hint is float:
        return None if type(value) in (int, float) and math.isfinite(value) else wrong
    if attrs.has(hint):
        return misfits(value, path) if isinstance(value, hint) else wrong
    return None if value is None and hint is None else wrong if type(value) is not hint else None


def misfits(value: Any, path: str = "") -> str | None:
    """The first field of an attrs value that is of another type than its class says."""
    for name, hint in _hints(type(value)):
        found = misfit(getattr(value, name), hint, f"{path}.{name}" if path else name)
        if found is not None:
            return found
    return None


@cache
def _hints(cls: type[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.type) for field in attrs.fields(attrs.resolve_types(cls)))
