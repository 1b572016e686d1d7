"""The OpenAI wires: both roles of the realtime one, the server role with the gateway's own bounds, and speech formats.

The realtime targets remember: an engine lives over some hundreds of frames, so that what one mutant does to its state
is met by the next.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import seeds
from fuzzing import Target, is_text, must
from targets_protocol import fits, text_of

from mob.definition.catalogue import catalogue
from mob.errors import StoreCorrupt, WireError
from mob.history import codec
from mob.history.rows import (
    ChannelOpened,
    MemberEnded,
    MemberSpawned,
    MessageAdmitted,
    MessageEnded,
    RunStarted,
    ToolEnded,
    ToolStarted,
    TranscriptFilled,
    TurnRow,
)
from mob.ids import Ids
from mob.providers.openai_realtime import RealtimeClient, RealtimeServer, ResponseRequested
from mob.providers.openai_realtime.base64audio import decode_base64, encode_base64
from mob.server.gateway import g711
from mob.server.gateway.policy import Policy
from mob.server.gateway.speaker import Ability
from mob.server.limits import DoorLimits
from mob.values import ToolSchema

_LIFE = 300
_MAX_ERROR = 4000


_OWN = SimpleNamespace(schemas=(ToolSchema("door", "", {}),))
SPEAKER: Any = SimpleNamespace(
    ability=Ability("ann", catalogue()["gpt-realtime-2"], live=True, speaks=True),
    member=SimpleNamespace(session=SimpleNamespace(tools=_OWN)),
)
"""The gateway's view of a member that is reached live, with a tool of its own."""
CALLS: Any = SimpleNamespace(lent=(), open=lambda call_id: call_id == "call_1")
"""Its view of the client's tools: one call waits."""


class Engines:
    """A server role that is spoken to, and a client role that hears the answers. Made anew now and then."""

    def __init__(self, *, vetted: bool) -> None:
        self._vetted = vetted
        self._left = 0
        self._server: RealtimeServer
        self._client: RealtimeClient

    def check(self, data: bytes) -> None:
        """The frame is done, or refused by an `error` event; every answer is one that the client role reads."""
        if self._left == 0:
            self._renew()
        self._left -= 1
        for frame in (data, text_of(data)):
            requests = self._server.receive(frame)
            for request in requests:
                fits(request)
                if isinstance(request, ResponseRequested):
                    self._answer(request)
            self._hear()

    def _renew(self) -> None:
        self._left = _LIFE
        policy = Policy(CALLS, DoorLimits()) if self._vetted else None
        self._server = RealtimeServer("ann", ids=Ids(1), vet=policy, keep_audio=not self._vetted)
        if policy is not None:
            policy.watch(self._server, lambda: SPEAKER)
        self._client = RealtimeClient()
        self._server.open()
        self._hear()

    def _answer(self, request: ResponseRequested) -> None:
        writer = self._server.start_response(request.params)
        if request.params.output == "audio":
            writer.audio(bytes(480))
            writer.transcript("It is noon.")
        else:
            writer.text("It is noon.")
        writer.finish()

    def _hear(self) -> None:
        for frame in self._server.data_to_send():
            frame.encode()
            event = json.loads(frame, parse_constant=float)
            must(type(event["type"]) is str, "no type")
            if event["type"] == "error":
                must(is_text(event["error"]["message"], _MAX_ERROR), "no sentence")
                must(is_text(event["error"]["code"], 100), "no code")
            for heard in self._client.decode(frame):
                must(type(heard).__module__ == "mob.providers.events", "no event")


def check_server_events(data: bytes) -> None:
    """What a vendor's server might send, as our client role reads it: events, or a WireError."""
    client = RealtimeClient()
    for frame in (data, text_of(data)):
        try:
            for event in client.decode(frame):
                fits(event)
        except WireError as error:
            must(is_text(error.message), "no sentence")


def check_base64(data: bytes) -> None:
    """Speech as text: bytes that are written as the same speech, or a WireError by its field."""
    text = data.decode("latin-1")
    try:
        sound = decode_base64(text, field="audio")
    except WireError as error:
        must(error.field == "audio", "no field")
        return
    must(decode_base64(encode_base64(sound), field="audio") == sound, "it reads otherwise when written")


def check_g711(data: bytes) -> None:
    """Telephone speech, of whatever length, in any pieces: a whole number of samples."""
    for name in ("audio/pcmu", "audio/pcma", "audio/pcm"):
        inwards, outwards = g711.inwards(name), g711.outwards(name)
        even = data[: len(data) // 2 * 2]
        for piece in (even[:7], even[7:]) if name != "audio/pcm" else (even,):
            must(len(inwards.turn(piece)) % 2 == 0, "half a sample")
        must(isinstance(outwards.turn(even), bytes), "no sound")


def check_row(data: bytes) -> None:
    """A row of the log: as it was when written again, or StoreCorrupt that names it."""
    try:
        row = codec.decode(data, where="row 7")
    except StoreCorrupt as error:
        must(error.message.startswith("row 7"), "it does not name the row")
        must(is_text(error.message), "no sentence")
        return
    fits(row)
    must(codec.decode(codec.encode(row)) == row, "it reads otherwise when written")


def _rows() -> tuple[Any, ...]:
    """Rows of the log, as they are on disk."""
    made = (
        RunStarted("crew", "abc", 7, resumed=True),
        MemberSpawned("ann", 1, "host", "gpt-realtime-2", {"voice": "marin"}),
        MemberEnded("ann", 1, "crashed", "no"),
        ChannelOpened("ann", "live_1", 0, "fresh"),
        TurnRow("ann", seeds.TURN, 1),
        TranscriptFilled("ann", "item_0", "Hello."),
        ToolStarted("ann", "call_1", "clock", "{}", "read", "turn_1"),
        ToolEnded("ann", "call_1", "clock", "done", "noon", 12),
        MessageAdmitted("ben", "message_1", "ann", "ask", "When?", 1),
        MessageEnded("ben", "message_1", "done", "At noon."),
    )
    return tuple(json.loads(codec.encode(row)) for row in made)


def _server_events() -> tuple[dict[str, Any], ...]:
    """What a server says in the course of a conversation: one of each kind."""
    server = RealtimeServer("ann", ids=Ids(1))
    server.open()
    said_events: dict[str, dict[str, Any]] = {}
    for event in seeds.REALTIME:
        for request in server.receive(json.dumps(event)):
            if isinstance(request, ResponseRequested):
                writer = server.start_response(request.params)
                writer.text("It is noon.") if request.params.output == "text" else writer.audio(bytes(480))
                writer.tool_call("clock", "{}", "call_9")
                writer.finish()
        server.speech_started(0)
        server.speech_stopped(20)
        server.user_transcript_delta("m1", "Hel")
        server.user_transcript_completed("m1", "Hello.", seconds=0.5)
        for frame in server.data_to_send():
            answer = json.loads(frame)
            said_events.setdefault(answer["type"], answer)
    return tuple(said_events.values())


REALTIME = Engines(vetted=False)
GATEWAY = Engines(vetted=True)
TARGETS = (
    Target("realtime server role", REALTIME.check, tuple(seeds.REALTIME)),
    Target("realtime server role of the gateway", GATEWAY.check, tuple(seeds.REALTIME)),
    Target("realtime client role", check_server_events, _server_events()),
    Target("rows of the log", check_row, _rows()),
    Target("base64 speech", check_base64, raw=(seeds.SOUND.encode(), b"AA-_", b"AAE=", b"-_-_-_")),
    Target("telephone speech", check_g711, raw=(bytes(range(256)), b"\xff" * 33, b"")),
)
