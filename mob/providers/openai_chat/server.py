"""The server role: a request read with the vendor's strictness, and an answer written as it writes one.

`parse_request` refuses with the vendor's error shape and HTTP status; `ChatReply` writes an answer either as chunks
of a stream or as one body. No I/O: the caller moves the bytes.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from mob.errors import WireError
from mob.providers.openai_chat.sse import encode_event
from mob.providers.openai_realtime.fields import Fields
from mob.providers.openai_realtime.frames import JsonObject, dump_frame, load_frame
from mob.values import ToolSchema, Usage

_ROLES = ("system", "developer", "user", "assistant", "tool")

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
    """One message of the conversation. `images` counts the pictures in it."""

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
    """Read a request body. ChatRefused names the parameter that is wrong."""
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
    choice = request.data.get("tool_choice", "auto")
    return ChatServerRequest(
        model=model,
        messages=read,
        tools=tuple(_tool(value, f"tools[{i}]") for i, value in enumerate(request.data.get("tools") or ())),
        stream=request.data.get("stream") is True,
        include_usage=request.maybe_object("stream_options").data.get("include_usage") is True,
        max_tokens=request.maybe_integer("max_completion_tokens", request.maybe_integer("max_tokens")),
        tool_choice=choice if isinstance(choice, str) else "required",
        params=request.data,
    )


def _message(value: object, where: str) -> ChatMessage:
    if not isinstance(value, dict):
        raise ChatRefused(400, f"{where} must be an object", param=where, code="invalid_type")
    message = Fields(value, where)
    role = message.maybe_text("role")
    if role not in _ROLES:
        known = ", ".join(_ROLES)
        raise ChatRefused(400, f"{where}.role must be one of {known}", param=f"{where}.role", code="invalid_value")
    text, images = _content(value.get("content"), where)
    calls = tuple(
        ChatToolCall(
            call.maybe_text("id") or "",
            call.maybe_object("function").maybe_text("name") or "",
            call.maybe_object("function").maybe_text("arguments") or "",
        )
        for call in message.objects("tool_calls")
    )
    if role == "tool" and message.maybe_text("tool_call_id") is None:
        at = f"{where}.tool_call_id"
        raise ChatRefused(400, f"Missing required parameter: {at}", param=at, code="missing_required_parameter")
    return ChatMessage(role, text, calls, message.maybe_text("tool_call_id"), images)


def _content(content: Any, where: str) -> tuple[str, tuple[str, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        at = f"{where}.content"
        raise ChatRefused(400, f"{at} must be a string or an array of parts", param=at, code="invalid_type")
    parts = [Fields(part) for part in content if isinstance(part, dict)]
    texts = [part.maybe_text("text") or "" for part in parts if part.maybe_text("type") == "text"]
    urls = [part.maybe_object("image_url").maybe_text("url") or "" for part in parts]
    return "\n".join(texts), tuple(url for url in urls if url)


def _tool(value: object, where: str) -> ToolSchema:
    function = Fields(value if isinstance(value, dict) else {}, where).maybe_object("function")
    name = function.maybe_text("name")
    if not name:
        at = f"{where}.function.name"
        raise ChatRefused(400, f"Missing required parameter: {at}", param=at, code="missing_required_parameter")
    return ToolSchema(name, function.maybe_text("description") or "", function.maybe_object("parameters").data)


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
        step = max(1, -(-len(call.arguments) // pieces))
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
        """An error in the middle of a stream."""
        error = {"message": message, "type": "server_error", "param": None, "code": code}
        return encode_event(dump_frame({"error": error}))

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
