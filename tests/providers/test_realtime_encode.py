"""Commands to frames: what is sent, what only changed, and where one dials."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings, strategies as st
from realtime_support import Pair

from mob.errors import UsageError, WireError
from mob.providers import commands
from mob.providers.commands import SessionConfig, TurnDetection
from mob.providers.openai_realtime import RealtimeClient, RealtimeServer
from mob.providers.openai_realtime.names import MAX_APPEND_BYTES
from mob.providers.registry import REALTIME_CLIENTS
from mob.values import ToolSchema


def frame(command: commands.WireCommand) -> dict[str, Any]:
    (text,) = RealtimeClient().encode(command)
    event: dict[str, Any] = json.loads(text)
    return event


def update(config: SessionConfig, previous: SessionConfig | None) -> dict[str, Any]:
    session: dict[str, Any] = frame(commands.Configure(config, previous))["session"]
    return session


def test_the_first_configuration_says_everything() -> None:
    config = SessionConfig(
        instructions="Be kind",
        voice="ash",
        tools=(ToolSchema("look", "Look up", {"type": "object"}),),
        turn_detection=TurnDetection(silence_duration_ms=400),
        transcription_model="whisper-1",
        params={"audio": {"input": {"transcription": {"language": "de"}}, "output": {"speed": 1.1}}},
    )

    assert update(config, None) == {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "Be kind",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "turn_detection": {
                    "type": "server_vad",
                    "create_response": False,
                    "interrupt_response": False,
                    "silence_duration_ms": 400,
                },
                "transcription": {"model": "whisper-1", "language": "de"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "ash", "speed": 1.1},
        },
        "tools": [{"type": "function", "name": "look", "description": "Look up", "parameters": {"type": "object"}}],
    }


BASE = SessionConfig(
    instructions="a", tools=(ToolSchema("t", ""),), transcription_model="w", turn_detection=TurnDetection(threshold=0.2)
)


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({}, {}),
        ({"instructions": ""}, {"instructions": ""}),
        ({"tools": ()}, {"tools": []}),
        ({"output": "text"}, {"output_modalities": ["text"]}),
        ({"voice": "sage"}, {"audio": {"output": {"voice": "sage"}}}),
        ({"turn_detection": TurnDetection(mode="manual")}, {"audio": {"input": {"turn_detection": None}}}),
        ({"transcription_model": None}, {"audio": {"input": {"transcription": None}}}),
        ({"params": {"max_output_tokens": 9}}, {"max_output_tokens": 9}),
    ],
)
def test_later_ones_say_what_changed(changes: dict[str, Any], sent: dict[str, Any]) -> None:
    assert update(evolve(BASE, **changes), BASE) == {"type": "realtime", **sent}


def test_a_threshold_given_up_goes_back_to_the_vendors() -> None:
    detection = update(evolve(BASE, turn_detection=TurnDetection()), BASE)["audio"]["input"]["turn_detection"]

    assert detection["threshold"] == 0.5


detections = st.builds(
    TurnDetection,
    mode=st.just("server_vad"),
    threshold=st.none() | st.sampled_from([0.25, 0.5]),
    silence_duration_ms=st.none() | st.integers(0, 900),
    idle_timeout_ms=st.none() | st.just(6000),
    create_response=st.booleans(),
    interrupt_response=st.booleans(),
) | st.builds(
    TurnDetection,
    mode=st.sampled_from(["semantic_vad", "manual"]),
    eagerness=st.none() | st.sampled_from(["low", "high"]),
    create_response=st.booleans(),
)
configs = st.builds(
    SessionConfig,
    instructions=st.sampled_from(["", "a", "b"]),
    voice=st.sampled_from(["ash", "sage"]),
    output=st.sampled_from(["audio", "text"]),
    tools=st.lists(st.sampled_from("xyz"), max_size=2).map(lambda names: tuple(ToolSchema(n, "") for n in names)),
    turn_detection=detections,
    transcription_model=st.none() | st.just("whisper-1"),
    params=st.just({}) | st.just({"max_output_tokens": 7}),
)


@settings(deadline=None, max_examples=100)
@given(configs, st.lists(configs, min_size=1, max_size=4))
def test_changes_one_by_one_come_to_the_same_as_the_last_one_at_once(
    first: SessionConfig, later: list[SessionConfig]
) -> None:
    params = {"max_output_tokens": 7}  # the one thing that cannot be taken back: the vendor has no word for it
    steps = [evolve(config, params=params) for config in (first, *later)]
    stepwise, at_once = Pair(), Pair()

    previous = None
    for config in steps:
        assert len(stepwise.say(commands.Configure(config, previous))) == 1
        previous = config
    at_once.say(commands.Configure(steps[-1]))

    assert stepwise.server.session.config == at_once.server.session.config
    assert stepwise.server.statistics().refused == {}


def test_long_audio_is_split_into_legal_appends() -> None:
    sound = b"\x01\x02" * (7 * 1024 * 1024)
    server = RealtimeServer("m")

    frames = RealtimeClient().encode(commands.AppendAudio(sound))

    assert len(frames) == 2
    assert all(len(json.loads(text)["audio"]) <= MAX_APPEND_BYTES for text in frames)
    assert b"".join(event.pcm for text in frames for event in server.receive(text)) == sound  # type: ignore[union-attr]


def test_refs_travel_as_event_ids() -> None:
    assert frame(commands.CommitInput(ref="r"))["event_id"] == "r"
    assert "event_id" not in frame(commands.ClearInput())
    created = frame(commands.CreateResponse(ref="r"))
    assert (created["event_id"], created["response"]["metadata"]) == ("r", {"mob_ref": "r"})
    assert frame(commands.CreateResponse()) == {"type": "response.create"}


def test_a_created_response_brings_back_its_ref() -> None:
    pair = Pair()
    pair.say(commands.CreateResponse(ref="mine"))
    writer = pair.server.start_response(pair.requests[0].params)  # type: ignore[union-attr]
    (mine,) = pair.hear()
    writer.finish()
    pair.hear()
    pair.server.start_response()
    (vad,) = pair.hear()

    assert (mine.ref, vad.ref) == ("mine", None)  # type: ignore[union-attr]


def test_lone_surrogates_do_not_reach_the_wire() -> None:
    (text,) = RealtimeClient().encode(commands.AddMessage("i", "user", "a\ud800b é"))

    assert json.loads(text.encode())["item"]["content"][0]["text"] == "a\ufffdb é"


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_params_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(WireError, match=r"session\.update") as caught:
        RealtimeClient().encode(commands.Configure(SessionConfig(params={"x": value})))
    assert caught.value.recovery == "reconfigure"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime?model=gpt%20x/1"),
        ("http://127.0.0.1:8/host/v1/", "ws://127.0.0.1:8/host/v1/realtime?model=gpt%20x/1"),
        ("wss://h/openai/v1?a=b", "wss://h/openai/v1/realtime?a=b&model=gpt%20x/1"),
    ],
)
def test_where_to_dial(base: str, url: str) -> None:
    handshake = REALTIME_CLIENTS["openai-realtime"].handshake(base, "gpt x/1", " sk-secret\n", {"X-One": "1"})

    assert handshake.url == url
    assert dict(handshake.headers) == {"Authorization": "Bearer sk-secret", "X-One": "1"}
    assert handshake.subprotocols == ()
    assert "secret" not in repr(handshake)


def test_given_headers_win_and_no_key_means_no_header() -> None:
    assert RealtimeClient.handshake("http://h/v1", "m", "k", {"authorization": "Basic x"}).headers == (
        ("authorization", "Basic x"),
    )
    assert RealtimeClient.handshake("http://h/v1", "m").headers == ()


@pytest.mark.parametrize(
    ("base", "headers"),
    [
        ("ftp://h/v1", {}),
        ("api.openai.com", {}),
        ("http://", {}),
        ("http://[", {}),
        ("http://h", {"X": "a\r\nB: sk-secret"}),
    ],
)
def test_what_cannot_be_dialled(base: str, headers: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        RealtimeClient.handshake(base, "m", None, headers)
    assert "secret" not in caught.value.message
