"""What the live socket tells: a channel's events as observations, and back. Pure.

Theory. With `control=1` every event of the channel is one frame: Meerkat's observation where it has one, with our
further fields beside its own, else an observation of ours. Each carries `seq`, `t` and `epoch`, and the event can be
rebuilt from it exactly. What is said to clients that did not ask for that is told in `mob.protocol.plain`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import fields, frozen

from mob.errors import WireError
from mob.history import codec
from mob.jsontext import MAX_INNER_DEPTH, read_json
from mob.live import events as live
from mob.live.events import LiveEvent
from mob.providers.openai_realtime.base64audio import encode_base64
from mob.values import Usage

JSON = dict[str, Any]

STOP_REASONS = {"completed": "end_turn", "cancelled": "cancelled", "incomplete": "max_tokens"}


@frozen(slots=True, kw_only=True)
class ContentCommitted(LiveEvent):
    """A picture that was shown by this key is in the log. Told by the server beside what the channel tells."""

    idempotency_key: str
    item_id: str
    media_type: str
    content_index: int = 0


# -- with control=1 ----------------------------------------------------------------------------------------------------


def observation_of(event: LiveEvent, rate: int = 24000) -> JSON:
    """The event in the full tongue, `seq` left to who numbers it. `rate` is the channel's output rate, Hz."""
    frame: JSON
    match event:
        case live.AudioDelta(pcm=pcm, item_id=item_id, response_id=response_id, start_ms=start_ms):
            frame = {
                "observation": "assistant_audio_chunk",
                "data": encode_base64(pcm),
                "sample_rate_hz": rate,
                "channels": 1,
                "item_id": item_id,
                "response_id": response_id,
                "content_index": 0,
                "start_ms": start_ms,
            }
        case live.ResponseDone():
            frame = {**response_done(event), "status": event.status}
            if event.usage is None:
                frame["unreported"] = True
        case live.ToolCall():
            frame = {**said(event), "arguments_json": event.arguments}
        case live.TurnCommitted(turn=turn):
            frame = {"observation": "turn_committed", "turn": codec.as_json(turn)}
        case _:
            frame = said(event)
    return {**frame, "t": event.t, "epoch": event.epoch}


_MEERKATS: dict[type[LiveEvent], tuple[str, dict[str, str]]] = {
    live.UserTranscript: ("user_transcript_final", {"item_id": "provider_item_id"}),
    live.UserTranscriptDelta: ("user_transcript_delta", {"item_id": "provider_item_id"}),
    live.AgentTranscriptDelta: ("assistant_transcript_delta", {"item_id": "provider_item_id"}),
    live.AgentTranscript: ("assistant_transcript_final", {"item_id": "provider_item_id"}),
    live.TextDelta: ("assistant_text_delta", {"item_id": "provider_item_id"}),
    live.Text: ("assistant_text_final", {"item_id": "provider_item_id"}),
    live.ToolCall: ("tool_call_requested", {"call_id": "provider_call_id", "name": "tool_name"}),
    live.ToolFinished: ("tool_finished", {"call_id": "provider_call_id", "name": "tool_name"}),
    live.Interrupted: ("turn_interrupted", {}),
    live.TurnBegan: ("turn_started", {}),
    ContentCommitted: ("user_content_committed", {}),
}
"""The observations that Meerkat names, or that stand beside one of those, and the fields that it names otherwise."""

_COMMON = {field.name for field in fields(LiveEvent)}


def _names_of(cls: type[LiveEvent]) -> tuple[str, dict[str, str]]:
    """The observation of a class of events, and its own fields with the names that they have there."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
    name, renamed = _MEERKATS.get(cls, (snake, {}))
    own = (field.name for field in fields(cls) if field.name not in _COMMON)
    return name, {field: renamed.get(field, field) for field in own}


_CHANNEL_EVENTS = [
    cls for cls in vars(live).values() if isinstance(cls, type) and issubclass(cls, LiveEvent) and cls is not LiveEvent
]
_NAMES = {cls: _names_of(cls) for cls in (*_CHANNEL_EVENTS, ContentCommitted)}


def said(event: LiveEvent) -> JSON:
    """What Meerkat's observation and ours have in common."""
    name, names = _NAMES[type(event)]
    frame: JSON = {"observation": name, **{shown: getattr(event, own) for own, shown in names.items()}}
    if name in ("user_transcript_final", "assistant_transcript_delta", "assistant_text_delta"):
        frame["content_index"] = 0
    elif isinstance(event, live.AgentTranscript):
        # Meerkat's clients demand these two. What the response cost, its own end says.
        frame |= {"content_index": 0, "stop_reason": "end_turn", "usage": {"input_tokens": 0, "output_tokens": 0}}
    elif isinstance(event, live.ToolCall):
        frame["arguments"] = _parsed(event.arguments)
    return frame


def _parsed(arguments: str) -> object:
    """What the model wrote, as JSON where it is that."""
    try:
        return read_json(arguments, max_depth=MAX_INNER_DEPTH)
    except ValueError:
        return arguments


def response_done(event: live.ResponseDone) -> JSON:
    """What the end of a response is in both tongues."""
    usage = Usage(reported=False) if event.usage is None else event.usage
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, **codec.as_json(usage)}
    body = {"response_id": event.response_id, "usage": counts}
    stop_reason = STOP_REASONS.get(event.status)
    if stop_reason is not None:
        return {"observation": "turn_completed", "stop_reason": stop_reason, **body}
    status: object = event.status if event.status == "failed" else {"unknown": {"debug": event.status}}
    return {"observation": "turn_failed", "failure": {"status": status}, **body}


# -- and back ----------------------------------------------------------------------------------------------------------


def event_of(frame: Mapping[str, Any], channel_id: str) -> LiveEvent | None:
    """The event of the channel that a frame of the full tongue is; None for frames that are none. WireError."""
    name = frame.get("observation")
    if not isinstance(name, str):
        raise WireError("a frame has an `observation`, which is a string", field="observation")
    read = _READERS.get(name)
    if read is None:
        return None
    cls, body = read(frame)
    try:
        return cast("LiveEvent", codec.from_json({**body, **_place(frame, channel_id)}, cls, where=name))
    except ValueError as error:
        message = str(error)
        _, _, path = message.partition("; ")[0].rpartition(" @ ")
        raise WireError(f"this frame cannot be read: {message}", field=path or name) from None


def _place(frame: Mapping[str, Any], channel_id: str) -> JSON:
    return {"channel_id": channel_id, **{key: frame[key] for key in ("t", "epoch") if key in frame}}


Reader = Callable[[Mapping[str, Any]], tuple[type[LiveEvent], JSON]]


def _named(cls: type[LiveEvent], names: Mapping[str, str]) -> Reader:
    def read(frame: Mapping[str, Any]) -> tuple[type[LiveEvent], JSON]:
        return cls, {own: frame[shown] for own, shown in names.items() if shown in frame}

    return read


def _read_audio(frame: Mapping[str, Any]) -> tuple[type[LiveEvent], JSON]:
    return live.AudioDelta, {
        **{key: frame[key] for key in ("item_id", "response_id", "start_ms") if key in frame},
        "pcm": frame.get("data"),
    }


def _read_call(frame: Mapping[str, Any]) -> tuple[type[LiveEvent], JSON]:
    return _named(live.ToolCall, {**_NAMES[live.ToolCall][1], "arguments": "arguments_json"})(frame)


def _read_done(frame: Mapping[str, Any]) -> tuple[type[LiveEvent], JSON]:
    cls, body = _named(live.ResponseDone, {"response_id": "response_id", "status": "status", "usage": "usage"})(frame)
    return cls, {**body, "usage": None} if frame.get("unreported") is True else body


_READERS: dict[str, Reader] = {_NAMES[cls][0]: _named(cls, _NAMES[cls][1]) for cls in _CHANNEL_EVENTS} | {
    "assistant_audio_chunk": _read_audio,
    "tool_call_requested": _read_call,
    "turn_completed": _read_done,
    "turn_failed": _read_done,
}
