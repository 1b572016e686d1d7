"""What a client sends on the live socket: chunks of input and control verbs as JSON, and how they are read. Pure.

A chunk has a `kind` (audio, text, image, video_frame), as Meerkat's clients send it. A verb has a `control` (commit,
respond, interrupt, truncate, clear, refresh, played, playback_complete, tool_result, ping, close); verbs are spoken on
sockets that asked for `control=1`. Any frame may then have an `id`, a string or a whole number, and is answered by a
frame with the same `id`.

Unknown fields are passed over. Whatever else does not fit is a FrameRefused that names the field (law 26).
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from attrs import evolve, frozen

from mob.errors import RequestInvalid, WireError
from mob.history import codec
from mob.jsontext import read_json
from mob.providers.openai_realtime.base64audio import decode_base64, encode_base64
from mob.values import Modality, ToolSchema, TurnDetection

JSON = dict[str, Any]
FrameId = str | int

_LONGEST_ID = 128


class FrameRefused(RequestInvalid):
    """A frame that cannot be read. `reason` is Meerkat's word for it; `id` the frame's own, as far as it was found."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        reason: str = "unsupported_input_chunk_variant",
        id: FrameId | None = None,  # noqa: A002 - the frame's own word
    ) -> None:
        super().__init__(message, field=field)
        self.reason = reason
        self.id = id


# -- chunks ------------------------------------------------------------------------------------------------------------


@frozen(slots=True)
class AudioChunk:
    """The user's speech: PCM16 little-endian of the rate and channels that its sender says it has."""

    kind: ClassVar[str] = "audio"
    data: bytes
    sample_rate_hz: int
    channels: int


@frozen(slots=True)
class TextChunk:
    """A typed user turn. `output`: what it is answered with. `item_id`: the sender's name for it in the history."""

    kind: ClassVar[str] = "text"
    text: str
    output: Modality | None = None
    item_id: str | None = None


@frozen(slots=True)
class ImageChunk:
    """A picture for the user's next turn, shown once for each key."""

    kind: ClassVar[str] = "image"
    idempotency_key: str
    mime: str
    data: bytes
    item_id: str | None = None


@frozen(slots=True)
class VideoFrame:
    """Declared by Meerkat; no model here takes it."""

    kind: ClassVar[str] = "video_frame"


# -- verbs -------------------------------------------------------------------------------------------------------------


@frozen(slots=True)
class Commit:
    """The user's turn is over."""

    control: ClassVar[str] = "commit"
    output: Modality | None = None


@frozen(slots=True)
class Respond:
    """Answer what was said so far; for channels that do not respond by themselves."""

    control: ClassVar[str] = "respond"
    output: Modality | None = None
    instructions: str | None = None


@frozen(slots=True)
class Interrupt:
    """Stop the answer."""

    control: ClassVar[str] = "interrupt"
    reason: str = "client"


@frozen(slots=True)
class Truncate:
    """Playing of this item stopped here: the answer ends there."""

    control: ClassVar[str] = "truncate"
    item_id: str
    audio_played_ms: int


@frozen(slots=True)
class Clear:
    """Forget the audio sent since the last turn."""

    control: ClassVar[str] = "clear"


@frozen(slots=True)
class Refresh:
    """Change these on the open channel; with nothing given, put the session's own settings in force as they are now."""

    control: ClassVar[str] = "refresh"
    instructions: str | None = None
    tools: tuple[ToolSchema, ...] | None = None
    voice: str | None = None
    model: str | None = None
    provider: str | None = None
    turn_detection: TurnDetection | None = None
    output: Modality | None = None
    extra_instructions: str | None = None
    auto_respond: bool | None = None
    barge_in: bool | None = None


@frozen(slots=True)
class Played:
    """The receipt: the human has heard this much of the item."""

    control: ClassVar[str] = "played"
    item_id: str
    audio_played_ms: int


@frozen(slots=True)
class PlaybackComplete:
    """The receipt for the whole of an item."""

    control: ClassVar[str] = "playback_complete"
    item_id: str


@frozen(slots=True)
class ToolOutput:
    """The answer to a call that the client runs."""

    control: ClassVar[str] = "tool_result"
    call_id: str
    output: str


@frozen(slots=True)
class Ping:
    """Is anybody there?"""

    control: ClassVar[str] = "ping"


@frozen(slots=True)
class Close:
    """End the channel."""

    control: ClassVar[str] = "close"
    reason: str = "client_closed"


Chunk = AudioChunk | TextChunk | ImageChunk | VideoFrame
Verb = Commit | Respond | Interrupt | Truncate | Clear | Refresh | Played | PlaybackComplete | ToolOutput | Ping | Close
Command = Chunk | Verb

_CHUNKS: dict[str, type[Chunk]] = {cls.kind: cls for cls in (AudioChunk, TextChunk, ImageChunk, VideoFrame)}
_VERBS: dict[str, type[Verb]] = {
    cls.control: cls
    for cls in (
        Commit,
        Respond,
        Interrupt,
        Truncate,
        Clear,
        Refresh,
        Played,
        PlaybackComplete,
        ToolOutput,
        Ping,
        Close,
    )
}


@frozen(slots=True)
class ClientFrame:
    """One frame of the client: what it wants, and its name for the answer."""

    command: Command
    id: FrameId | None = None


# -- writing -----------------------------------------------------------------------------------------------------------


def encode_frame(frame: ClientFrame) -> str:
    """The frame as the client sends it."""
    command = frame.command
    head = {"control": command.control} if isinstance(command, Verb) else {"kind": command.kind}
    if isinstance(command, AudioChunk):
        body = {"data": encode_base64(command.data), **_format(command.sample_rate_hz, command.channels)}
    else:
        body = codec.as_json(command)
    if frame.id is not None:
        body["id"] = frame.id
    return json.dumps({**head, **body}, separators=(",", ":"))


def _format(rate: int, channels: int) -> JSON:
    return {"sample_rate_hz": rate, "channels": channels}


# -- reading -----------------------------------------------------------------------------------------------------------


def decode_frame(text: str, *, control: bool) -> ClientFrame:
    """The frame that `text` is. `control`: whether verbs, ids and pictures may be sent on this socket. FrameRefused."""
    body = _read_object(text)
    if not control:
        return ClientFrame(_chunk(body))
    frame_id = _read_id(body)
    try:
        return ClientFrame(_verb(body) if "control" in body else _chunk(body), frame_id)
    except FrameRefused as refused:
        refused.id = frame_id
        raise


def _read_object(text: str) -> JSON:
    try:
        body = read_json(text)
    except json.JSONDecodeError as error:
        raise FrameRefused(f"this frame is not JSON: {error}"[:300]) from None
    except ValueError as error:
        raise FrameRefused(f"this frame {error}, and is not read") from None
    if not isinstance(body, dict):
        raise FrameRefused(f"a frame is a JSON object, not {_shown(body)}")
    return body


def _read_id(body: JSON) -> FrameId | None:
    found = body.get("id")
    if found is None or (isinstance(found, str) and len(found) <= _LONGEST_ID):
        return found
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**53:
        return found
    raise FrameRefused(
        f"`id` must be a string of at most {_LONGEST_ID} characters or a whole number, not {_shown(found)}", field="id"
    )


def _chunk(body: JSON) -> Chunk:
    kind = body.get("kind")
    cls = _CHUNKS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise FrameRefused(f"`kind` must be one of {', '.join(_CHUNKS)}, not {_shown(kind)}", field="kind")
    if cls is VideoFrame:
        raise FrameRefused(
            "no model here takes video; send pictures instead", field="kind", reason="video_frame_input_not_implemented"
        )
    if cls is AudioChunk:
        return _audio(body)
    found: Chunk = _structured(body, cls, cls.kind)
    return found


def _audio(body: JSON) -> AudioChunk:
    """By hand, since this comes fifty times a second."""
    data, rate, channels = body.get("data"), body.get("sample_rate_hz"), body.get("channels")
    if type(data) is not str:
        raise FrameRefused(f"`data` must be a string of base64, not {_shown(data)}", field="data")
    if type(rate) is not int:
        raise FrameRefused(f"`sample_rate_hz` must be a whole number, not {_shown(rate)}", field="sample_rate_hz")
    if type(channels) is not int:
        raise FrameRefused(f"`channels` must be a whole number, not {_shown(channels)}", field="channels")
    try:
        return AudioChunk(decode_base64(data, field="data"), rate, channels)
    except WireError as error:
        raise FrameRefused(error.message, field="data") from None


def _verb(body: JSON) -> Verb:
    name = body["control"]
    cls = _VERBS.get(name) if isinstance(name, str) else None
    if cls is None:
        raise FrameRefused(
            f"`control` must be one of {', '.join(_VERBS)}, not {_shown(name)}",
            field="control",
            reason="unsupported_command",
        )
    if cls is Refresh:
        rest = {key: value for key, value in body.items() if key != "tools"}
        refresh: Refresh = _structured(rest, Refresh, Refresh.control)
        return evolve(refresh, tools=_tools(body.get("tools")))
    found: Verb = _structured(body, cls, cls.control)
    return found


def _tools(value: object) -> tuple[ToolSchema, ...] | None:
    """By hand, since a JSON Schema is whatever its author wrote."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise FrameRefused(f"`tools` must be a list, not {_shown(value)}", field="tools", reason="unsupported_command")
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(value))


def _tool(tool: object, where: str) -> ToolSchema:
    if isinstance(tool, dict):
        match {"parameters": {}, **tool}:
            case {"name": str(name), "description": str(description), "parameters": dict(parameters)}:
                return ToolSchema(name, description, parameters)
    raise FrameRefused(
        f"`{where}` must be an object with `name`, `description` and `parameters` (a JSON Schema)",
        field=where,
        reason="unsupported_command",
    )


def _structured(body: JSON, cls: type[Any], where: str) -> Any:
    try:
        return codec.from_json(body, cls, where=where)
    except ValueError as error:
        message = str(error)
        _, _, path = message.partition("; ")[0].rpartition(" @ ")
        image = cls is ImageChunk and path.endswith(".data")
        reason = "image_input_invalid_base64" if image else "unsupported_command"
        raise FrameRefused(f"this frame cannot be read: {message}"[:500], field=path or where, reason=reason) from None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
