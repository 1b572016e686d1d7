"""What a Python function takes, as a model must be told and as a model's JSON is turned into arguments.

`shape_of` reads one annotation, `read_function` a whole signature with its docstring. The names a model sees are the
parameters' own.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

import attrs
from attrs import frozen

from mob.sessions.docstrings import read_docstring
from mob.sessions.shapes import SCALARS, Anything, Described, Either, Key, Many, Mapped, OneOf, Record, Shape
from mob.values import ToolSchema

_DEPTH = 32


class UnsupportedType(Exception):
    """An annotation that no JSON value corresponds to."""


@frozen(slots=True)
class FunctionShape:
    """A function as a tool: what the model is told, how arguments are taken, and where a context goes, if anywhere."""

    schema: ToolSchema
    arguments: Record
    context_parameter: str | None = None


def read_function(
    function: Callable[..., Any], *, name: str, context: type, description: str | None = None
) -> FunctionShape:
    """Read a function's signature and docstring.

    A parameter annotated with `context` is given by mob and not shown to the model. UnsupportedType names the
    parameter that has no counterpart in JSON.
    """
    said = read_docstring(inspect.getdoc(function))
    hints = _hints(function)
    keys: list[Key] = []
    context_parameter = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise UnsupportedType(f"`{parameter.name}` cannot be given by name, which is how models give arguments")
        annotation = hints.get(parameter.name, Any)
        if _is_context(annotation, context):
            context_parameter = parameter.name
            continue
        try:
            shape = described(shape_of(annotation), said.parameters.get(parameter.name))
        except UnsupportedType as error:
            raise UnsupportedType(f"`{parameter.name}`: {error}") from None
        required = parameter.default is inspect.Parameter.empty
        keys.append(Key(parameter.name, shape, required, () if required else showable(parameter.default)))
    arguments = Record(tuple(keys))
    words = description or said.summary or name.replace("_", " ")
    return FunctionShape(ToolSchema(name, words, arguments.schema()), arguments, context_parameter)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise UnsupportedType(f"its annotations cannot be read: {error}") from error


def _is_context(annotation: Any, context: type) -> bool:
    return annotation is context or (
        get_origin(annotation) in (Union, types.UnionType) and context in get_args(annotation)
    )


def shape_of(annotation: Any, depth: int = 0) -> Shape:
    """The shape of this annotation (already evaluated). UnsupportedType."""
    if depth > _DEPTH:
        raise UnsupportedType(f"{_name(annotation)} contains itself; a tool's arguments cannot")
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        words = [extra for extra in arguments[1:] if isinstance(extra, str)]
        shape = shape_of(arguments[0], depth + 1)
        return Described(shape, " ".join(words)) if words else shape
    if annotation in (Any, object):
        return Anything()
    if annotation in SCALARS:
        return SCALARS[annotation]
    if origin in (typing.Required, typing.NotRequired):
        return shape_of(arguments[0], depth + 1)
    if origin is Literal:
        return OneOf(tuple((value, value) for value in arguments))
    if origin in (Union, types.UnionType):
        return Either(tuple(shape_of(each, depth + 1) for each in arguments))
    if (origin or annotation) in _COLLECTIONS:
        return _collection(origin or annotation, arguments, depth)
    if isinstance(annotation, type):
        return _class(annotation, depth)
    raise UnsupportedType(f"{_name(annotation)} has no counterpart in JSON")


def _collection(origin: Any, arguments: tuple[Any, ...], depth: int) -> Shape:
    if origin in (dict, Mapping):
        if arguments and arguments[0] not in (str, Any):
            raise UnsupportedType(f"a dict's keys must be str, not {_name(arguments[0])}")
        return Mapped(shape_of(arguments[1], depth + 1) if arguments else Anything())
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        raise UnsupportedType("a tuple must be of one type and any length: tuple[int, ...]")
    item = shape_of(arguments[0], depth + 1) if arguments else Anything()
    make: Callable[[list[Any]], Any] = _COLLECTIONS[origin]
    return Many(item, make, unique=make in (set, frozenset))


def _class(cls: type, depth: int) -> Shape:
    if issubclass(cls, enum.Enum):
        plain = all(isinstance(member.value, str | int) for member in cls)
        return OneOf(tuple((member.value if plain else member.name, member) for member in cls))
    said = read_docstring(cls.__doc__).parameters
    if is_typeddict(cls):
        fields = _typed_dict_fields(cls)
    elif attrs.has(cls):
        fields = [
            (a.alias or a.name, a.name, _NEEDED if a.default is attrs.NOTHING else a.default)
            for a in attrs.fields(cls)
            if a.init
        ]
    elif dataclasses.is_dataclass(cls):
        fields = [(f.name, f.name, _dataclass_default(f)) for f in dataclasses.fields(cls) if f.init]
    else:
        raise UnsupportedType(f"{_name(cls)} has no counterpart in JSON; use a TypedDict, a dataclass or plain types")
    hints = typing.get_type_hints(cls, include_extras=True)
    keys = tuple(
        Key(
            name,
            described(shape_of(hints.get(attribute, Any), depth + 1), said.get(name)),
            required=default is _NEEDED,
            default=() if default is _NEEDED else showable(default),
        )
        for name, attribute, default in fields
    )
    return Record(keys, dict if is_typeddict(cls) else lambda taken: cls(**taken))


_NEEDED = object()
"""In place of a default: there is none, the key is required."""
_HIDDEN = object()
"""In place of a default that a schema does not show."""

_Fields = list[tuple[str, str, object]]
"""The name in JSON, the name of the attribute, the default."""


def _typed_dict_fields(cls: type) -> _Fields:
    """NotRequired is read from the evaluated hints: where annotations are strings, Python overlooks it."""
    usual: frozenset[str] = cls.__required_keys__  # type: ignore[attr-defined]
    fields: _Fields = []
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        origin = get_origin(hint)
        required = origin is typing.Required or (origin is not typing.NotRequired and name in usual)
        fields.append((name, name, _NEEDED if required else _HIDDEN))
    return fields


def _dataclass_default(field: dataclasses.Field[Any]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    return _NEEDED if field.default_factory is dataclasses.MISSING else _HIDDEN


def described(shape: Shape, words: str | None) -> Shape:
    """The shape with this description, unless it has one of its own or there is none."""
    return shape if not words or isinstance(shape, Described) else Described(shape, words)


def showable(default: object) -> tuple[object, ...]:
    """The default as a schema may show it, in a tuple; empty when JSON has no word for it."""
    value = default.value if isinstance(default, enum.Enum) else default
    return (value,) if value is None or isinstance(value, str | int | float | bool) else ()


_COLLECTIONS: dict[Any, Any] = {
    list: list,
    Sequence: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    dict: dict,
    Mapping: dict,
}


def _name(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", None) or str(annotation)
