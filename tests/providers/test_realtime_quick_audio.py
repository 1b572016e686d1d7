"""The quick way of audio events and the full way of all events say the same; so do both base64 libraries."""

from __future__ import annotations

import base64
import binascii
import json
import sys

import pytest
from hypothesis import given, settings, strategies as st
from realtime_support import pcm

from mob.errors import WireError
from mob.providers.commands import AppendAudio
from mob.providers.events import AgentAudio, WireEvent
from mob.providers.frames import load_frame
from mob.providers.openai_realtime import RealtimeClient, RealtimeServer, base64audio, fastpath
from mob.providers.openai_realtime.decode import CallBook, decode_event

PLAIN = st.text("abcXYZ019_-", min_size=1, max_size=12)
ODD = st.text(max_size=4) | st.sampled_from(['a"b', "", "é", "\\", -1, 1_000_000, 1.0, None])


CAREFUL = settings(deadline=None, max_examples=400, database=None, derandomize=True)


@st.composite
def payloads(draw: st.DrawFn) -> str:
    """Base64 of sound, now and then in another alphabet, unpadded, or damaged."""
    text = base64.b64encode(draw(st.binary(max_size=48))).decode()
    match draw(st.integers(0, 7)):
        case 0:
            return text.replace("+", "-").replace("/", "_")
        case 1:
            return text.rstrip("=")
        case 2:
            return text + draw(st.sampled_from(["=", "====", "\n", " ", "A", "é", '"', "\\", "\x00"]))
        case 3:
            return draw(st.text(max_size=9))
        case _:
            return text


@st.composite
def audio_frames(draw: st.DrawFn) -> str:
    """An audio delta in the vendor's spelling, or in one of the many that mean the same or nearly the same."""
    fields: dict[str, object] = {
        "type": draw(st.sampled_from(["response.output_audio.delta", "response.audio.delta"])),
        "event_id": draw(PLAIN),
        "response_id": draw(PLAIN),
        "item_id": draw(PLAIN),
        "output_index": draw(st.integers(0, 12)),
        "content_index": draw(st.integers(0, 12)),
        "delta": draw(payloads()),
    }
    order = list(fields)
    match draw(st.integers(0, 7)):
        case 0:
            order = draw(st.permutations(order))
        case 1:
            order.remove(draw(st.sampled_from(order)))
        case 2:
            order.append("obfuscation")
            fields["obfuscation"] = "xx"
        case 3:
            fields[draw(st.sampled_from(order))] = draw(ODD)
    separators = draw(st.sampled_from([(",", ":")] * 3 + [(", ", ": ")]))
    text = json.dumps({key: fields[key] for key in order}, separators=separators, ensure_ascii=draw(st.booleans()))
    cut = draw(st.integers(0, 12))
    return text if cut else text[: draw(st.integers(0, len(text)))] + draw(st.sampled_from(["", "}", '"}', " ", "\n"]))


def outcome(frame: str | bytes) -> list[WireEvent] | str:
    """What the whole client makes of a frame."""
    try:
        return RealtimeClient().decode(frame)
    except WireError:
        return "wire error"


def full_way(frame: str | bytes) -> list[WireEvent] | str:
    """What the validating way alone makes of it."""
    try:
        return decode_event(load_frame(frame), CallBook())
    except WireError:
        return "wire error"


def check_both_ways_agree(frame: str) -> None:
    try:
        spellings: tuple[str | bytes, ...] = (frame, frame.encode())
    except UnicodeEncodeError:
        spellings = (frame,)
    for spelling in spellings:
        assert outcome(spelling) == full_way(spelling)


@settings(deadline=None, max_examples=400)
@given(audio_frames())
def test_the_quick_way_agrees_with_the_full_way(frame: str) -> None:
    check_both_ways_agree(frame)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_the_usual_spelling_goes_the_quick_way(sound: bytes) -> None:
    server = RealtimeServer("m")
    writer = server.start_response()
    writer.audio(sound or b"\0\0")
    client = RealtimeClient()
    for frame in server.data_to_send():
        client.decode(frame)

    assert client.statistics().quick_audio == 1


def test_mutant_that_forgets_where_the_payload_ends_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(frame: str | bytes) -> AgentAudio | None:
        found = fastpath._DELTA_TEXT.match(frame) if isinstance(frame, str) else None
        if found is None:
            return None
        sound = base64audio.decode_standard(frame[found.end() :].split('"')[0])  # type: ignore[arg-type]
        return None if sound is None else AgentAudio(found[1], found[2], sound, int(found[3]))

    monkeypatch.setattr("mob.providers.openai_realtime.client.quick_audio_delta", careless)
    with pytest.raises(AssertionError):
        CAREFUL(given(audio_frames())(check_both_ways_agree))()


@settings(deadline=None, max_examples=150)
@given(payloads(), st.sampled_from(["", ', "event_id": "e"', "}", ",", '"']), st.booleans())
def test_a_server_reads_appends_alike_both_ways(payload: str, tail: str, as_bytes: bool) -> None:
    frame = f'{{"type":"input_audio_buffer.append","audio":{json.dumps(payload)}{tail}}}'
    spelling = frame.encode() if as_bytes else frame
    quick, full = RealtimeServer("m"), RealtimeServer("m")

    assert quick.receive(spelling) == full.receive(f" {frame}")
    refused = [quick.statistics().refused, full.statistics().refused]
    assert refused[0] == refused[1]


def test_a_client_append_goes_the_quick_way_and_comes_out_whole() -> None:
    (frame,) = RealtimeClient().encode(AppendAudio(pcm(20)))

    assert fastpath.quick_append(frame) == fastpath.quick_append(frame.encode()) == pcm(20)
    assert load_frame(frame) == {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm(20)).decode()}


@settings(deadline=None, max_examples=200)
@given(payloads())
def test_both_base64_libraries_agree(payload: str) -> None:
    pybase64 = pytest.importorskip("pybase64")

    def theirs(text: str) -> bytes | None:
        try:
            return bytes(pybase64.b64decode(text, validate=True)) if len(text) % 4 == 0 else None
        except ValueError:
            return None

    def ours(text: str) -> bytes | None:
        try:
            return base64audio._stdlib_decode(text) if len(text) % 4 == 0 else None
        except (binascii.Error, ValueError):
            return None

    assert ours(payload) == theirs(payload)
    data = payload.encode("utf-8", "replace")
    assert base64audio._stdlib_encode(data) == pybase64.b64encode_as_string(data)


def test_without_pybase64_the_standard_library_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybase64", None)

    assert base64audio._choose() == (base64audio._stdlib_decode, base64audio._stdlib_encode)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60))
def test_every_alphabet_is_read(data: bytes) -> None:
    standard, url_safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()

    for text in (standard, url_safe, standard.rstrip("="), url_safe.rstrip("=")):
        assert base64audio.decode_base64(text, field="audio") == data
    assert base64audio.encode_base64(data) == standard
