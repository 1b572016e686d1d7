"""The server role: the vendor's side of the protocol, as strict as the vendor. No I/O, no clock, no model.

Theory. Frames go in through `receive`; each is checked against the table of client events (`schema`) and then against
the state: the session, the input buffer, the conversation, and the responses. What is legal takes effect, is
acknowledged as the vendor does, and comes back as events for the application. What is not is answered with an `error`
event and changes nothing. The application answers with the verbs below; whatever there is to send waits in
`data_to_send`.

A response has three states here. *Requested*: the client asked and the application has not begun; the conversation
is busy, and a cancel finds nothing to cancel (so it is with the vendor). *Active*: a writer exists. *Ended*: the
writer wrote `response.done`. At most one response of the conversation is requested or active; those beside it
(`conversation` "none") may run alongside, up to `MAX_RESPONSES`.

    requested --start_response--> active --writer ends, client cancels--> ended
        `------refuse_response--> gone

Turn detection is the application's (it has the ears): it says `speech_started`, `speech_stopped`, `commit_input`,
and honours `session.create_response` and `session.interrupt_response`. An application that offers less than the vendor
says so by `vet`: it sees each legal event (appended audio excepted) before it takes effect, and may refuse it.
Source: OpenAI Realtime GA reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from mob.errors import WireError
from mob.ids import Ids
from mob.providers.frames import JsonObject, load_frame
from mob.providers.openai_realtime.checks import Refusal, invalid, missing
from mob.providers.openai_realtime.conversation import Conversation, Entry, entry_from
from mob.providers.openai_realtime.fastpath import quick_append
from mob.providers.openai_realtime.input_buffer import IDLE_KEEP_MS, InputBuffer
from mob.providers.openai_realtime.names import MIN_COMMIT_MS
from mob.providers.openai_realtime.outbox import EmissionOptions, Outbox, Rewrite
from mob.providers.openai_realtime.response_writer import ResponseWriter
from mob.providers.openai_realtime.schema import CLIENT_EVENT
from mob.providers.openai_realtime.server_events import (
    AudioAppended,
    ConversationItem,
    InputCleared,
    InputCommitted,
    ItemCreated,
    ItemDeleted,
    ItemTruncated,
    ResponseCancelled,
    ResponseParams,
    ResponseRequested,
    ServerEvent,
    SessionUpdated,
)
from mob.providers.openai_realtime.server_session import ServerSession, cannot_update_voice, function_tools

MAX_RESPONSES: Final = 16
"""Responses of one connection that are requested or active at once."""

_MAX_REF: Final = 512


@frozen(slots=True)
class RateLimit:
    """One entry of `rate_limits.updated`; `name` is "requests" or "tokens"."""

    name: str
    limit: int
    remaining: int
    reset_seconds: float


@frozen(slots=True)
class RealtimeServerStatistics:
    """What has passed through a server role. `refused` counts refusals by code, audio is in bytes."""

    frames_in: int
    frames_out: int
    responses: int
    items: int
    audio_in: int
    audio_out: int
    refused: Mapping[str, int] = field(factory=dict)


class RealtimeServer:
    """One connection of an OpenAI Realtime client, as the server. Call `open` first, then feed it frames.

    `model` is what the client asked for when connecting, `expires_at` unix seconds. `rewrite` and `options` make it
    a peer that differs from the usual one; see `outbox`. `vet` raises `Refusal` for what the application does not do.
    `keep_audio` False: input audio is measured and not kept, so that committed items come without their sound.
    `max_items`: of a longer conversation the oldest items are forgotten, and the pictures of all are not kept.
    """

    def __init__(
        self,
        model: str,
        *,
        ids: Ids | None = None,
        expires_at: float | None = None,
        options: EmissionOptions | None = None,
        rewrite: Rewrite | None = None,
        vet: Callable[[JsonObject], None] | None = None,
        keep_audio: bool = True,
        max_items: int | None = None,
    ) -> None:
        self._ids = ids or Ids()
        self._vet = vet
        session_id = self._ids.new("sess")
        self._outbox = Outbox(event_prefix=f"event_{session_id.removeprefix('sess_')}_", rewrite=rewrite)
        self._options = options or EmissionOptions()
        self._conversation_id = self._ids.new("conv")
        self._max_items = max_items
        self._conversation = Conversation(max_items)
        self._input = InputBuffer(keep=keep_audio)
        self._requested: dict[str, ResponseParams] = {}
        self._writers: dict[str, ResponseWriter] = {}
        self._has_spoken = False
        self._frames_in = self._responses = self._audio_in = 0
        self._refused: dict[str, int] = {}
        self.session = ServerSession(session_id, model, expires_at=expires_at)
        self._handlers: dict[str, Callable[[JsonObject], list[ServerEvent]]] = {
            "session.update": self._on_session_update,
            "input_audio_buffer.append": lambda event: self._on_append(event["audio"]),
            "input_audio_buffer.commit": self._on_commit,
            "input_audio_buffer.clear": self._on_clear,
            "conversation.item.create": self._on_item_create,
            "conversation.item.delete": self._on_item_delete,
            "conversation.item.retrieve": self._on_item_retrieve,
            "conversation.item.truncate": self._on_item_truncate,
            "response.create": self._on_response_create,
            "response.cancel": self._on_response_cancel,
        }

    # What the transport calls

    def open(self) -> None:
        """The connection is there: says `session.created`."""
        self._outbox.emit("session.created", session=self.session.echo())

    def receive(self, frame: str | bytes) -> list[ServerEvent]:
        """Take one frame. Never raises: what is wrong with it is answered with an `error` event."""
        self._frames_in += 1
        event: JsonObject = {}
        try:
            audio = quick_append(frame)
            if audio is not None:
                return self._on_append(audio)
            event = load_frame(frame)
            if "type" not in event:
                raise missing("type")
            checked: Any = CLIENT_EVENT(event, "")
            if self._vet is not None:
                self._vet(checked)
            return self._handlers[checked["type"]](checked)
        except WireError as error:
            self._refuse(Refusal("invalid_json", error.message), event)
        except Refusal as refusal:
            self._refuse(refusal, event)
        return []

    def data_to_send(self) -> list[str]:
        """Take the text frames that wait to be sent, in order."""
        return self._outbox.drain()

    def statistics(self) -> RealtimeServerStatistics:
        """What has passed so far."""
        return RealtimeServerStatistics(
            frames_in=self._frames_in,
            frames_out=self._outbox.frames_out,
            responses=self._responses,
            items=len(self._conversation),
            audio_in=self._audio_in,
            audio_out=self._outbox.audio_bytes,
            refused=dict(self._refused),
        )

    # What the application sees

    @property
    def items(self) -> tuple[ConversationItem, ...]:
        """The conversation, in order."""
        return tuple(entry.view() for entry in self._conversation)

    @property
    def active_response(self) -> ResponseWriter | None:
        """The writer of the conversation's active response."""
        return next((w for w in self._writers.values() if w.params.conversation == "auto"), None)

    @property
    def busy_with(self) -> str | None:
        """The id of the conversation's requested or active response."""
        taken = [w.params for w in self._writers.values()] + list(self._requested.values())
        return next((params.response_id for params in taken if params.conversation == "auto"), None)

    @property
    def input_ms(self) -> float:
        """How much input audio the session has had, in all."""
        return self._input.end_ms

    @property
    def buffered_ms(self) -> float:
        """How much input audio waits to be committed."""
        return self._input.buffered_ms

    # What the application says: input

    def speech_started(self, audio_start_ms: int) -> str:
        """The user began to speak there (padding included). Gives the id of the future item; again: the same id."""
        if self._input.speech_item_id is None:
            self._input.keep_from(audio_start_ms)
            self._input.speech_item_id = self._ids.new("item")
            self._outbox.emit(
                "input_audio_buffer.speech_started",
                item_id=self._input.speech_item_id,
                audio_start_ms=audio_start_ms,
            )
        return self._input.speech_item_id

    def speech_stopped(self, audio_end_ms: int) -> None:
        """The user fell silent there. Nothing happens when no speech is going on."""
        if self._input.speech_item_id is not None:
            self._outbox.emit(
                "input_audio_buffer.speech_stopped", item_id=self._input.speech_item_id, audio_end_ms=audio_end_ms
            )

    def commit_input(self, *, always: bool = False) -> InputCommitted | None:
        """Turn detection ends the user's turn: the buffer becomes an item. None when there is no audio at all.

        `always`: an item all the same, when whoever has the ears is behind the buffer.
        """
        return self._commit() if always or self._input.buffered_ms else None

    def user_transcript_delta(self, item_id: str, delta: str) -> None:
        """More of a user item's transcript."""
        self._outbox.emit(f"{_TRANSCRIPTION}.delta", item_id=item_id, content_index=0, delta=delta)

    def user_transcript_completed(self, item_id: str, text: str, *, seconds: float = 0.0) -> None:
        """A user item's transcript; `seconds` of audio are reported as its usage."""
        self._set_transcript(item_id, text)
        usage = {"type": "duration", "seconds": seconds}
        self._outbox.emit(f"{_TRANSCRIPTION}.completed", item_id=item_id, content_index=0, transcript=text, usage=usage)

    def user_transcript_failed(self, item_id: str, code: str, message: str) -> None:
        """There will be no transcript of this item."""
        error = {"type": "transcription_error", "code": code, "message": message, "param": None}
        self._outbox.emit(f"{_TRANSCRIPTION}.failed", item_id=item_id, content_index=0, error=error)

    # What the application says: responses and the rest

    def response_params(self) -> ResponseParams:
        """What a response is to be when nobody asks for anything in particular."""
        return self._params_of({}, None)

    def start_response(self, params: ResponseParams | None = None) -> ResponseWriter:
        """Begin a response: one that was requested, or (None) one that turn detection calls for.

        WireError with recovery "defer" when the conversation is busy, so that nothing illegal is ever written.
        """
        if params is None:
            params = self.response_params()
        asked = self._requested.pop(params.response_id, None)
        if asked is None and (self.busy_with is not None and params.conversation == "auto"):
            raise WireError(_active_message(self.busy_with), recovery="defer")
        self._responses += 1
        writer = ResponseWriter(
            params,
            outbox=self._outbox,
            session=self.session,
            conversation=self._conversation,
            conversation_id=self._conversation_id,
            ids=self._ids,
            options=self._options,
            on_end=self._response_ended,
        )
        self._writers[params.response_id] = writer
        return writer

    def refuse_response(self, params: ResponseParams, code: str, message: str) -> None:
        """Answer a request for a response with an error; the conversation is free again."""
        self._requested.pop(params.response_id, None)
        self._outbox.error(code, message, ref=params.event_id)

    def rate_limits(self, limits: Sequence[RateLimit]) -> None:
        """Say what is left of the rate."""
        said = [
            {
                "name": limit.name,
                "limit": limit.limit,
                "remaining": limit.remaining,
                "reset_seconds": limit.reset_seconds,
            }
            for limit in limits
        ]
        self._outbox.emit("rate_limits.updated", rate_limits=said)

    def error(self, code: str, message: str, *, kind: str = "server_error", param: str | None = None) -> None:
        """Report an error that the protocol alone does not know of, such as `session_expired`."""
        self._outbox.error(code, message, kind=kind, param=param)

    # Client events, checked

    def _on_session_update(self, event: JsonObject) -> list[ServerEvent]:
        active = self.active_response is not None
        self.session.update(event["session"], has_spoken=self._spoken(), is_responding=active)
        self._input.bytes_per_ms = self.session.input_bytes_per_ms
        self._outbox.emit("session.updated", session=self.session.echo())
        return [SessionUpdated(self.session.config)]

    def _on_append(self, audio: bytes) -> list[ServerEvent]:
        if self.session.input_bytes_per_ms > 8 and len(audio) % 2:
            raise invalid("audio", "Invalid 'audio'. Expected whole PCM16 samples of two bytes each.")
        if not self._input.has_room(len(audio)):
            raise invalid("audio", "The input audio buffer is full: commit or clear it.")
        start_ms = int(self._input.end_ms)
        self._audio_in += len(audio)
        self._input.append(audio)
        if self.session.config.turn_detection.mode != "manual" and self._input.speech_item_id is None:
            self._input.keep_last(IDLE_KEEP_MS)
        return [AudioAppended(audio, start_ms)]

    def _on_commit(self, _: JsonObject) -> list[ServerEvent]:
        buffered = self._input.buffered_ms
        if buffered < MIN_COMMIT_MS:
            raise Refusal(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {buffered:.2f}ms of audio.",
            )
        return [self._commit()]

    def _on_clear(self, _: JsonObject) -> list[ServerEvent]:
        self._input.take()
        self._outbox.emit("input_audio_buffer.cleared")
        return [InputCleared()]

    def _on_item_create(self, event: JsonObject) -> list[ServerEvent]:
        entry, audio = entry_from(event["item"], self._ids.new("item"), self._ids.new("call"))
        previous = self._conversation.insert(entry, event.get("previous_item_id"))
        self._say_item(entry, previous)
        created = ItemCreated(entry.view(audio), previous)
        if self._max_items is not None and created.item.images:
            entry.drop_images()
        return [created]

    def _on_item_delete(self, event: JsonObject) -> list[ServerEvent]:
        item_id = event["item_id"]
        self._conversation.delete(item_id)
        self._outbox.emit("conversation.item.deleted", item_id=item_id)
        return [ItemDeleted(item_id)]

    def _on_item_retrieve(self, event: JsonObject) -> list[ServerEvent]:
        entry = self._conversation.retrieve(event["item_id"])
        self._outbox.emit("conversation.item.retrieved", item=dict(entry.wire))
        return []

    def _on_item_truncate(self, event: JsonObject) -> list[ServerEvent]:
        item_id, index, end_ms = event["item_id"], event["content_index"], event["audio_end_ms"]
        self._conversation.truncate(item_id, index, end_ms)
        self._outbox.emit("conversation.item.truncated", item_id=item_id, content_index=index, audio_end_ms=end_ms)
        return [ItemTruncated(item_id, index, end_ms)]

    def _on_response_create(self, event: JsonObject) -> list[ServerEvent]:
        wanted: JsonObject = event.get("response") or {}
        busy = self.busy_with
        if busy is not None and wanted.get("conversation") != "none":
            raise Refusal("conversation_already_has_active_response", _active_message(busy))
        if len(self._writers) + len(self._requested) >= MAX_RESPONSES:
            raise Refusal("rate_limit_exceeded", f"{MAX_RESPONSES} responses are in progress. Wait until one ends.")
        params = self._params_of(wanted, event.get("event_id"))
        self._requested[params.response_id] = params
        return [ResponseRequested(params)]

    def _on_response_cancel(self, event: JsonObject) -> list[ServerEvent]:
        response_id = event.get("response_id")
        writer = self.active_response if response_id is None else self._writers.get(response_id)
        if writer is None:
            named = "" if response_id is None else f" with id '{response_id[:80]}'"
            raise Refusal("response_cancel_not_active", f"Cancellation failed: no active response found{named}")
        writer.cancel("client_cancelled")
        return [ResponseCancelled(writer.response_id)]

    # Helpers

    def _refuse(self, refusal: Refusal, event: JsonObject) -> None:
        self._refused[refusal.code] = self._refused.get(refusal.code, 0) + 1
        ref = event.get("event_id")
        known = isinstance(ref, str) and len(ref) <= _MAX_REF
        self._outbox.error(refusal.code, refusal.message, param=refusal.param, ref=ref if known else None)

    def _commit(self) -> InputCommitted:
        item_id = self._input.speech_item_id or self._ids.new("item")
        pcm = self._input.take()
        wire: JsonObject = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        entry = Entry(wire)
        previous = self._conversation.append(entry)
        self._outbox.emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        self._say_item(entry, previous)
        return InputCommitted(item_id, pcm, previous)

    def _say_item(self, entry: Entry, previous: str | None) -> None:
        for stage in ("added", "done"):
            self._outbox.emit(f"conversation.item.{stage}", previous_item_id=previous, item=dict(entry.wire))

    def _set_transcript(self, item_id: str, text: str) -> None:
        entry = self._conversation.get(item_id)
        for part in entry.wire.get("content", []) if entry is not None else []:
            if part["type"] == "input_audio":
                part["transcript"] = text

    def _spoken(self) -> bool:
        self._has_spoken = self._has_spoken or any(writer.audio_ms for writer in self._writers.values())
        return self._has_spoken

    def _response_ended(self, writer: ResponseWriter) -> None:
        self._spoken()
        del self._writers[writer.response_id]

    def _params_of(self, wanted: JsonObject, event_id: str | None) -> ResponseParams:
        config = self.session.config
        voice = wanted.get("audio", {}).get("output", {}).get("voice")
        if voice is not None and voice != self.session.voice and self._spoken():
            raise cannot_update_voice("response.audio.output.voice")
        instructions = wanted.get("instructions")
        given = wanted.get("input")
        tools = wanted.get("tools")
        return ResponseParams(
            response_id=self._ids.new("resp"),
            conversation=wanted.get("conversation", "auto"),
            output=wanted.get("output_modalities", [config.output])[0],
            instructions=config.instructions if instructions is None else instructions,
            voice=voice["id"] if isinstance(voice, dict) else voice or config.voice,
            tools=config.tools if tools is None else function_tools(tools),
            tool_choice=wanted.get("tool_choice", self.session.tool_choice),
            max_output_tokens=wanted.get("max_output_tokens", self.session.max_output_tokens),
            input=None if given is None else tuple(self._input_item(item, at) for at, item in enumerate(given)),
            metadata=wanted.get("metadata"),
            event_id=event_id,
        )

    def _input_item(self, item: JsonObject, index: int) -> ConversationItem:
        if item["type"] != "item_reference":
            entry, audio = entry_from(item, self._ids.new("item"), self._ids.new("call"))
            return entry.view(audio)
        known = self._conversation.get(item["id"])
        if known is None:
            message = f"The item with id '{item['id']}' does not exist."
            raise invalid(f"response.input[{index}].id", message)
        return known.view()


_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


def _active_message(response_id: str) -> str:
    return (
        f"Conversation already has an active response in progress: {response_id}. Wait until the response is finished "
        "before creating a new one."
    )
