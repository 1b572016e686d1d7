"""The session as the server role keeps it: the vendor's object, merged update by update.

Rules (OpenAI Realtime reference, update rules): only named fields change; null clears turn detection; the model is
fixed at connect; the voice is fixed once the model has spoken; tracing is fixed once set; the speed changes only
between responses. An update is taken wholly or refused wholly.
"""

from __future__ import annotations

from typing import Any, Final, cast

from mob.providers.commands import SessionConfig
from mob.providers.frames import JsonObject
from mob.providers.openai_realtime.checks import Refusal, invalid
from mob.providers.openai_realtime.names import AUDIO_RATE, BYTES_PER_MS
from mob.values import ToolSchema, TurnDetection

_GROUPS: Final = frozenset({"audio", "input", "output"})

_VAD_DEFAULTS: Final[dict[str, JsonObject]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}

_OWN_FIELDS: Final = frozenset(
    {"id", "object", "type", "model", "expires_at", "output_modalities", "instructions", "audio", "tools"}
)
"""What `SessionConfig` has names for, and what is not configuration at all."""


class ServerSession:
    """The effective session. `config` is the view of it that our own vocabulary has."""

    def __init__(self, session_id: str, model: str, *, expires_at: float | None) -> None:
        self.id = session_id
        self.model = model
        self._data = _defaults(session_id, model, expires_at)
        self.config = _config_of(self._data)

    @property
    def create_response(self) -> bool:
        """Whether the end of the user's speech asks for an answer by itself (never in manual mode)."""
        return self.config.turn_detection.create_response

    @property
    def interrupt_response(self) -> bool:
        """Whether the user's speech cancels a running answer by itself (never in manual mode)."""
        return self.config.turn_detection.interrupt_response

    @property
    def tool_choice(self) -> object:
        """`tool_choice` as on the wire."""
        return self._data["tool_choice"]

    @property
    def max_output_tokens(self) -> object:
        """`max_output_tokens` as on the wire: an integer or "inf"."""
        return self._data["max_output_tokens"]

    @property
    def output_format(self) -> JsonObject:
        """The format of output audio, as on the wire."""
        return cast("JsonObject", self._data["audio"]["output"]["format"])

    @property
    def voice(self) -> object:
        """The voice as on the wire: a name, or `{id}`."""
        return self._data["audio"]["output"]["voice"]

    @property
    def input_bytes_per_ms(self) -> int:
        """Bytes of input audio in a millisecond: 48 for PCM16 at 24 kHz, 8 for the two telephone formats."""
        return BYTES_PER_MS if self._data["audio"]["input"]["format"]["type"] == "audio/pcm" else 8

    @property
    def output_bytes_per_ms(self) -> int:
        """Bytes of output audio in a millisecond, likewise."""
        return BYTES_PER_MS if self.output_format["type"] == "audio/pcm" else 8

    @property
    def input_format(self) -> JsonObject:
        """The format of input audio, as on the wire."""
        return cast("JsonObject", self._data["audio"]["input"]["format"])

    @property
    def transcribes(self) -> bool:
        """Whether the client wants to read what the user says."""
        return self._data["audio"]["input"]["transcription"] is not None

    def preview(self, change: JsonObject) -> SessionConfig:
        """What the session would be with this checked change; nothing is changed."""
        return _config_of(_merge(self._data, change))

    def echo(self) -> JsonObject:
        """The full session, for `session.created` and `session.updated`."""
        return cast("JsonObject", _copied(self._data))

    def update(self, change: JsonObject, *, has_spoken: bool, is_responding: bool) -> None:
        """Merge a checked `session.update`. Refusal, and no change, when a fixed field would change."""
        if change.get("model", self.model) != self.model:
            raise invalid("session.model", f"The model is fixed when connecting: this session is {self.model}'s.")
        merged = _merge(self._data, change)
        output, new_output = self._data["audio"]["output"], merged["audio"]["output"]
        if has_spoken and new_output["voice"] != output["voice"]:
            raise cannot_update_voice("session.audio.output.voice")
        if is_responding and new_output["speed"] != output["speed"]:
            raise invalid("session.audio.output.speed", "The speed changes only between responses.")
        if self._data["tracing"] is not None and merged["tracing"] != self._data["tracing"]:
            raise invalid("session.tracing", "Tracing cannot be changed once it is set.")
        self._data = merged
        self.config = _config_of(merged)


def cannot_update_voice(param: str) -> Refusal:
    """The refusal of another voice after the first audio."""
    return Refusal(
        "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present.", param=param
    )


def function_tools(tools: list[JsonObject]) -> tuple[ToolSchema, ...]:
    """The function tools of a `tools` list; remote (MCP) tools are the vendor's to run and not among them."""
    return tuple(
        ToolSchema(tool["name"], tool.get("description") or "", tool.get("parameters") or {})
        for tool in tools
        if tool["type"] == "function"
    )


def _defaults(session_id: str, model: str, expires_at: float | None) -> JsonObject:
    pcm = {"type": "audio/pcm", "rate": AUDIO_RATE}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": None if expires_at is None else int(expires_at),
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(_VAD_DEFAULTS["server_vad"]),
            },
            "output": {"format": dict(pcm), "voice": "marin", "speed": 1.0},
        },
    }


def _merge(base: JsonObject, change: JsonObject) -> JsonObject:
    merged = dict(base)
    for key, value in change.items():
        present = merged.get(key)
        if key in _GROUPS and isinstance(value, dict) and isinstance(present, dict):
            merged[key] = _merge(present, value)
        elif key == "turn_detection" and isinstance(value, dict):
            same = isinstance(present, dict) and present["type"] == value["type"]
            merged[key] = {**(cast("JsonObject", present) if same else _VAD_DEFAULTS[value["type"]]), **value}
        elif key == "format" and isinstance(value, dict) and value["type"] == "audio/pcm":
            merged[key] = {"rate": AUDIO_RATE, **value}
        else:
            merged[key] = value
    return merged


def _config_of(data: JsonObject) -> SessionConfig:
    heard, spoken = data["audio"]["input"], data["audio"]["output"]
    voice = spoken["voice"]
    transcription = heard["transcription"]
    return SessionConfig(
        instructions=data["instructions"],
        voice=voice["id"] if isinstance(voice, dict) else voice,
        output=data["output_modalities"][0],
        tools=function_tools(data["tools"]),
        turn_detection=_turn_detection_of(heard["turn_detection"]),
        input_rate=heard["format"].get("rate", 8000),
        output_rate=spoken["format"].get("rate", 8000),
        transcription_model=transcription.get("model") if transcription else None,
        params={key: value for key, value in data.items() if key not in _OWN_FIELDS},
    )


def _turn_detection_of(detection: JsonObject | None) -> TurnDetection:
    if detection is None:
        return TurnDetection(mode="manual")
    fields = {key: value for key, value in detection.items() if key != "type"}
    return TurnDetection(mode=detection["type"], **fields)


def _copied(value: Any) -> Any:
    match value:
        case dict():
            return {key: _copied(entry) for key, entry in value.items()}
        case list():
            return [_copied(entry) for entry in value]
        case _:
            return value
