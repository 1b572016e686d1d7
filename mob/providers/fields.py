"""Typed access to a decoded event: what is required must be there and right, what is optional may be anything.

A required field that is missing or of another type is a WireError naming its path. An optional field that is null
or of a type we do not expect reads as absent: vendors add shapes without notice, and one odd extra must not cost
the connection.
"""

from __future__ import annotations

from attrs import frozen

from mob.errors import WireError
from mob.providers.frames import JsonObject, kind_of

MAX_INTEGER = 2**53
"""What JSON peers agree on. Nothing on this wire counts further, and a longer number would harm whoever computes."""


@frozen(slots=True)
class Fields:
    """One JSON object of an event, with the path that leads to it ("" for the event itself)."""

    data: JsonObject
    path: str = ""

    def text(self, key: str) -> str:
        """A required string."""
        value = self.data.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def integer(self, key: str) -> int:
        """A required integer (a decimal number without fraction is one too: JSON knows no difference)."""
        value = _whole(self.data.get(key))
        if value is None:
            raise self._wrong(key, "an integer", self.data.get(key))
        return value

    def child(self, key: str) -> Fields:
        """A required object."""
        value = self.data.get(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        return Fields(value, self._at(key))

    def array(self, key: str) -> list[object]:
        """A required array."""
        value = self.data.get(key)
        if not isinstance(value, list):
            raise self._wrong(key, "an array", value)
        return value

    def maybe_text(self, key: str) -> str | None:
        """A string, or None."""
        value = self.data.get(key)
        return value if isinstance(value, str) else None

    def maybe_integer(self, key: str, default: int | None = None) -> int | None:
        """An integer, or `default`."""
        value = _whole(self.data.get(key))
        return default if value is None else value

    def maybe_number(self, key: str) -> float | None:
        """A number, or None."""
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if -MAX_INTEGER <= value <= MAX_INTEGER else None

    def count(self, key: str) -> int:
        """A count: a non-negative integer, 0 when it is not there."""
        return max(0, self.maybe_integer(key, 0) or 0)

    def maybe_child(self, key: str) -> Fields:
        """An object, empty when it is not there."""
        value = self.data.get(key)
        return Fields(value if isinstance(value, dict) else {}, self._at(key))

    def children(self, key: str) -> list[Fields]:
        """The objects in an array; other entries, or another type, are passed over."""
        value = self.data.get(key)
        if not isinstance(value, list):
            return []
        return [Fields(v, f"{self._at(key)}[{i}]") for i, v in enumerate(value) if isinstance(v, dict)]

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, wanted: str, value: object) -> WireError:
        found = "it is missing" if key not in self.data else f"it is {kind_of(value)}"
        path = self._at(key)
        return WireError(f"{path} must be {wanted}, and {found}.", field=path)


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -MAX_INTEGER <= value <= MAX_INTEGER or value != int(value):
        return None
    return int(value)
