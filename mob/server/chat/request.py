"""A chat completion request, as far as a member can honour it. Pure.

Theory. OpenAI's clients send the whole conversation each time; a member keeps its own. So of the messages only what
comes after the last assistant message is said to it: that is what it does not know yet. What the client puts before
the conversation (system and developer messages at the head) is told as notes before the statement, once: a member that
has such a note in its history already is not told again.

What a request can ask for beside that is one of three things, and the table says which:

    honoured    model, messages, stream, stream_options, tools, tool_choice "auto" and "none", parallel_tool_calls,
                max_tokens, max_completion_tokens (as a bound in characters: see `chat`)
    a hint      sampling, effort, caching, metadata: the member's own profile decides, and nobody is told a lie by it
    refused     what would change the answer's meaning or shape: several choices, sound, a schema, log probabilities
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from mob.history.items import Note, Turn
from mob.providers.openai_chat.server import ChatMessage, ChatRefused, ChatServerRequest, parse_request
from mob.server.asking import CONTEXT, Statement
from mob.server.limits import DoorLimits
from mob.server.pictures import PictureRefused, check_together, read_data_uri

_TOLD_AS_NOTES = ("system", "developer")
_CANNOT = (
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "moderation",
    "stop",
    "web_search_options",
)
"""Each of these would change the answer's meaning, and a member cannot be made to follow it."""


@frozen(slots=True)
class ChatAsked:
    """What a client wants of a member: a statement, or the results of the calls that it was asked to make.

    `results` maps call ids to what came of the calls. `one_call_at_a_time`: the client does not take several at once.
    """

    request: ChatServerRequest
    said: Statement | None
    results: dict[str, str]
    one_call_at_a_time: bool


def read_chat(body: bytes, limits: DoorLimits) -> ChatAsked:
    """Read a request's body. ChatRefused, in the vendor's words where it would refuse it too."""
    request = parse_request(body)
    _check_possible(request)
    if len(request.tools) > limits.max_client_tools:
        raise _refused("tools", f"at most {limits.max_client_tools} tools can be offered", "array_above_max_length")
    news = _news(request.messages)
    results = {message.tool_call_id or "": message.text for message in news if message.role == "tool"}
    users = [message for message in news if message.role == "user"]
    if results and users:
        raise _refused("messages", "the results of calls go alone: the member's turn goes on with them; say more after")
    if not results and not any(message.text or message.images for message in users):
        raise _refused("messages", "nothing new is said: a member answers what comes after the last assistant message")
    parallel = request.params.get("parallel_tool_calls") is not False
    said = None if results else _statement(request.messages, news, users, limits)
    return ChatAsked(request, said, results, not parallel)


def untold(context: Iterable[str], history: Iterable[Turn]) -> tuple[str, ...]:
    """Those of these texts that the member has no note of."""
    told = {item.text for turn in history for item in turn.items if isinstance(item, Note) and item.kind == CONTEXT}
    return tuple(dict.fromkeys(text for text in context if text not in told))


def _news(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    said = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return messages[said[-1] + 1 :] if said else messages


def _statement(
    messages: tuple[ChatMessage, ...], news: tuple[ChatMessage, ...], users: list[ChatMessage], limits: DoorLimits
) -> Statement:
    head: list[str] = []
    for message in messages:
        if message.role not in _TOLD_AS_NOTES:
            break
        head.append(message.text)
    notes = [text for text in (*head, *(m.text for m in news if m.role in _TOLD_AS_NOTES)) if text.strip()]
    try:
        urls = (url for message in users for url in message.images)
        images = tuple(read_data_uri(url, limits, field="messages") for url in urls)
        check_together(images, limits, field="messages")
    except PictureRefused as error:
        code = "too_large" if error.reason == "too_large" else "invalid_value"
        raise _refused("messages", error.what, code) from None
    return Statement("\n".join(message.text for message in users if message.text), images, tuple(dict.fromkeys(notes)))


def _check_possible(request: ChatServerRequest) -> None:
    params = request.params
    for name in _CANNOT:
        if params.get(name):
            raise _cannot(name)
    if params.get("n") not in (None, 1):
        raise _cannot("n")
    if params.get("logprobs") or params.get("top_logprobs"):
        raise _cannot("logprobs")
    if params.get("modalities") not in (None, ["text"]):
        raise _cannot("modalities")
    shape = params.get("response_format")
    if shape is not None and not (isinstance(shape, dict) and shape.get("type") == "text"):
        raise _cannot("response_format")
    if request.tool_choice not in ("auto", "none"):
        raise _cannot("tool_choice")
    for index, tool in enumerate(params.get("tools") or ()):
        if isinstance(tool, dict) and tool.get("type", "function") != "function":
            raise _cannot(f"tools[{index}].type")


def _cannot(param: str) -> ChatRefused:
    return ChatRefused(
        400,
        f"Unsupported parameter: '{param}': the models of this server are members of a team, whose own profile decides "
        "this; leave it out.",
        param=param,
        code="unsupported_parameter",
    )


def _refused(param: str, what: str, code: str = "invalid_value") -> ChatRefused:
    return ChatRefused(400, f"Invalid '{param}': {what}.", param=param, code=code)
