"""Everything that a door tells comes back as it went, and rubbish is named."""

import inspect
import json
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from mob import errors
from mob.definition.findings import Finding
from mob.errors import DoorError, LiveRejected, MobError, ProviderRefused, WireError
from mob.history import items
from mob.live import events as live
from mob.live.transport_port import HandshakeRefused, TransportClosed
from mob.protocol.shapes import (
    error_json,
    error_of,
    event_json,
    event_of,
    turn_json,
    turn_of,
    usage_json,
    usage_of,
)
from mob.sessions import events as run
from mob.team.events import StreamLagged
from mob.values import Image, Recovery, Usage

words = st.text(max_size=12)
counts = st.integers(0, 10**9)
places = st.integers(0, 10**8).map(lambda n: n / 10_000)
images = st.builds(Image, mime=st.sampled_from(["image/png", "image/jpeg"]), data=st.binary(max_size=20))
leaves = st.booleans() | st.integers(-(2**53), 2**53) | words
facts = st.dictionaries(words, st.dictionaries(words, leaves, max_size=3), max_size=3)

BY_TYPE = {
    str: words,
    bytes: st.binary(max_size=40),
    int: counts,
    float: places,
    bool: st.booleans(),
    type(None): st.none(),
    dict[str, dict[str, Any]]: facts,
    tuple[Image, ...]: st.lists(images, max_size=2).map(tuple),
}


def drawn(cls):
    """Values of this class, each field by its type: a field of a new type fails here, by its name."""
    return st.builds(cls, **{field.name: by_type(field.type) for field in attrs.fields(attrs.resolve_types(cls))})


def by_type(cls):
    if get_origin(cls) is Literal:
        return st.sampled_from(get_args(cls))
    if get_origin(cls) in (Union, UnionType):
        return st.one_of(*map(by_type, get_args(cls)))
    return BY_TYPE[cls]


def named_in(module, base):
    return [cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, base) and cls is not base]


BY_TYPE |= {cls: drawn(cls) for cls in (Usage, items.Cause, items.Timings)}
any_item = st.one_of(*(drawn(cls) for cls in get_args(items.Item)))
BY_TYPE[tuple[items.Item, ...]] = st.lists(any_item, max_size=4).map(tuple)
BY_TYPE[items.Turn] = drawn(items.Turn)

LIVE_EVENTS = named_in(live, live.LiveEvent)
RUN_EVENTS = [*named_in(run, run.RunEvent), StreamLagged]
ERRORS = named_in(errors, MobError)


def over_the_wire(value):
    return json.loads(json.dumps(value))


@settings(deadline=None, max_examples=60)
@given(turn=drawn(items.Turn), usage=drawn(Usage))
def test_what_is_kept_comes_back_as_it_went(turn, usage):
    assert turn_of(over_the_wire(turn_json(turn))) == turn
    assert usage_of(over_the_wire(usage_json(usage))) == usage


@pytest.mark.parametrize("cls", RUN_EVENTS, ids=lambda cls: cls.type)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_an_event_of_the_run_comes_back_as_it_went(cls, data):
    event = data.draw(drawn(cls))
    assert event_of(over_the_wire(event_json(event))) == event


DETAILS = {
    "str": words,
    "int": counts,
    "str | None": st.none() | words,
    "int | None": st.none() | counts,
    "float | None": st.none() | places,
    "Sequence[str]": st.lists(words, max_size=3),
    "Sequence[object]": st.lists(drawn(Finding), max_size=3),
    "Recovery": st.sampled_from(get_args(Recovery)),
    "TokenFault": st.sampled_from(get_args(errors.TokenFault)),
}
"""What an error is made from, by its annotation."""


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.code)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_an_error_comes_back_as_the_class_that_was_raised(cls, data):
    details = list(inspect.signature(cls).parameters.values())[1:]
    error = cls(data.draw(words), **{detail.name: data.draw(DETAILS[detail.annotation]) for detail in details})
    back = error_of(over_the_wire(error_json(error)))
    assert type(back) is cls
    assert vars(back) == vars(error)
    assert str(back) == str(error)


def test_codes_of_errors_name_one_class_each():
    assert len({cls.code for cls in ERRORS}) == len(ERRORS)


def test_an_error_that_a_reader_does_not_know_is_of_the_nearest_kind_that_it_knows():
    refused = HandshakeRefused(
        "no", status=403, headers={"x-key": "sk-secret"}, body=b"sk-secret", recovery="fatal", retry_after_s=None
    )
    body = over_the_wire(error_json(refused))
    assert "sk-secret" not in json.dumps(body)
    back = error_of(body)
    assert type(back) is ProviderRefused
    assert back.status == 403
    assert type(error_of(error_json(TransportClosed(1006, "")))) is DoorError
    kinds = [3, "newer", "live_rejected", "live_error"]
    from_the_future = {"code": "new", "message": "m", "kinds": kinds, "details": {"reason": "later"}}
    assert type(error_of(from_the_future)) is LiveRejected


def test_an_error_without_its_details_is_refused_and_named():
    with pytest.raises(WireError) as caught:
        error_of({"code": "live_rejected", "message": "m"})
    assert caught.value.field == "error.details"
    with pytest.raises(WireError):
        error_of({"code": "bad_definition", "message": "m", "details": {"findings": 3}})


def test_what_is_new_is_passed_over():
    assert event_of({"type": "from_the_future", "seq": 1, "t": 0.5}) is None
    known = {"type": "user_transcript", "seq": 1, "t": 0.5, "member": "host", "text": "hi", "mood": "good"}
    assert event_of(known) == run.UserTranscribed(seq=1, t=0.5, member="host", text="hi")


rubbish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
READERS = [turn_of, usage_of, event_of, error_of]


@settings(deadline=None, max_examples=150)
@given(value=rubbish, reader=st.sampled_from(READERS))
def test_law_26_rubbish_is_read_or_refused_and_nothing_else(value, reader):
    try:
        read = reader(value)
    except WireError:
        return
    assert read is None or isinstance(read, items.Turn | Usage | run.RunEvent | MobError)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), cls=st.sampled_from([*RUN_EVENTS, items.Turn]))
def test_law_26_a_shape_with_one_wrong_value_is_refused_and_named(data, cls):
    """Any one value replaced by one of another JSON type is a WireError whose field is that value's."""
    made = data.draw(drawn(cls))
    if cls is items.Turn:
        body, read = turn_json(made), turn_of
    else:
        body, read = event_json(made), event_of
    key = data.draw(st.sampled_from(sorted(body)))
    body[key] = data.draw(
        st.sampled_from([[3], {"x": 1}, "x", 1.5, True]).filter(lambda new: not could_be(new, body[key]))
    )
    with pytest.raises(WireError) as caught:
        read(body)
    path = caught.value.field.split(".")
    field = path[1].partition("[")[0] if len(path) > 1 else ""
    assert {"error_class": "class", "origin": "from"}.get(field, field) == key


def could_be(new, old):
    if old is None:  # the field may hold a value as well
        return type(new) is not list
    numbers = (int, float)
    return type(new) is type(old) or (type(new) in numbers and type(old) in numbers and not isinstance(old, bool))
