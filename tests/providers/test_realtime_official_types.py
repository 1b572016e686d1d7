"""The vendor's own package reads every event that either end writes, and finds nothing missing and nothing odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter
from realtime_support import Pair, kinds, pcm

from mob.providers import commands
from mob.providers.openai_realtime import (
    EmissionOptions,
    RateLimit,
    RealtimeServer,
    ResponseRequested,
    refuse_beta,
)
from mob.values import Image, ToolSchema, Usage

REQUIRED: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "realtime_required_fields.json").read_text()
)
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)

# The session echo has these (OpenAI Realtime reference); the package types the echo as a request, without them.
ECHO_ONLY = {"session.id", "session.object", "session.expires_at"}
SCHEMA = {"name": "book", "description": "Book a table", "parameters": {"type": "object", "properties": {}}}
USAGE = Usage(
    input_tokens=30, output_tokens=9, cached_tokens=4, input_audio_tokens=20, output_audio_tokens=7, requests=1
)


def check_event(event: dict[str, Any], adapter: TypeAdapter[Any], required: dict[str, list[str]]) -> None:
    """The event has what the reference requires, is typed by the package, and comes out of it as it went in."""
    assert event["type"] in required, f"{event['type']} is no event of this side"
    missing = [name for name in required[event["type"]] if name not in event]
    assert not missing, f"{event['type']} lacks {missing}"

    model = adapter.validate_python(event)

    assert model.type == event["type"]
    assert model.model_dump(mode="json", exclude_unset=True) == event
    assert extras(model) <= ECHO_ONLY


def extras(value: object, path: str = "") -> set[str]:
    """Fields that the package has no name for."""
    if isinstance(value, BaseModel):
        found = {f"{path}{name}" for name in value.model_extra or {}}
        for name in type(value).model_fields:
            found |= extras(getattr(value, name), f"{path}{name}.")
        return found
    if isinstance(value, list):
        return {name for entry in value for name in extras(entry, path)}
    return set()


def everything(options: EmissionOptions) -> Pair:
    """A connection on which both ends say all that they can."""
    pair = Pair(options=options)
    tools = (ToolSchema(SCHEMA["name"], SCHEMA["description"], SCHEMA["parameters"]),)  # type: ignore[arg-type]
    config = commands.SessionConfig(
        instructions="Héllo",
        voice="ash",
        tools=tools,
        turn_detection=commands.TurnDetection(threshold=0.4, idle_timeout_ms=6000),
        transcription_model="whisper-1",
        params={"max_output_tokens": 500, "audio": {"output": {"speed": 1.25}}, "tracing": "auto"},
    )
    pair.say(commands.Configure(config, ref="c1"))
    semantic = commands.TurnDetection(mode="semantic_vad", eagerness="high")
    pair.say(commands.Configure(commands.SessionConfig(turn_detection=semantic), previous=config))

    server = pair.server
    pair.say(commands.AppendAudio(pcm(200)))
    server.speech_started(0)
    server.speech_stopped(180)
    committed = server.commit_input()
    assert committed is not None
    server.user_transcript_delta(committed.item_id, "hi")
    server.user_transcript_completed(committed.item_id, "hi there", seconds=0.2)
    server.user_transcript_failed(committed.item_id, "audio_unintelligible", "Nothing to hear.")
    pair.say(commands.AppendAudio(pcm(200)))
    pair.say(commands.CommitInput(ref="x"))
    pair.say(commands.ClearInput(ref="y"))

    image = Image("image/png", b"\x89PNG")
    pair.say(commands.AddMessage("msg_1", "user", "look", (image,), previous_item_id="root", ref="m1"))
    pair.say(commands.AddMessage("msg_2", "assistant", "I see"))
    pair.say(commands.AddMessage("msg_3", "system", "Be brief"))
    pair.say(commands.AddToolCall("call_item", "call_1", "book", "{}"))
    pair.say(commands.AddToolResult("result_item", "call_1", "done"))
    pair.raw({"type": "conversation.item.retrieve", "item_id": "msg_1"})

    writer = pair.respond("audio")
    server.rate_limits([RateLimit("requests", 100, 99, 0.5), RateLimit("tokens", 1000, 400, 2.0)])
    writer.transcript("Hel")
    writer.audio(pcm(100))
    first = writer.message()
    writer.transcript("lo")
    writer.audio(pcm(50))
    writer.tool_call("book", '{"at": "20:00", "for": 2, "name": "Ada Lovelace"}')
    writer.tool_call("book", "")
    writer.finish(USAGE)
    pair.hear()
    pair.say(commands.TruncateItem(first, 20, ref="t1"))
    pair.say(commands.TruncateItem(first, 2000, ref="t2"))
    pair.say(commands.DeleteItem("msg_2", ref="d1"))

    for end in ("incomplete", "fail", "cancel", "turn_detected"):
        writer = pair.respond("text")
        writer.text("Some words")
        match end:
            case "incomplete":
                writer.incomplete("max_output_tokens", USAGE)
            case "fail":
                writer.fail("rate_limit_exceeded", "Slow down.", kind="rate_limit_error")
            case "cancel":
                pair.say(commands.CancelResponse(writer.response_id, ref="k1"))
            case _:
                writer.cancel("turn_detected")
        pair.hear()
    pair.say(commands.CreateResponse(ref="r1", output="text", instructions="Shorter"))
    pair.say(commands.CancelResponse())
    pair.raw(OUT_OF_BAND)
    (request,) = pair.requests
    assert isinstance(request, ResponseRequested)
    aside = server.start_response(request.params)
    aside.text("beside")
    aside.finish()
    server.error("session_expired", "Your session hit the maximum duration.")
    pair.hear()
    return pair


OUT_OF_BAND: dict[str, Any] = {
    "type": "response.create",
    "response": {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {"topic": "aside"},
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "?"}]}],
        "audio": {"output": {"voice": "ash"}},
    },
}


@pytest.fixture(scope="module", params=[EmissionOptions(), EmissionOptions(True, True, True)], ids=["usual", "other"])
def spoken(request: pytest.FixtureRequest) -> Pair:
    return everything(request.param)


def test_the_package_reads_every_server_event(spoken: Pair) -> None:
    for event in spoken.server_frames:
        check_event(event, SERVER_EVENT, REQUIRED["server_events"])


def test_the_package_reads_every_client_event(spoken: Pair) -> None:
    for event in spoken.client_frames:
        check_event(event, CLIENT_EVENT, REQUIRED["client_events"])


def test_the_scenario_leaves_no_event_out(spoken: Pair) -> None:
    # Not ours to say: legacy twins, WebRTC, telephone keys, remote tools, a diarising transcriber, idle prompts.
    foreign = ("output_audio_buffer.", "mcp_", "response.mcp_", "conversation.created", "conversation.item.created")
    foreign += ("input_audio_buffer.dtmf", "input_audio_buffer.timeout")
    foreign += ("conversation.item.input_audio_transcription.segment",)
    ours = {name for name in REQUIRED["server_events"] if not name.startswith(foreign)}

    assert set(kinds(spoken.server_frames)) == ours
    assert set(kinds(spoken.client_frames)) == REQUIRED["client_events"].keys() - {"output_audio_buffer.clear"}


def test_the_package_reads_the_beta_refusal() -> None:
    refusal = refuse_beta()

    check_event(json.loads(refusal.frame), SERVER_EVENT, REQUIRED["server_events"])
    assert (refusal.close_code, refusal.close_reason) == (4000, "invalid_request_error.beta_api_shape_disabled")
    assert json.loads(refusal.frame)["error"]["code"] == "beta_api_shape_disabled"


def test_a_missing_field_would_be_found() -> None:
    server = RealtimeServer("gpt-realtime")
    server.open()
    event = json.loads(server.data_to_send()[0])
    del event["event_id"]

    with pytest.raises(AssertionError, match="lacks"):
        check_event(event, SERVER_EVENT, REQUIRED["server_events"])
    with pytest.raises(AssertionError):
        check_event({**event, "event_id": "e", "extra": 1}, SERVER_EVENT, REQUIRED["server_events"])
