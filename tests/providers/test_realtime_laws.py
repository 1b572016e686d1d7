"""Both ends back to back: whatever is said in whatever order, they agree, and what is illegal changes nothing.

The wire's part of laws 9 (one response at a time), 10 (no truncation past the audio), 11 (what the vendor refuses is
a scoped error) and 12 (a scoped rejection leaves everything as it was), and law 26 (malformed input gets a typed
error). The machine predicts each outcome from its own small model, which shares no code with the server role.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from realtime_support import MS, Pair, json_values, mutated, pcm

from mob.errors import WireError
from mob.providers import commands, events as n
from mob.providers.openai_realtime import (
    RealtimeClient,
    RealtimeServer,
    ResponseParams,
    ResponseRequested,
    ResponseWriter,
)
from mob.providers.openai_realtime.conversation import Conversation

ITEM_IDS = st.sampled_from(["a", "b", "c", "x" * 32, "x" * 33])
ANY_PLACE = st.sampled_from([None, "root", "a", "b", "nowhere"])


class BackToBack(RuleBasedStateMachine):
    """A client and a server role, and a model of what they should both hold."""

    @initialize()
    def connect(self) -> None:
        self.pair = Pair()
        self.order: list[str] = []  # what a client knows of the conversation, from item events alone
        self.audio_ms: dict[str, float] = {}
        self.buffered = 0.0
        self.running: list[str] = []
        self.requested: ResponseParams | None = None
        self.writer: ResponseWriter | None = None
        self.serial = 0
        self.say(commands.Configure(commands.SessionConfig(turn_detection=commands.TurnDetection(mode="manual"))))

    # How the two are driven

    def fold(self, events: list[n.WireEvent]) -> None:
        for event in events:
            match event:
                case n.ItemAdded(item_id=item_id, previous_item_id=previous):
                    assert item_id not in self.order
                    self.order.insert(0 if previous is None else self.order.index(previous) + 1, item_id)
                case n.ItemDeleted(item_id=item_id):
                    self.order.remove(item_id)
                case n.ResponseStarted(response_id=response_id):
                    self.running.append(response_id)
                case n.ResponseEnded(response_id=response_id):
                    self.running.remove(response_id)
                case n.AgentAudio(response_id=response_id, item_id=item_id, pcm=sound):
                    assert response_id in self.running
                    self.audio_ms[item_id] = self.audio_ms.get(item_id, 0.0) + len(sound) / MS

    def say(self, command: commands.WireCommand) -> list[n.WireEvent]:
        events = self.pair.say(command)
        self.fold(events)
        return events

    def legal(self, command: commands.WireCommand) -> list[n.WireEvent]:
        events = self.say(command)
        assert not [event for event in events if isinstance(event, n.ProviderFault)]
        return events

    def illegal(self, command: commands.WireCommand) -> None:
        before = self.state()
        (fault,) = self.say(command)
        assert isinstance(fault, n.ProviderFault)
        assert fault.ref == command.ref  # type: ignore[union-attr]
        assert fault.recovery in {"benign", "defer"}
        assert self.pair.requests == []
        assert self.state() == before

    def state(self) -> object:
        server = self.pair.server
        return server.session.echo(), server.items, server.busy_with, server.input_ms, server._input.buffered_ms

    def ref(self) -> str:
        self.serial += 1
        return f"ref_{self.serial}"

    def judged(self, command: commands.WireCommand, *, is_legal: bool) -> bool:
        if is_legal:
            self.legal(command)
        else:
            self.illegal(command)
        return is_legal

    # Input

    @rule(ms=st.sampled_from([1, 20, 60, 99, 100, 250]))
    def append(self, ms: int) -> None:
        assert self.say(commands.AppendAudio(pcm(ms))) == []
        self.buffered += ms

    @rule()
    def commit(self) -> None:
        if self.judged(commands.CommitInput(self.ref()), is_legal=self.buffered >= 100):
            self.buffered = 0.0

    @rule()
    def clear(self) -> None:
        self.legal(commands.ClearInput(self.ref()))
        self.buffered = 0.0

    @precondition(lambda self: self.buffered > 0)
    @rule()
    def turn_detected(self) -> None:
        server = self.pair.server
        item_id = server.speech_started(int(server.input_ms - self.buffered))
        server.speech_stopped(int(server.input_ms))
        assert server.commit_input() is not None
        self.fold(self.pair.hear())
        assert self.order[-1] == item_id
        self.buffered = 0.0

    # Items

    @rule(item_id=ITEM_IDS, place=ANY_PLACE, role=st.sampled_from(["user", "assistant", "system"]))
    def add_message(self, item_id: str, place: str | None, role: Any) -> None:
        fits = len(item_id) <= 32 and item_id not in self.order and place in {None, "root", *self.order}
        command = commands.AddMessage(item_id, role, "said", previous_item_id=place, ref=self.ref())
        self.judged(command, is_legal=fits)

    @rule(item_id=ITEM_IDS, is_call=st.booleans())
    def add_tool_items(self, item_id: str, is_call: bool) -> None:
        fits = len(item_id) <= 32 and item_id not in self.order
        command: commands.WireCommand
        if is_call:
            command = commands.AddToolCall(item_id, "call_1", "book", "{}", ref=self.ref())
        else:
            command = commands.AddToolResult(item_id, "call_never", "done", ref=self.ref())
        self.judged(command, is_legal=fits)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        item_id = data.draw(st.sampled_from([*self.order, "nowhere"]))
        self.judged(commands.DeleteItem(item_id, self.ref()), is_legal=item_id in self.order)

    @rule(data=st.data())
    def truncate_without_audio(self, data: st.DataObject) -> None:
        item_id = data.draw(st.sampled_from([*self.order, "nowhere"]))
        if not self.audio_ms.get(item_id):
            self.illegal(commands.TruncateItem(item_id, 0, ref=self.ref()))

    @precondition(lambda self: self.audio_ms)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0, 1.01, 3.0]))
    def truncate(self, data: st.DataObject, share: float) -> None:
        spoken = [item_id for item_id in self.order if item_id in self.audio_ms]
        item_id = data.draw(st.sampled_from(spoken or [*self.order, "nowhere"]))
        length = self.audio_ms.get(item_id, 0.0)
        end_ms = int(length * share + (share > 1))
        fits = item_id in self.order and length > 0 and end_ms <= length
        if self.judged(commands.TruncateItem(item_id, end_ms, ref=self.ref()), is_legal=fits):
            self.audio_ms[item_id] = float(end_ms)

    # Responses

    @rule(output=st.sampled_from([None, "audio", "text"]))
    def create_response(self, output: Any) -> None:
        free = self.writer is None and self.requested is None
        command = commands.CreateResponse(self.ref(), output=output)
        if self.judged(command, is_legal=free):
            (request,) = self.pair.requests
            assert isinstance(request, ResponseRequested)
            self.requested = request.params

    @precondition(lambda self: self.writer is None and self.requested is None)
    @rule()
    def speak(self) -> None:
        self.create_response("audio")
        self.start()
        self.write("speak", 20)

    @rule()
    def start(self) -> None:
        free = self.writer is None and self.requested is None
        if self.requested is None and not free:
            with pytest.raises(WireError):
                self.pair.server.start_response()
            return
        self.writer = self.pair.server.start_response(self.requested)
        self.requested = None
        self.fold(self.pair.hear())
        assert self.running == [self.writer.response_id]

    @precondition(lambda self: self.writer is not None)
    @rule(verb=st.sampled_from(["message", "speak", "speak", "tool_call"]), ms=st.sampled_from([1, 20, 333]))
    def write(self, verb: str, ms: int) -> None:
        assert self.writer is not None
        match verb:
            case "message":
                self.writer.message()
            case "tool_call":
                self.writer.tool_call("book", '{"for": 2}')
            case _ if self.writer.params.output == "audio":
                self.writer.transcript("word ")
                self.writer.audio(pcm(ms))
            case _:
                self.writer.text("word ")
        self.fold(self.pair.hear())

    @precondition(lambda self: self.writer is not None)
    @rule(how=st.sampled_from(["finish", "incomplete", "fail", "cancel"]))
    def end(self, how: str) -> None:
        assert self.writer is not None
        match how:
            case "incomplete":
                self.writer.incomplete("max_output_tokens")
            case "fail":
                self.writer.fail("server_error", "Sorry.")
            case "cancel":
                self.writer.cancel("turn_detected")
            case _:
                self.writer.finish()
        self.ended()

    @rule(which=st.sampled_from(["current", "named", "unknown"]))
    def cancel(self, which: str) -> None:
        running = self.writer.response_id if self.writer is not None else "resp_none"
        response_id = {"current": None, "named": running, "unknown": "resp_unknown"}[which]
        active = self.writer is not None and which != "unknown"
        if self.judged(commands.CancelResponse(response_id, self.ref()), is_legal=active):
            self.ended()

    def ended(self) -> None:
        self.fold(self.pair.hear())
        assert self.writer is not None
        assert self.writer.ended
        self.writer = None

    # What must hold whatever was done

    @invariant()
    def both_ends_hold_the_same_items(self) -> None:
        assert [item.id for item in self.pair.server.items] == self.order

    @invariant()
    def one_response_at_most(self) -> None:
        assert len(self.running) <= 1
        active = self.pair.server.active_response
        assert [active.response_id] == self.running if active is not None else not self.running


MANY = settings(
    deadline=None,
    max_examples=60,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
FOUND_AT_ONCE = settings(MANY, max_examples=200, derandomize=True, database=None, phases=[Phase.generate])


def check_laws_09_to_12(how: settings = MANY) -> None:
    run_state_machine_as_test(BackToBack, settings=how)


def test_law_09_10_11_12_both_ends_agree_and_what_is_illegal_changes_nothing() -> None:
    check_laws_09_to_12()


def test_law_09_mutant_request_that_does_not_count_as_busy_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_active(server: RealtimeServer) -> str | None:
        return None if server.active_response is None else server.active_response.response_id

    monkeypatch.setattr(RealtimeServer, "busy_with", property(only_active))
    with pytest.raises((AssertionError, ValueError)):
        check_laws_09_to_12(FOUND_AT_ONCE)


def test_law_10_mutant_truncation_past_the_audio_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Conversation.truncate

    def clamping(conversation: Conversation, item_id: str, content_index: int, audio_end_ms: int) -> None:
        entry = conversation.get(item_id)
        length = entry.audio_ms.get(content_index, 0.0) if entry is not None else 0.0
        whole(conversation, item_id, content_index, min(audio_end_ms, int(length)))

    monkeypatch.setattr(Conversation, "truncate", clamping)
    with pytest.raises((AssertionError, ValueError)):
        check_laws_09_to_12(FOUND_AT_ONCE)


def test_law_12_mutant_refusal_that_empties_the_buffer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = RealtimeServer._refuse

    def emptying(server: RealtimeServer, refusal: Any, event: dict[str, Any]) -> None:
        server._input.take()
        refuse(server, refusal, event)

    monkeypatch.setattr(RealtimeServer, "_refuse", emptying)
    with pytest.raises((AssertionError, ValueError)):
        check_laws_09_to_12(FOUND_AT_ONCE)


# Law 26

SESSION: dict[str, Any] = {
    "type": "realtime",
    "audio": {
        "input": {"turn_detection": {"type": "server_vad", "threshold": 0.5}, "format": {"type": "audio/pcm"}},
        "output": {"voice": "ash", "speed": 1.0},
    },
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tracing": {"metadata": {"k": 1}},
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
}
CLIENT_EVENTS: list[dict[str, Any]] = [
    {"type": "session.update", "event_id": "e", "session": SESSION},
    {"type": "input_audio_buffer.append", "audio": "AAAA" * 40},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {
            "id": "item_1",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "x"}, {"type": "input_audio", "audio": "AAAA"}],
        },
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
    },
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "x"}},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 1},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "metadata": {"k": "v"},
            "output_modalities": ["text"],
            "audio": {"output": {"voice": "ash"}},
            "input": [{"type": "item_reference", "id": "item_1"}],
        },
    },
    {"type": "response.cancel", "response_id": "resp_1"},
]


def server_events() -> list[dict[str, Any]]:
    """Server events of every kind that this server writes."""
    pair = Pair()
    pair.say(commands.Configure(commands.SessionConfig()))
    pair.say(commands.AppendAudio(pcm(100)))
    pair.say(commands.CommitInput())
    pair.server.user_transcript_completed(pair.server.items[0].id, "hi")
    writer = pair.respond()
    writer.transcript("Hi")
    writer.audio(pcm(2))
    writer.tool_call("f", '{"a": 1}')
    writer.fail("rate_limit_exceeded", "Try again in 1s.")
    pair.say(commands.CommitInput(ref="r"))
    pair.hear()
    odd = {"type": "rate_limits.updated", "rate_limits": [{"limit": 9, "remaining": 3, "reset_seconds": 1.5}]}
    return [*pair.server_frames, odd]


SERVER_EVENTS = server_events()


def _event(kind: str, fields: dict[str, Any]) -> str:
    return json.dumps({**fields, "type": kind})


hostile = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40),
    json_values.map(json.dumps),
    st.builds(_event, st.text(max_size=9), st.dictionaries(st.text(max_size=6), json_values, max_size=3)),
)


def check_law_26_client(client: RealtimeClient, frames: list[str | bytes]) -> None:
    for frame in frames:
        try:
            events = client.decode(frame)
        except WireError as error:
            error.message.encode()
            continue
        for event in events:
            repr(event).encode()  # nothing in it that could not be written to a log
    assert client.statistics().frames_in == len(frames)


def check_law_26_server(server: RealtimeServer, frames: list[str | bytes]) -> None:
    server.open()
    server.data_to_send()
    for frame in frames:
        before = (server.session.echo(), server.items, server.busy_with, server.input_ms)
        requests = server.receive(frame)
        answers = [json.loads(text.encode()) for text in server.data_to_send()]
        errors = [answer for answer in answers if answer["type"] == "error"]
        assert len(errors) <= 1
        if errors:
            assert (len(answers), requests) == (1, [])
            assert errors[0]["error"]["code"]
            assert (server.session.echo(), server.items, server.busy_with, server.input_ms) == before
        else:
            assert answers or requests
        for request in requests:
            if isinstance(request, ResponseRequested):
                server.start_response(request.params).finish()
        server.data_to_send()


@settings(deadline=None, max_examples=200)
@given(st.lists(mutated(SERVER_EVENTS) | hostile, max_size=4))
def test_law_26_a_client_meets_any_frame_with_events_or_a_wire_error(frames: list[str | bytes]) -> None:
    check_law_26_client(RealtimeClient(), frames)


@settings(deadline=None, max_examples=200)
@given(st.lists(mutated(CLIENT_EVENTS) | hostile | st.sampled_from(CLIENT_EVENTS).map(json.dumps), max_size=5))
def test_law_26_a_server_answers_any_frame_and_lives(frames: list[str | bytes]) -> None:
    check_law_26_server(RealtimeServer("gpt-realtime"), frames)


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"type":"session.update","session":{"type":"realtime","tools":[{"type":"function","name":"f","parameters":'
        + '{"a":' * 400
        + "1"
        + "}" * 400
        + "}]}}",
        '{"type":"response.create","response":{"metadata":{"a":' + "9" * 5000 + "}}}",
        '{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":' + "9" * 4000 + "}",
        '{"type":"conversation.item.create","item":{"id":"\\ud800","type":"message","role":"user","content":[]}}',
        '{"type":"input_audio_buffer.append","audio":"}',
        b'{"type":"input_audio_buffer.append","audio":"\xff"}',
        " " * (16 * 1024 * 1024 + 1),
    ],
    ids=lambda frame: f"{frame[:30]!r}…",
)
def test_law_26_known_hostile_frames(frame: str | bytes) -> None:
    check_law_26_server(RealtimeServer("gpt-realtime"), [frame])
    check_law_26_client(RealtimeClient(), [frame])


def test_law_26_mutant_server_that_reads_json_without_suspicion_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mob.providers.openai_realtime.server.load_frame", json.loads)

    @settings(FOUND_AT_ONCE)
    @given(st.lists(mutated(CLIENT_EVENTS) | hostile, max_size=4))
    def trusting(frames: list[str | bytes]) -> None:
        check_law_26_server(RealtimeServer("gpt-realtime"), frames)

    with pytest.raises((AssertionError, ValueError, TypeError, AttributeError)):
        trusting()
