"""Small checks that are put together to the shape of a request, and refuse as the vendor does.

A check takes a value and the path that leads to it, gives the value back (cleaned), or raises `Refusal` with the
vendor's code, its kind of sentence, and the path as `param`. `record`, `tagged` and `array` are made of checks, so that
the shape of every client event is one table (`schema`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mob.errors import WireError
from mob.providers.frames import kind_of
from mob.providers.openai_realtime.base64audio import decode_base64, decode_standard

Check = Callable[[object, str], object]


class Refusal(Exception):
    """The request is refused and changes nothing; the session lives on. Becomes an `error` event."""

    def __init__(self, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def wrong_type(path: str, wanted: str, value: object) -> Refusal:
    """The refusal of a value of another JSON type."""
    message = f"Invalid type for '{path}': expected {wanted}, but got {kind_of(value)} instead."
    return Refusal("invalid_type", message, param=path)


def invalid(path: str, message: str) -> Refusal:
    """The refusal of a value of the right type that is not allowed."""
    return Refusal("invalid_value", message, param=path)


def anything(value: object, _: str) -> object:
    """Whatever JSON can say."""
    return value


def boolean(value: object, path: str) -> object:
    """true or false."""
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)
    return value


def json_object(value: object, path: str) -> object:
    """An object, whatever it holds."""
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    return value


def text(*, longest: int | None = None, shortest: int = 0) -> Check:
    """A string of `shortest` to `longest` characters."""

    def check(value: object, path: str) -> object:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if longest is not None and len(value) > longest:
            raise Refusal(
                "string_above_max_length",
                f"Invalid '{path}': string too long. Expected a string with maximum length {longest}, but got a "
                f"string with length {len(value)} instead.",
                param=path,
            )
        if len(value) < shortest:
            raise Refusal("string_below_min_length", f"Invalid '{path}': empty string.", param=path)
        return value

    return check


def integer(low: int, high: int) -> Check:
    """An integer from `low` to `high`."""

    def check(value: object, path: str) -> object:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(path, "an integer", value)
        _within(value, low, high, path, "integer")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A number from `low` to `high`."""

    def check(value: object, path: str) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(path, "a number", value)
        _within(value, low, high, path, "decimal")
        return value

    return check


def choice(*words: str | int) -> Check:
    """One of these words (or numbers)."""

    def check(value: object, path: str) -> object:
        if isinstance(value, bool) or value not in words:
            shown = f"'{value[:60]}'" if isinstance(value, str) else kind_of(value)
            allowed = ", ".join(f"'{word}'" if isinstance(word, str) else str(word) for word in words)
            raise invalid(path, f"Invalid value: {shown}. Supported values are: {allowed}.")
        return words[words.index(value)]  # 24000.0 is 24000: JSON knows no difference

    return check


def matching(pattern: str, wanted: str) -> Check:
    """A string of this pattern; `wanted` says in words what it is."""
    compiled = re.compile(pattern)

    def check(value: object, path: str) -> object:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if not compiled.match(value):
            raise invalid(path, f"Invalid '{path}'. Expected {wanted}.")
        return value

    return check


def base64(value: object, path: str) -> object:
    """The bytes of a base64 string."""
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    data = decode_standard(value)
    if data is not None:
        return data
    try:
        return decode_base64(value, field=path)
    except WireError:
        raise invalid(path, f"Invalid '{path}'. Expected base64-encoded audio bytes.") from None


def nullable(check: Check) -> Check:
    """What `check` allows, or null."""
    return lambda value, path: None if value is None else check(value, path)


def word_or(words: Check, other: Check) -> Check:
    """A string that `words` allows, or else what `other` allows."""
    return lambda value, path: (words if isinstance(value, str) else other)(value, path)


def array(check: Check, *, longest: int | None = None) -> Check:
    """A list, each entry as `check` says."""

    def check_array(value: object, path: str) -> object:
        if not isinstance(value, list):
            raise wrong_type(path, "an array", value)
        if longest is not None and len(value) > longest:
            message = f"Invalid '{path}': array too long. Expected at most {longest} entries, but got {len(value)}."
            raise Refusal("array_above_max_length", message, param=path)
        return [check(entry, f"{path}[{index}]") for index, entry in enumerate(value)]

    return check_array


def record(required: Mapping[str, Check] | None = None, optional: Mapping[str, Check] | None = None) -> Check:
    """An object with exactly these fields."""
    needed = dict(required or {})
    known = {**needed, **(optional or {})}

    def check(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise wrong_type(path, "an object", value)
        for key in value:
            if key not in known:
                param = join(path, key[:80])
                raise Refusal("unknown_parameter", f"Unknown parameter: '{param}'.", param=param)
        for key in needed:
            if key not in value:
                raise missing(join(path, key))
        return {key: known[key](entry, join(path, key)) for key, entry in value.items()}

    return check


def tagged(tag: str, shapes: Mapping[str, Check]) -> Check:
    """An object whose field `tag` says which of `shapes` it has (each shape checks the tag itself too)."""
    word = choice(*shapes)

    def check(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise wrong_type(path, "an object", value)
        if tag not in value:
            raise missing(join(path, tag))
        word(value[tag], join(path, tag))
        return shapes[value[tag]](value, path)

    return check


def missing(path: str) -> Refusal:
    """The refusal of an object without a field that it needs."""
    return Refusal("missing_required_parameter", f"Missing required parameter: '{path}'.", param=path)


def join(path: str, key: str) -> str:
    """The path of `key` inside `path` ("" is the event itself)."""
    return f"{path}.{key}" if path else key


def _within(value: float, low: float, high: float, path: str, kind: str) -> None:
    if value < low:
        message = f"Invalid '{path}': {kind} below minimum value. Expected a value >= {low}."
        raise Refusal(f"{kind}_below_min_value", message, param=path)
    if value > high:
        message = f"Invalid '{path}': {kind} above maximum value. Expected a value <= {high}."
        raise Refusal(f"{kind}_above_max_value", message, param=path)
