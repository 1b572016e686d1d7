"""Server-sent events: however the bytes are cut, the events are the same."""

import itertools
import re

import pytest
from hypothesis import example, given, settings, strategies as st

from mob.errors import WireError
from mob.providers.openai_chat import sse
from mob.providers.openai_chat.sse import SseDecoder, SseEvent, encode_comment, encode_event

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
one_line = texts.map(lambda text: re.sub(r"[\r\n]", " ", text))


def read(*pieces: bytes) -> list[str]:
    decoder = SseDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [event.data for event in [*events, *decoder.end()]]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(at)]


def naive(data: bytes) -> list[str]:
    """The whole stream at once, as the standard reads: split into lines, then into events at empty lines."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    events, current = [], []
    for line in [*re.split("\r\n|\r|\n", text), ""]:
        name, _, value = line.partition(":")
        if not line:
            events += ["\n".join(current)] if current else []
            current = []
        elif name in ("data", "error"):
            current.append(value.removeprefix(" "))
    return events


STREAM = (
    "\ufeffdata: first\r\n: hello\r\n\r\ndata: {\"a\": \"é€😀\"}\r\n\r\nid: 7\ndata: one\rdata: two\r\r: ping\n\n"
    "event: x\r\ndata\r\ndata:  spaced\r\n\r\ndata: [DONE]\n\ndata: unended"
).encode()  # fmt: skip


def test_cut_at_every_byte():
    expected = ["first", '{"a": "é€😀"}', "one\ntwo", "\n spaced", "[DONE]", "unended"]
    assert read(STREAM) == expected
    assert read(*[STREAM[i : i + 1] for i in range(len(STREAM))]) == expected
    for i in range(len(STREAM)):
        assert read(STREAM[:i], STREAM[i:]) == expected, i


@settings(deadline=None, max_examples=100)
@given(st.lists(one_line, max_size=6), st.sampled_from(["\n", "\r", "\r\n"]), st.lists(st.integers(0), max_size=8))
def test_events_survive_any_cut_and_any_line_ending(events, ending, places):
    pieces = (f": c{ending}{ending}data: {event}{ending}data: more{ending}{ending}" for event in events)
    assert read(*cut("".join(pieces).encode(), places)) == [f"{event}\nmore" for event in events]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([b"data: ", b"\r", b"\n", b"\r\n", b"x", b":", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xff"])),
    st.lists(st.integers(0), max_size=8),
)
@example(pieces=[b"data: ", b"x", b"\r", b"\n", b"\r"], places=[8])
def test_any_bytes_read_as_the_standard_says(pieces, places):
    data = b"".join(pieces)
    assert read(*cut(data, places)) == naive(data)


@settings(deadline=None, max_examples=100)
@given(st.lists(texts.filter(lambda text: "\r" not in text), max_size=5))
def test_what_is_written_is_read(events):
    written = b"".join(encode_event(event) + encode_comment("keep alive") for event in events)
    assert read(written) == events


def test_an_error_field_is_an_error():
    assert SseDecoder().feed(b'error: {"code": 500}\n\n') == [SseEvent('{"code": 500}', error=True)]


@pytest.mark.parametrize("piece", [b"data: x\n", b"x" * 10, b": ping\n"])
def test_an_endless_event_is_refused(monkeypatch, piece):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    with pytest.raises(WireError, match="larger than 1000 bytes"):
        read(*[piece] * 1000)


def test_an_endless_stream_of_events_is_not(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    decoder = SseDecoder()
    assert sum(len(decoder.feed(b"data: " + b"x" * 900 + b"\n\n")) for _ in range(20)) == 20


def test_each_byte_is_looked_at_once():
    """A line of 4 MiB in pieces of 16 bytes: were the line searched anew with each, this would take for ever."""
    decoder = SseDecoder()
    for _ in range(2**18):
        decoder.feed(b"0123456789abcdef")
    assert decoder.feed(b"\ndata: x\n\n") == [SseEvent("x")]
