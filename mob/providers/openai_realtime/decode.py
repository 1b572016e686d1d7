"""Server events to neutral events: the full, validating way, one function per event name.

Theory. An event is looked up by its GA name; beta names are aliases. Three things can be odd about it:
- its name is not in the table: `Ignored(name)`, and nothing is read;
- it lacks what the reference makes optional and we cannot do without (an item's id): `Ignored(name)` as well;
- it lacks what the reference requires: WireError naming the field.
Known events that mean nothing to a channel (content parts, WebRTC play-out, MCP) give no neutral event at all.
Duplicates and late events are passed on: who is current is the channel machine's business, not the wire's.

The one thing remembered between events is the name of each function call in progress, because the beta's
`function_call_arguments.done` does not repeat it, and some servers send no such event: there the call is taken from
its completed output item.
"""

from __future__ import annotations

from collections.abc import Callable

from mob.errors import WireError
from mob.providers import events as neutral
from mob.providers.events import WireEvent
from mob.providers.fields import Fields
from mob.providers.frames import JsonObject
from mob.providers.openai_faults import MAX_MESSAGE, classify_error, classify_response_error
from mob.providers.openai_realtime.base64audio import decode_base64
from mob.providers.openai_realtime.names import AUDIO_DELTA, BETA_NAMES
from mob.providers.openai_realtime.usage import read_usage

MAX_OPEN_CALLS = 256
"""Function calls whose names are remembered at once; beyond it the oldest is forgotten."""

MAX_NAME = 80
"""Characters of an unknown event's name that are kept."""

REF_KEY = "mob_ref"
"""The metadata key under which a response brings back the `ref` of the command that asked for it."""


class CallBook:
    """The function calls in progress: what is known of each before its arguments are whole."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def began(self, item_id: str, name: str) -> None:
        """The output item `item_id` is a call of `name`."""
        if len(self._open) >= MAX_OPEN_CALLS:
            del self._open[next(iter(self._open))]
        self._open[item_id] = name

    def name_of(self, item_id: str) -> str | None:
        """The name of the call, while it is in progress."""
        return self._open.get(item_id)

    def ended(self, item_id: str) -> bool:
        """The call was handed on or given up. Says whether it was in progress."""
        return self._open.pop(item_id, None) is not None


Reader = Callable[[Fields, CallBook], list[WireEvent]]


def decode_event(event: JsonObject, calls: CallBook) -> list[WireEvent]:
    """The neutral events of one server event. WireError when a required field is missing or of another type."""
    name = event.get("type")
    if not isinstance(name, str):
        raise WireError("The frame has no `type`, so it is no event.", field="type")
    read = _READERS.get(BETA_NAMES.get(name, name))
    if read is None:
        return [neutral.Ignored(name[:MAX_NAME])]
    try:
        return read(Fields(event), calls)
    except _Unusable:
        return [neutral.Ignored(name[:MAX_NAME])]


class _Unusable(Exception):
    """The event lacks something optional that we need; it is ignored."""


def _id_of(thing: Fields) -> str:
    """The id that the reference makes optional in items, responses and sessions."""
    value = thing.maybe_text("id")
    if not value:
        raise _Unusable
    return value


# Session and input


def _session_created(event: Fields, _: CallBook) -> list[WireEvent]:
    session = event.child("session")
    expires_at = session.maybe_number("expires_at")
    return [neutral.SessionOpened(session.maybe_text("id"), expires_at, session.maybe_text("model"))]


def _session_updated(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.SessionConfigured(event.child("session").maybe_number("expires_at"))]


def _speech_started(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.InputSpeechStarted(event.maybe_text("item_id"), event.maybe_integer("audio_start_ms"))]


def _speech_stopped(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.InputSpeechStopped(event.maybe_text("item_id"), event.maybe_integer("audio_end_ms"))]


def _committed(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.InputCommitted(event.text("item_id"), event.maybe_text("previous_item_id"))]


def _cleared(_event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.InputCleared()]


def _timeout(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.InputIdle(event.maybe_text("item_id"))]


def _transcript_delta(event: Fields, _: CallBook) -> list[WireEvent]:
    delta = event.maybe_text("delta")
    if not delta:
        return []
    return [neutral.UserTranscriptPart(event.text("item_id"), delta, event.maybe_integer("content_index", 0) or 0)]


def _transcript_completed(event: Fields, _: CallBook) -> list[WireEvent]:
    index = event.maybe_integer("content_index", 0) or 0
    return [neutral.UserTranscriptFinal(event.text("item_id"), event.text("transcript"), index)]


def _transcript_failed(event: Fields, _: CallBook) -> list[WireEvent]:
    message = event.maybe_child("error").maybe_text("message") or ""
    return [neutral.UserTranscriptFailed(event.text("item_id"), message[:MAX_MESSAGE])]


def _transcript_segment(event: Fields, _: CallBook) -> list[WireEvent]:
    # The diarising model's lines; `completed` brings the same words again, so that showing both would double them.
    event.text("item_id")
    event.text("text")
    return []


# Items


_KIND_BY_TYPE: dict[str, neutral.ItemKind] = {"function_call": "tool_call", "function_call_output": "tool_result"}
_KIND_BY_ROLE: dict[str, neutral.ItemKind] = {"user": "user", "assistant": "assistant", "system": "system"}


def _item_kind(item: Fields) -> neutral.ItemKind:
    kind = item.maybe_text("type") or ""
    if kind == "message":
        return _KIND_BY_ROLE.get(item.maybe_text("role") or "", "other")
    return _KIND_BY_TYPE.get(kind, "other")


def _item_text(item: Fields) -> str:
    """What an item says, whatever its parts are called: text / output_text / input_text, or a transcript."""
    if item.maybe_text("type") == "function_call_output":
        return item.maybe_text("output") or ""
    parts = (part.maybe_text("text") or part.maybe_text("transcript") or "" for part in item.children("content"))
    return "\n".join(part for part in parts if part)


def _item_added(event: Fields, _: CallBook) -> list[WireEvent]:
    item = event.child("item")
    previous = event.maybe_text("previous_item_id")
    return [neutral.ItemAdded(_id_of(item), previous, _item_kind(item), _item_text(item))]


def _item_done(event: Fields, _: CallBook) -> list[WireEvent]:
    item = event.child("item")
    return [neutral.ItemDone(_id_of(item), item.maybe_text("status") or "completed")]


def _item_deleted(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.ItemDeleted(event.text("item_id"))]


def _item_truncated(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.ItemTruncated(event.text("item_id"), event.integer("audio_end_ms"))]


# Responses


def _response_created(event: Fields, _: CallBook) -> list[WireEvent]:
    response = event.child("response")
    return [neutral.ResponseStarted(_id_of(response), response.maybe_child("metadata").maybe_text(REF_KEY))]


_STATUSES: dict[str, neutral.ResponseStatus] = {
    "completed": "completed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "failed": "failed",
    "incomplete": "incomplete",
}


def _response_done(event: Fields, _: CallBook) -> list[WireEvent]:
    response = event.child("response")
    response_id = _id_of(response)
    said = response.maybe_text("status") or "completed"
    status = _STATUSES.get(said, "incomplete")
    details = response.maybe_child("status_details")
    # Some servers write a bare string where the reference has an object, and put the usage beside the response.
    reason = details.maybe_text("reason") or response.maybe_text("status_details")
    if reason is None and said not in _STATUSES:
        reason = said
    fault = None
    if status == "failed":
        error = details.maybe_child("error")
        fault = classify_response_error(error if error.data else Fields({"message": reason}))
    usage = read_usage(response.maybe_child("usage")) or read_usage(event.maybe_child("usage"))
    return [neutral.ResponseEnded(response_id, status, reason[:MAX_MESSAGE] if reason else None, usage, fault)]


def _output_item_added(event: Fields, calls: CallBook) -> list[WireEvent]:
    item = event.child("item")
    item_id, kind = _id_of(item), _item_kind(item)
    if kind == "tool_call":
        calls.began(item_id, item.maybe_text("name") or "")
    index = event.maybe_integer("output_index", 0) or 0
    return [neutral.OutputItemStarted(event.text("response_id"), item_id, kind, index)]


def _output_item_done(event: Fields, calls: CallBook) -> list[WireEvent]:
    item = event.child("item")
    response_id, item_id = event.text("response_id"), _id_of(item)
    status = item.maybe_text("status") or "completed"
    found: list[WireEvent] = []
    if _item_kind(item) == "tool_call" and calls.ended(item_id) and status == "completed":
        # No arguments.done has come: the completed item is the call. A cut-short one is no call.
        name, arguments = item.maybe_text("name"), item.maybe_text("arguments")
        if name and arguments is not None:
            call_id = item.maybe_text("call_id") or item_id
            found.append(neutral.ToolCallReady(response_id, item_id, call_id, name, arguments or "{}"))
    return [*found, neutral.OutputItemEnded(response_id, item_id, status)]


def _arguments_delta(event: Fields, _: CallBook) -> list[WireEvent]:
    item_id = event.text("item_id")
    call_id = event.maybe_text("call_id") or item_id
    return [neutral.ToolCallPart(event.text("response_id"), item_id, call_id, event.text("delta"))]


def _arguments_done(event: Fields, calls: CallBook) -> list[WireEvent]:
    response_id, item_id = event.text("response_id"), event.text("item_id")
    arguments = event.text("arguments")
    name = event.maybe_text("name") or calls.name_of(item_id)
    if not name:
        raise _Unusable  # the completed output item will say it
    calls.ended(item_id)
    call_id = event.maybe_text("call_id") or item_id
    return [neutral.ToolCallReady(response_id, item_id, call_id, name, arguments or "{}")]


def _audio_delta(event: Fields, _: CallBook) -> list[WireEvent]:
    pcm = decode_base64(event.text("delta"), field="delta")
    if len(pcm) % 2:
        raise WireError("delta ends in the middle of a sample: PCM16 has two bytes each.", field="delta")
    return [neutral.AgentAudio(*_part(event), pcm, _content_index(event))]


def _audio_done(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.AgentAudioEnded(*_part(event), _content_index(event))]


def _spoken_delta(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.AgentTranscriptPart(*_part(event), event.text("delta"), _content_index(event))]


def _spoken_done(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.AgentTranscriptFinal(*_part(event), event.text("transcript"), _content_index(event))]


def _text_delta(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.AgentTextPart(*_part(event), event.text("delta"), _content_index(event))]


def _text_done(event: Fields, _: CallBook) -> list[WireEvent]:
    return [neutral.AgentTextFinal(*_part(event), event.text("text"), _content_index(event))]


def _part(event: Fields) -> tuple[str, str]:
    return event.text("response_id"), event.text("item_id")


def _content_index(event: Fields) -> int:
    return event.maybe_integer("content_index", 0) or 0


# The rest


def _rate_limits(event: Fields, _: CallBook) -> list[WireEvent]:
    event.array("rate_limits")
    shares: list[tuple[float, float]] = []
    for limit in event.children("rate_limits"):
        allowed, left = limit.maybe_number("limit"), limit.maybe_number("remaining")
        if allowed is not None and allowed > 0 and left is not None:
            share = min(1.0, max(0.0, left / allowed))
            shares.append((share, max(0.0, limit.maybe_number("reset_seconds") or 0.0)))
    return [neutral.RateLimited(*min(shares))] if shares else []


def _error(event: Fields, _: CallBook) -> list[WireEvent]:
    error = event.child("error")
    return [classify_error(error, ref=error.maybe_text("event_id"))]


def _nothing(_event: Fields, _: CallBook) -> list[WireEvent]:
    return []


_READERS: dict[str, Reader] = {
    "session.created": _session_created,
    "session.updated": _session_updated,
    "input_audio_buffer.speech_started": _speech_started,
    "input_audio_buffer.speech_stopped": _speech_stopped,
    "input_audio_buffer.committed": _committed,
    "input_audio_buffer.cleared": _cleared,
    "input_audio_buffer.timeout_triggered": _timeout,
    "conversation.item.added": _item_added,
    "conversation.item.done": _item_done,
    "conversation.item.deleted": _item_deleted,
    "conversation.item.truncated": _item_truncated,
    "conversation.item.input_audio_transcription.delta": _transcript_delta,
    "conversation.item.input_audio_transcription.completed": _transcript_completed,
    "conversation.item.input_audio_transcription.failed": _transcript_failed,
    "conversation.item.input_audio_transcription.segment": _transcript_segment,
    "response.created": _response_created,
    "response.done": _response_done,
    "response.output_item.added": _output_item_added,
    "response.output_item.done": _output_item_done,
    "response.function_call_arguments.delta": _arguments_delta,
    "response.function_call_arguments.done": _arguments_done,
    AUDIO_DELTA: _audio_delta,
    "response.output_audio.done": _audio_done,
    "response.output_audio_transcript.delta": _spoken_delta,
    "response.output_audio_transcript.done": _spoken_done,
    "response.output_text.delta": _text_delta,
    "response.output_text.done": _text_done,
    "rate_limits.updated": _rate_limits,
    "error": _error,
}

_READERS |= dict.fromkeys(
    (
        "conversation.created",
        "conversation.item.retrieved",
        "response.content_part.added",
        "response.content_part.done",
        "input_audio_buffer.dtmf_event_received",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
    ),
    _nothing,
)
