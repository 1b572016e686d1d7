"""The parsers of what clients and servers send each other: JSON-RPC, the live socket's frames, shapes, speech."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import seeds
from fuzzing import Target, is_text, must
from typed import misfits

from mob.errors import MobError, WireError
from mob.live.events import LiveEvent
from mob.protocol import frames, jsonrpc, observations, plain, refusals, shapes, speech
from mob.protocol.frames import ClientFrame, FrameRefused
from mob.protocol.jsonrpc import Malformed

_CODES = {jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST, jsonrpc.INVALID_PARAMS}


def text_of(data: bytes) -> str:
    """As the text of a frame: a WebSocket gives whole characters only, a test also half ones."""
    return data.decode("utf-8", "surrogatepass") if _passes(data) else data.decode("utf-8", "replace")


def _passes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def check_message(data: bytes) -> None:
    """A message that can be written and read again, or a Malformed that can be sent."""
    for form in (data, text_of(data)):
        message = jsonrpc.read_message(form)
        written = jsonrpc.write_message(message)
        written.decode()
        if isinstance(message, Malformed):
            must(message.error.code in _CODES, f"a code of its own: {message.error.code}")
            must(is_text(message.error.message, 300), "no sentence")
        else:
            must(jsonrpc.read_message(written) == message, f"it reads otherwise when written: {written[:300]!r}")


def check_client_frame(data: bytes) -> None:
    """A frame of a client, with verbs and without: as it was when written again, or refused by a field."""
    for control in (True, False):
        try:
            frame = frames.decode_frame(text_of(data), control=control)
        except FrameRefused as refused:
            _check_refused(refused)
            must(control or refused.id is None, "an id that this client does not speak of")
        else:
            must(isinstance(frame, ClientFrame), "no frame")
            fits(frame)
            fits(frame.command)
            must(control or frame.id is None, "an id that this client does not speak of")
            written = frames.encode_frame(frame)
            must(is_finite(json.loads(written)), "a number without an end")
            must(frames.decode_frame(written, control=True) == frame, f"it reads otherwise when written: {written}")


def _check_refused(refused: FrameRefused) -> None:
    must(is_text(refused.message, 600), "no sentence")
    whole = any(word in refused.message for word in ("is not JSON", "is a JSON object", "and is not read"))
    must(whole or refused.field, f"no field: {refused.message}")
    json.dumps({"code": refusals.refusal_code(refused), "error": shapes.error_json(refused)}, allow_nan=False).encode()


def fits(value: Any) -> None:
    """Whether every field is of the type that it promises."""
    wrong = misfits(value)
    must(wrong is None, f"{type(value).__name__} was made though {wrong}")


def is_finite(value: Any) -> bool:
    """Whether every number in it has an end."""
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(is_finite, value.values()))
        case list():
            return all(map(is_finite, value))
    return True


def _object(data: bytes) -> Any:
    """What a reader of messages would hand on: JSON without what JSON has not."""
    message = jsonrpc.read_message(b'{"jsonrpc":"2.0","method":"m","params":{"it":%s}}' % data)
    return message.params.get("it") if isinstance(message, jsonrpc.Notification) else None


def check_observation(data: bytes) -> None:
    """What a server tells, as a client reads it: an event that tells the same, none, or a WireError by its field."""
    frame = _object(data)
    if not isinstance(frame, dict):
        return
    try:
        event = observations.event_of(frame, "live_1")
    except WireError as error:
        must(error.field, f"no field: {error.message}")
        must(is_text(error.message), "no sentence")
        return
    if event is not None:
        must(isinstance(event, LiveEvent), "no event")
        fits(event)
        again = json.loads(json.dumps(observations.observation_of(event), allow_nan=False))
        must(observations.event_of(again, "live_1") == event, f"it reads otherwise when told again: {again}")
        json.dumps(plain.Plain(0).tell(event), allow_nan=False)


def check_speech(data: bytes) -> None:
    """A binary frame: a piece that is packed into the same bytes, or a WireError by its offset."""
    try:
        seq, event = speech.unpack_audio(data, "live_1")
    except WireError as error:
        must(error.offset is not None, "no offset")
        return
    fits(event)
    again = speech.pack_audio(event, seq)
    must(again is not None and speech.unpack_audio(again, "live_1") == (seq, event), "it packs otherwise")
    json.loads(speech.write_audio(event, 24000, seq), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _shape(read: str, write: str | None) -> Callable[[bytes], None]:
    """Looked up by name at each call, so that a mutant that stands in its place is tried."""

    def check(data: bytes) -> None:
        try:
            found = getattr(shapes, read)(_object(data))
        except WireError as error:
            must(error.field, f"no field: {error.message}")
            must(is_text(error.message), "no sentence")
            return
        if found is not None:
            fits(found)
        if found is not None and write is not None:
            again = json.loads(json.dumps(getattr(shapes, write)(found), allow_nan=False))
            must(getattr(shapes, read)(again) == found, f"it reads otherwise when written: {again}")

    return check


def check_error(data: bytes) -> None:
    """An error of a server: one of ours that can be shown, or a WireError by its field."""
    try:
        error = shapes.error_of(_object(data))
    except WireError as unreadable:
        if unreadable.field is not None:
            return
        error = unreadable
    must(isinstance(error, MobError), "no error of ours")
    json.dumps(shapes.error_json(error), allow_nan=False)
    json.dumps(refusals.refusal_code(error), allow_nan=False)


TARGETS = (
    Target("jsonrpc", check_message, tuple(seeds.MESSAGES)),
    Target("live frames of clients", check_client_frame, tuple(seeds.FRAMES)),
    Target("live frames of servers", check_observation, tuple(seeds.OBSERVATIONS)),
    Target("binary speech", check_speech, raw=tuple(seeds.SPEECH)),
    Target("shape of a turn", _shape("turn_of", "turn_json"), tuple(seeds.SHAPES["turn"])),
    Target("shape of usage", _shape("usage_of", "usage_json"), tuple(seeds.SHAPES["usage"])),
    Target("shape of a run event", _shape("event_of", None), tuple(seeds.SHAPES["run event"])),
    Target("shape of an error", check_error, tuple(seeds.SHAPES["error"])),
)
