"""Valid inputs of every parser at the doors: what mutants begin as. A test shows that they are valid."""

from __future__ import annotations

import base64
import json
from typing import Any

from seeds_rpc import CREW, DEFINITION, MESSAGES, PNG, REQUESTS, SOUND

from mob.definition.from_json import definition_from_json
from mob.errors import (
    AskCycle,
    DefinitionError,
    LiveRejected,
    MemberUnknown,
    MobError,
    ProviderRefused,
    ReopenRequired,
    StaleCursor,
    TokenRefused,
)
from mob.history.items import AgentMessage, Cause, Note, Timings, ToolCall, ToolResult, Turn, UserMessage
from mob.live import events as live
from mob.protocol.frames import (
    AudioChunk,
    Clear,
    ClientFrame,
    Close,
    Commit,
    ImageChunk,
    Interrupt,
    Ping,
    PlaybackComplete,
    Played,
    Refresh,
    Respond,
    TextChunk,
    ToolOutput,
    Truncate,
    encode_frame,
)
from mob.protocol.observations import observation_of
from mob.protocol.shapes import error_json, event_json, turn_json, usage_json
from mob.protocol.speech import pack_audio
from mob.sessions import events as run
from mob.values import Image, ToolSchema, TurnDetection, Usage

__all__ = ["CREW", "DEFINITION", "MESSAGES", "REQUESTS"]

JSON = dict[str, Any]

# -- the live socket ---------------------------------------------------------------------------------------------------

COMMANDS = (
    AudioChunk(bytes(96), 24000, 1),
    TextChunk("Hello.", "text", "mine"),
    ImageChunk("p1", "image/png", base64.b64decode(PNG), None),
    Commit("text"),
    Respond("audio", "Be short."),
    Interrupt("because"),
    Truncate("item_1", 120),
    Clear(),
    Refresh(
        instructions="Be kind.",
        tools=(ToolSchema("clock", "The time.", {"type": "object", "properties": {"zone": {"type": "string"}}}),),
        voice="marin",
        turn_detection=TurnDetection(mode="server_vad", threshold=0.5, silence_duration_ms=300),
        output="audio",
        barge_in=True,
    ),
    Played("item_1", 100),
    PlaybackComplete("item_1"),
    ToolOutput("call_1", "it rains"),
    Ping(),
    Close("enough"),
)
FRAMES: list[JSON] = [json.loads(encode_frame(ClientFrame(command, n))) for n, command in enumerate(COMMANDS)]

TURN = Turn(
    "turn_1",
    Cause("voice"),
    (
        UserMessage("item_0", "Hello.", spoken=True, images=(Image("image/png", b"123"),)),
        ToolCall("item_1", "call_1", "clock", "{}"),
        ToolResult("item_2", "call_1", "clock", "done", "noon", 12),
        AgentMessage("item_3", "It is noon.", "It is", interrupted=True, generated_ms=900, heard_ms=300),
        Note("item_4", "It rains.", "context"),
    ),
    "interrupted",
    seq=3,
    usage=Usage(input_tokens=5, output_tokens=7, requests=1, cost_usd=0.5),
    timings=Timings(1.5, 10, 20, 30, 400),
)


def _at(cls: type[live.LiveEvent], **fields: Any) -> live.LiveEvent:
    return cls(channel_id="live_1", epoch=1, t=2.5, **fields)


LIVE_EVENTS = (
    _at(live.Connected, continuity="fresh", expires_at=9.5),
    _at(live.Disconnected, reason="expired", final=True),
    _at(live.SpeechStarted, item_id=None),
    _at(live.UserTranscriptDelta, item_id="item_0", delta="Hel"),
    _at(live.UserTranscript, item_id="item_0", text="Hello."),
    _at(live.TurnBegan, turn="turn_1", cause="voice"),
    _at(live.AgentTranscriptDelta, item_id="item_3", response_id="resp_1", delta="It"),
    _at(live.AgentTranscript, item_id="item_3", response_id="resp_1", text="It is noon."),
    _at(live.TextDelta, item_id="item_3", response_id="resp_1", delta="It"),
    _at(live.AudioDelta, item_id="item_3", response_id="resp_1", pcm=bytes(48), start_ms=20),
    _at(live.AudioDone, item_id="item_3", response_id="resp_1", duration_ms=900),
    _at(live.ToolCall, call_id="call_1", name="clock", arguments='{"zone": "utc"}', external=True),
    _at(live.ToolFinished, call_id="call_1", name="clock", status="done", output="noon", elapsed_ms=3),
    _at(live.Interrupted, item_id="item_3", response_id="resp_1", generated_ms=900, heard_ms=300, fidelity="exact"),
    _at(live.ResponseDone, response_id="resp_1", status="completed", usage=Usage(input_tokens=5)),
    _at(live.ResponseDone, response_id="resp_2", status="failed", usage=None),
    _at(live.TurnCommitted, turn=TURN),
    _at(live.ChannelError, code="wire_error", message="no", recovery="reopen"),
)
OBSERVATIONS: list[JSON] = [{**observation_of(event), "seq": n} for n, event in enumerate(LIVE_EVENTS, 1)]
OBSERVATIONS += [
    {"observation": "ready"},
    {"observation": "command_accepted", "id": 1},
    {"observation": "gap", "from": 1, "to": 3, "audio_bytes": 10, "events": 2, "seq": 4},
    {"observation": "audio_lost", "bytes": 96, "seq": 5},
    {"observation": "command_rejected", "id": 2, "error": error_json(LiveRejected("no", reason="empty_commit"))},
]
SPEECH = [pack_audio(event, 7) or b"" for event in LIVE_EVENTS if isinstance(event, live.AudioDelta)]

# -- what a server tells -----------------------------------------------------------------------------------------------

_ERRORS: tuple[MobError, ...] = (
    MemberUnknown("no"),
    LiveRejected("no", reason="empty_commit"),
    ReopenRequired("no", fields=("model",)),
    AskCycle("no", cycle=("ann", "ben")),
    TokenRefused("no", reason="expired"),
    StaleCursor("no", requested=5, watermark=3),
    ProviderRefused("no", recovery="retry", provider_code="rate", status=429, retry_after_s=0.5),
    DefinitionError("no", definition_from_json({"profiles": {}})[1]),
)
RUN_EVENTS: list[JSON] = [
    event_json(event)
    for event in (
        run.ChannelOpened(seq=1, t=0.5, member="ann", channel="live_1", continuity="fresh", epoch=0),
        run.AgentWrote(seq=2, t=0.5, member="ann", text="Hello."),
        run.MessageSent(seq=3, t=0.5, origin="ann", to="ben", via="ask", text="When?"),
        run.FloorChanged(seq=4, t=0.5, origin=None, to="ann"),
    )
]
SHAPES: dict[str, list[JSON]] = {
    "turn": [turn_json(TURN)],
    "usage": [usage_json(TURN.usage)],
    "run event": RUN_EVENTS,
    "error": [error_json(error) for error in _ERRORS],
}

# -- OpenAI's wires ----------------------------------------------------------------------------------------------------

SESSION: JSON = {
    "type": "realtime",
    "model": "ann",
    "instructions": "Be kind.",
    "output_modalities": ["audio"],
    "max_output_tokens": "inf",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 300},
            "noise_reduction": {"type": "near_field"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.1},
    },
    "tools": [{"type": "function", "name": "clock", "description": "The time.", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "clock"},
    "tracing": None,
}
REALTIME: list[JSON] = [
    {"type": "session.update", "event_id": "e1", "session": SESSION},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
    {"type": "input_audio_buffer.append", "audio": SOUND},
    {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(9600)).decode()},
    {"type": "input_audio_buffer.commit", "event_id": "e2"},
    {"type": "input_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {"id": "m1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
    },
    {
        "type": "conversation.item.create",
        "item": {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
                {"type": "input_audio", "audio": SOUND, "transcript": "Hi."},
            ],
        },
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call_output", "call_id": "call_1", "output": "noon"},
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "call_id": "call_1", "name": "clock", "arguments": "{}"},
    },
    {"type": "conversation.item.delete", "item_id": "m1"},
    {"type": "conversation.item.retrieve", "item_id": "m1"},
    {"type": "conversation.item.truncate", "item_id": "m1", "content_index": 0, "audio_end_ms": 100},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "output_modalities": ["text"],
            "instructions": "Sing.",
            "input": [{"type": "item_reference", "id": "m1"}],
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": 200,
            "metadata": {"k": "v"},
        },
    },
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "resp_1"},
]
CLIENT_SECRETS: list[JSON] = [
    {"expires_after": {"anchor": "created_at", "seconds": 60}, "session": SESSION},
    {"session": {"type": "realtime", "model": "ann"}},
    {},
]
CHATS: list[JSON] = [
    {
        "model": "ann",
        "messages": [
            {"role": "system", "content": "Be short."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hello."},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            },
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {"type": "function", "function": {"name": "clock", "description": "", "parameters": {"type": "object"}}}
        ],
        "tool_choice": "auto",
        "max_completion_tokens": 100,
        "temperature": 0.5,
    },
    {
        "model": "crew/ann",
        "messages": [
            {"role": "user", "content": "When?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        ],
        "n": 1,
        "response_format": {"type": "text"},
        "parallel_tool_calls": False,
    },
]
TURNS: list[JSON] = [
    {"text": "When do you open?", "images": [{"mime": "image/png", "data": PNG}], "timeout_s": 30},
    {"text": "Hello."},
]

# -- files and heads ---------------------------------------------------------------------------------------------------

CONFIG: list[JSON] = [
    {"agent": {"model": "gpt-5.6-terra", "provider": "openai", "system_prompt": "Be short.", "max_tokens": 500}},
    {"default_model": "gpt-realtime-2", "theirs": {"deep": {"deeper": [1, {"x": None}]}}},
]
REALM: list[JSON] = [
    {
        "format": 1,
        "backend": "memory",
        "records": [
            {
                "mob_id": "session:run_1",
                "run_id": "run_1",
                "created_at": 1.5,
                "hidden": True,
                "document": {"model": "gpt-5.6-terra", "instructions": "Be short.", "max_tokens": 100, "name": "ann"},
                "labels": {"a": "b"},
                "kept": {"staged": {"prompt": "Hello.", "injected_context": ["It rains."]}},
            },
            {"mob_id": "crew", "run_id": "run_2", "created_at": 2.5, "document": DEFINITION},
            {"mob_id": "desk", "run_id": "run_3", "created_at": 3.5},
        ],
    }
]
REALM_CONFIG: list[JSON] = [{"format": 1, "generation": 3, "config": CONFIG[0]}]
HEADS = [
    b"GET /sessions?offset=0&limit=5 HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer a-secret\r\n\r\n",
    b"GET /v1/realtime?model=ann HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.ek_abc\r\nOrigin: http://localhost:3000\r\n\r\n",
    b"GET /live/ws?token=abc&channel=live_1&format=pcm_24k_mono&control=1&receipts=1&after=3 HTTP/1.1\r\n"
    b"Host: [::1]:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"POST /sessions/s%2Fx/turns HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n"
    b'Content-Type: application/json\r\nOrigin: null\r\n\r\n{"text": "Hello"}',
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b'Expect: 100-continue\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n',
    b"OPTIONS /mobs HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n"
    b"Access-Control-Request-Headers: authorization, x-own\r\n\r\n",
    b"HEAD /healthz HTTP/1.0\r\n\r\n",
]
PATHS = [
    "/sessions/session_1/history",
    "/mobs/crew/members/ann/turns",
    "/v1/models/crew/ann",
    "/v1/chat/completions",
    "/openapi.json",
]
