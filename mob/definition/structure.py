"""Checks a parsed TOML value against a shape, says everything that is wrong with it, and keeps what is right.

What comes out holds only keys that are known, built and well-shaped; lists have become tuples and numbers floats.
Wrong things are left out rather than stopped at, so that one reading finds all of them and the checks of meaning can
still run over the rest. A table of names keeps each of its names even where the content is wrong, so that "no such
profile" is not said about a profile that has a spelling mistake inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import fields, frozen

from mob.definition.keys import homes_of
from mob.definition.names import name_fault
from mob.definition.positions import Path
from mob.definition.report import Report, dotted
from mob.definition.shapes import (
    Either,
    Flag,
    Free,
    Key,
    ListOf,
    MapOf,
    Number,
    Shape,
    Table,
    Text,
    Whole,
    fits,
    in_words,
    toml_type,
)

MAX_DEPTH = 32
"""How deep a table of the author's own (`params`, `arguments`, …) may be nested."""

_MISSING: Final = object()
_SECRET_HEADERS = re.compile(
    r"authorization|cookie|(?:x-)?(?:api|goog-api)[-_]?key|.*(?:token|secret|password).*", re.IGNORECASE
)


@frozen(slots=True)
class Structurer:
    """Structures values, saying what is wrong to one report."""

    report: Report

    def table(self, value: Mapping[str, Any], shape: Table, path: Path) -> dict[str, Any]:
        """The well-shaped keys of a table."""
        by_name = {key.name: key for key in shape.keys}
        for name in value:
            if name not in by_name:
                self._unknown(name, shape, path)
        out: dict[str, Any] = {}
        for key in shape.keys:
            if key.name in value:
                self._key(value[key.name], key, (*path, key.name), out, kept=_has_room(shape.model, key))
            elif key.required:
                self._absent(key, path)
        return out

    def _key(self, value: Any, key: Key, path: Path, out: dict[str, Any], *, kept: bool) -> None:
        structured = self.value(value, key.shape, path)
        if structured is _MISSING:
            return
        if key.not_built is None or kept:
            out[key.name] = structured
        if key.not_built is not None and value not in (False, "", [], {}):
            self.report.warn("not_built", f"`{key.name}` has no effect. {key.not_built}", path)

    def _unknown(self, name: str, shape: Table, path: Path) -> None:
        where = f"[{dotted(path)}]" if path else "a team file"
        homes = homes_of(name)
        if homes and len(homes) <= 3:
            message = f"`{name}` is no key of {where}; it is one of {' and '.join(homes)}."
            self.report.error("unknown_key", message, (*path, name))
            return
        shown = name if len(name) <= 64 else name[:64] + "…"
        message = f"`{shown}` is no key of {where}."
        self.report.error("unknown_key", message, (*path, name), word=name, known=shape.names())

    def _absent(self, key: Key, path: Path) -> None:
        if path:
            message = f"[{dotted(path)}] needs `{key.name}`: {key.meaning}."
        else:
            message = f"A team file needs [{key.name}]: {key.meaning}."
        self.report.error("missing_key", message, path)

    def value(self, value: Any, shape: Shape, path: Path) -> Any:
        """The structured value, or a mark that it is unusable; then the report says why."""
        if not fits(value, shape):
            wanted = in_words(shape)
            self.report.error("wrong_type", f"`{_last(path)}` takes {wanted}, not {toml_type(value)}.", path)
            return _MISSING
        match shape:
            case Text():
                return self._text(value, shape, path)
            case Whole() | Number():
                return self._number(value, shape, path)
            case Flag():
                return value
            case Free():
                return self._free(value, path)
            case ListOf():
                return self._list(value, shape, path)
            case MapOf():
                return self._map(value, shape, path)
            case Table():
                return self.table(value, shape, path)
            case Either(options=options):
                return self.value(value, next(option for option in options if fits(value, option)), path)

    def _text(self, value: str, shape: Text, path: Path) -> Any:
        name = _last(path)
        if not shape.empty and not value.strip():
            self.report.error("bad_value", f"`{name}` is empty; it takes {in_words(shape)}.", path)
        elif shape.choices and value not in shape.choices:
            message = f"`{name}` takes {in_words(shape)}."
            self.report.error("bad_value", message, path, word=value, known=shape.choices)
        elif shape.pattern is not None and not re.fullmatch(shape.pattern, value):
            self.report.error("bad_value", f"`{name}` takes {shape.says}.", path)
        else:
            return value
        return _MISSING

    def _number(self, value: float, shape: Whole | Number, path: Path) -> Any:
        if shape.low <= value <= shape.high:  # false for nan, and for what is infinite
            return value if isinstance(shape, Whole) else float(value)
        self.report.error("bad_value", f"`{_last(path)}` takes {in_words(shape)}.", path)
        return _MISSING

    def _list(self, value: list[Any], shape: ListOf, path: Path) -> Any:
        if len(value) < shape.at_least:
            self.report.error("bad_value", f"`{_last(path)}` is an empty list.", path)
            return _MISSING
        # An unusable item leaves an empty one behind, so that what follows it keeps its index and so its place.
        empty: Any = {} if isinstance(shape.item, Table) else ""
        items = (self.value(item, shape.item, (*path, index)) for index, item in enumerate(value))
        return tuple(empty if item is _MISSING else item for item in items)

    def _map(self, value: dict[str, Any], shape: MapOf, path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, item in value.items():
            fault = name_fault(shape.kind, name) if shape.kind is not None else None
            if fault is not None:
                self.report.error(f"invalid_{shape.kind}_name", fault, (*path, name))
            if shape.noun == "HEADER" and _SECRET_HEADERS.fullmatch(name):
                message = (
                    "Keys come from the environment: name the variable in `api_key_env` and leave this header out."
                )
                self.report.error("secret_in_file", message, (*path, name))
            structured = self.value(item, shape.item, (*path, name))
            if structured is not _MISSING:
                out[name] = structured
            elif isinstance(shape.item, Table):
                out[name] = {}
        return out

    def _free(self, value: dict[str, Any], path: Path) -> Any:
        if _depth(value) > MAX_DEPTH:
            self.report.error("too_deep", f"`{_last(path)}` is nested more than {MAX_DEPTH} levels deep.", path)
            return _MISSING
        return value


def _has_room(model: type | None, key: Key) -> bool:
    """Whether the class has a field for the key, so that the value is kept even while nothing uses it."""
    return model is not None and any(attribute.name == key.name for attribute in fields(model))


def _last(path: Path) -> str:
    """The key a path is about; for an item of a list, the list's key with the index."""
    names = [index for index, part in enumerate(path) if isinstance(part, str)]
    return dotted(path[names[-1] :]) if names else "the file"


def _depth(value: Any) -> int:
    """How many tables and lists stand inside one another, without recursion."""
    deepest, waiting = 0, [(value, 1)]
    while waiting and deepest <= MAX_DEPTH:
        item, depth = waiting.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth)
            children = item.values() if isinstance(item, dict) else item
            waiting.extend((child, depth + 1) for child in children)
    return deepest
