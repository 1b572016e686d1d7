"""Valid requests of JSON-RPC, to every method there is, and the teams that they speak of."""

from __future__ import annotations

import base64
from typing import Any

JSON = dict[str, Any]

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
SOUND = base64.b64encode(bytes(range(96))).decode()


def _rpc(**body: Any) -> JSON:
    return {"jsonrpc": "2.0", **body}


MESSAGES: list[JSON] = [
    _rpc(id=1, method="initialize", params={"secret": "a-secret-of-the-tests"}),
    _rpc(id="two", method="session/create", params={"prompt": "Hello.", "labels": {"a": "b"}}),
    _rpc(id=3, method="capabilities/get"),
    _rpc(method="initialized", params={}),
    _rpc(id="mob-1", result={"content": "it rains", "is_error": False}),
    _rpc(id="mob-2", error={"code": -32603, "message": "no", "data": {"error": {"code": "member_failed"}}}),
    _rpc(id=None, error={"code": -32700, "message": "no JSON"}),
    _rpc(id=-7, method="config/patch", params={"patch": {"agent": {"model": None}}, "expected_generation": 0}),
]

DEFINITION: JSON = {
    "id": "crew",
    "description": "A small team.",
    "profiles": {
        "host": {
            "model": "gpt-realtime-2",
            "instructions": "You welcome people.",
            "voice": "cedar",
            "turn_detection": {"mode": "server_vad", "threshold": 0.5, "silence_duration_ms": 400},
            "skills": ["menu"],
        },
        "scribe": {"model": "own-1", "peer_description": "Writes down.", "params": {"temperature": 0.3}},
    },
    "members": {"ann": {"profile": "host", "voice": "marin"}, "ben": {"profile": "scribe"}},
    "wiring": {
        "auto_wire_orchestrator": False,
        "role_wiring": [{"a": "host", "b": "scribe"}],
        "routes": [{"from": "ann", "to": "ben", "via": ["ask", "tell"]}],
    },
    "entry": "ann",
    "limits": {"max_hops": 4, "turn_timeout_s": 30},
    "budget": {"max_tokens": 100000},
    "skills": {"menu": {"content": "Soup and bread."}},
    "models": {"own-1": {"provider": "openai", "context_window": 8000}},
    "rehearsal": {"host": [{"when": "hello", "say": "Welcome!", "after_ms": 5}]},
}

CREW: JSON = {
    "id": "crew",
    "profiles": {
        "host": {"model": "gpt-5.6-terra", "instructions": "You welcome people. We open at noon."},
        "scribe": {"model": "gpt-realtime-2", "turn_detection": "manual", "peer_description": "Writes down."},
    },
    "members": {"ann": {"profile": "host"}, "ben": {"profile": "scribe"}},
    "rehearsal": {"host": [{"when": "hello", "say": "Welcome!"}]},
}
"""A team that can be made, to be spoken to by mutants."""

_MOB = {"mob_id": "crew"}
_ANN = {"mob_id": "crew", "agent_identity": "ann"}
_BEN = {"mob_id": "crew", "agent_identity": "ben"}
_TEAM = {"mob": "crew"}
_OF = {"session_id": "SESSION"}
_ON = {"channel_id": "CHANNEL"}

REQUESTS: list[tuple[str, JSON]] = [
    ("initialize", {}),
    ("capabilities/get", {}),
    ("models/catalog", {}),
    ("config/get", {}),
    (
        "config/set",
        {"config": {"agent": {"model": "gpt-5.6-terra"}, "theirs": {"x": [1, 2]}}, "expected_generation": 1},
    ),
    ("config/patch", {"patch": {"agent": {"max_tokens": 500, "provider": None}, "theirs": {"x": 0.5}}}),
    ("tools/register", {"tools": [{"name": "clock", "description": "The time.", "input_schema": {"type": "object"}}]}),
    (
        "session/create",
        {
            "prompt": "Hello.",
            "model": "gpt-5.6-terra",
            "system_prompt": "Be short.",
            "max_tokens": 200,
            "labels": {"team": "a"},
            "initial_turn": "deferred",
            "external_tools": [{"name": "door", "description": "", "input_schema": {}}],
            "additional_instructions": ["Be kind."],
            "injected_context": ["It is noon."],
            "budget_limits": {"max_tokens": 9000},
            "comms_name": "ann",
        },
    ),
    ("session/create", {"prompt": [{"type": "text", "text": "Hi."}], "model": "gpt-realtime-2"}),
    ("session/list", {"labels": {"team": "a"}, "offset": 0, "limit": 5}),
    ("session/read", _OF),
    ("session/history", {**_OF, "offset": 0, "limit": 10}),
    ("session/archive", {"session_id": "OTHER"}),
    (
        "session/inject_context",
        {**_OF, "content": {"type": "text", "text": "Rain."}, "source": "sky", "idempotency_key": "k"},
    ),
    ("session/stream_open", _OF),
    ("session/stream_close", {"stream_id": "STREAM"}),
    (
        "turn/start",
        {
            **_OF,
            "prompt": [
                {"type": "text", "text": "When do you open?"},
                {"type": "image", "source": "inline", "media_type": "image/png", "data": PNG},
            ],
            "session_events": True,
            "additional_instructions": ["Be brief."],
            "transient_turn_context": "They are old friends.",
            "model": "gpt-5.6-terra",
        },
    ),
    ("turn/start", {**_OF, "prompt": "When do you open?"}),
    ("turn/interrupt", _OF),
    (
        "live/open",
        {**_OF, "turning_mode": "explicit_commit", "transport": "websocket", "seed_max_chars": 4000},
    ),
    ("live/status", _ON),
    ("live/send_input", {**_ON, "chunk": {"kind": "audio", "data": SOUND, "sample_rate_hz": 24000, "channels": 1}}),
    ("live/send_input", {**_ON, "chunk": {"kind": "text", "text": "Hello."}}),
    (
        "live/send_input",
        {**_ON, "chunk": {"kind": "image", "idempotency_key": "p1", "mime": "image/png", "data": PNG}},
    ),
    ("live/commit_input", {**_ON, "response_modality": {"modality": "text"}}),
    ("live/interrupt", _ON),
    ("live/truncate", {**_ON, "item_id": "item_1", "content_index": 0, "audio_played_ms": 100}),
    ("live/refresh", _ON),
    ("live/playback_complete", {**_ON, "output_id": "item_1"}),
    ("live/close", {"channel_id": "OTHER"}),
    ("mob/create", {"definition": DEFINITION, "labels": {"a": "b"}}),
    ("mob/create", {"definition": CREW}),
    ("mob/list", {}),
    ("mob/status", _MOB),
    ("mob/snapshot", _MOB),
    ("mob/lifecycle", {**_MOB, "action": "stop"}),
    ("mob/lifecycle", {**_MOB, "action": "resume"}),
    ("mob/lifecycle", {**_MOB, "action": "reset"}),
    ("mob/destroy", {"mob_id": "OTHER"}),
    ("mob/members", _MOB),
    ("mob/list_members_matching", {**_MOB, "filter": {"labels": {"a": "b"}, "role": "host", "status": "active"}}),
    (
        "mob/spawn",
        {**_MOB, "agent_identity": "cat", "profile": "host", "labels": {"a": "b"}, "initial_message": "Hello."},
    ),
    ("mob/spawn", {**_MOB, "agent_identity": "eve", "profile": "host", "override_profile": {"instructions": "Hm."}}),
    ("mob/spawn_many", {**_MOB, "specs": [{"profile": "host", "agent_identity": "dan"}]}),
    ("mob/ensure_member", {**_MOB, "spec": {"profile": "host", "agent_identity": "ann"}}),
    ("mob/retire", {**_MOB, "agent_identity": "dan", "generation": 0}),
    ("mob/respawn", {**_ANN, "initial_message": "Again.", "fence_token": 1}),
    ("mob/member_status", _ANN),
    ("mob/wait_ready", {**_MOB, "member_ids": ["ann"], "timeout_ms": 100}),
    ("mob/wait_kickoff", {**_MOB, "member_ids": ["ann"], "timeout_ms": 100}),
    ("mob/member_send", {**_ANN, "content": "Hello.", "handling_mode": "steer", "idempotency_key": "k"}),
    ("mob/member_history", {**_ANN, "from_index": 0, "limit": 5}),
    ("mob/turn_start", {**_ANN, "prompt": [{"type": "text", "text": "Hello."}], "session_events": False}),
    ("mob/append_system_context", {**_ANN, "text": "It rains.", "source": "sky", "idempotency_key": "k"}),
    ("mob/force_cancel", _ANN),
    ("mob/wire", {**_MOB, "member": "ann", "peer": {"local": "ben"}}),
    ("mob/unwire", {**_MOB, "member": "ann", "peer": {"local": "ben"}}),
    ("mob/wire_members_batch", {**_MOB, "edges": [{"a": "ann", "b": "ben"}]}),
    ("mob/events", {**_MOB, "after_cursor": 0, "limit": 3, "strict": True}),
    ("mob/stream_open", {**_MOB, "agent_identity": "ann"}),
    ("mob/stream_close", {"stream_id": "STREAM"}),
    ("mob/member_live_open", {**_BEN, "turning_mode": "explicit_commit", "transport": "websocket"}),
    ("mob/member_live_status", _BEN),
    ("mob/member_live_control", {**_BEN, "verb": {"verb": "commit_input", "response_modality": {"modality": "text"}}}),
    ("mob/member_live_close", {**_BEN, "channel_id": "CHANNEL"}),
    ("team/describe", _TEAM),
    ("team/history", {**_TEAM, "member": "ann", "generation": 1, "start": 0, "limit": 5}),
    ("team/events", {**_TEAM, "after": 0, "limit": 5}),
    ("team/events_open", {**_TEAM, "after": 0, "state": True}),
    ("team/events_close", {"stream": "stream-1"}),
    ("team/ask", {**_TEAM, "member": "ann", "text": "When?", "timeout": 5.5, "call": "c1", "images": []}),
    ("team/cancel", {"call": "c1"}),
    ("team/tell", {**_TEAM, "member": "ann", "text": "Hello.", "images": [{"mime": "image/png", "data": PNG}]}),
    ("team/interrupt", {**_TEAM, "member": "ann", "generation": 1}),
    ("team/inject", {**_TEAM, "member": "ann", "text": "It rains.", "kind": "weather", "call": "c2"}),
    ("team/hand_off", {**_TEAM, "to": "ben"}),
    ("team/spawn", {**_TEAM, "member": "fay", "profile": "host", "overrides": {"instructions": "Hm."}}),
    ("team/retire", {**_TEAM, "member": "fay"}),
    ("team/respawn", {**_TEAM, "member": "ann"}),
    ("team/wire", {**_TEAM, "from": "ann", "to": "ben", "via": ["ask", "tell"]}),
    ("team/unwire", {**_TEAM, "from": "ann", "to": "ben", "via": ["ask"]}),
    ("team/wait_quiet", {**_TEAM, "call": "c3"}),
    ("team/stop", {**_TEAM, "reason": "enough", "drain": True}),
    ("team/statistics", _TEAM),
    (
        "team/live_open",
        {**_TEAM, "member": "ben", "options": {"turn_detection": {"mode": "manual"}, "output": "text"}},
    ),
    ("team/live_close", {"channel": "CHANNEL", "reason": "enough"}),
]
"""Methods with their parameters; names in capitals stand for what is there when they are sent."""
