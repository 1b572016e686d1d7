"""docs/live-socket.md is the contract: its tables and numbers are those of the code."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from test_shapes import LIVE_EVENTS, drawn

from mob.live import events as live
from mob.live.watchdog import Watchdog
from mob.protocol import frames, speech
from mob.protocol.observations import ContentCommitted, observation_of
from mob.server.limits import MIB, DoorLimits

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "live-socket.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rows_of(pattern: str) -> dict[str, list[str]]:
    """The words of the second cell, by what `pattern` finds in the first."""
    return {found[1]: words(row[1]) for row in ROWS if (found := re.fullmatch(pattern, row[0]))}


def fields_of(cls) -> list[str]:
    return [field.name for field in attrs.fields(cls)]


def test_every_chunk_is_there_with_its_fields():
    told = rows_of(r'`\{"kind": "(\w+)"\}`')
    known = {cls.kind: fields_of(cls) for cls in frames._CHUNKS.values() if cls is not frames.VideoFrame}
    assert told == known


def test_every_verb_is_there_with_its_fields():
    assert rows_of(r'`\{"control": "(\w+)"\}`') == {name: fields_of(cls) for name, cls in frames._VERBS.items()}


@pytest.mark.parametrize("cls", [*LIVE_EVENTS, ContentCommitted])
def test_every_observation_is_there_with_its_fields(cls):
    told = {row[0].strip("`"): set(words(row[1])) for row in ROWS if re.fullmatch(r"`\w+`", row[0])}

    @settings(max_examples=20, database=None)
    @given(drawn(cls))
    def check(event):
        frame = observation_of(event)
        assert set(frame) - {"observation", "t", "epoch", "unreported"} <= told[frame["observation"]]

    check()


@pytest.mark.parametrize(
    "sentence",
    [
        f"within {DoorLimits().token_s:g} s |",
        f"at most {DoorLimits().max_frame_bytes // MIB} MiB",
        f"{DoorLimits().max_sockets} live sockets are open",
        f"is waited for: {DoorLimits().resume_s * 1000:g} |",
        f"up to {DoorLimits().max_kept_events} events and {DoorLimits().max_kept_audio_bytes // MIB} MiB of speech",
        f"nothing came for {Watchdog()._ping_after_s:g} s",
        f"after {Watchdog()._dead_after_s:g} s",
    ],
)
def test_the_numbers_are_those_of_the_code(sentence):
    assert sentence in " ".join(PAGE.split("\n"))


def test_the_header_is_laid_out_as_it_is_drawn():
    layout = [(int(row[0]), int(row[1])) for row in ROWS if row[0].isdigit() and row[1].isdigit()]
    event = live.AudioDelta(
        channel_id="c", epoch=7, t=1.5, item_id="item", response_id="answer!", pcm=b"\1\2", start_ms=250
    )
    frame = speech.pack_audio(event, 99)
    assert layout == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 4), (8, 4), (12, 4), (16, 8)]
    assert list(frame[:4]) == [1, 4, 7, 0]
    numbers = [struct.unpack_from("<I", frame, at)[0] for at, size in layout if size == 4]
    assert numbers == [99, 7, 250]
    assert struct.unpack_from("<d", frame, 16) == (1.5,)
    assert frame[24:] == b"itemanswer!\0\1\2"
