"""Pictures are described by what their first bytes say, and by nothing made up."""

import base64
import struct

import pytest
from hypothesis import given, strategies as st

from mob.rehearsal.pictures import describe_picture

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(20)
JPEG = b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + bytes(14) + b"\xff\xc0" + struct.pack(">HBHH", 17, 8, 300, 200)


def url(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (url(PNG), "a PNG picture of 640 by 480 pixels, 44 bytes"),
        (url(JPEG), "a JPEG picture of 200 by 300 pixels, 29 bytes"),
        (url(b"GIF89a"), "a picture of a kind I do not know, 6 bytes"),
        (url(bytes(20_000)), "a picture of a kind I do not know, 20 kB"),
        ("https://example.org/a.png", "a picture at an address I cannot open"),
    ],
)
def test_what_is_said(address, words):
    assert describe_picture(address) == words


@given(st.text(max_size=50), st.binary(max_size=50))
def test_any_address_is_described(text, data):
    assert describe_picture(text)
    assert describe_picture("data:image/png;base64," + text)
    assert describe_picture(url(b"\xff\xd8" + data))
    assert describe_picture(url(b"\x89PNG\r\n\x1a\n" + data))
