"""Telephone sound against the reference values of ITU-T G.711, and whatever way it is cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from mob.rehearsal.voice import hear, speak
from mob.server.gateway.g711 import FromTelephone, Plain, ToTelephone, inwards, outwards

LAWS = ["audio/pcmu", "audio/pcma"]
# (law, byte, sample): the ends of both scales, silence, and one in the middle; from the tables of ITU-T G.711.
KNOWN = [
    ("audio/pcmu", 0xFF, 0),
    ("audio/pcmu", 0x00, -32124),
    ("audio/pcmu", 0x80, 32124),
    ("audio/pcmu", 0xE0, 372),
    ("audio/pcma", 0xD5, 8),
    ("audio/pcma", 0x55, -8),
    ("audio/pcma", 0xAA, 32256),
    ("audio/pcma", 0x2A, -32256),
]


@pytest.mark.parametrize(("law", "byte", "sample"), KNOWN)
def test_known_values(law, byte, sample):
    sound = np.frombuffer(FromTelephone(law).turn(bytes([byte] * 2)), dtype="<i2")
    assert sound[-1] == sample
    back = ToTelephone(law).turn(np.full(3, sample, "<i2").tobytes())
    assert FromTelephone(law).turn(back * 2) == FromTelephone(law).turn(bytes([byte] * 2))


@pytest.mark.parametrize("law", LAWS)
def test_every_byte_comes_back(law):
    for byte in range(256):
        (sample,) = np.frombuffer(FromTelephone(law).turn(bytes([byte] * 2)), dtype="<i2")[-1:]
        again = ToTelephone(law).turn(np.full(3, sample, "<i2").tobytes())
        assert FromTelephone(law).turn(again * 2)[-2:] == np.array([sample], "<i2").tobytes()


@pytest.mark.parametrize("law", LAWS)
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=4))
def test_a_stream_cut_anywhere_gives_the_same_sound(law, data, cuts):
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(ends)]
    whole = FromTelephone(law).turn(data)
    inward = FromTelephone(law)
    assert b"".join(inward.turn(piece) for piece in pieces) == whole
    outward, once = ToTelephone(law), ToTelephone(law)
    even = [piece * 2 for piece in pieces]
    assert b"".join(outward.turn(piece) for piece in even) == once.turn(b"".join(even))


@pytest.mark.parametrize("law", LAWS)
def test_speech_survives_the_telephone(law):
    text = "A table for two at eight?"
    call = outwards(law).turn(speak(text))
    assert len(call) == len(speak(text)) // 6
    assert hear(inwards(law).turn(call) + bytes(480)) == text


def test_pcm_is_passed_on_as_it_is():
    assert isinstance(inwards("audio/pcm"), Plain)
    assert outwards("audio/pcm").turn(b"\x01\x02\x03") == b"\x01\x02\x03"
