"""The client role: commands in and frames out, frames in and neutral events out. No I/O, no clock, no policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from attrs import field, frozen

from mob.errors import UsageError
from mob.providers.commands import AppendAudio, WireCommand
from mob.providers.events import AgentAudio, Ignored, ProviderFault, WireEvent
from mob.providers.frames import load_frame
from mob.providers.openai_realtime.decode import CallBook, decode_event
from mob.providers.openai_realtime.encode import encode_command
from mob.providers.openai_realtime.fastpath import quick_audio_delta

MAX_COUNTED_NAMES: Final = 64
"""Names of unknown events that are counted apart; a peer that invents more has the rest counted as "(others)"."""

_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@frozen(slots=True)
class Handshake:
    """What to dial: a ws or wss URL, the HTTP headers beyond WebSocket's own, and the subprotocols to offer."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=lambda pairs: repr([name for name, _ in pairs]))
    subprotocols: tuple[str, ...] = ()


@frozen(slots=True)
class RealtimeClientStatistics:
    """What has passed through a client role. `ignored` counts unknown event names, `events` neutral kinds.

    `quick_audio` frames went the short way, `audio_bytes` is PCM received.
    """

    frames_in: int
    frames_out: int
    quick_audio: int
    audio_bytes: int
    audio_appends: int
    faults: int
    events: Mapping[str, int]
    ignored: Mapping[str, int]


class RealtimeClient:
    """One connection to an OpenAI Realtime server, as the client. Make a new one for each connection."""

    def __init__(self) -> None:
        self._calls = CallBook()
        self._frames_in = 0
        self._frames_out = 0
        self._quick_audio = 0
        self._audio_bytes = 0
        self._audio_appends = 0
        self._faults = 0
        self._events: dict[str, int] = {}
        self._ignored: dict[str, int] = {}

    @staticmethod
    def handshake(
        endpoint_base_url: str, model: str, api_key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Handshake:
        """How to dial `model` at a base URL such as `https://api.openai.com/v1` (http or ws schemes alike).

        `headers` are added and win over ours. UsageError for a URL without host, or a header that cannot be sent;
        neither message shows a header's value.
        """
        try:
            parts = urlsplit(endpoint_base_url)
            scheme = _SCHEMES[parts.scheme]
        except (ValueError, KeyError):
            parts, scheme = urlsplit(""), ""
        if not parts.netloc:
            raise UsageError(f"{endpoint_base_url!r} is no base URL: give one such as https://api.openai.com/v1.")
        query = "&".join(part for part in (parts.query, f"model={quote(model, safe='/')}") if part)
        url = urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/realtime", query, ""))
        wanted = {"authorization": ("Authorization", f"Bearer {api_key.strip()}")} if api_key else {}
        wanted |= {name.lower(): (name, value) for name, value in (headers or {}).items()}
        for name, value in wanted.values():
            if not (name + value).isprintable() or not (name + value).isascii():
                raise UsageError(f"The header {name!r} holds characters that HTTP cannot carry.")
        return Handshake(url, tuple(wanted.values()))

    def encode(self, command: WireCommand) -> list[str]:
        """The text frames that say `command`, in the order in which to send them."""
        frames = encode_command(command)
        self._frames_out += len(frames)
        if type(command) is AppendAudio:
            self._audio_appends += len(frames)
        return frames

    def decode(self, frame: str | bytes) -> list[WireEvent]:
        """The neutral events of one frame, text or binary. Raises WireError and nothing else."""
        self._frames_in += 1
        audio = quick_audio_delta(frame)
        if audio is not None:
            self._quick_audio += 1
            self._audio_bytes += len(audio.pcm)
            return [audio]
        events = decode_event(load_frame(frame), self._calls)
        for event in events:
            self._count(event)
        return events

    def statistics(self) -> RealtimeClientStatistics:
        """What has passed so far."""
        events = dict(self._events)
        if self._quick_audio:
            events["AgentAudio"] = events.get("AgentAudio", 0) + self._quick_audio
        return RealtimeClientStatistics(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            quick_audio=self._quick_audio,
            audio_bytes=self._audio_bytes,
            audio_appends=self._audio_appends,
            faults=self._faults,
            events=events,
            ignored=dict(self._ignored),
        )

    def _count(self, event: WireEvent) -> None:
        kind = type(event).__name__
        self._events[kind] = self._events.get(kind, 0) + 1
        match event:
            case Ignored(name=name):
                known = name in self._ignored or len(self._ignored) < MAX_COUNTED_NAMES
                counted = name if known else "(others)"
                self._ignored[counted] = self._ignored.get(counted, 0) + 1
            case ProviderFault():
                self._faults += 1
            case AgentAudio(pcm=pcm):
                self._audio_bytes += len(pcm)
