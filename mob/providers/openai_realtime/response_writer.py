"""One response of the server role, written out in the vendor's order.

Theory. A response is a row of output items, one open at a time; a message item holds one content part, of the
response's modality. Opening and closing are symmetric, and the writer closes what is open before it opens anything
or ends, so that every sequence of verbs gives a legal life cycle:

    response.created
        output_item.added, conversation.item.added, content_part.added          message()
            output_audio_transcript.delta | output_audio.delta | output_text.delta
        output_audio.done, output_audio_transcript.done | output_text.done
        content_part.done, conversation.item.done, output_item.done
        output_item.added, conversation.item.added                              tool_call()
            function_call_arguments.delta ..., function_call_arguments.done
        conversation.item.done, output_item.done
    response.done                                                               finish() incomplete() fail() cancel()

Items of a response that stands beside the conversation (`conversation` "none") have no `conversation.item.*` events.
Once ended a writer ignores every verb: its application may not have heard yet that the client cancelled.
Source: OpenAI Realtime reference, response life cycle and response object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from attrs import define, field

from mob.errors import WireError
from mob.ids import Ids
from mob.providers.events import ResponseStatus
from mob.providers.frames import JsonObject
from mob.providers.openai_realtime.conversation import Conversation, Entry
from mob.providers.openai_realtime.outbox import AudioHead, EmissionOptions, Outbox
from mob.providers.openai_realtime.server_events import ResponseParams
from mob.providers.openai_realtime.server_session import ServerSession
from mob.providers.openai_realtime.usage import write_usage
from mob.values import Usage

ARGUMENTS_PIECE: Final = 32
"""Characters of a call's arguments in one delta."""


@define(slots=True)
class _OpenMessage:
    """The message being written, and what it says so far."""

    entry: Entry
    ids: dict[str, object]
    head: AudioHead
    said: list[str] = field(factory=list)


class ResponseWriter:
    """Writes one response. Made by `RealtimeServer.start_response`.

    `usage` may be set at any time and is reported however the response ends.
    """

    def __init__(
        self,
        params: ResponseParams,
        *,
        outbox: Outbox,
        session: ServerSession,
        conversation: Conversation,
        conversation_id: str,
        ids: Ids,
        options: EmissionOptions,
        on_end: Callable[[ResponseWriter], None],
    ) -> None:
        self.params = params
        self.status: ResponseStatus | None = None
        self.usage: Usage | None = None
        self.audio_ms = 0.0
        self._outbox = outbox
        self._session = session
        self._conversation = conversation if params.conversation == "auto" else None
        self._conversation_id = conversation_id if params.conversation == "auto" else None
        self._ids = ids
        self._options = options
        self._on_end = on_end
        self._items: list[JsonObject] = []
        self._open: _OpenMessage | None = None
        self._last: _OpenMessage | None = None
        outbox.emit("response.created", response=self._response("in_progress", None))

    @property
    def response_id(self) -> str:
        """The response's id."""
        return self.params.response_id

    @property
    def ended(self) -> bool:
        """Whether `response.done` has been written."""
        return self.status is not None

    def message(self) -> str:
        """Begin a message item (the verbs below do it by themselves where none is open). Gives its id."""
        if self.ended:
            return self._last.entry.id if self._last is not None else ""
        self._close_message("completed")
        item = {"type": "message", "role": "assistant", "content": []}
        entry = self._add_item(item)
        index = len(self._items) - 1
        head = AudioHead(self.response_id, entry.id, index, 0)
        self._open = self._last = _OpenMessage(entry, head.fields, head)
        blank = {"type": "audio", "transcript": ""} if self.params.output == "audio" else {"type": "text", "text": ""}
        self._outbox.emit("response.content_part.added", **self._open.ids, part=blank)
        return entry.id

    def audio(self, pcm: bytes) -> None:
        """Say this, of any length, in the session's output format: PCM16 little-endian mono at 24 kHz, or G.711."""
        part = self._part("audio")
        if part is None or not pcm:
            return
        length = len(pcm) / self._session.output_bytes_per_ms
        if not self.ended:
            self.audio_ms += length
            part.entry.audio_ms[0] = part.entry.audio_ms.get(0, 0.0) + length
        self._outbox.audio(part.head, pcm)

    def transcript(self, delta: str) -> None:
        """What is being said, in words."""
        part = self._part("audio")
        if part is not None and delta:
            part.said.append(delta)
            self._outbox.emit("response.output_audio_transcript.delta", **part.ids, delta=delta)

    def text(self, delta: str) -> None:
        """More written text (of a response whose modality is text)."""
        part = self._part("text")
        if part is not None and delta:
            part.said.append(delta)
            self._outbox.emit("response.output_text.delta", **part.ids, delta=delta)

    def tool_call(self, name: str, arguments: str, call_id: str | None = None) -> str:
        """A whole function call, `arguments` as the model wrote them (JSON or not). Gives its call id."""
        call_id = call_id or self._ids.new("call")
        if self.ended:
            return call_id
        self._close_message("completed")
        item: JsonObject = {"type": "function_call", "name": name, "call_id": call_id, "arguments": ""}
        entry = self._add_item(item)
        index = len(self._items) - 1
        ids = {"response_id": self.response_id, "item_id": entry.id, "output_index": index, "call_id": call_id}
        for start in range(0, len(arguments), ARGUMENTS_PIECE):
            piece = arguments[start : start + ARGUMENTS_PIECE]
            self._outbox.emit("response.function_call_arguments.delta", **ids, delta=piece)
        self._outbox.emit("response.function_call_arguments.done", **ids, name=name, arguments=arguments)
        entry.wire["arguments"] = arguments
        self._end_item(entry, "completed")
        return call_id

    def finish(self, usage: Usage | None = None) -> None:
        """The response is complete."""
        self._end("completed", None, usage)

    def incomplete(self, reason: Literal["max_output_tokens", "content_filter"], usage: Usage | None = None) -> None:
        """The response stops short."""
        self._end("incomplete", {"type": "incomplete", "reason": reason}, usage)

    def fail(self, code: str, message: str, *, kind: str = "server_error", usage: Usage | None = None) -> None:
        """The response failed; `kind` is the error's type."""
        error = {"type": kind, "code": code, "message": message}
        self._end("failed", {"type": "failed", "error": error}, usage)

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"], usage: Usage | None = None) -> None:
        """The response is cut off, by the user's speech or by the client."""
        self._end("cancelled", {"type": "cancelled", "reason": reason}, usage)

    def _part(self, modality: Literal["audio", "text"]) -> _OpenMessage | None:
        """The part to write to: the open one, a new one, or none when the response has ended."""
        if self.params.output != modality:
            raise WireError(
                f"Response {self.response_id} answers in {self.params.output}, so it has no {modality}.",
                recovery="benign",
            )
        if self.ended:
            return self._last if self._options.deltas_after_end else None
        if self._open is None:
            self.message()
        return self._open

    def _add_item(self, item: JsonObject) -> Entry:
        wire = {"id": self._ids.new("item"), "object": "realtime.item", "status": "in_progress", **item}
        entry = Entry(wire)
        self._items.append(wire)
        index = len(self._items) - 1
        self._outbox.emit(
            "response.output_item.added", response_id=self.response_id, output_index=index, item=dict(wire)
        )
        if self._conversation is not None:
            previous = self._conversation.append(entry)
            self._outbox.emit("conversation.item.added", previous_item_id=previous, item=dict(wire))
        return entry

    def _end_item(self, entry: Entry, status: Literal["completed", "incomplete"]) -> None:
        wire = entry.wire
        wire["status"] = status
        events: list[tuple[str, dict[str, object]]] = []
        if self._conversation is not None:
            previous = self._conversation.before(entry.id)
            events.append(("conversation.item.done", {"previous_item_id": previous, "item": dict(wire)}))
        place = {"response_id": self.response_id, "output_index": len(self._items) - 1, "item": dict(wire)}
        events.append(("response.output_item.done", place))
        if self._options.output_item_done_first:
            events.reverse()
        for kind, fields in events:
            self._outbox.emit(kind, **fields)

    def _close_message(self, status: Literal["completed", "incomplete"]) -> None:
        if self._open is None:
            return
        part, self._open = self._open, None
        whole = "".join(part.said)
        if self.params.output == "audio":
            ends: list[tuple[str, dict[str, object]]] = [
                ("response.output_audio.done", {}),
                ("response.output_audio_transcript.done", {"transcript": whole}),
            ]
            if self._options.transcript_done_first:
                ends.reverse()
            for kind, fields in ends:
                self._outbox.emit(kind, **part.ids, **fields)
            shown, kept = {"type": "audio", "transcript": whole}, {"type": "output_audio", "transcript": whole}
        else:
            self._outbox.emit("response.output_text.done", **part.ids, text=whole)
            shown, kept = {"type": "text", "text": whole}, {"type": "output_text", "text": whole}
        self._outbox.emit("response.content_part.done", **part.ids, part=shown)
        if part.entry.cut:
            del kept["transcript"]
        part.entry.wire["content"] = [kept]
        self._end_item(part.entry, status)

    def _end(self, status: ResponseStatus, details: JsonObject | None, usage: Usage | None) -> None:
        if self.ended:
            return
        if usage is not None:
            self.usage = usage
        self._close_message("completed" if status == "completed" else "incomplete")
        self.status = status
        self._outbox.emit("response.done", response=self._response(status, details))
        self._on_end(self)

    def _response(self, status: str, details: JsonObject | None) -> JsonObject:
        voice = self.params.voice or self._session.voice
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": details,
            "output": [dict(item) for item in self._items],
            "conversation_id": self._conversation_id,
            "output_modalities": [self.params.output],
            "max_output_tokens": self.params.max_output_tokens,
            "audio": {"output": {"format": self._session.output_format, "voice": voice}},
            "usage": write_usage(self.usage),
            "metadata": self.params.metadata,
        }
