"""What a request says, taken apart with types: its JSON body, its query."""

from __future__ import annotations

from mob.errors import RequestInvalid
from mob.jsontext import read_json
from mob.server.front.routes import Call
from mob.server.limits import DoorLimits
from mob.server.params import Params
from mob.server.pictures import check_together, read_picture
from mob.values import Image

_LONGEST = 19
MOST_WHOLE = 2**53
"""Whole numbers that every JSON reader keeps as they are."""


def body_params(call: Call) -> Params:
    """The body's JSON object. RequestInvalid."""
    try:
        value = read_json(call.request.body)
    except ValueError:
        raise RequestInvalid(
            "the body must be a JSON object, of finite numbers and not too deep", field="body"
        ) from None
    if not isinstance(value, dict):
        raise RequestInvalid("the body must be a JSON object", field="body")
    return Params(value)


def check_known(params: Params, *names: str) -> None:
    """RequestInvalid for a field that nobody would look at."""
    for name in params.values:
        if name not in names:
            raise RequestInvalid(f"`{name[:60]}` is no field here; there are {', '.join(names)}", field=name[:60])


def query_whole(call: Call, name: str, *, default: int, least: int = 0, most: int = MOST_WHOLE) -> int:
    """A whole number of the query. RequestInvalid."""
    said = call.request.query.get(name)
    return default if said is None else whole_of(name, said, least=least, most=most)


def whole_of(name: str, said: str, *, least: int = 0, most: int = MOST_WHOLE) -> int:
    """The whole number that this says; `name` is the field's. RequestInvalid."""
    if not (said.isascii() and said.isdecimal() and len(said) <= _LONGEST and least <= int(said) <= most):
        raise RequestInvalid(f"`{name}` must be a whole number from {least} to {most}, not {said[:60]!r}", field=name)
    return int(said)


def images_of(params: Params, limits: DoorLimits) -> tuple[Image, ...]:
    """The pictures in `images`: objects of `mime` and base64 `data`. RequestInvalid."""
    images = tuple(
        read_picture(
            each.text("mime", most=100),
            each.text("data", most=limits.max_image_bytes * 2),
            limits,
            mime_field=each.where("mime"),
            data_field=each.where("data"),
        )
        for each in params.children("images", most=64)
    )
    check_together(images, limits, field="images")
    return images
