"""The parameters of a request, taken one by one: each has a type, and what does not fit names its field (law 26)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from mob.errors import RequestInvalid

_T = TypeVar("_T")

_KINDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    dict: "an object",
    list: "a list",
}


class Params:
    """One object of parameters. `path` is where it stands in the request. All methods raise RequestInvalid."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values = values
        self.path = path

    def __contains__(self, name: object) -> bool:
        return self.values.get(str(name)) is not None

    def text(self, name: str, *, most: int = 1_000_000) -> str:
        """A string that must be there, and not empty."""
        value = self.maybe_text(name, most=most)
        if not value:
            raise self.wrong(name, "must be a string that is not empty" if value == "" else "is missing")
        return value

    def maybe_text(self, name: str, *, most: int = 1_000_000) -> str | None:
        """A string, or None when it is not given."""
        value = self._typed(name, str)
        if value is not None and len(value) > most:
            raise self.wrong(name, f"is {len(value)} characters long; the most is {most}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self._typed(name, bool)
        return default if value is None else value

    def maybe_whole(self, name: str, *, least: int = 0, most: int = 2**53) -> int | None:
        """A whole number within bounds, or None when it is not given."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():  # 1.0 is a whole number in JSON
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, f"must be a whole number, not {_shown(value)}")
        if not least <= value <= most:
            raise self.wrong(name, f"must be between {least} and {most}, not {value}")
        return value

    def whole(self, name: str, *, least: int = 0, most: int = 2**53) -> int:
        """A whole number that must be there."""
        value = self.maybe_whole(name, least=least, most=most)
        if value is None:
            raise self.wrong(name, "is missing")
        return value

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str | None:
        """One of these words; `default` when it is not given."""
        value = self._typed(name, str)
        if value is not None and value not in choices:
            raise self.wrong(name, f"must be one of {', '.join(choices)}, not {_shown(value)}")
        return default if value is None else value

    def maybe_child(self, name: str) -> Params | None:
        """An object, or None when it is not given."""
        value = self._typed(name, dict)
        return None if value is None else Params(value, self.where(name))

    def child(self, name: str) -> Params:
        """An object that must be there."""
        found = self.maybe_child(name)
        if found is None:
            raise self.wrong(name, "is missing")
        return found

    def items(self, name: str, *, most: int = 1000) -> list[Any]:
        """A list, empty when it is not given."""
        value = self._typed(name, list)
        if value is not None and len(value) > most:
            raise self.wrong(name, f"has {len(value)} entries; the most is {most}")
        return value or []

    def children(self, name: str, *, most: int = 1000) -> list[Params]:
        """A list of objects, empty when it is not given."""
        children = []
        for index, value in enumerate(self.items(name, most=most)):
            at = f"{name}[{index}]"
            if not isinstance(value, dict):
                raise self.wrong(at, f"must be an object, not {_shown(value)}")
            children.append(Params(value, self.where(at)))
        return children

    def texts(self, name: str, *, most: int = 1000) -> tuple[str, ...]:
        """A list of strings, empty when it is not given."""
        for index, value in enumerate(self.items(name, most=most)):
            if not isinstance(value, str):
                raise self.wrong(f"{name}[{index}]", f"must be a string, not {_shown(value)}")
            self._check_text(f"{name}[{index}]", value)
        return tuple(self.items(name, most=most))

    def labels(self, name: str) -> dict[str, str]:
        """An object of strings, empty when it is not given."""
        found = self.maybe_child(name)
        for key, value in (found.values if found is not None else {}).items():
            if not isinstance(value, str):
                raise self.wrong(f"{name}.{key}", f"must be a string, not {_shown(value)}")
            self._check_text(name, key)
            self._check_text(f"{name}.{key}", value)
        return dict(found.values) if found is not None else {}

    def wrong(self, name: str, what: str) -> RequestInvalid:
        """The error that says what is wrong with this parameter."""
        at = self.where(name)
        return RequestInvalid(f"`{at}` {what}", field=at)

    def _typed(self, name: str, kind: type[_T]) -> _T | None:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, kind):
            raise self.wrong(name, f"must be {_KINDS[kind]}, not {_shown(value)}")
        if isinstance(value, str):
            self._check_text(name, value)
        return value

    def _check_text(self, name: str, text: str) -> None:
        """JSON can spell half a character, and nothing behind this door could write it."""
        if text.isascii():
            return
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(name, f"has half a surrogate pair at character {error.start}") from None

    def where(self, name: str) -> str:
        """The path of this parameter in the request."""
        return f"{self.path}.{name}" if self.path else name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
