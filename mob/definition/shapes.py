"""What a value in a team file may look like: a small closed language of shapes, as data.

One table of keys (`mob.definition.keys`) is written in it; structuring, the hints for misspelt keys and the reference
pages all read that table, so that none of them can disagree with another.
"""

from __future__ import annotations

from attrs import frozen


@frozen(slots=True)
class Text:
    """A string. `choices`: the only ones allowed. `pattern` must match it whole; `says` puts the pattern in words.

    `private` values are never repeated in a message.
    """

    choices: tuple[str, ...] = ()
    pattern: str | None = None
    says: str = ""
    empty: bool = True
    private: bool = False


@frozen(slots=True)
class Whole:
    """An integer from `low` to `high`, both included. Never a float, never a boolean."""

    low: int = 0
    high: int = 2**53


@frozen(slots=True)
class Number:
    """A float or an integer from `low` to `high`, both included; structured to float."""

    low: float = 0.0
    high: float = 1e9


@frozen(slots=True)
class Flag:
    """A boolean."""


@frozen(slots=True)
class Free:
    """A table whose keys are not ours: passed on as it is, nested no deeper than mob reads."""


@frozen(slots=True)
class ListOf:
    """An array, every item of one shape; structured to a tuple."""

    item: Shape
    at_least: int = 0


@frozen(slots=True)
class MapOf:
    """A table whose keys are names the author chooses, every value of one shape.

    `kind` is "profile", "member" or "tool" where the names must follow the rules for those; `noun` is how one name
    stands in the reference (`[profiles.NAME]`).
    """

    item: Shape
    kind: str | None = None
    noun: str = "NAME"


@frozen(slots=True)
class Table:
    """A table with known keys. `model` is the class that its defaults are read from, for the reference."""

    keys: tuple[Key, ...]
    model: type | None = None

    def names(self) -> tuple[str, ...]:
        """The keys' names, in the order they are explained."""
        return tuple(key.name for key in self.keys)


@frozen(slots=True)
class Either:
    """One of several shapes, told apart by the TOML type of the value."""

    options: tuple[Shape, ...]


Shape = Text | Whole | Number | Flag | Free | ListOf | MapOf | Table | Either


@frozen(slots=True)
class Key:
    """One key of a table.

    `not_built`: the key is recognised and has no effect; the sentence says so and what to do instead. A value that
    asks for nothing (false, empty) is then passed over in silence, because nothing is lost by it. `default` is for
    keys that no model class holds.
    """

    name: str
    shape: Shape
    meaning: str
    required: bool = False
    default: str | None = None
    not_built: str | None = None


def toml_type(value: object) -> str:
    """A value's TOML (or JSON) type in words: "text", "a whole number", "a table", …"""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"


def fits(value: object, shape: Shape) -> bool:
    """Whether the value has the TOML type of the shape; nothing is said about its content."""
    match shape:
        case Text():
            return isinstance(value, str)
        case Whole():
            return type(value) is int
        case Number():
            return type(value) in (int, float)
        case Flag():
            return isinstance(value, bool)
        case ListOf():
            return isinstance(value, list)
        case Free() | MapOf() | Table():
            return isinstance(value, dict)
        case Either(options=options):
            return any(fits(value, option) for option in options)


def in_words(shape: Shape) -> str:
    """The shape as an author reads it: "a whole number from 1 to 64", "a list of text", …"""
    match shape:
        case Text(choices=choices) if choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in choices)
        case Text():
            return "text"
        case Whole(low=low, high=high):
            return f"a whole number from {low} to {high}" if high < 2**53 else f"a whole number, at least {low}"
        case Number(low=low, high=high):
            return f"a number from {low:g} to {high:g}" if high < 1e9 else f"a number, at least {low:g}"
        case Flag():
            return "true or false"
        case ListOf(item=Table()):
            return "a list of tables"
        case ListOf(item=item):
            return f"a list, each {in_words(item)}" if isinstance(item, Text) and item.choices else "a list of text"
        case Free() | MapOf() | Table():
            return "a table"
        case Either(options=options):
            return ", or ".join(dict.fromkeys(in_words(option) for option in options))
