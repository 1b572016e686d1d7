"""JSON from outside: what is taken can be written again, what is not is a ValueError that says why."""

import json

import pytest

from mob.jsontext import MAX_DEPTH, read_json


def test_what_json_has_is_read():
    text = '{"a": [1, -2.5e3, "\\ud800", null, true], "b": {}}'
    assert read_json(text) == read_json(text.encode()) == json.loads(text)
    assert read_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[NaN]", "holds NaN, which JSON does not have"),
        ("[-Infinity]", "holds -Infinity, which JSON does not have"),
        ("[1e999]", "holds a number too large to be kept"),
        ("[-1e999]", "holds a number too large to be kept"),
        ("9" * 5000, "holds an integer of too many digits"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nests more than 64 levels deep"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "nests more than 64 levels deep"),
    ],
    ids=["nan", "infinity", "large", "small", "digits", "a level too deep", "very deep"],
)
def test_law_26_what_cannot_be_written_again_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        read_json(text)


def test_law_26_where_a_text_is_no_json_is_said():
    with pytest.raises(json.JSONDecodeError) as caught:
        read_json('{"a": }')
    assert caught.value.pos == 6
    with pytest.raises(UnicodeDecodeError):
        read_json(b'"\xff"')


def test_brackets_in_words_are_no_depth():
    text = json.dumps("[" * 500)
    assert read_json(text) == "[" * 500
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
