"""The client end of Chat Completions: what it asks is what the vendor's types know, and any answer is survived."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from mob.errors import WireError
from mob.providers.commands import AddMessage, AddToolCall, AddToolResult, SessionConfig
from mob.providers.events import AgentTextFinal, AgentTextPart, ResponseEnded, ResponseStarted, ToolCallReady
from mob.providers.openai_chat.client import ChatStream, build_request, fault_from_response
from mob.providers.openai_chat.server import ChatRefused, parse_request
from mob.values import Image, ToolSchema, Usage

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
STREAMED_PARAMS: Any = TypeAdapter(completion_create_params.CompletionCreateParamsStreaming)


def chunk(delta: dict | None = None, finish: str | None = None, **more: object) -> dict:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def sse(*payloads: dict | str) -> bytes:
    lines = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def answer(*payloads: dict | str) -> list:
    stream = ChatStream()
    return [*stream.receive_bytes(sse(*payloads)), *stream.close()]


def whole(body: object) -> list:
    stream = ChatStream(streamed=False)
    return [*stream.receive_bytes(json.dumps(body).encode()), *stream.close()]


def call(name: str | None = None, arguments: object = None, **more: object) -> dict:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function, **more}


def calls_of(events: list) -> list[tuple[str, str, str]]:
    return [(e.call_id, e.name, e.arguments) for e in events if isinstance(e, ToolCallReady)]


def end_of(events: list) -> ResponseEnded:
    ends = [event for event in events if isinstance(event, ResponseEnded)]
    assert len(ends) == 1
    assert events[-1] is ends[0]
    return ends[0]


# --- text -----------------------------------------------------------------------------------------------------------


def test_a_streamed_answer():
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
    events = answer(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        chunk(None, usage=usage),
        "[DONE]",
    )
    assert events == [
        ResponseStarted("c1"),
        AgentTextPart("c1", "c1_text", "Hel"),
        AgentTextPart("c1", "c1_text", "lo"),
        AgentTextFinal("c1", "c1_text", "Hello"),
        ResponseEnded("c1", "completed", "stop", Usage(7, 2, cached_tokens=3, requests=1)),
    ]


def test_a_whole_answer_is_read_the_same():
    message = {"role": "assistant", "content": "Hello", "tool_calls": [call("f", "{}", id="a")]}
    events = whole({"id": "c1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    assert [event.text for event in events if isinstance(event, AgentTextFinal)] == ["Hello"]
    assert calls_of(events) == [("a", "f", "{}")]
    assert end_of(events).status == "completed"


@pytest.mark.parametrize(
    ("payloads", "status", "reason"),
    [
        ([chunk({"content": "x"}, "stop")], "completed", "stop"),  # neither usage nor [DONE]
        ([chunk({"content": "x"}), "[DONE]"], "completed", None),  # no finish_reason
        ([chunk({"content": "x"})], "failed", "stream_ended"),
        ([], "failed", "stream_ended"),
        (["[DONE]"], "failed", "stream_ended"),
        ([chunk(None), "[DONE]"], "failed", "stream_ended"),
        ([chunk({"content": "x"}, "length"), "[DONE]"], "incomplete", "max_output_tokens"),
        ([chunk({"content": "x"}, "content_filter")], "incomplete", "content_filter"),
        (["", chunk({"content": "x"}, "stop"), " ", "[DONE]", "[DONE]", chunk({"content": "y"})], "completed", "stop"),
    ],
)
def test_how_an_answer_ends(payloads, status, reason):
    ended = end_of(answer(*payloads))
    assert (ended.status, ended.reason) == (status, reason)
    assert (ended.fault is not None) == (status == "failed")


def test_only_the_first_of_several_answers_is_read():
    second = chunk({"content": "no"}, "length")
    second["choices"][0]["index"] = 1
    events = answer(chunk({"content": "yes"}), second, chunk({}, "stop"))
    assert [event.text for event in events if isinstance(event, AgentTextFinal)] == ["yes"]
    assert end_of(events).status == "completed"


def test_a_refusal_is_what_the_model_says():
    events = answer(chunk({"content": None, "refusal": "I will not."}), chunk({}, "stop"))
    assert AgentTextFinal("c1", "c1_text", "I will not.") in events


def test_what_we_do_not_read_is_counted():
    stream = ChatStream()
    stream.receive_bytes(sse(chunk({"reasoning_content": "hm"}), chunk({"reasoning_content": "so"})))
    assert stream.ignored == {"reasoning_content": 2}


# --- tool calls -----------------------------------------------------------------------------------------------------

TOOL_CALLS = {
    "whole": ([[call("f", '{"a":1}', index=0, id="x")]], [("x", "f", '{"a":1}')]),
    "in pieces": (
        [[call("f", "", index=0, id="x")], [call(None, '{"a"', index=0)], [call(None, ":1}", index=0)]],
        [("x", "f", '{"a":1}')],
    ),
    "two in turn": (
        [[call("f", "{", index=0, id="x"), call("g", "", index=1, id="y")], [call(None, "}", index=0)]],
        [("x", "f", "{"[0] + "}"), ("y", "g", "{}")],
    ),
    "no ids": (
        [[call("f", "{}", index=0)], [call("g", "{}", index=1)]],
        [("call_c1_0", "f", "{}"), ("call_c1_1", "g", "{}")],
    ),
    "one id for two": (
        [[call("f", "{}", index=0, id="x"), call("g", "{}", index=1, id="x")]],
        [("x", "f", "{}"), ("x_1", "g", "{}")],
    ),
    "one call sent twice": (
        [[call("f", "{}", index=0, id="x"), call("f", "{}", index=1, id="x")]],
        [("x", "f", "{}")],
    ),
    "two alike without ids": (
        [[call("f", "{}", index=0), call("f", "{}", index=1)]],
        [("call_c1_0", "f", "{}"), ("call_c1_1", "f", "{}")],
    ),
    "one index for all, whole": (
        [[call("f", "{}", index=0, id="x")], [call("f", "{}", index=0, id="y")]],
        [("x", "f", "{}"), ("y", "f", "{}")],
    ),
    "one index, no ids, whole": (
        [[call("f", '{"a":1}', index=0)], [call("f", '{"a":2}', index=0)]],
        [("call_c1_0", "f", '{"a":1}'), ("call_c1_1", "f", '{"a":2}')],
    ),
    "no index": ([[call("f", "{}", id="x")], [call("g", "{}", id="y")]], [("x", "f", "{}"), ("y", "g", "{}")]),
    "name and id with every piece": (
        [[call("f", '{"a"', index=0, id="x")], [call("f", ":1}", index=0, id="x")]],
        [("x", "f", '{"a":1}')],
    ),
    "arguments as an object": ([[call("f", {"a": "é"}, index=0, id="x")]], [("x", "f", '{"a":"é"}')]),
    "no arguments": ([[call("f", None, index=0, id="x")]], [("x", "f", "{}")]),
    "blank arguments": ([[call("f", " ", index=0, id="x")]], [("x", "f", "{}")]),
    "not JSON": ([[call("f", "a=1", index=0, id="x")]], [("x", "f", "a=1")]),
}


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
@pytest.mark.parametrize("case", TOOL_CALLS)
def test_tool_calls(case, finish):
    deltas, expected = TOOL_CALLS[case]
    events = answer(*[chunk({"tool_calls": delta}) for delta in deltas], chunk({}, finish), "[DONE]")
    assert calls_of(events) == expected
    assert end_of(events).status == "completed"


@pytest.mark.parametrize("end", [[], [chunk({}, "length"), "[DONE]"]])
def test_a_call_that_was_cut_off_is_not_made(end):
    """Half of its arguments may be JSON too, and mean something else."""
    events = answer(chunk({"tool_calls": [call("pay", '{"amount":1}', index=0, id="x")]}), *end)
    assert calls_of(events) == []
    assert end_of(events).status in ("failed", "incomplete")


def test_calls_without_number_are_refused():
    many = [call("f", "{}", index=i, id=str(i)) for i in range(300)]
    with pytest.raises(WireError, match="more than 256 tool calls"):
        answer(chunk({"tool_calls": many}))


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "code", "recovery", "words"),
    [
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, "rate_limit_exceeded", "retry", "slow"),
        ({"error": {"message": "no", "type": "x", "code": "insufficient_quota"}}, "insufficient_quota", "fatal", "no"),
        ({"error": {"code": "internal_error", "message": "no"}}, "internal_error", "retry", "no"),
        ({"error": {"code": "context_length_exceeded", "message": "no"}}, "context_length_exceeded", "fatal", "no"),
        ({"error": "out of memory"}, "unknown_error", "retry", "out of memory"),
        ({"error": {"code": 500, "type": "server_error", "message": "boom"}}, "server_error", "retry", "boom"),
        ({"object": "error", "message": "boom", "type": "BadRequest", "code": 400}, "BadRequest", "retry", "boom"),
    ],
)  # fmt: skip
def test_an_error_in_the_middle(payload, code, recovery, words):
    ended = end_of(answer(chunk({"content": "x"}), payload, "[DONE]"))
    assert ended.status == "failed"
    assert ended.fault is not None
    assert (ended.fault.code, ended.fault.recovery) == (code, recovery)
    assert words in ended.fault.message


@pytest.mark.parametrize("said", ['{"code": 503, "message": "loading"}', "loading"])
def test_an_error_field(said):
    stream = ChatStream()
    ended = end_of(stream.receive_bytes(f"error: {said}\n\n".encode()))
    assert ended.fault is not None
    assert ended.fault.message == "loading"


def test_an_error_as_the_whole_body():
    assert end_of(whole({"error": {"message": "boom", "type": "server_error"}})).status == "failed"


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "recovery", "wait"),
    [
        (401, {}, {"error": {"message": "bad key", "code": "invalid_api_key"}}, "invalid_api_key", "fatal", None),
        (404, {}, {"error": {"message": "no model", "code": "model_not_found"}}, "model_not_found", "fatal", None),
        (429, {"retry-after": "7"}, {"error": {"message": "slow"}}, "rate_limit_exceeded", "retry", 7.0),
        (429, {"retry-after-ms": "1500", "retry-after": "7"}, {}, "rate_limit_exceeded", "retry", 1.5),
        (429, {"retry-after-ms": "9" * 5000, "retry-after": "7"}, {}, "rate_limit_exceeded", "retry", 7.0),
        (429, {}, {"error": {"message": "pay", "code": "insufficient_quota"}}, "insufficient_quota", "fatal", None),
        (500, {"x-should-retry": "false"}, {}, "server_error", "fatal", None),
        (529, {"retry-after": "soon"}, "<html>busy</html>", "server_error", "retry", None),
        (503, {}, {"error": "model is loading"}, "server_error", "retry", None),
        (408, {}, b"", "timeout", "retry", None),
        (307, {}, b"", "http_307", "fatal", None),
        (400, {}, {"object": "error", "message": "too long"}, "bad_request", "reconfigure", None),
        (422, {}, {"detail": "model is loading"}, "http_422", "fatal", None),
        (422, {}, {"detail": [{"msg": "model is loading"}]}, "http_422", "fatal", None),
    ],
)
def test_refusals_by_status(status, headers, body, code, recovery, wait):
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fault = fault_from_response(status, headers, raw)
    assert (fault.code, fault.recovery, fault.retry_after_s) == (code, recovery, wait)
    if b"loading" in raw:
        assert "model is loading" in fault.message


# --- law 26 ---------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "error",
                    "choices",
                    "delta",
                    "message",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "index",
                    "content",
                    "usage",
                    "prompt_tokens",
                    "finish_reason",
                    "object",
                    "prompt_tokens_details",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
SEEDS = [
    sse(chunk({"content": "é"}), chunk({"tool_calls": [call("f", "{}", index=0, id="x")]}), chunk({}, "stop")),
    json.dumps({"id": "c", "choices": [{"message": {"content": "x", "tool_calls": [call("f", {})]}}]}).encode(),
]  # fmt: skip


@st.composite
def mutated(draw) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(data)


def survive(stream: ChatStream, pieces: list[bytes]) -> None:
    events = []
    try:
        for piece in pieces:
            events += stream.receive_bytes(piece)
        events += stream.close()
    except WireError:
        return
    end_of(events)
    assert stream.close() == []


@settings(deadline=None, max_examples=200)
@given(st.booleans(), st.binary(max_size=200) | mutated(), st.integers(1, 50))
def test_law_26_any_bytes(streamed, data, step):
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    survive(ChatStream(streamed=streamed), pieces)


@settings(deadline=None, max_examples=200)
@given(st.booleans(), st.lists(json_values, max_size=4))
def test_law_26_any_json(streamed, values):
    """JSON of the right words in the wrong places."""
    payloads = [json.dumps(value) for value in values]
    data = sse(*payloads) if streamed else "".join(payloads).encode()
    survive(ChatStream(streamed=streamed), [data])


@settings(deadline=None, max_examples=200)
@given(st.lists(json_values, max_size=4))
def test_law_26_any_choices(values):
    survive(ChatStream(), [sse({"id": "c", "choices": [{"index": 0, "delta": value} for value in values]})])
    survive(ChatStream(), [sse({"choices": [{"delta": {"tool_calls": values}}]}, "[DONE]")])


@settings(deadline=None, max_examples=100)
@given(st.integers(100, 999), st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), text), st.binary())
def test_law_26_any_refusal(status, headers, body):
    assert fault_from_response(status, headers, body).message


# --- what we ask ----------------------------------------------------------------------------------------------------


@st.composite
def conversations(draw) -> list[AddMessage | AddToolCall | AddToolResult]:
    """Any order of words, calls and their results: each call has its one result somewhere after it (law 7)."""
    items: list[AddMessage | AddToolCall | AddToolResult] = []
    running: list[str] = []
    for number in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["user", "assistant", "system", "call", "result"]))
        if kind == "call":
            items.append(AddToolCall(f"i{number}", f"c{number}", "look", draw(text)))
            running.append(f"c{number}")
        elif kind != "result":
            images = draw(st.lists(st.just(Image("image/png", b"png")), max_size=1)) if kind == "user" else []
            items.append(AddMessage(f"i{number}", kind, draw(text), tuple(images)))  # type: ignore[arg-type]
        elif running:
            call_id = running.pop(draw(st.integers(0, len(running) - 1)))
            items.append(AddToolResult(f"i{number}", call_id, draw(text)))
    return [*items, *(AddToolResult(f"r{call_id}", call_id, "late") for call_id in running)]


CONFIG = SessionConfig(
    instructions="Be kind.",
    tools=(
        ToolSchema("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}}),
        ToolSchema("wait", "Waits."),
    ),
    params={"temperature": 0.5},
)


def check_law_07(build: Any, items: list) -> None:
    """The strict server end accepts it: each call is followed by exactly one result, and nothing is lost."""
    request = parse_request(build("m", CONFIG, items).body)
    assert [m.text for m in request.messages if m.role == "user"] == [
        i.text for i in items if isinstance(i, AddMessage) and i.role == "user"
    ]
    made = {c.call_id: c.arguments for m in request.messages for c in m.tool_calls}
    assert made == {i.call_id: i.arguments for i in items if isinstance(i, AddToolCall)}
    results = {m.tool_call_id: m.text for m in request.messages if m.role == "tool"}
    assert results == {i.call_id: i.output for i in items if isinstance(i, AddToolResult)}


@settings(deadline=None, max_examples=100)
@given(conversations())
def test_law_07_calls_and_results_in_any_order(items):
    check_law_07(build_request, items)


def test_law_07_mutant_results_where_the_log_has_them_is_caught(monkeypatch):
    from mob.providers.openai_chat import client

    monkeypatch.setattr(client, "_behind_call", lambda messages, _: len(messages))
    items = [AddToolCall("a", "c", "look", "{}"), AddMessage("b", "user", "hm"), AddToolResult("d", "c", "late")]
    with pytest.raises(ChatRefused, match="must be followed by tool messages"):
        check_law_07(build_request, items)


def spent(value: Any) -> Any:
    """The value with pydantic's lazy iterators run to their end: only then are their members validated."""
    if isinstance(value, dict):
        return {key: spent(child) for key, child in value.items()}
    return value if isinstance(value, str) or not hasattr(value, "__iter__") else [spent(child) for child in value]


@settings(deadline=None, max_examples=50)
@given(conversations())
def test_what_we_ask_is_what_the_vendors_types_know(items):
    request = build_request("m", CONFIG, items)
    body = json.loads(request.body)
    assert spent(STREAMED_PARAMS.validate_python(body)) == body  # the types drop what they do not know
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert body["tools"][1] == {"type": "function", "function": {"name": "wait", "description": "Waits."}}
    assert (body["stream"], body["temperature"]) == (True, 0.5)


def test_words_and_calls_of_one_answer_are_one_message():
    items = [
        AddMessage("a", "assistant", "I look."),
        AddToolCall("b", "c1", "look", "{}"),
        AddToolCall("c", "c2", "look", "{}"),
        AddToolResult("d", "c2", "two"),
        AddToolResult("e", "c1", "one"),
        AddToolCall("f", "c3", "look", "{}"),
        AddToolResult("g", "c3", "three"),
    ]
    messages = json.loads(build_request("m", SessionConfig(), items).body)["messages"]
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool", "assistant", "tool"]
    assert messages[0]["content"] == "I look."
    assert [each["id"] for each in messages[0]["tool_calls"]] == ["c1", "c2"]
    assert "tools" not in json.loads(build_request("m", SessionConfig(), items).body)
