"""The laws over the gateway: random clients, random faults behind the member, mutated frames; and mutants."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from gateway_doors import MS, Wire, alone, desk, dialled, open_doors
from hypothesis import HealthCheck, example, given, settings, strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from mob.errors import MobError
from mob.history.items import AgentMessage, ToolCall, ToolResult
from mob.live.transport import TransportClosed
from mob.rehearsal.faults import parse_fault
from mob.rehearsal.voice import hear
from mob.server.gateway.answering import Answering
from mob.server.gateway.live_speaker import LiveSpeaker
from mob.server.gateway.policy import Policy

LAW = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city: sun, rain or snow, and the temperature outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def virtually(main, *args) -> None:
    trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


# -- what must hold of every row of events ---------------------------------------------------------------------------


def check_events(events: list[dict[str, Any]], *, ended: bool = True) -> None:
    """The row is one that the vendor could have sent, and that its package reads."""
    for event in events:
        model = SERVER_EVENT.validate_python(event)
        assert model.type == event["type"]
        assert model.model_dump(mode="json", exclude_unset=True) == event
    ids = [event["event_id"] for event in events]
    assert len(set(ids)) == len(ids)
    active: str | None = None
    items: dict[str, str] = {}
    for event in events:
        kind, response = event["type"], event.get("response_id")
        if kind == "response.created":
            assert active is None, "law 9: one response at a time"
            active = event["response"]["id"]
        elif kind == "response.done":
            assert active == event["response"]["id"]
            assert all(items[item["id"]] == "done" for item in event["response"]["output"])
            assert event["response"]["status"] != "in_progress"
            active = None
        elif kind.startswith("response."):
            assert response == active, "law 5: nothing of a response that is over"
            item = event["item"]["id"] if "item" in event else event["item_id"]
            if kind == "response.output_item.added":
                items[item] = "open"
            assert items[item] == "open"
            if kind == "response.output_item.done":
                items[item] = "done"
    if ended:
        assert active is None, "law 16: every answer comes to an end"


def check_history(turns) -> None:
    for turn in turns:
        calls = [item.call_id for item in turn.items if isinstance(item, ToolCall)]
        results = [item.call_id for item in turn.items if isinstance(item, ToolResult)]
        assert calls == results, "law 7"
        for item in turn.items:
            if isinstance(item, AgentMessage) and item.heard_ms is not None:
                assert item.heard_ms <= item.generated_ms


# -- random clients --------------------------------------------------------------------------------------------------

QUESTIONS = [
    "When are you open?",
    "What does the risotto cost?",
    "What is the weather like in Paris: sun, rain or snow?",
    "I want to complain to the manager.",
    "Tell me about yourself.",
    "Xyzzy.",
]
DETECTIONS = [
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "create_response": False},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "semantic_vad", "eagerness": "high"},
]
STEPS = st.one_of(
    st.tuples(st.just("type"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("create"), st.sampled_from([None, ["text"], ["audio"]])),
    st.tuples(st.just("ask"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("go_on"), st.sampled_from([0.5, 3.0])),
    st.tuples(st.just("say"), st.sampled_from(QUESTIONS[:3])),
    st.tuples(st.just("noise"), st.sampled_from([20, 300])),
    st.tuples(st.just("commit")),
    st.tuples(st.just("clear")),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("truncate"), st.integers(0, 3000)),
    st.tuples(st.just("answer")),
    st.tuples(st.just("detection"), st.sampled_from(DETECTIONS)),
    st.tuples(st.just("tools"), st.sampled_from([[], [WEATHER]])),
    st.tuples(st.just("output"), st.sampled_from([["text"], ["audio"]])),
    st.tuples(st.just("system")),
    st.tuples(st.just("ask_beside")),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.05, 0.3, 2.0, 30.0])),
)
FAULTS = st.lists(
    st.sampled_from(
        [
            "drop-socket@9",
            "drop-socket@30",
            "close-1011@14",
            "half-open@20",
            "transcript-never@all",
            "transcript-late@1",
            "transcript-failed@1",
            "response-failed@1",
            "response-failed@2",
            "response-incomplete@1",
            "two-audio-items@all",
            "message-and-two-calls@1",
            "late-deltas@all",
            "cancel-ignored@1",
            "no-done@1",
            "response-refused@1",
            "bad-arguments@1",
            "unknown-tool@1",
            "commit-refused@1",
            "truncate-refused@1",
        ]
    ),
    max_size=2,
    unique=True,
)


class Talk:
    """One random client of one member, and what it knows."""

    def __init__(self, wire: Wire, doors, member: str) -> None:
        self.wire, self.doors, self.member = wire, doors, member

    def step(self, step: tuple, nursery: trio.Nursery) -> None:
        wire = self.wire
        match step:
            case ("type", text):
                wire.type(text)
            case ("ask", text):
                self.step(("tools", [WEATHER]), nursery)
                wire.type(text)
                wire.send("response.create")
            case ("go_on", _):
                self.step(("answer",), nursery)
                wire.send("response.create")
            case ("system",):
                wire.type("The user is in a hurry.", role="system")
            case ("create", output):
                wire.send("response.create", response={} if output is None else {"output_modalities": output})
            case ("say", text):
                wire.say(text)
            case ("noise", ms):
                wire.sound(b"\x00\x20\x00\xe0" * (12 * ms))
            case ("commit",):
                wire.send("input_audio_buffer.commit")
            case ("clear",):
                wire.send("input_audio_buffer.clear")
            case ("cancel",):
                wire.send("response.cancel")
            case ("truncate", ms):
                for event in wire.of("response.output_audio.delta")[-1:]:
                    wire.send("conversation.item.truncate", item_id=event["item_id"], content_index=0, audio_end_ms=ms)
            case ("answer",):
                for event in wire.of("response.function_call_arguments.done")[-1:]:
                    item = {"type": "function_call_output", "call_id": event["call_id"], "output": "sunny"}
                    wire.send("conversation.item.create", item=item)
            case ("detection", detection):
                session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
                wire.send("session.update", session=session)
            case ("tools", tools):
                wire.send("session.update", session={"type": "realtime", "tools": tools})
            case ("output", output):
                wire.send("session.update", session={"type": "realtime", "output_modalities": output})
            case ("ask_beside",):
                nursery.start_soon(self._ask_beside)

    async def _ask_beside(self) -> None:
        with suppress(MobError):
            await self.doors.realm.mobs[0].mob.member(self.member).ask("Where can I park?", timeout=200)


async def talk(member: str, steps: list[tuple], faults: list[str], early: bool) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_doors(desk(), faults=[parse_fault(fault) for fault in faults]) as doors:
        async with trio.open_nursery() as nursery:
            async with dialled(doors, member) as wire:
                one = Talk(wire, doors, member)
                try:
                    for step in steps:
                        one.step(step, nursery)
                        await wire.settle(
                            step[1] if step[0] in ("wait", "go_on") else 0.6 if step[0] == "ask" else 0.01
                        )
                    if not early:
                        await wire.settle(400)
                except TransportClosed:
                    assert any(event["type"] == "error" for event in wire.events), "law 12: the reason came first"
                    assert wire.closed[0] == 1011
                check_events(wire.events, ended=not early and wire.closed is None)
            nursery.cancel_scope.cancel()
        await gone(doors, member)
        check_history(doors.history(member))
        async with dialled(doors, member) as wire:
            pass
    assert trio.lowlevel.current_statistics().tasks_living == before, "law 24"


async def gone(doors, member: str) -> None:
    """A connection that has ended leaves no channel (law 8) and no function of its client's."""
    session = doors.realm.mobs[0].mob.member(member).session
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(10)
    assert session.channel is None
    assert "weather" not in {schema.name for schema in session.tools.schemas}


@LAW
@given(steps=st.lists(STEPS, max_size=14), faults=FAULTS, early=st.booleans())
@example(steps=[("tools", [WEATHER]), ("type", QUESTIONS[2]), ("create", None), ("wait", 2.0)], faults=[], early=True)
@example(steps=[("type", QUESTIONS[3]), ("create", None), ("wait", 30.0)], faults=[], early=False)
def test_law_09_and_24_a_realtime_member_whatever_the_client_does(steps, faults, early):
    virtually(talk, "host", steps, faults, early)


@LAW
@given(steps=st.lists(STEPS, max_size=14), early=st.booleans())
def test_law_09_and_24_a_member_of_text_whatever_the_client_does(steps, early):
    virtually(talk, "menu", steps, [], early)


# -- law 4 and 10, over the door -------------------------------------------------------------------------------------


async def cut_at(ms: int, after_s: float, cancel: bool) -> None:
    async with open_doors(alone()) as doors, dialled(doors) as wire:
        wire.type("Tell me about yourself.")
        wire.send("response.create")
        first = await wire.until("response.output_audio.delta", 4)
        await wire.settle(after_s)
        received = len(wire.pcm()) // MS
        ms = min(ms, received)
        if cancel:
            wire.send("response.cancel")
        wire.send("conversation.item.truncate", item_id=first["item_id"], content_index=0, audio_end_ms=ms)
        await wire.settle(60)
        (turn,) = doors.history()
        (message,) = [item for item in turn.items if isinstance(item, AgentMessage)]
        assert (message.heard_ms, message.fidelity) == (ms, "exact")
        assert len(message.text) <= len(hear(wire.pcm()[: ms * MS]))
        assert wire.transcript().startswith(message.text)
        check_events(wire.events)


@LAW
@given(ms=st.integers(0, 3000), after_s=st.sampled_from([0.0, 0.1, 0.5]), cancel=st.booleans())
def test_law_04_the_history_has_what_the_client_says_was_heard(ms, after_s, cancel):
    virtually(cut_at, ms, after_s, cancel)


def test_law_04_mutant_settling_by_the_clock_is_caught(monkeypatch):
    async def deaf(self, item_id, ms):
        await self._settle_cut()

    monkeypatch.setattr(LiveSpeaker, "truncate", deaf)
    with pytest.raises(BaseExceptionGroup):
        virtually(cut_at, 200, 0.1, True)


# -- law 8 -----------------------------------------------------------------------------------------------------------


class Visitor:
    """One client that comes, is let in or refused, and stays until it is told to leave."""

    def __init__(self, doors) -> None:
        self.doors = doors
        self.leave = trio.Event()

    async def visit(self, *, task_status: trio.TaskStatus[dict[str, Any]]) -> None:
        async with dialled(self.doors, greet=False) as wire:
            task_status.started(await wire.next())
            await self.leave.wait()


async def crowd(order: list[int]) -> None:
    """Clients that come and go: each finds the member free or is refused; never are there two."""
    async with open_doors(alone()) as doors, trio.open_nursery() as nursery:
        session = doors.realm.mobs[0].mob.member("host").session
        here: dict[int, Visitor] = {}
        holder: int | None = None
        for client in order:
            if client in here:
                here.pop(client).leave.set()
                holder = None if holder == client else holder
                await trio.sleep(10)
            else:
                here[client] = Visitor(doors)
                event = await nursery.start(here[client].visit)
                if holder is None:
                    assert event["type"] == "session.created"
                    holder = client
                else:
                    assert event["error"]["code"] == "already_open"
            assert (session.channel is not None) == (holder is not None)
        for visitor in here.values():
            visitor.leave.set()
        await trio.sleep(10)
        assert session.channel is None


@settings(LAW, max_examples=15)
@given(order=st.lists(st.integers(0, 3), max_size=8))
def test_law_08_one_channel_for_one_member(order):
    virtually(crowd, order)


# -- laws 11, 12 and 26: whatever a client sends ---------------------------------------------------------------------

FRAMES = [
    {"type": "session.update", "session": {"type": "realtime", "output_modalities": ["text"], "tools": [WEATHER]}},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(960)).decode()},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    },
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "o"}},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 3},
    {"type": "conversation.item.retrieve", "item_id": "i"},
    {"type": "conversation.item.delete", "item_id": "i"},
    {"type": "response.create", "response": {"instructions": "x", "metadata": {"a": "b"}}},
    {"type": "response.cancel", "response_id": "r"},
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw) -> str | bytes:
    """A frame with something in it put wrong; or no frame at all."""
    kind = draw(st.sampled_from(["field", "bytes", "text", "junk"]))
    if kind == "junk":
        return json.dumps(draw(JUNK))
    if kind == "text":
        return draw(st.text(max_size=40))
    frame = json.loads(json.dumps(draw(st.sampled_from(FRAMES))))
    if kind == "bytes":
        raw = bytearray(json.dumps(frame).encode())
        for at in draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
            raw[at] = draw(st.integers(0, 255))
        return bytes(raw)
    where = frame
    while True:
        key = draw(st.sampled_from(sorted(where)))
        if isinstance(where[key], dict) and where[key] and draw(st.booleans()):
            where = where[key]
            continue
        where[key] = draw(JUNK)
        return json.dumps(frame)


async def pester(frames: list[str | bytes]) -> None:
    async with open_doors(alone()) as doors, dialled(doors) as wire:
        for frame in frames:
            wire.transport.send_nowait(frame)
        await wire.settle(100)
        assert wire.closed is None
        for event in wire.of("error"):
            assert event["error"]["code"]
            assert event["error"]["message"]
        check_events(wire.events)
        await wire.session(output_modalities=["text"], tools=[], audio={"input": {"turn_detection": None}})
        response = await wire.ask("When are you open?")
        assert response["status"] == "completed"
        check_events(wire.events)
        check_history(doors.history())


@settings(LAW, max_examples=60)
@given(frames=st.lists(mutated(), max_size=8))
def test_laws_11_12_and_26_a_frame_that_is_wrong_is_refused_and_the_conversation_goes_on(frames):
    virtually(pester, frames)


def test_law_12_mutant_a_door_that_refuses_nothing_is_caught(monkeypatch):
    monkeypatch.setattr(Policy, "_functions", lambda *_: None)
    clash = {"type": "session.update", "session": {"type": "realtime", "tools": [WEATHER, WEATHER]}}

    async def main() -> None:
        async with open_doors(alone()) as doors, dialled(doors) as wire:
            wire.transport.send_nowait(json.dumps(clash))
            await wire.settle(5)
            assert "session.updated" not in wire.kinds()

    with pytest.raises(BaseExceptionGroup):
        virtually(main)


# -- law 9, mutant ---------------------------------------------------------------------------------------------------


def test_law_09_mutant_showing_what_another_asked_for_is_caught(monkeypatch):
    """The answer to a colleague would come as a response of the client's that nobody asked for."""
    began = Answering._began

    def careless(self, event):
        began(self, event)
        self._foreign = False

    async def main() -> None:
        async with open_doors(alone()) as doors, dialled(doors) as wire:
            await doors.realm.mobs[0].mob.member("host").ask("Where can I park?")
            await wire.settle(5)
            assert "response.created" not in wire.kinds(), "law 19"

    virtually(main)
    monkeypatch.setattr(Answering, "_began", careless)
    with pytest.raises(BaseExceptionGroup):
        virtually(main)


# -- law 14 ----------------------------------------------------------------------------------------------------------


async def slow_function(spoken_ms: int) -> None:
    """While the member waits for the client's function, sound goes both ways without delay."""
    async with open_doors(alone()) as doors, dialled(doors) as wire:
        await wire.session(tools=[WEATHER], output_modalities=["text"])
        await wire.ask("What is the weather like in Paris: sun, rain or snow?")
        heard: list[float] = []
        send = LiveSpeaker.hear

        async def hear_and_note(self, pcm):
            heard.append(trio.current_time())
            await send(self, pcm)

        LiveSpeaker.hear = hear_and_note
        try:
            sent: list[float] = []
            for _ in range(spoken_ms // 20):
                sent.append(trio.current_time())
                wire.sound(bytes(20 * MS))
                await trio.sleep(0.02)
            await wire.settle(0.1)
        finally:
            LiveSpeaker.hear = send
        assert len(heard) == len(sent)
        assert all(there - here < 0.005 for here, there in zip(sent, heard, strict=True))


@settings(LAW, max_examples=5)
@given(spoken_ms=st.sampled_from([200, 1000]))
def test_law_14_a_slow_function_delays_no_sound(spoken_ms):
    virtually(slow_function, spoken_ms)


def test_law_14_mutant_waiting_for_the_function_in_the_reader_is_caught(monkeypatch):
    take = LiveSpeaker.hear

    async def patient(self, pcm):
        if self._tools.waiting:
            await trio.sleep(0.05)
        await take(self, pcm)

    monkeypatch.setattr(LiveSpeaker, "hear", patient)
    with pytest.raises(BaseExceptionGroup):
        virtually(slow_function, 200)
