"""The client role: a request to write, and its answer read to neutral events (OpenAI API reference, Chat Completions).

Tolerant as one must be with servers that only resemble the vendor's: tool calls may come whole or in pieces, without
ids or with repeated ones; `finish_reason` may say stop beside tool calls; usage may be absent; a server may ignore
`stream` and send one JSON body; an error may come in the middle of a stream.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

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
from mob.providers.openai_chat.sse import SseDecoder
from mob.providers.openai_realtime.faults import classify_handshake, classify_response_error
from mob.providers.openai_realtime.fields import Fields
from mob.providers.openai_realtime.frames import JsonObject, dump_frame, load_frame
from mob.values import Image, Usage

ChatItem = AddMessage | AddToolCall | AddToolResult

_MAX_BODY_BYTES = 16 * 1024 * 1024
_UNREAD = ("reasoning_content", "reasoning", "thinking", "refusal", "audio", "annotations")


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
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
            }
            for t in config.tools
        ]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if stream else "application/json"}
    return ChatRequest("/chat/completions", headers, dump_frame(body | config.params).encode())


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
            messages.append({"role": "tool", "tool_call_id": call_id, "content": output})


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
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(factory=list)


class ChatStream:
    """Reads one answer. Feed it the body's bytes, then `close`; it gives neutral events and ends exactly once.

    `streamed` False: the server sent one JSON body (by its content type).
    """

    def __init__(self, *, streamed: bool = True) -> None:
        self._sse = SseDecoder() if streamed else None
        self._body = bytearray()
        self._id = ""
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._ended = False
        self._ignored: dict[str, int] = {}

    @property
    def ignored(self) -> Mapping[str, int]:
        """How often each thing we do not read was met."""
        return self._ignored

    def receive_bytes(self, data: bytes) -> list[WireEvent]:
        """The events that these bytes complete. WireError for what is not the protocol."""
        if self._sse is None:
            self._body += data
            if len(self._body) > _MAX_BODY_BYTES:
                raise WireError(f"the answer is larger than {_MAX_BODY_BYTES} bytes", recovery="fatal")
            return []
        return [event for payload in self._sse.feed(data) for event in self._payload(payload)]

    def close(self) -> list[WireEvent]:
        """The body has ended. A fault when it ended too early."""
        events: list[WireEvent] = []
        if self._sse is None:
            events += self._chunk(Fields(load_frame(bytes(self._body))), "message")
        else:
            events += [event for payload in self._sse.end() for event in self._payload(payload)]
        return events + self._end()

    def _payload(self, payload: str) -> list[WireEvent]:
        if self._ended:
            return []
        if payload.strip() == "[DONE]":
            return self._end()
        return self._chunk(Fields(load_frame(payload)), "delta")

    def _chunk(self, chunk: Fields, key: str) -> list[WireEvent]:
        if self._ended:
            return []
        if chunk.data.get("error") is not None:
            return self._fail(chunk)
        events: list[WireEvent] = []
        if not self._id:
            self._id = chunk.maybe_text("id") or "chat"
            events.append(ResponseStarted(self._id))
        usage = chunk.maybe_object("usage")
        if usage.data:
            self._usage = read_usage(usage)
        for choice in chunk.objects("choices")[:1]:
            self._finish = choice.maybe_text("finish_reason") or self._finish
            events += self._delta(choice.maybe_object(key))
        return events

    def _delta(self, delta: Fields) -> list[WireEvent]:
        events: list[WireEvent] = []
        for name in _UNREAD:
            if delta.data.get(name):
                self._ignored[name] = self._ignored.get(name, 0) + 1
                events.append(Ignored(name))
        text = delta.maybe_text("content")
        if text:
            self._text.append(text)
            events.append(AgentTextPart(self._id, f"{self._id}_text", text))
        for position, part in enumerate(delta.objects("tool_calls")):
            self._merge(part, position)
        return events

    def _merge(self, part: Fields, position: int) -> None:
        call = self._calls.setdefault(part.maybe_integer("index", position) or 0, _Call())
        function = part.maybe_object("function")
        call.call_id = call.call_id or part.maybe_text("id") or ""
        call.name = call.name or function.maybe_text("name") or ""
        arguments = function.data.get("arguments")
        if isinstance(arguments, dict):  # some self-hosted servers send the object itself
            call.arguments.append(dump_frame(arguments))
        elif isinstance(arguments, str):
            call.arguments.append(arguments)

    def _end(self) -> list[WireEvent]:
        if self._ended:
            return []
        self._ended = True
        if self._finish is None and not self._calls:
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
        events: list[WireEvent] = []
        taken: set[str] = set()
        for index, call in sorted(self._calls.items()):
            call_id = call.call_id or f"call_{self._id}_{index}"
            if call_id in taken:
                call_id = f"{call_id}_{index}"
            taken.add(call_id)
            arguments = "".join(call.arguments).strip() or "{}"
            events.append(ToolCallReady(self._id, f"{self._id}_{index}", call_id, call.name, arguments))
        return events

    def _fail(self, chunk: Fields) -> list[WireEvent]:
        self._ended = True
        error: Any = chunk.data["error"]
        said = error if isinstance(error, dict) else {"message": str(error)}
        fault = classify_response_error(Fields(said))
        return [ResponseEnded(self._id or "chat", "failed", fault.code, self._usage, fault)]


def read_usage(usage: Fields) -> Usage:
    """The wire's `usage` as ours."""
    given = usage.maybe_object("prompt_tokens_details")
    made = usage.maybe_object("completion_tokens_details")
    return Usage(
        input_tokens=usage.count("prompt_tokens"),
        output_tokens=usage.count("completion_tokens"),
        cached_tokens=given.count("cached_tokens"),
        input_audio_tokens=given.count("audio_tokens"),
        output_audio_tokens=made.count("audio_tokens"),
        requests=1,
    )


def fault_from_response(status: int, headers: Mapping[str, str], body: bytes) -> ProviderFault:
    """What an HTTP answer other than 200 means. Reads OpenAI's error body, and any other as plain words."""
    retry_after = headers.get("retry-after")
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.isascii() and milliseconds.isdigit():
        retry_after = str(int(milliseconds) / 1000)
    fault = classify_handshake(status, body[:65536], retry_after=retry_after)
    if headers.get("x-should-retry") == "false" and fault.recovery == "retry":
        return ProviderFault(fault.code, fault.message, "fatal")
    return fault
