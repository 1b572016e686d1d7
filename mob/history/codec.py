"""Rows as JSON bytes, and back: what the log is made of on disk.

A row is one JSON object with its `kind`; items carry their `type`. Fields that have their default are left out, so a
default that was once released may never change. Reading is strict about what is there: a number is not a string, a
string is not a list, a missing field without a default is an error. It is lenient about what is new: a field that this
version does not know is passed over, so that a log outlives the addition of fields in both directions. A `kind` that
this version does not know is an error, since a fold that skips rows would show a false history.

Anything unreadable is StoreCorrupt, and its message names the row and the field.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import Callable
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from attrs import has
from cattrs import Converter, IterableValidationError, IterableValidationNote, transform_error
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from mob.errors import StoreCorrupt
from mob.history.items import AgentMessage, Item, Note, ToolCall, ToolResult, UserMessage
from mob.history.rows import Row
from mob.jsontext import read_json

_T = TypeVar("_T")

_ITEM_TYPES: dict[str, type[Item]] = {
    "user": UserMessage,
    "agent": AgentMessage,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "note": Note,
}
_ITEM_NAMES = {cls: name for name, cls in _ITEM_TYPES.items()}
_JSON_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}
_JSON_NAMES |= {list: "a list", dict: "an object"}
_MOST_PROBLEMS, _LONGEST_PROBLEM = 3, 200
_ROW_TYPES: dict[str, type[Row]] = {cls.kind: cls for cls in get_args(Row)}


def encode(row: Row) -> bytes:
    """One row as JSON in UTF-8, on one line."""
    body = _converter(detailed=False).unstructure(row)
    body["kind"] = row.kind
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON text can carry and UTF-8 cannot
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def decode(data: bytes, *, where: str = "row") -> Row:
    """The row that `data` holds. StoreCorrupt; its message begins with `where` and names the field."""
    try:
        body = read_json(data)
    except ValueError as error:
        raise StoreCorrupt(f"{where}: not JSON ({error}); the file was damaged or is not mob's") from error
    if not isinstance(body, dict):
        raise StoreCorrupt(f"{where}: a JSON object is expected, not {type(body).__name__}")
    cls = _row_type(body, where)
    try:
        row: Row = _converter(detailed=False).structure(body, cls)
    except Exception:  # whatever is wrong with it, the careful converter says where
        raise _corrupt(body, cls, where) from None
    return row


def as_json(value: object) -> dict[str, Any]:
    """A part of a row as it stands in the log (a Turn, an Item, a Usage), or any other record made of such parts."""
    body: dict[str, Any] = _converter(detailed=False).unstructure(value)
    return body


def from_json(body: object, cls: Any, *, where: str) -> Any:
    """The inverse of `as_json`, as strict as `decode`. ValueError; its message has the path, which begins `where`."""
    try:
        return _converter(detailed=False).structure(body, cls)
    except Exception:  # whatever is wrong with it, the careful converter says where
        raise ValueError("; ".join(_problems(body, cls, where))) from None


def _row_type(body: dict[str, Any], where: str) -> type[Row]:
    kind = body.get("kind")
    cls = _ROW_TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise StoreCorrupt(f"{where}: unknown kind {kind!r:.60}; if a newer mob wrote this log, read it with that one")
    return cls


def _corrupt(body: dict[str, Any], cls: type[Row], where: str) -> StoreCorrupt:
    return StoreCorrupt(f"{where}: " + "; ".join(_problems(body, cls, cls.kind)))


def _problems(body: object, cls: Any, path: str) -> list[str]:
    """The first things that are wrong with it, each with where."""
    try:
        _converter(detailed=True).structure(body, cls)
    except Exception as error:
        return transform_error(error, path=path, format_exception=_say)[:_MOST_PROBLEMS]
    raise AssertionError("the two converters disagree")


def _say(error: BaseException, expected: object) -> str:
    if isinstance(error, KeyError):
        return "missing"
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(repr, get_args(expected)))} is expected"
    return str(error)[:_LONGEST_PROBLEM]


# -- the converters ----------------------------------------------------------------------------------------------------


@functools.cache
def _converter(*, detailed: bool) -> Converter:
    """The fast converter, or the one that knows where it is when something is wrong."""
    converter = Converter(detailed_validation=detailed, omit_if_default=True)
    for primitive in (str, int, bool, NoneType):
        converter.register_structure_hook(primitive, lambda value, cls: _a(cls, value))
    converter.register_structure_hook(float, _structure_float)
    converter.register_structure_hook(bytes, _structure_bytes)
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    plain_tuple = converter.get_structure_hook(tuple[str, ...])
    read_tuple = functools.partial(_structure_tuple, converter) if detailed else plain_tuple
    converter.register_structure_hook_func(_is_tuple, lambda value, cls: read_tuple(_a(list, value), cls))
    converter.register_structure_hook_factory(has, lambda cls: _structure_record(converter, cls))
    for cls in _ITEM_NAMES:
        converter.register_unstructure_hook(cls, _tagged(converter, cls))
    converter.register_structure_hook(Item, functools.partial(_structure_item, converter))
    return converter


def _is_tuple(cls: Any) -> bool:
    return get_origin(cls) is tuple


def _structure_tuple(converter: Converter, value: list[object], cls: Any) -> tuple[Any, ...]:
    """As cattrs does, but with an end: what is wrong a million times is no better known than what is wrong thrice."""
    inner = get_args(cls)[0]
    items: list[Any] = []
    errors: list[Exception] = []
    for index, item in enumerate(value):
        try:
            items.append(converter.structure(item, inner))
        except Exception as error:
            error.add_note(IterableValidationNote(f"Structuring {cls} @ index {index}", index, inner))
            errors.append(error)
            if len(errors) == _MOST_PROBLEMS:
                break
    if errors:
        raise IterableValidationError(f"While structuring {cls}", errors, cls)
    return tuple(items)


def _structure_record(converter: Converter, cls: type[Any]) -> Callable[[object, object], Any]:
    detailed = converter.detailed_validation
    fields = make_dict_structure_fn(cls, converter, _cattrs_detailed_validation=detailed)
    return lambda value, _cls: fields(_a(dict, value), cls)


def _tagged(converter: Converter, cls: type[Item]) -> Callable[[Item], dict[str, Any]]:
    fields = make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    name = _ITEM_NAMES[cls]
    return lambda item: {"type": name, **fields(item)}


def _structure_item(converter: Converter, value: object, _cls: object) -> Item:
    name = _a(dict, value).get("type")
    cls = _ITEM_TYPES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"unknown type of item {name!r:.60}")
    item: Item = converter.structure(value, cls)
    return item


def _a(cls: type[_T], value: object) -> _T:
    """`value`, which must be exactly of this JSON type: True is no int, a str no list."""
    if type(value) is not cls:
        raise TypeError(f"{_JSON_NAMES[cls]} is expected, not {value!r:.60}")
    return value


def _structure_float(value: object, _cls: object) -> float:
    return float(value) if type(value) is int else _a(float, value)


def _structure_bytes(value: object, _cls: object) -> bytes:
    try:
        return base64.b64decode(_a(str, value), validate=True)
    except binascii.Error as error:
        raise ValueError(f"base64 is expected ({error})") from None
