"""The shapes a tool's argument can have: each knows its JSON Schema, and how to take a value that a model wrote.

Taking is strict, as a model must learn what it did wrong: a string is
not a number, 1 is not true, an unknown key is an error. `Misfit` says where, what was expected and what came. A whole
number is taken for a float, and a float without a fraction for a whole number, since JSON knows only numbers.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import field, frozen

Schema = dict[str, object]


class Misfit(Exception):
    """A value has not the shape it should have. `path` is where, `guests` or `items[2].name`."""

    def __init__(self, path: str, expected: str, value: object) -> None:
        super().__init__(f"{path} must be {expected}, but {shown(value)} was given")


def shown(value: object) -> str:
    """A JSON value as a model may read it back, cut to a line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class Shape(Protocol):
    """One shape."""

    def schema(self) -> Schema:
        """The JSON Schema."""
        ...

    def expected(self) -> str:
        """The shape in words, for the model: "a whole number"."""
        ...

    def take(self, value: Any, path: str) -> Any:
        """The Python value for this JSON value; Misfit."""
        ...


@frozen(slots=True)
class Anything:
    """No annotation, `Any` or `object`: every JSON value as it is."""

    def schema(self) -> Schema:
        """The empty schema."""
        return {}

    def expected(self) -> str:
        """Never misfits."""
        return "any value"

    def take(self, value: Any, path: str) -> Any:
        """The value itself."""
        return value


@frozen(slots=True)
class Scalar:
    """str, int, float, bool, None, and what is written as a string (dates)."""

    json_type: str
    words: str
    accept: Callable[[Any], Any]
    format: str | None = None

    def schema(self) -> Schema:
        """`{"type": …}`, with a format for dates."""
        return {"type": self.json_type, **({"format": self.format} if self.format else {})}

    def expected(self) -> str:
        """In words."""
        return self.words

    def take(self, value: Any, path: str) -> Any:
        """The value when it is of this type."""
        try:
            return self.accept(value)
        except (TypeError, ValueError, OverflowError):
            raise Misfit(path, self.words, value) from None


@frozen(slots=True)
class OneOf:
    """Literal or Enum: one of some values. `choices` pairs what the model writes with what the function gets."""

    choices: tuple[tuple[Any, Any], ...]

    def schema(self) -> Schema:
        """An enum, with a type where all values share one."""
        names = {_json_type(written) for written, _ in self.choices}
        values: Schema = {"enum": [written for written, _ in self.choices]}
        return {"type": names.pop(), **values} if len(names) == 1 else values

    def expected(self) -> str:
        """In words."""
        return "one of " + ", ".join(shown(written) for written, _ in self.choices)

    def take(self, value: Any, path: str) -> Any:
        """The choice that was written exactly so."""
        for written, meant in self.choices:
            if type(written) is type(value) and written == value:
                return meant
        raise Misfit(path, self.expected(), value)


@frozen(slots=True)
class Many:
    """list, tuple, set: an array of one shape."""

    item: Shape
    make: Callable[[list[Any]], Any] = list
    unique: bool = False

    def schema(self) -> Schema:
        """An array."""
        return {"type": "array", "items": self.item.schema(), **({"uniqueItems": True} if self.unique else {})}

    def expected(self) -> str:
        """In words."""
        return f"a list, each item {self.item.expected()}"

    def take(self, value: Any, path: str) -> Any:
        """Each item taken."""
        if not isinstance(value, list):
            raise Misfit(path, self.expected(), value)
        taken = [self.item.take(each, f"{path}[{index}]") for index, each in enumerate(value)]
        try:
            return self.make(taken)
        except TypeError:
            raise Misfit(path, "a list of values that can be told apart", value) from None


@frozen(slots=True)
class Mapped:
    """dict with string keys and values of one shape."""

    value: Shape

    def schema(self) -> Schema:
        """An object with any keys."""
        return {"type": "object", "additionalProperties": self.value.schema() or True}

    def expected(self) -> str:
        """In words."""
        return f"an object, each value {self.value.expected()}"

    def take(self, value: Any, path: str) -> Any:
        """Each value taken."""
        if not isinstance(value, dict):
            raise Misfit(path, self.expected(), value)
        return {key: self.value.take(each, _within(path, key)) for key, each in value.items()}


@frozen(slots=True)
class Either:
    """A union: the first shape that takes the value."""

    shapes: tuple[Shape, ...]

    def schema(self) -> Schema:
        """anyOf."""
        return {"anyOf": [shape.schema() for shape in self.shapes]}

    def expected(self) -> str:
        """In words."""
        return " or ".join(shape.expected() for shape in self.shapes)

    def take(self, value: Any, path: str) -> Any:
        """What the first fitting shape makes of it; the deepest complaint when only one kind could be meant."""
        complaints: list[Misfit] = []
        for shape in self.shapes:
            try:
                return shape.take(value, path)
            except Misfit as misfit:
                complaints.append(misfit)
        inner = [misfit for misfit in complaints if not str(misfit).startswith(f"{path} must be")]
        if len(inner) == 1:
            raise inner[0]
        raise Misfit(path, self.expected(), value)


@frozen(slots=True)
class Described:
    """`Annotated[shape, "words"]`: the shape with a description for the model."""

    shape: Shape
    description: str

    def schema(self) -> Schema:
        """The inner schema with the description."""
        return {**self.shape.schema(), "description": self.description}

    def expected(self) -> str:
        """In words."""
        return self.shape.expected()

    def take(self, value: Any, path: str) -> Any:
        """As the inner shape does."""
        return self.shape.take(value, path)


@frozen(slots=True)
class Key:
    """One key of a Record. `default` is what the schema shows, when it can be shown."""

    name: str
    shape: Shape
    required: bool = True
    default: tuple[object, ...] = ()

    def schema(self) -> Schema:
        """The shape's schema with the default."""
        return {**self.shape.schema(), **({"default": self.default[0]} if self.default else {})}


@frozen(slots=True)
class Record:
    """An object with known keys: a TypedDict, a dataclass, an attrs class, and a tool's arguments as a whole."""

    keys: tuple[Key, ...]
    make: Callable[[dict[str, Any]], Any] = field(default=dict)

    def schema(self) -> Schema:
        """An object that has no other keys."""
        required = [key.name for key in self.keys if key.required]
        return {
            "type": "object",
            "properties": {key.name: key.schema() for key in self.keys},
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }

    def expected(self) -> str:
        """In words."""
        return "an object with " + (", ".join(key.name for key in self.keys) or "no keys")

    def take(self, value: Any, path: str) -> Any:
        """Every key taken, none missing, none unknown."""
        if not isinstance(value, dict):
            raise Misfit(path, self.expected(), value)
        try:
            return self.make(self.take_keys(value, path))
        except (TypeError, ValueError) as error:
            raise Misfit(path, f"{self.expected()} ({error})", value) from None

    def take_keys(self, value: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The keys by name, without making anything of them; Misfit."""
        known = {key.name: key for key in self.keys}
        for name, each in value.items():
            if name not in known:
                raise Misfit(_within(path, name), f"left out (known: {', '.join(known) or 'nothing'})", each)
        taken: dict[str, Any] = {}
        for key in self.keys:
            if key.name in value:
                taken[key.name] = key.shape.take(value[key.name], _within(path, key.name))
            elif key.required:
                raise _Missing(_within(path, key.name), key.shape.expected())
        return taken


class _Missing(Misfit):
    def __init__(self, path: str, expected: str) -> None:
        Exception.__init__(self, f"{path} is missing; it must be {expected}")


def _within(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError
    return int(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def accept(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return accept


SCALARS: dict[Any, Shape] = {
    str: Scalar("string", "a string", _exactly(str)),
    bool: Scalar("boolean", "true or false", _exactly(bool)),
    int: Scalar("integer", "a whole number", _whole),
    float: Scalar("number", "a number", _number),
    None: Scalar("null", "null", _exactly(type(None))),
    type(None): Scalar("null", "null", _exactly(type(None))),
    dt.date: Scalar("string", "a date such as 2026-08-31", dt.date.fromisoformat, "date"),
    dt.time: Scalar("string", "a time of day such as 20:00:00", dt.time.fromisoformat, "time"),
    dt.datetime: Scalar(
        "string", "a date and time such as 2026-08-31T20:00:00", dt.datetime.fromisoformat, "date-time"
    ),
}
"""The shapes of single values, by annotation."""


def _json_type(value: object) -> str:
    for kind, name in ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number")):
        if isinstance(value, kind):
            return name
    return "null"
