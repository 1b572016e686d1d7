"""Pictures are judged once, the same at every door."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from attrs import evolve
from hypothesis import given, strategies as st

from mob.errors import CapabilityUnavailable
from mob.server.limits import DoorLimits
from mob.server.pictures import PictureRefused, check_picture, check_sees, check_together, read_data_uri, read_picture
from mob.values import Image

LIMITS = evolve(DoorLimits(), max_image_bytes=40, max_images_bytes=100)
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
FIELDS = {"mime_field": "mime", "data_field": "data"}


@given(
    st.sampled_from(("image/png", "image/jpeg", "image/gif", "")),
    st.sampled_from((PNG, JPEG, b"GIF89a", b"")),
    st.binary(max_size=60),
)
def test_law_26_a_picture_is_what_it_says_or_is_refused_by_name(mime, head, rest):
    """However it comes: as base64, in a data URI, as bytes; and the refusal is the same."""
    data = head + rest
    text = base64.b64encode(data).decode()
    fits = len(data) <= 40 and (mime, True) in (
        ("image/png", data.startswith(PNG)),
        ("image/jpeg", data.startswith(JPEG)),
    )
    outcomes = []
    for read in (
        lambda: read_picture(mime, text, LIMITS, **FIELDS),
        lambda: check_picture(Image(mime, data), LIMITS, **FIELDS),
        lambda: read_data_uri(f"data:{mime};base64,{text}", LIMITS, field="data"),
    ):
        try:
            outcomes.append(read())
        except PictureRefused as error:
            outcomes.append(error.reason)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert (outcomes[0] == Image(mime, data)) == fits


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("https://x/y.png", "unsupported_mime"),
        ("data:image/png," + quote(PNG), "unsupported_mime"),
        ("data:image/png;base64,%%", "invalid_base64"),
        ("data:image/png;base64," + "A" * 1000, "too_large"),
    ],
)
def test_what_is_no_picture_in_a_data_uri(uri, reason):
    with pytest.raises(PictureRefused) as refused:
        read_data_uri(uri, LIMITS, field="image_url")
    assert (refused.value.reason, refused.value.field) == (reason, "image_url")


def test_a_kind_has_another_name():
    uri = "data:image/JPG;base64," + base64.b64encode(JPEG).decode()
    assert read_data_uri(uri, LIMITS, field="x") == Image("image/jpeg", JPEG)


def test_so_much_together():
    images = [Image("image/png", bytes(40))] * 2
    check_together(images, LIMITS, field="images")
    with pytest.raises(PictureRefused) as refused:
        check_together([*images, Image("image/png", bytes(21))], LIMITS, field="images")
    assert refused.value.details == {"actual_bytes": 101, "max_bytes": 100}


class Blind:
    identity = "menu"

    class model:  # noqa: N801
        id = "small"
        input_modalities = ("text",)


def test_a_blind_member_is_shown_nothing():
    check_sees(Blind(), [], field="images")
    with pytest.raises(CapabilityUnavailable, match="menu speaks with small, which sees no images") as refused:
        check_sees(Blind(), [Image("image/png", PNG)], field="images")
    assert refused.value.field == "images"
