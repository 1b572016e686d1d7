"""The server role: a request read with the vendor's strictness, and an answer written as it writes one.

`parse_request` refuses with the vendor's error shape and HTTP status; `ChatReply` writes an answer either as chunks
of a stream or as one body. No I/O: the caller moves the bytes.
"""

from __future__ import annotations

import re
from typing import Literal

from attrs import field, frozen

from mob.errors import WireError
from mob.providers.fields import MAX_INTEGER, Fields
from mob.providers.frames import JsonObject, dump_frame, kind_of, load_frame
from mob.providers.openai_chat.sse import encode_event
from mob.values import ToolSchema, Usage

_ROLES = ("system", "developer", "user", "assistant", "tool")

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ChatRefused(Exception):
    """A request the vendor would refuse: `status` is HTTP's, `body` the JSON to answer with."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, param=param, code=code)


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
    """The vendor's error object (OpenAI API reference, error codes)."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return dump_frame({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


@frozen(slots=True)
class ChatToolCall:
    """A call in an assistant message, or one to answer with. `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str


@frozen(slots=True)
class ChatMessage:
    """One message of the conversation. `images` are the URLs of the pictures in it."""

    role: str
    text: str
    tool_calls: tuple[ChatToolCall, ...] = ()
    tool_call_id: str | None = None
    images: tuple[str, ...] = ()


@frozen(slots=True)
class ChatServerRequest:
    """A request that was understood."""

    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSchema, ...] = ()
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    tool_choice: str = "auto"
    params: JsonObject = field(factory=dict, hash=False)


def parse_request(body: bytes) -> ChatServerRequest:
    """Read a request body. ChatRefused names the parameter that is wrong, and is all that comes out of here."""
    try:
        request = Fields(load_frame(body))
        model = request.text("model")
        messages = request.array("messages")
    except WireError as error:
        raise ChatRefused(400, str(error), param=error.field, code="invalid_request") from None
    if not messages:
        raise ChatRefused(400, "messages must hold at least one message", param="messages", code="empty_array")
    read = tuple(_message(value, f"messages[{index}]") for index, value in enumerate(messages))
    _check_calls(read)
    stream = _switch(request, "stream")
    options = request.maybe_child("stream_options")
    if options.data and not stream:
        raise _wrong("stream_options", "is only allowed when 'stream' is true")
    choice = request.data.get("tool_choice", "auto")
    return ChatServerRequest(
        model=model,
        messages=read,
        tools=tuple(_tool(value, f"tools[{index}]") for index, value in enumerate(_array(request, "tools"))),
        stream=stream,
        include_usage=_switch(options, "include_usage"),
        max_tokens=_limit(request, "max_completion_tokens") or _limit(request, "max_tokens"),
        tool_choice=choice if isinstance(choice, str) else "required",
        params=request.data,
    )


def _wrong(at: str, what: str, code: str = "invalid_value") -> ChatRefused:
    return ChatRefused(400, f"Invalid '{at}': {what}", param=at, code=code)


def _missing(at: str) -> ChatRefused:
    return ChatRefused(400, f"Missing required parameter: '{at}'", param=at, code="missing_required_parameter")


def _array(fields: Fields, key: str) -> list[object]:
    value = fields.data.get(key)
    if value is not None and not isinstance(value, list):
        at = f"{fields.path}.{key}" if fields.path else key
        raise _wrong(at, f"expected an array, but got {kind_of(value)}", "invalid_type")
    return value or []


def _switch(fields: Fields, key: str) -> bool:
    value = fields.data.get(key)
    if value is not None and not isinstance(value, bool):
        at = f"{fields.path}.{key}" if fields.path else key
        raise _wrong(at, f"expected a boolean, but got {kind_of(value)}", "invalid_type")
    return value is True


def _limit(fields: Fields, key: str) -> int | None:
    value = fields.data.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(key, f"expected an integer, but got {kind_of(value)}", "invalid_type")
    if not 1 <= value <= MAX_INTEGER:
        raise _wrong(key, "expected a value of at least 1", "integer_below_min_value")
    return value


def _message(value: object, where: str) -> ChatMessage:
    if not isinstance(value, dict):
        raise _wrong(where, f"expected an object, but got {kind_of(value)}", "invalid_type")
    message = Fields(value, where)
    role = message.maybe_text("role")
    if role not in _ROLES:
        raise _wrong(f"{where}.role", f"expected one of {', '.join(_ROLES)}")
    calls = tuple(
        _call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(_array(message, "tool_calls"))
    )
    if calls and role != "assistant":
        raise _wrong(f"{where}.tool_calls", "only messages with role 'assistant' make calls")
    tool_call_id = message.maybe_text("tool_call_id")
    if role == "tool" and tool_call_id is None:
        raise _missing(f"{where}.tool_call_id")
    if value.get("content") is None and role != "assistant":
        raise _wrong(f"{where}.content", "expected a string, but got null", "invalid_type")
    text, images = _content(value.get("content"), f"{where}.content")
    return ChatMessage(role, text, calls, tool_call_id, images)


def _call(value: object, where: str) -> ChatToolCall:
    call = Fields(value if isinstance(value, dict) else {}, where)
    function = call.maybe_child("function")
    call_id, name, arguments = call.maybe_text("id"), function.maybe_text("name"), function.maybe_text("arguments")
    if not call_id:
        raise _missing(f"{where}.id")
    if not name:
        raise _missing(f"{where}.function.name")
    if arguments is None:
        raise _missing(f"{where}.function.arguments")
    return ChatToolCall(call_id, name, arguments)


def _content(content: object, where: str) -> tuple[str, tuple[str, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        raise _wrong(where, f"expected a string or an array of parts, but got {kind_of(content)}", "invalid_type")
    texts: list[str] = []
    images: list[str] = []
    for index, value in enumerate(content):
        part = Fields(value if isinstance(value, dict) else {}, f"{where}[{index}]")
        match part.maybe_text("type"):
            case "text" | "refusal" as kind:
                texts.append(_required(part, kind))
            case "image_url":
                images.append(_required(part.maybe_child("image_url"), "url"))
            case _:
                raise _wrong(f"{part.path}.type", "expected one of text, image_url, refusal")
    return "\n".join(texts), tuple(images)


def _required(fields: Fields, key: str) -> str:
    value = fields.maybe_text(key)
    if value is None:
        raise _missing(f"{fields.path}.{key}")
    return value


def _tool(value: object, where: str) -> ToolSchema:
    function = Fields(value if isinstance(value, dict) else {}, where).maybe_child("function")
    name = function.maybe_text("name")
    if not name:
        raise _missing(f"{where}.function.name")
    if not _TOOL_NAME.fullmatch(name):
        raise _wrong(f"{where}.function.name", "expected at most 64 of the characters a-z, A-Z, 0-9, '_' and '-'")
    return ToolSchema(name, function.maybe_text("description") or "", function.maybe_child("parameters").data)


def _check_calls(messages: tuple[ChatMessage, ...]) -> None:
    """The vendor's rule: each call is answered by a tool message before anybody else speaks, and only calls are."""
    waiting: dict[str, int] = {}
    for index, message in enumerate(messages):
        if message.role == "tool":
            if waiting.pop(message.tool_call_id or "", None) is None:
                raise ChatRefused(
                    400,
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
                    param=f"messages[{index}].role",
                )
            continue
        if waiting:
            break
        waiting = dict.fromkeys((call.call_id for call in message.tool_calls), index)
        if len(waiting) < len(message.tool_calls):
            raise _wrong(f"messages[{index}].tool_calls", "each call needs an id of its own")
    if waiting:
        missing = ", ".join(waiting)
        raise ChatRefused(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}",
            param=f"messages[{next(iter(waiting.values()))}]",
        )


class ChatReply:
    """Writes one answer: `text` and `tool_call` any number of times, then `finish`.

    With `stream`, each verb gives the bytes to send at once; without, they are empty until `finish` gives the body.
    """

    def __init__(self, request: ChatServerRequest, *, reply_id: str, created: int) -> None:
        self._request = request
        self._id = reply_id
        self._created = created
        self._text: list[str] = []
        self._calls: list[ChatToolCall] = []

    @property
    def content_type(self) -> str:
        """For the HTTP head."""
        return "text/event-stream; charset=utf-8" if self._request.stream else "application/json"

    def start(self) -> bytes:
        """The first chunk: who speaks."""
        return self._send({"role": "assistant", "content": ""})

    def text(self, delta: str) -> bytes:
        """More text."""
        self._text.append(delta)
        return self._send({"content": delta})

    def tool_call(self, call: ChatToolCall, *, pieces: int = 1) -> bytes:
        """A call, its arguments in this many pieces (the id and the name come once, with the first)."""
        index = len(self._calls)
        self._calls.append(call)
        step = max(1, -(-len(call.arguments) // max(1, pieces)))
        cuts = [call.arguments[at : at + step] for at in range(0, len(call.arguments), step)] or [""]
        head = {"index": index, "id": call.call_id, "type": "function"}
        out = self._send({"tool_calls": [{**head, "function": {"name": call.name, "arguments": cuts[0]}}]})
        for cut in cuts[1:]:
            out += self._send({"tool_calls": [{"index": index, "function": {"arguments": cut}}]})
        return out

    def finish(self, usage: Usage | None = None, *, reason: FinishReason | None = None) -> bytes:
        """The end of the answer: the finish reason, the usage when it was asked for, and `[DONE]`."""
        finish = reason or ("tool_calls" if self._calls else "stop")
        if not self._request.stream:
            return self._whole(finish, usage)
        out = self._send({}, finish)
        if self._request.include_usage and usage is not None:
            out += encode_event(dump_frame(self._head("chat.completion.chunk", [], usage)))
        return out + encode_event("[DONE]")

    def fail(self, message: str, *, code: str = "server_error") -> bytes:
        """An error in the middle of a stream; without one, the body to send with status 500."""
        body = error_body(500, message, code=code)
        return encode_event(body.decode()) if self._request.stream else body

    def _send(self, delta: JsonObject, finish: FinishReason | None = None) -> bytes:
        if not self._request.stream:
            return b""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return encode_event(dump_frame(self._head("chat.completion.chunk", [choice], None)))

    def _whole(self, finish: FinishReason, usage: Usage | None) -> bytes:
        message: JsonObject = {"role": "assistant", "content": "".join(self._text) or None, "refusal": None}
        if self._calls:
            message["tool_calls"] = [
                {"id": c.call_id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in self._calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return dump_frame(self._head("chat.completion", [choice], usage or Usage())).encode()

    def _head(self, kind: str, choices: list[JsonObject], usage: Usage | None) -> JsonObject:
        head: JsonObject = {"id": self._id, "object": kind, "created": self._created, "model": self._request.model}
        head["choices"] = choices
        if usage is not None:
            head["usage"] = write_usage(usage)
        elif self._request.include_usage:
            head["usage"] = None
        return head


def write_usage(usage: Usage) -> JsonObject:
    """Our usage as the wire's."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": usage.input_audio_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": usage.output_audio_tokens},
    }
