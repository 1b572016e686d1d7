"""What the tests of the OpenAI Realtime wire share: both ends wired back to back, and strategies for frames."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from mob.ids import Ids
from mob.providers import commands
from mob.providers.events import WireEvent
from mob.providers.openai_realtime import (
    EmissionOptions,
    RealtimeClient,
    RealtimeServer,
    ResponseRequested,
    ResponseWriter,
    Rewrite,
    ServerEvent,
)

MS = 48
"""Bytes of PCM16 at 24 kHz in a millisecond."""


def pcm(ms: int) -> bytes:
    """So many milliseconds of something."""
    return b"\x01\x02" * (ms * MS // 2)


class Pair:
    """A client role and a server role, each fed what the other writes."""

    def __init__(self, *, options: EmissionOptions | None = None, rewrite: Rewrite | None = None) -> None:
        self.client = RealtimeClient()
        self.server = RealtimeServer("gpt-realtime", ids=Ids(7), expires_at=1000.0, options=options, rewrite=rewrite)
        self.client_frames: list[dict[str, Any]] = []
        self.server_frames: list[dict[str, Any]] = []
        self.requests: list[ServerEvent] = []
        self.server.open()
        self.opening = self.hear()

    def hear(self) -> list[WireEvent]:
        """Hand the client all that the server has to say."""
        heard: list[WireEvent] = []
        for frame in self.server.data_to_send():
            self.server_frames.append(json.loads(frame))
            heard += self.client.decode(frame)
        return heard

    def say(self, command: commands.WireCommand) -> list[WireEvent]:
        """Send a command; what the server makes of it is in `requests`, what it answers is given."""
        self.requests = []
        for frame in self.client.encode(command):
            self.client_frames.append(json.loads(frame))
            self.requests += self.server.receive(frame)
        return self.hear()

    def raw(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """Send an event as a dict and give the events that answer it as dicts."""
        self.hear()
        self.client_frames.append(event)
        self.requests = self.server.receive(json.dumps(event))
        answers = [json.loads(frame) for frame in self.server.data_to_send()]
        self.server_frames += answers
        return answers

    def respond(self, output: str | None = None) -> ResponseWriter:
        """Have the client ask for a response, and begin it."""
        self.say(commands.CreateResponse(output=output))  # type: ignore[arg-type]
        (request,) = self.requests
        assert isinstance(request, ResponseRequested)
        return self.server.start_response(request.params)


def kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    """The types of events given as dicts."""
    return [event["type"] for event in events]


def names(events: Iterable[object]) -> list[str]:
    """The class names of neutral events."""
    return [type(event).__name__ for event in events]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**53, 1e308, -0.0])
    | st.floats(allow_nan=True)
    | st.text(max_size=12)
    | st.sampled_from(["\ud800", "\udfff\ud800", "\x00", "item_1", "root", "realtime", "audio/pcm", "message", "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
"""JSON, and some of what only looks like it: NaN, lone surrogates, numbers beyond every limit."""


def paths(value: Any, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a JSON value."""
    found = [at]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        found += paths(entry, (*at, key))
    return found


def replaced(value: Any, path: tuple[object, ...], new: Any) -> Any:
    """A copy of `value` with another value at `path`."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, dict):
        return {key: replaced(entry, tuple(rest), new) if key == head else entry for key, entry in value.items()}
    return [replaced(entry, tuple(rest), new) if key == head else entry for key, entry in enumerate(value)]


@st.composite
def mutated(draw: st.DrawFn, events: list[dict[str, Any]]) -> str:
    """A frame that was legal before something in it was replaced, removed, renamed or cut."""
    event = json.loads(json.dumps(draw(st.sampled_from(events))))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(paths(event)))
        if where and draw(st.booleans()):
            event = replaced(event, where, draw(json_values))
        elif isinstance(event, dict) and event:
            key = draw(st.sampled_from(sorted(event)))
            kept = event.pop(key)
            if draw(st.booleans()):
                event[draw(st.text(max_size=6))] = kept
        else:
            event = draw(json_values)
    text = json.dumps(event)
    if draw(st.integers(0, 4)) == 0:
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.text(max_size=4)) + text[start + draw(st.integers(0, 4)) :]
    return text
