"""Live channels by request: `live/*`, over the channels that the realm holds.

Meerkat's words for ours: `provider_managed` is the session's own turn detection (by voice, when it has none),
`explicit_commit` is manual. A client that says neither may use both: a commit then ends what is being said by the
silence that the provider listens for. Results say that something was taken, not that it has happened; what happens
comes over the channel's socket. What is refused is refused for this call alone, and the channel lives (law 12):

    {"code": "INVALID_PARAMS", "error_code": {"code": "config_rejected", "reason": {"kind": …}}}

A channel that no socket is attached to ends with the client that opened it; one that has a socket ends with that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal
from urllib.parse import urlencode

import trio
from attrs import frozen

from mob.errors import LiveRejected, ProviderError, ReopenRequired, RequestInvalid
from mob.live.ports import ChannelOptions
from mob.protocol.plain import status_json
from mob.protocol.refusals import refusal_code
from mob.server.channels.held import HeldChannel
from mob.server.channels.inputs import InputRefused
from mob.server.limits import DoorLimits
from mob.server.livesocket.terms import PATH, format_of
from mob.server.params import Params
from mob.server.realm.realm import Realm, SessionRef
from mob.server.rooms import Room
from mob.server.rpc.client import RpcClient
from mob.server.rpc.content import decoded
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.errors import INTERNAL, Refused
from mob.server.rpc.shapes import channel_capabilities
from mob.server.rpc.tools import tools_of
from mob.values import Image, Modality, TurnDetection

JSON = dict[str, Any]
TurningMode = Literal["provider_managed", "explicit_commit"]

_SILENCE_MS: Final = 500
_SILENCE_MARGIN_MS: Final = 200
_CHUNK_BYTES: Final = 2 * 1024 * 1024


@frozen(slots=True)
class LiveDoor:
    """Where live sockets are: `url` is their server's, as ws://127.0.0.1:8765; None: there are none.

    `webrtc`: whoever started the server asked for WebRTC, which is not built.
    """

    url: str | None = None
    webrtc: bool = False


class OpenFailed(Refused):
    """The provider was not to be had for a live channel. `of` says why."""

    code = "live_open_failed"
    refusal = INTERNAL


class InputRejected(Refused):
    """One call on a live channel was refused, and the channel is as it was. `of` says why."""

    code = "live_rejected"


class LiveChannels:
    """Opens channels for clients, and does with them what clients ask."""

    def __init__(self, realm: Realm, door: LiveDoor) -> None:
        self._realm = realm
        self._door = door

    def held(self, params: Params) -> HeldChannel:
        """The channel that is meant. ChannelUnknown."""
        return self._realm.channels.get(params.text("channel_id", most=200))

    async def open(self, client: RpcClient, ref: SessionRef, params: Params) -> JSON:
        """Open the session's channel: `turning_mode`, `transport`, `seed_max_chars`.

        SessionIdle, AlreadyOpen, NotRealtime, MemberNotRunning, DoorFull, RequestInvalid, OpenFailed.
        """
        url = self._transport(params)
        mode = _turning_mode(params)
        seed = params.maybe_whole("seed_max_chars", least=1)
        if ref.stand_alone and ref.hosted.began and not ref.hosted.running:
            await ref.hosted.start()
            await tools_of(client).offer(ref)
        detection = _detection(ref, mode)
        options = ChannelOptions(turn_detection=detection, seed_max_chars=seed)
        by_either = mode is None and detection.mode == "server_vad"
        silence = (detection.silence_duration_ms or _SILENCE_MS) + _SILENCE_MARGIN_MS if by_either else None
        try:
            held = await self._realm.channels.open(ref, options, ends_by_silence_ms=silence)
        except ProviderError as error:
            raise OpenFailed(error.message, of=error) from error
        channels_of(client).keep(held, spare_attached=True)
        return self._opened(held, url)

    def _transport(self, params: Params) -> str:
        wanted = params.choice("transport", ("websocket", "webrtc"))
        if wanted == "webrtc" or self._door.url is None:
            raise RequestInvalid(
                "`transport`: there is no WebRTC here; open the channel over a WebSocket (the server is started with "
                "--live-ws for that)",
                field="transport",
            )
        return self._door.url

    def _opened(self, held: HeldChannel, url: str) -> JSON:
        token = held.mint_token()
        query = urlencode({"token": token, "channel": held.channel_id, "format": format_of(held.live.input_rate)})
        return {
            "channel_id": held.channel_id,
            "transport": {"transport": "websocket", "url": f"{url}{PATH}?{query}", "token": token},
            "capabilities": channel_capabilities(held.capabilities),
            "continuity": {"mode": held.continuity},
        }

    def status(self, held: HeldChannel) -> JSON:
        """What it is doing, or how it ended."""
        status: JSON = status_json(held.status)
        if held.status == "closed":
            status |= {"reason": None, "reopen_recommended": held.reason in _WORTH_REOPENING, "detail": held.reason}
        return {"channel_id": held.channel_id, "session_id": held.session_id, "status": status}

    async def send(self, held: HeldChannel, chunk: Params) -> JSON:
        """A piece of input: audio, text or a picture."""
        with scoped():
            match chunk.text("kind", most=64):
                case "audio":
                    pcm = decoded(chunk, "data", most=_CHUNK_BYTES) if chunk.values.get("data") else b""
                    rate, channels = chunk.whole("sample_rate_hz"), chunk.whole("channels")
                    await held.send_audio(pcm, rate, channels)
                case "text":
                    await held.send_text(chunk.maybe_text("text") or "")
                case "image":
                    key, image = chunk.maybe_text("idempotency_key") or "", _picture(chunk, self._realm.limits)
                    await held.send_image(key, image)
                case "video_frame":
                    raise InputRefused("this server takes no video", reason="video_frame_input_not_implemented")
                case other:
                    raise InputRefused(f"{other!r} is no kind of input", reason="unsupported_input_chunk_variant")
        return {"status": "sent"}

    async def commit(self, held: HeldChannel, params: Params) -> JSON:
        """The user's turn is over; it is answered with `response_modality`."""
        wanted = params.maybe_child("response_modality")
        output: Modality | None = None
        if wanted is not None:
            output = "text" if wanted.choice("modality", ("audio", "text"), "audio") == "text" else "audio"
        with scoped():
            await held.commit(output)
        return {"status": "committed"}

    async def interrupt(self, held: HeldChannel) -> JSON:
        """Stop the answer."""
        with scoped():
            await held.live.interrupt()
        return {"status": "interrupted"}

    async def truncate(self, held: HeldChannel, params: Params) -> JSON:
        """Playing stopped here: what was heard of the answer ends there."""
        item_id = params.maybe_text("item_id", most=200) or params.text("output_id", most=200)
        params.maybe_whole("content_index")
        with scoped():
            held.check_talks()
            await held.live.truncate(item_id, params.whole("audio_played_ms"))
        return {"status": "truncated"}

    async def refresh(self, held: HeldChannel) -> JSON:
        """Put the session's settings in force as they are now."""
        with scoped():
            await held.refresh()
        return {"status": "queued"}

    async def close(self, held: HeldChannel) -> JSON:
        """End it; nothing is wrong when it has ended."""
        await held.close("client_closed")
        return {"status": "closed"}

    async def played(self, held: HeldChannel, params: Params) -> JSON:
        """All of this answer's sound was played."""
        output_id = params.text("output_id", most=200)
        if held.status != "closed" and not held.playback_complete(output_id):
            raise RequestInvalid(f"`output_id`: nothing was said under {output_id!r} lately", field="output_id")
        return {"status": "completed"}


_WORTH_REOPENING: Final = ("provider_unreachable", "connection_lost", "expired", "reopen_failed", "client_disconnected")


def live_methods(realm: Realm, door: LiveDoor) -> dict[str, Serve]:
    """The methods of live channels, where there is a transport for them."""
    channels = LiveChannels(realm, door)

    async def open_channel(client: RpcClient, params: Params) -> JSON:
        return await channels.open(client, realm.session(params.text("session_id", most=200)), params)

    async def status(client: RpcClient, params: Params) -> JSON:
        return channels.status(channels.held(params))

    async def send_input(client: RpcClient, params: Params) -> JSON:
        return await channels.send(channels.held(params), params.child("chunk"))

    async def webrtc_answer(client: RpcClient, params: Params) -> JSON:
        raise RequestInvalid("there is no WebRTC here; open the channel over a WebSocket", field="channel_id")

    def with_params(do: Callable[[HeldChannel, Params], Awaitable[JSON]]) -> Serve:
        async def serve(client: RpcClient, params: Params) -> JSON:
            return await do(channels.held(params), params)

        return serve

    def alone(do: Callable[[HeldChannel], Awaitable[JSON]]) -> Serve:
        async def serve(client: RpcClient, params: Params) -> JSON:
            return await do(channels.held(params))

        return serve

    return {
        "live/open": open_channel,
        "live/status": status,
        "live/send_input": send_input,
        "live/commit_input": with_params(channels.commit),
        "live/interrupt": alone(channels.interrupt),
        "live/truncate": with_params(channels.truncate),
        "live/refresh": alone(channels.refresh),
        "live/close": alone(channels.close),
        "live/playback_complete": with_params(channels.played),
        **({"live/webrtc/answer": webrtc_answer} if door.webrtc else {}),
    }


@contextmanager
def scoped() -> Iterator[None]:
    """A refusal of one call, as Meerkat's clients know it: InputRejected, and the channel lives."""
    try:
        yield
    except (LiveRejected, ReopenRequired) as error:
        raise InputRejected(error.message, extra={"error_code": refusal_code(error)}, of=error) from error


def _turning_mode(params: Params) -> TurningMode | None:
    match params.choice("turning_mode", ("provider_managed", "explicit_commit")):
        case "provider_managed":
            return "provider_managed"
        case "explicit_commit":
            return "explicit_commit"
    return None


def _detection(ref: SessionRef, mode: TurningMode | None) -> TurnDetection:
    """Who decides that the user's turn is over. SessionIdle, MemberNotRunning."""
    own = ref.member.session.profile.turn_detection
    if mode == "explicit_commit":
        return TurnDetection(mode="manual")
    if own is not None and (mode is None or own.mode != "manual"):
        return own
    return TurnDetection()


def _picture(chunk: Params, limits: DoorLimits) -> Image:
    try:
        data = decoded(chunk, "data", most=limits.max_request_bytes)
    except RequestInvalid as error:
        text = chunk.values.get("data")
        if isinstance(text, str) and "base64" in error.message:
            raise InputRefused(error.message, reason="image_input_invalid_base64") from None
        raise
    return Image(chunk.text("mime", most=100), data)


class ChannelsOfClient:
    """The live channels that one client opened, and that end when it goes. See `channels_of`."""

    def __init__(self, client: RpcClient) -> None:
        self._opened: dict[HeldChannel, bool] = {}
        client.at_end(self._close)

    def __contains__(self, held: HeldChannel) -> bool:
        return held in self._opened

    def keep(self, held: HeldChannel, *, spare_attached: bool) -> None:
        """End this one with the client; `spare_attached`: not while a live socket uses it, which then ends it."""
        for channel in [channel for channel in self._opened if channel.status == "closed"]:
            del self._opened[channel]
        self._opened[held] = spare_attached

    async def _close(self) -> None:
        async with trio.open_nursery() as nursery:
            for held, spare_attached in self._opened.items():
                if held.status != "closed" and not (spare_attached and held.statistics().attached):
                    nursery.start_soon(held.close, "client_disconnected")


_ROOM: Final[Room[ChannelsOfClient]] = Room("live channels")


def channels_of(client: RpcClient) -> ChannelsOfClient:
    """Those of this client, the same object each time."""
    return client.rooms.enter(_ROOM, lambda: ChannelsOfClient(client))
