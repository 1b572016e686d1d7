"""Rows as JSON: every kind comes back as it went, and rubbish is named."""

import json
from typing import get_args

import pytest
from hypothesis import given, settings, strategies as st
from strategies_history import ROW_STRATEGIES, any_row

from mob.errors import StoreCorrupt
from mob.history.codec import decode, encode
from mob.history.items import AgentMessage, Cause, Turn
from mob.history.rows import Row, RunStopped, TurnRow


def test_every_kind_of_row_is_drawn():
    assert set(ROW_STRATEGIES) == set(get_args(Row))


@pytest.mark.parametrize("cls", get_args(Row), ids=lambda cls: cls.kind)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_row_comes_back_as_it_went(cls, data):
    row = data.draw(ROW_STRATEGIES[cls])
    body = encode(row)
    assert b"\n" not in body
    assert decode(body) == row
    assert json.loads(body)["kind"] == cls.kind


def test_text_that_utf8_cannot_carry_comes_back():
    row = TurnRow("host", Turn("t", Cause("text"), (AgentMessage("a", "broken \ud83d off"),)))
    assert decode(encode(row)) == row


@settings(deadline=None, max_examples=100)
@given(row=any_row, data=st.data())
def test_law_26_a_damaged_row_is_refused_and_named(row, data):
    """Any one value of a row replaced by one of another JSON type is an error that begins with the row."""
    body = json.loads(encode(row))
    places = [key for key in body if key != "kind"]
    key = data.draw(st.sampled_from(places))
    body[key] = data.draw(st.sampled_from([[3], {"x": 1}, 1.5]).filter(lambda new: type(new) is not type(body[key])))
    with pytest.raises(StoreCorrupt, match=rf"^row 7: .*{key}"):
        decode(json.dumps(body).encode(), where="row 7")


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=40))
def test_law_26_bytes_that_are_no_row_are_refused(data):
    with pytest.raises(StoreCorrupt):
        decode(data)


@settings(deadline=None, max_examples=60)
@given(row=any_row, data=st.data())
def test_law_26_a_torn_row_is_refused(row, data):
    body = encode(row)
    with pytest.raises(StoreCorrupt):
        decode(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"kind":"run_stopped"}', "missing @ run_stopped.reason"),
        ('{"kind":"run_stopped","reason":3}', "a string is expected, not 3 @ run_stopped.reason"),
        ('{"kind":"run_paused"}', "unknown kind 'run_paused'"),
        ('{"kind":["turn"]}', "unknown kind"),
        ("[]", "a JSON object is expected, not list"),
        ('{"kind":"run_started","mob":"m","digest":"d","seed":true}', "a whole number is expected, not True"),
        ('{"kind":"run_started","mob":"m","digest":"d","seed":NaN}', "holds NaN, which JSON does not have"),
        ('{"kind":"wired","member":null,"origin":"a","to":"b","via":"ask"}', "a list is expected, not 'ask'"),
        ('{"kind":"wired","member":null,"origin":"a","to":"b","via":["ax"]}', "@ wired.via[0]"),
        ('{"kind":"turn","member":"m","turn":{"id":"t","cause":{"kind":"text"},"items":[{"type":"x"}]}}', "items[0]"),
        ('{"kind":"turn","member":"m","turn":{"id":"t","cause":{"kind":"text"},"items":[],"usage":"abc"}}', "usage"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_the_message_names_the_field(body, problem):
    with pytest.raises(StoreCorrupt) as caught:
        decode(body.encode(), where="run 'r', row 3")
    assert str(caught.value).startswith("run 'r', row 3: ")
    assert problem in str(caught.value)


def test_fields_that_a_newer_mob_added_are_passed_over():
    assert decode(b'{"kind":"run_stopped","reason":"done","mood":"good"}') == RunStopped("done")
