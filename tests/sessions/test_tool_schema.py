"""Schemas and argument taking, from every annotation that tools may carry."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import jsonschema
import pytest
from hypothesis import given, settings, strategies as st

from mob.errors import UsageError
from mob.sessions.docstrings import read_docstring
from mob.sessions.schema import UnsupportedType, read_function, shape_of
from mob.sessions.shapes import Misfit
from mob.sessions.tools import ToolContext, python_tool


class Size(enum.Enum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


class Mood(enum.Enum):
    """Not JSON by value."""

    GOOD = (1, 2)
    BAD = (3, 4)


class Guest(TypedDict):
    """A guest.

    Args:
        name: who it is
    """

    name: str
    age: NotRequired[int]


@dataclass
class Order:
    """An order."""

    dish: str
    count: int = 1
    notes: list[str] = field(default_factory=list)


@attrs.frozen
class Table:
    """A table."""

    seats: int
    place: Literal["window", "corner"] = "window"


CASES: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (int, 3, 3),
    (int, 3.0, 3),
    (float, 3, 3.0),
    (bool, True, True),
    (None, None, None),
    (list[int], [1, 2], [1, 2]),
    (Sequence[str], ["a"], ["a"]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (set[str], ["a"], {"a"}),
    (list, [1, "a"], [1, "a"]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict, {"a": [1]}, {"a": [1]}),
    (Mapping[str, Any], {"a": None}, {"a": None}),
    (str | None, None, None),
    (int | str, "a", "a"),
    (Literal["a", 2], 2, 2),
    (Size, "large", Size.LARGE),
    (Mood, "BAD", Mood.BAD),
    (Annotated[int, "how many"], 4, 4),
    (Any, {"x": 1}, {"x": 1}),
    (Guest, {"name": "Ada"}, {"name": "Ada"}),
    (Order, {"dish": "soup", "count": 2}, Order("soup", 2)),
    (Table, {"seats": 4, "place": "corner"}, Table(4, "corner")),
    (list[Table], [{"seats": 2}], [Table(2)]),
    (dt.date, "2026-08-31", dt.date(2026, 8, 31)),
    (dt.time, "20:00", dt.time(20)),
    (dt.datetime, "2026-08-31T20:00:00", dt.datetime(2026, 8, 31, 20)),
]


@pytest.mark.parametrize(("annotation", "value", "taken"), CASES, ids=str)
def test_a_fitting_value_is_taken_and_its_schema_allows_it(annotation, value, taken):
    """What we take, an outside validator of our schema takes too."""
    shape = shape_of(annotation)
    jsonschema.Draft202012Validator.check_schema(shape.schema())
    jsonschema.validate(value, shape.schema())
    assert shape.take(value, "x") == taken
    assert shape.expected()


@pytest.mark.parametrize(
    ("annotation", "value", "complaint"),
    [
        (int, "3", 'x must be a whole number, but "3" was given'),
        (int, True, "x must be a whole number, but true was given"),
        (int, 3.5, "x must be a whole number, but 3.5 was given"),
        (float, float("inf"), "x must be a number"),
        (int, float("nan"), "x must be a whole number"),
        (str, None, "x must be a string, but null was given"),
        (bool, 1, "x must be true or false, but 1 was given"),
        (list[int], [1, "b"], 'x[1] must be a whole number, but "b" was given'),
        (dict[str, int], {"k": None}, "x.k must be a whole number"),
        (Literal["a", "b"], "c", 'x must be one of "a", "b", but "c" was given'),
        (Literal[1], True, "x must be one of 1, but true was given"),
        (Size, "SMALL", 'x must be one of "small", "large"'),
        (int | None, "a", 'x must be a whole number or null, but "a" was given'),
        (Order | None, {"dish": 3}, "x.dish must be a string, but 3 was given"),
        (Guest, {"age": 3}, "x.name is missing; it must be a string"),
        (Guest, {"name": "A", "size": 1}, "x.size must be left out (known: name, age), but 1 was given"),
        (Table, [4], "x must be an object with seats, place"),
        (set[dict], [{}], "x must be a list of values that can be told apart"),
        (dt.date, "tomorrow", 'x must be a date such as 2026-08-31, but "tomorrow" was given'),
        (dt.date, 3, "x must be a date such as 2026-08-31, but 3 was given"),
    ],
    ids=str,
)
def test_a_misfit_names_the_place_what_was_expected_and_what_came(annotation, value, complaint):
    """The sentence is what the model learns from."""
    with pytest.raises(Misfit) as caught:
        shape_of(annotation).take(value, "x")
    assert str(caught.value).startswith(complaint)


def test_a_long_value_is_shown_short():
    """A model is not told its own megabytes again."""
    with pytest.raises(Misfit) as caught:
        shape_of(int).take("a" * 10_000, "x")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("annotation", [bytes, dict[int, str], tuple[int, str], complex, type, object.__class__])
def test_types_without_a_counterpart_are_refused_when_the_tool_is_made(annotation):
    """Not when the model calls it."""
    with pytest.raises(UnsupportedType):
        shape_of(annotation)


def test_a_type_that_contains_itself_is_refused():
    """A schema must end."""

    @attrs.define
    class Node:
        below: Any = None

    Node.__annotations__["below"] = Node
    with pytest.raises(UnsupportedType, match="contains itself"):
        shape_of(Node)


def test_a_function_is_read_whole():
    """Names, types, defaults, docs in Google's manner; the context parameter is ours and is not shown."""

    def book(
        name: str, guests: Annotated[int, "party size"], *, when: dt.date, size: Size = Size.SMALL, ctx: ToolContext
    ):
        """Book a table
        for somebody.

        More words that the model is not told.

        Args:
            name (str): under which name
                it is booked
            guests: not used, the annotation wins
            when: the day

        Returns:
            nothing: at all
        """

    shape = read_function(book, name="book_table", context=ToolContext)
    assert shape.context_parameter == "ctx"
    assert shape.schema.name == "book_table"
    assert shape.schema.description == "Book a table for somebody."
    assert shape.schema.parameters == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "under which name it is booked"},
            "guests": {"type": "integer", "description": "party size"},
            "when": {"type": "string", "format": "date", "description": "the day"},
            "size": {"type": "string", "enum": ["small", "large"], "default": "small"},
        },
        "required": ["name", "guests", "when"],
        "additionalProperties": False,
    }


def test_sphinx_docs_are_read_too():
    """`:param name:` with and without a type, continued on the next line."""
    said = read_docstring(
        """Do it.

        :param name: who
            it is
        :param int count: how often
        :returns: nothing
        """
    )
    assert said.summary == "Do it."
    assert said.parameters == {"name": "who it is", "count": "how often"}


def test_a_function_without_words_is_described_by_its_name():
    """And one whose `[tools.X]` has a description, by that."""

    def look_up(x): ...

    assert read_function(look_up, name="look_up", context=ToolContext).schema.description == "look up"
    described = read_function(look_up, name="look_up", context=ToolContext, description="Look.")
    assert described.schema.description == "Look."
    assert described.schema.parameters["properties"] == {"x": {}}


@pytest.mark.parametrize("function", [lambda a, /: None, lambda *a: None], ids=["positional only", "variadic"])
def test_parameters_without_a_name_are_refused(function):
    """Models give arguments by name."""
    with pytest.raises(UsageError, match="cannot be given by name"):
        python_tool(function, name="f")


def test_annotations_that_cannot_be_read_are_a_typed_error():
    """The tool is named, and what is wrong with it."""

    def broken(x: Nowhere): ...  # noqa: F821

    with pytest.raises(UsageError, match="the tool broken cannot be offered to a model: its annotations"):
        python_tool(broken)


KEYS = st.sampled_from(["name", "age", "x"])
NUMBERS = st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
ANNOTATIONS = [annotation for annotation, _, _ in CASES if annotation not in (dt.date, dt.time, dt.datetime, set[str])]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(ANNOTATIONS), JSON)
def test_we_take_a_value_iff_the_schema_allows_it(annotation, value):
    """What the model is told and what is taken are the same (but for dates, whose format schemas do not check)."""
    shape = shape_of(annotation)
    allowed = jsonschema.Draft202012Validator(shape.schema()).is_valid(json.loads(json.dumps(value)))
    try:
        shape.take(value, "x")
    except Misfit:
        taken = False
    else:
        taken = True
    assert taken == allowed
