"""The server end of Chat Completions: strict as the vendor, and what it writes the vendor's own types can read."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from openai.types import ErrorObject
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from mob.providers.events import AgentTextFinal, AgentTextPart, ResponseEnded, ToolCallReady
from mob.providers.openai_chat.client import ChatStream
from mob.providers.openai_chat.server import (
    ChatRefused,
    ChatReply,
    ChatServerRequest,
    ChatToolCall,
    error_body,
    parse_request,
)
from mob.providers.openai_chat.sse import SseDecoder
from mob.values import Usage

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HELLO = [{"role": "user", "content": "hello"}]
FUNCTION = {"name": "f", "arguments": "{}"}
CALL = {"id": "a", "type": "function", "function": FUNCTION}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "x"}


def check_known(model: BaseModel) -> None:
    """The package's models take any field; here each must be one that they name, however deep it stands."""
    assert not model.model_extra, model.model_extra
    for _, value in model:
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, BaseModel):
                check_known(child)


def parse(messages: object = HELLO, **more: object) -> ChatServerRequest:
    return parse_request(json.dumps({"model": "m", "messages": messages, **more}).encode())


def refused(messages: object = HELLO, **more: object) -> dict:
    with pytest.raises(ChatRefused) as caught:
        parse(messages, **more)
    assert caught.value.status == 400
    return json.loads(caught.value.body)["error"]


# --- requests -------------------------------------------------------------------------------------------------------


def test_a_request_is_read():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    tool = {"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object"}}}
    request = parse(
        [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
            CALLING,
            RESULT,
        ],
        tools=[tool],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=5,
        tool_choice="required",
        temperature=1,
    )
    assert [(m.role, m.text) for m in request.messages][:2] == [("developer", "Be kind."), ("user", "look")]
    assert request.messages[1].images == ("data:image/png;base64,AA==",)
    assert request.messages[2].tool_calls == (ChatToolCall("a", "f", "{}"),)
    assert (request.messages[3].tool_call_id, request.messages[3].text) == ("a", "x")
    assert (request.tools[0].name, request.tools[0].parameters) == ("f", {"type": "object"})
    assert (request.stream, request.include_usage, request.max_tokens) == (True, True, 5)
    assert request.tool_choice == "required"
    assert request.params["temperature"] == 1


REFUSED: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "messages missing": (None, {}, "messages"),
    "messages empty": ([], {}, "messages"),
    "message no object": ([3], {}, "messages[0]"),
    "role unknown": ([{"role": "robot", "content": "x"}], {}, "messages[0].role"),
    "content null": ([{"role": "user", "content": None}], {}, "messages[0].content"),
    "content a number": ([{"role": "user", "content": 3}], {}, "messages[0].content"),
    "part unknown": ([{"role": "user", "content": [{"type": "smell"}]}], {}, "messages[0].content[0].type"),
    "part no object": ([{"role": "user", "content": ["x"]}], {}, "messages[0].content[0].type"),
    "part empty": ([{"role": "user", "content": [{"type": "text"}]}], {}, "messages[0].content[0].text"),
    "image without url": (
        [{"role": "user", "content": [{"type": "image_url"}]}],
        {},
        "messages[0].content[0].image_url.url",
    ),
    "calls no array": ([{**CALLING, "tool_calls": 3}], {}, "messages[0].tool_calls"),
    "call without id": ([{**CALLING, "tool_calls": [{"function": FUNCTION}]}], {}, "messages[0].tool_calls[0].id"),
    "call without name": (
        [{**CALLING, "tool_calls": [{"id": "a"}]}],
        {},
        "messages[0].tool_calls[0].function.name",
    ),
    "call without arguments": (
        [{**CALLING, "tool_calls": [{"id": "a", "function": {"name": "f"}}]}],
        {},
        "messages[0].tool_calls[0].function.arguments",
    ),
    "calls with one id": ([{**CALLING, "tool_calls": [CALL, CALL]}, RESULT], {}, "messages[0].tool_calls"),
    "a user's call": ([{**CALLING, "role": "user"}], {}, "messages[0].tool_calls"),
    "result of nothing": ([RESULT], {}, "messages[0].role"),
    "result without id": ([{"role": "tool", "content": "x"}], {}, "messages[0].tool_call_id"),
    "no result": ([*HELLO, CALLING], {}, "messages[1]"),
    "result too late": ([CALLING, *HELLO, RESULT], {}, "messages[0]"),
    "result twice": ([CALLING, RESULT, RESULT], {}, "messages[2].role"),
    "tools a number": (HELLO, {"tools": 5}, "tools"),
    "tool no object": (HELLO, {"tools": [5]}, "tools[0].function.name"),
    "tool's name": (HELLO, {"tools": [{"function": {"name": "a b"}}]}, "tools[0].function.name"),
    "stream a word": (HELLO, {"stream": "yes"}, "stream"),
    "options without stream": (HELLO, {"stream_options": {"include_usage": True}}, "stream_options"),
    "usage a word": (HELLO, {"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    "no tokens": (HELLO, {"max_tokens": 0}, "max_tokens"),
    "tokens a word": (HELLO, {"max_completion_tokens": "1"}, "max_completion_tokens"),
    "model a number": (HELLO, {"model": 3}, "model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_vendor_refuses_names_the_parameter(case):
    messages, more, param = REFUSED[case]
    error = refused(messages, **more)
    ErrorObject.model_validate(error)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param.rpartition(".")[2].partition("[")[0] in error["message"] or "tool" in error["message"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "authentication_error"), (429, "rate_limit_error"), (503, "server_error")]
)
def test_error_bodies(status, kind):  # fmt: skip
    error = json.loads(error_body(status, "no", code="c"))["error"]
    assert ErrorObject.model_validate(error).type == kind


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "tool_calls",
                    "tool_call_id",
                    "function",
                    "name",
                    "arguments",
                    "type",
                    "id",
                    "text",
                    "image_url",
                    "url",
                    "include_usage",
                    "parameters",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
KEYS = ["model", "messages", "tools", "stream", "stream_options", "max_tokens", "max_completion_tokens", "tool_choice"]


def check_law_26(body: bytes) -> None:
    try:
        request = parse_request(body)
    except ChatRefused as refusal:
        ErrorObject.model_validate(json.loads(refusal.body)["error"])
    else:
        assert request.messages


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=100))
def test_law_26_any_bytes(body):
    check_law_26(body)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_law_26_any_json(changes):
    check_law_26(json.dumps({"model": "m", "messages": HELLO, **changes}).encode())


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*HELLO, CALLING, RESULT]) | json_values, max_size=5))
def test_law_26_any_messages(messages):
    check_law_26(json.dumps({"model": "m", "messages": messages}).encode())


# --- answers, and both ends back to back ----------------------------------------------------------------------------

usages = st.builds(Usage, st.integers(0, 9**9), st.integers(0, 9**9), st.integers(0, 99), requests=st.just(1))
arguments = st.dictionaries(text, st.integers() | text, max_size=3).map(json.dumps)
steps = st.lists(text.filter(bool) | st.tuples(arguments, st.integers(0, 5)), max_size=6)


def reply(request: ChatServerRequest, said: list, usage: Usage | None, reason: Any = None) -> bytes:
    writer = ChatReply(request, reply_id="chatcmpl-1", created=1_700_000_000)
    out = writer.start()
    for number, step in enumerate(said):
        if isinstance(step, str):
            out += writer.text(step)
        else:
            out += writer.tool_call(ChatToolCall(f"call_{number}", f"f{number}", step[0]), pieces=step[1])
    return out + writer.finish(usage, reason=reason)


def check_types(request: ChatServerRequest, written: bytes) -> None:
    """The vendor's package reads every piece, and knows every field in it."""
    if not request.stream:
        check_known(ChatCompletion.model_validate_json(written, strict=True))
        return
    decoder = SseDecoder()
    *payloads, done = [event.data for event in [*decoder.feed(written), *decoder.end()]]
    assert done == "[DONE]"
    for payload in payloads:
        check_known(ChatCompletionChunk.model_validate_json(payload, strict=True))
    usages = [json.loads(payload).get("usage", "absent") for payload in payloads]
    if request.include_usage:
        assert usages[:-1] == [None] * (len(usages) - 1)  # the vendor says null until the last chunk
    else:
        assert set(usages) == {"absent"}


@settings(deadline=None, max_examples=150)
@given(
    st.booleans(), st.booleans(), steps, usages, st.sampled_from([None, "length", "content_filter"]), st.integers(1, 99)
)
def test_both_ends_back_to_back(streamed, with_usage, said, usage, reason, size):  # fmt: skip
    options = {"stream_options": {"include_usage": with_usage}} if streamed else {}
    request = parse(stream=streamed, **options)
    written = reply(request, said, usage, reason)
    check_types(request, written)

    stream = ChatStream(streamed=streamed)
    events = [e for at in range(0, len(written), size) for e in stream.receive_bytes(written[at : at + size])]
    events += stream.close()

    words = "".join(step for step in said if isinstance(step, str))
    assert "".join(e.delta for e in events if isinstance(e, AgentTextPart)) == words
    assert [e.text for e in events if isinstance(e, AgentTextFinal)] == ([words] if words else [])
    made = [(f"call_{n}", f"f{n}", step[0]) for n, step in enumerate(said) if not isinstance(step, str)]
    calls = [(e.call_id, e.name, e.arguments) for e in events if isinstance(e, ToolCallReady)]
    assert calls == (made if reason is None else [])
    ended = events[-1]
    assert isinstance(ended, ResponseEnded)
    assert ended.status == ("completed" if reason is None else "incomplete")
    assert ended.usage == (usage if with_usage or not streamed else None)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_failure(streamed):
    request = parse(stream=streamed)
    writer = ChatReply(request, reply_id="r", created=1)
    body = (writer.text("begun") + writer.fail("out of order")) if streamed else writer.fail("out of order")
    stream = ChatStream(streamed=streamed)
    ended = [*stream.receive_bytes(body), *stream.close()][-1]
    assert isinstance(ended, ResponseEnded)
    assert ended.fault is not None
    assert (ended.status, ended.fault.code, ended.fault.message) == ("failed", "server_error", "out of order")
    assert writer.content_type.startswith("text/event-stream" if streamed else "application/json")
