"""The client role: a request to write, and its answer read to neutral events (OpenAI API reference, Chat Completions).

Tolerant as one must be with servers that only resemble the vendor's: tool calls may come whole or in pieces, without
ids or with repeated ones; `finish_reason` may say stop beside tool calls; usage may be absent; a server may ignore
`stream` and send one JSON body; an error may come in the middle of a stream.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen

from mob.errors import WireError
from mob.providers.commands import AddMessage, AddToolCall, AddToolResult, SessionConfig
from mob.providers.events import (
    AgentTextFinal,
    AgentTextPart,
    Ignored,
    ProviderFault,
    ResponseEnded,
    ResponseStarted,
    ResponseStatus,
    ToolCallReady,
    WireEvent,
)
from mob.providers.fields import Fields
from mob.providers.frames import JsonObject, dump_frame, load_frame
from mob.providers.openai_chat.sse import SseDecoder, SseEvent
from mob.providers.openai_faults import classify_handshake, classify_response_error
from mob.values import Image, Recovery, ToolSchema, Usage

ChatItem = AddMessage | AddToolCall | AddToolResult

_MAX_BODY_BYTES = 16 * 1024 * 1024
_MAX_CALLS = 256
_IN_A_REQUEST: Mapping[Recovery, Recovery] = {"benign": "retry", "defer": "retry", "reopen": "retry"}
"""What helps a channel, told for a request: there is nothing to keep and nothing to reopen, only to ask again."""
_UNREAD = ("reasoning_content", "reasoning", "thinking", "audio", "annotations")


@frozen(slots=True)
class ChatRequest:
    """An HTTP POST: `path` is relative to the endpoint's base URL; `body` is JSON in UTF-8."""

    path: str
    headers: dict[str, str] = field(hash=False)
    body: bytes


def build_request(model: str, config: SessionConfig, items: Sequence[ChatItem], *, stream: bool = True) -> ChatRequest:
    """The request for one answer. `items` are closed under law 7: each call has its one result after it."""
    messages: list[JsonObject] = []
    if config.instructions:
        messages.append({"role": "system", "content": config.instructions})
    for item in items:
        _add(messages, item)
    body: JsonObject = {"model": model, "messages": messages}
    if config.tools:
        body["tools"] = [_tool(schema) for schema in config.tools]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if stream else "application/json"}
    return ChatRequest("/chat/completions", headers, dump_frame(body | config.params).encode())


def _tool(schema: ToolSchema) -> JsonObject:
    function: JsonObject = {"name": schema.name, "description": schema.description}
    if schema.parameters:  # left out, the vendor takes it for a function without parameters; {} it refuses
        function["parameters"] = schema.parameters
    return {"type": "function", "function": function}


def _add(messages: list[JsonObject], item: ChatItem) -> None:
    match item:
        case AddMessage(role=role, text=text, images=images):
            messages.append({"role": role, "content": _content(text, images)})
        case AddToolCall(call_id=call_id, name=name, arguments=arguments):
            call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            last = messages[-1] if messages else {}
            if last.get("role") == "assistant":
                # Calls belong to the message that was said with them; neighbours are one message (vendor's rule:
                # each tool message must answer a call of the assistant message before it).
                last.setdefault("tool_calls", []).append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        case AddToolResult(call_id=call_id, output=output):
            message = {"role": "tool", "tool_call_id": call_id, "content": output}
            messages.insert(_behind_call(messages, call_id), message)


def _behind_call(messages: list[JsonObject], call_id: str) -> int:
    """Where the result of a call goes: behind the message that made it and the results there, before all else.

    The log may hold words that were said while the tool ran; the vendor wants the results first.
    """
    at = len(messages)
    while at and all(call["id"] != call_id for call in messages[at - 1].get("tool_calls", ())):
        at -= 1
    if not at:
        return len(messages)
    while at < len(messages) and messages[at]["role"] == "tool":
        at += 1
    return at


def _content(text: str, images: tuple[Image, ...]) -> str | list[JsonObject]:
    if not images:
        return text
    parts: list[JsonObject] = [{"type": "text", "text": text}] if text else []
    for image in images:
        url = f"data:{image.mime};base64,{base64.b64encode(image.data).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


@define(slots=True)
class _Call:
    call_id: str
    name: str
    arguments: list[str] = field(factory=list)

    def is_another(self, call_id: str, name: str, arguments: str) -> bool:
        """Whether a piece begins a new call, although it came under this call's index.

        The vendor says id and name once for each index. Others give each call the index 0, or none at all, and send
        it whole; and some repeat id and name with every piece.
        """
        if not name or not self.name:
            return False
        if name != self.name or (call_id and self.call_id and call_id != self.call_id):
            return True
        return bool(self.arguments) and _is_object(arguments)


class ChatStream:
    """Reads one answer. Feed it the body's bytes, then `close`; it gives neutral events and ends exactly once.

    `streamed` False: the server sent one JSON body (by its content type).
    """

    def __init__(self, *, streamed: bool = True) -> None:
        self._sse = SseDecoder() if streamed else None
        self._body = bytearray()
        self._id = ""
        self._text: list[str] = []
        self._calls: list[_Call] = []
        self._open: dict[int, _Call] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._ended = False
        self._ignored: dict[str, int] = {}

    @property
    def ignored(self) -> Mapping[str, int]:
        """How often each thing we do not read was met."""
        return self._ignored

    @property
    def ended(self) -> bool:
        """Whether the ResponseEnded was given: what comes now would be read for nothing."""
        return self._ended

    def receive_bytes(self, data: bytes) -> list[WireEvent]:
        """The events that these bytes complete. WireError for what is not the protocol."""
        if self._ended:
            return []
        if self._sse is None:
            self._body += data
            if len(self._body) > _MAX_BODY_BYTES:
                raise WireError(f"the answer is larger than {_MAX_BODY_BYTES} bytes", recovery="fatal")
            return []
        return [event for piece in self._sse.feed(data) for event in self._piece(piece)]

    def close(self) -> list[WireEvent]:
        """The body has ended. A fault when it ended too early."""
        if self._ended:
            return []
        if self._sse is None:
            return self._chunk(Fields(load_frame(bytes(self._body))), "message") + self._end(said_so=True)
        events = [event for piece in self._sse.end() for event in self._piece(piece)]
        return events + self._end(said_so=False)

    def _piece(self, piece: SseEvent) -> list[WireEvent]:
        data = piece.data.strip()
        if self._ended or not data:
            return []
        if data == "[DONE]":
            return self._end(said_so=True)
        if piece.error:
            return self._fail(_said_in(data))
        return self._chunk(Fields(load_frame(data)), "delta")

    def _chunk(self, chunk: Fields, key: str) -> list[WireEvent]:
        if chunk.data.get("error") is not None:
            return self._fail(chunk.data["error"])
        if chunk.data.get("object") == "error":  # older servers put the error's fields into the chunk itself
            return self._fail(chunk.data)
        events: list[WireEvent] = []
        if not self._id:
            self._id = chunk.maybe_text("id") or "chat"
            events.append(ResponseStarted(self._id))
        usage = chunk.maybe_child("usage")
        if usage.data:
            self._usage = read_usage(usage)
        for choice in chunk.children("choices"):
            if not choice.count("index"):  # one answer is read, however many were asked for
                self._finish = choice.maybe_text("finish_reason") or self._finish
                events += self._delta(choice.maybe_child(key))
        return events

    def _delta(self, delta: Fields) -> list[WireEvent]:
        events: list[WireEvent] = []
        for name in _UNREAD:
            if delta.data.get(name):
                self._ignored[name] = self._ignored.get(name, 0) + 1
                events.append(Ignored(name))
        # A refusal stands in the place of the content; it is what the model has to say.
        text = delta.maybe_text("content") or delta.maybe_text("refusal")
        if text:
            self._text.append(text)
            events.append(AgentTextPart(self._id, f"{self._id}_text", text))
        for position, part in enumerate(delta.children("tool_calls")):
            self._merge(part, position)
        return events

    def _merge(self, part: Fields, position: int) -> None:
        function = part.maybe_child("function")
        call_id, name = part.maybe_text("id") or "", function.maybe_text("name") or ""
        arguments = _arguments(function.data.get("arguments"))
        index = part.maybe_integer("index", position) or 0
        call = self._open.get(index)
        if call is None or call.is_another(call_id, name, arguments):
            if len(self._calls) == _MAX_CALLS:
                raise WireError(f"the answer makes more than {_MAX_CALLS} tool calls", recovery="fatal")
            call = self._open[index] = _Call(call_id, name)
            self._calls.append(call)
        call.call_id = call.call_id or call_id
        call.name = call.name or name
        if arguments:
            call.arguments.append(arguments)

    def _end(self, *, said_so: bool) -> list[WireEvent]:
        """`said_so`: the server marked the end itself, by `[DONE]` or by sending one whole body."""
        if self._ended:
            return []
        self._ended = True
        if self._finish is None and not (said_so and (self._text or self._calls)):
            fault = ProviderFault("stream_ended", "the answer ended before it was whole", "retry")
            return [ResponseEnded(self._id or "chat", "failed", "stream_ended", self._usage, fault)]
        events: list[WireEvent] = []
        if self._text:
            events.append(AgentTextFinal(self._id, f"{self._id}_text", "".join(self._text)))
        status: ResponseStatus = "incomplete" if self._finish in ("length", "content_filter") else "completed"
        if status == "completed":
            events += self._ready_calls()
        reason = {"length": "max_output_tokens"}.get(self._finish or "", self._finish)
        return [*events, ResponseEnded(self._id, status, reason, self._usage)]

    def _ready_calls(self) -> list[WireEvent]:
        """Each call under an id of its own. The same call twice under one id is one call, sent twice."""
        events: list[WireEvent] = []
        made: set[tuple[str, str, str]] = set()
        taken: set[str] = set()
        for index, call in enumerate(self._calls):
            arguments = "".join(call.arguments).strip() or "{}"
            if call.call_id and (call.call_id, call.name, arguments) in made:
                continue
            made.add((call.call_id, call.name, arguments))
            call_id = call.call_id or f"call_{self._id}_{index}"
            while call_id in taken:
                call_id = f"{call_id}_{index}"
            taken.add(call_id)
            events.append(ToolCallReady(self._id, f"{self._id}_{index}", call_id, call.name, arguments))
        return events

    def _fail(self, error: object) -> list[WireEvent]:
        self._ended = True
        said: JsonObject = error if isinstance(error, dict) else {"message": str(error)}
        fault = classify_response_error(Fields(said))
        fault = evolve(fault, recovery=_IN_A_REQUEST.get(fault.recovery, fault.recovery))
        if fault.code == "context_length_exceeded":
            fault = evolve(fault, recovery="fatal")
        return [ResponseEnded(self._id or "chat", "failed", fault.code, self._usage, fault)]


def _arguments(value: object) -> str:
    """A piece of a call's arguments. Some self-hosted servers send the object itself instead of its text."""
    match value:
        case str():
            return value
        case dict():
            return dump_frame(value)
        case _:
            return ""


def _is_object(arguments: str) -> bool:
    if not arguments.startswith("{"):
        return False
    try:
        load_frame(arguments)
    except WireError:
        return False
    return True


def _said_in(data: str) -> object:
    """What an error field holds: an object, or words."""
    try:
        return load_frame(data)
    except WireError:
        return data


def read_usage(usage: Fields) -> Usage:
    """The wire's `usage` as ours."""
    given = usage.maybe_child("prompt_tokens_details")
    made = usage.maybe_child("completion_tokens_details")
    return Usage(
        input_tokens=usage.count("prompt_tokens"),
        output_tokens=usage.count("completion_tokens"),
        cached_tokens=given.count("cached_tokens"),
        input_audio_tokens=given.count("audio_tokens"),
        output_audio_tokens=made.count("audio_tokens"),
        requests=1,
    )


def fault_from_response(status: int, headers: Mapping[str, str], body: bytes) -> ProviderFault:
    """What an HTTP answer other than 200 means. `headers` by lower-case name.

    Reads OpenAI's error body, and any other as plain words. `x-should-retry: false` turns a retry down, as it does
    in the vendor's own client (OpenAI API reference, error codes).
    """
    milliseconds = headers.get("retry-after-ms", "")
    told_ms = bool(re.fullmatch(r"[0-9]{1,9}", milliseconds))
    retry_after = str(int(milliseconds) / 1000) if told_ms else headers.get("retry-after")
    fault = classify_handshake(status, body[:65536], retry_after=retry_after)
    if headers.get("x-should-retry") == "false" and fault.recovery == "retry":
        return evolve(fault, recovery="fatal")
    return fault
