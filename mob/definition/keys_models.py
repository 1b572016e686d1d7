"""The keys of `[models]` and `[providers]`. The shipped catalogue is written with the same ones."""

from __future__ import annotations

from typing import get_args

from mob.definition.model import ModelCapabilities, Price, ProviderSpec
from mob.definition.shapes import Flag, Free, Key, ListOf, MapOf, Number, Table, Text, Whole
from mob.values import TurnMode

WIRES = {
    "openai-realtime": "OpenAI Realtime (GA) over WebSocket",
    "openai-chat": "OpenAI Chat Completions, which self-hosted servers speak too",
    "openai-responses": "OpenAI Responses",
    "anthropic-messages": "Anthropic Messages",
    "gemini-generate": "Gemini generateContent",
    "gemini-live": "Gemini Live over WebSocket",
    "xai-realtime": "xAI Grok Voice over WebSocket",
    "qwen-realtime": "Qwen-Omni realtime over WebSocket",
    "nova-sonic": "AWS Nova Sonic over an HTTP/2 event stream",
}
"""Every wire mob has a name for."""

BUILT_WIRES = frozenset({"openai-realtime", "openai-chat"})
"""The wires mob can dial."""

REALTIME_WIRES = frozenset({"openai-realtime", "gemini-live", "xai-realtime", "qwen-realtime", "nova-sonic"})
"""The wires of live channels."""

_NAME = Text(empty=False)
_RATE = Whole(8000, 48000)
_DOLLARS = Number(0.0, 1e6)
_DATE = Text(pattern=r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])", says="a date such as 2026-11-20")
_MODALITIES = ListOf(Text(choices=("text", "audio", "image", "video")), at_least=1)

PRICE = Table(
    (
        Key("as_of", _DATE, "the day the prices were read", required=True),
        Key("input_text", _DOLLARS, "US dollars per million tokens, as all of these"),
        Key("output_text", _DOLLARS, "text put out"),
        Key("cached_text", _DOLLARS, "text put in that the provider had cached"),
        Key("input_audio", _DOLLARS, "sound put in"),
        Key("output_audio", _DOLLARS, "sound put out"),
        Key("cached_audio", _DOLLARS, "sound put in that the provider had cached"),
        Key("input_image", _DOLLARS, "pictures put in"),
    ),
    Price,
)

MODEL = Table(
    (
        Key("provider", _NAME, "who serves it; required for a model that the catalogue does not know"),
        Key("wire", _NAME, "how it is spoken to; the provider's first wire otherwise"),
        Key("display_name", _NAME, "how it is shown"),
        Key("realtime", Flag(), "whether it is reached over a live channel"),
        Key("input_modalities", _MODALITIES, "what it takes in"),
        Key("output_modalities", _MODALITIES, "what it puts out"),
        Key("input_rate", _RATE, "Hz of the sound it takes in"),
        Key("output_rate", _RATE, "Hz of the sound it puts out"),
        Key("turn_modes", ListOf(Text(choices=get_args(TurnMode))), "the turn modes it has"),
        Key("can_interrupt", Flag(), "an answer can be cancelled"),
        Key("can_truncate", Flag(), "an answer can be cut at what was heard"),
        Key("can_seed", Flag(), "a history can be given to a new connection"),
        Key("tools", Flag(), "it can call tools over this wire"),
        Key("tool_params", Free(), "`params` without which the vendor refuses tools for it"),
        Key("context_window", Whole(1), "tokens it can take in"),
        Key("max_output_tokens", Whole(1), "tokens it can put out at once"),
        Key("max_session_s", Whole(1), "seconds one connection may last"),
        Key("voices", ListOf(_NAME), "the voices it has; empty: any"),
        Key("transcription_model", _NAME, "what writes down the user's speech"),
        Key("price", PRICE, "what it costs"),
        Key("vision", Flag(), "Meerkat's word for taking in images", default="false"),
        Key("web_search", Flag(), "Meerkat's", not_built="mob uses no server-side search."),
        Key("call_timeout_secs", Whole(1), "Meerkat's", not_built="See turn_timeout_s in [limits]."),
    ),
    ModelCapabilities,
)
MODELS = MapOf(MODEL, noun="MODEL")

_URL = Text(
    pattern=r"(?:https?|wss?)://[^\s/?#@]+(?:/[^\s?#]*)?",
    says='an address such as "https://api.openai.com/v1", without a query and without credentials',
    private=True,
)

_BASE_URL = Key("base_url", _URL, "where it is dialled, up to and with the version: `http://127.0.0.1:11434/v1`")
_API_KEY_ENV = Key(
    "api_key_env",
    Text(pattern=r"[A-Za-z_][A-Za-z0-9_]*", says="the name of an environment variable", private=True),
    "the environment variable that holds the key",
)

PROVIDERS = MapOf(
    Table(
        (
            Key("wire", _NAME, "how it is spoken to; required for a provider that mob does not know"),
            _BASE_URL,
            _API_KEY_ENV,
            Key("headers", MapOf(Text(private=True), noun="HEADER"), "extra headers; none with credentials"),
        ),
        ProviderSpec,
    ),
    noun="PROVIDER",
)

SHIPPED = Table(
    (
        Key("models", MODELS, "models", required=True),
        Key(
            "providers",
            MapOf(
                Table(
                    (
                        Key(
                            "wires",
                            ListOf(Text(choices=tuple(WIRES)), at_least=1),
                            "the wires it speaks",
                            required=True,
                        ),
                        Key("display_name", _NAME, "how it is shown", required=True),
                        Key("key_required", Flag(), "whether it refuses without a key"),
                        _BASE_URL,
                        _API_KEY_ENV,
                    )
                )
            ),
            "providers",
            required=True,
        ),
    )
)
"""The shape of the shipped catalogue."""
