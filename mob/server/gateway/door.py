"""`GET /v1/realtime?model=MEMBER`: the WebSocket, from the request to the conversation.

The session that a client meets is the member's: its voice, its turn detection, its modality, and transcripts of what
the user says. The member's own instructions and tools are not shown; the client's stand below and beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from mob.definition.model import Profile
from mob.errors import MobError, RequestInvalid
from mob.providers.commands import SessionConfig
from mob.providers.frames import JsonObject
from mob.providers.openai_realtime import OpeningRefusal, RealtimeServer, Refusal, refuse_beta, refuse_opening
from mob.rehearsal.espeak import EspeakVoice, find_espeak
from mob.rehearsal.voice import ToneVoice, Voice
from mob.server.front.auth import Gatekeeper
from mob.server.front.routes import SocketRoute, Visit
from mob.server.gateway.admission import BEFORE_THE_HANDSHAKE, Admitted, admit, speaks_beta
from mob.server.gateway.client import Client
from mob.server.gateway.client_tools import ClientTools
from mob.server.gateway.connection import Connection
from mob.server.gateway.holder import Holder
from mob.server.gateway.live_speaker import LiveSpeaker
from mob.server.gateway.policy import Policy
from mob.server.gateway.speaker import Ability, Speaker
from mob.server.gateway.text_speaker import TextSpeaker
from mob.server.realm.realm import Realm, SessionRef
from mob.values import TurnDetection
from mob.web.streams import Head

PATH = "/v1/realtime"
_MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The vendor's bound for appended audio is 15 MiB of base64."""


class Gateway:
    """The realtime door of one realm."""

    def __init__(self, realm: Realm, gatekeeper: Gatekeeper) -> None:
        self._realm = realm
        self._gatekeeper = gatekeeper
        self._open = 0

    def admit(self, head: Head, _: Mapping[str, str]) -> None:
        """Who may not come in is told before the handshake; what else is wrong, by `serve` in an event."""
        try:
            self._admitted(head)
        except BEFORE_THE_HANDSHAKE:
            raise
        except MobError:
            pass

    async def serve(self, visit: Visit) -> None:
        """One connection, to its end."""
        if speaks_beta(visit.head.headers):
            await _refuse(visit, refuse_beta())
            return
        try:
            admitted = self._admitted(visit.head)
        except MobError as error:
            param = error.field if isinstance(error, RequestInvalid) else "model"
            await _refuse(visit, refuse_opening(error.code, error.message, param=param))
            return
        self._open += 1
        try:
            await self._talk(visit, admitted)
        finally:
            self._open -= 1

    def _admitted(self, head: Head) -> Admitted:
        return admit(head, self._realm, self._gatekeeper, open_now=self._open)

    async def _talk(self, visit: Visit, admitted: Admitted) -> None:
        realm, ref = self._realm, admitted.ref
        limits, team = realm.limits, ref.hosted.mob
        tools = ClientTools(timeout_s=limits.client_tool_s)
        policy = Policy(tools, limits)
        all_hear = all(handle.session.model.realtime for handle in team.members.values() if handle.state != "retired")
        server = RealtimeServer(
            admitted.model, vet=policy, keep_audio=not all_hear, max_items=limits.max_realtime_items
        )
        client = Client(server, visit.transport)
        profile = ref.member.session.profile
        server.session.update(_own_session(profile, ability_of(ref)), has_spoken=False, is_responding=False)
        maker = _Maker(realm, client, tools, server.session.config)
        first = maker.make(ref, called_by_name=admitted.model != ref.hosted.mob_id)
        tools.give = first.called
        connection = Connection(visit.transport, client, tools, limits)
        holder = Holder(
            team,
            first,
            lambda identity: maker.make(realm.session_of(ref.hosted, identity), called_by_name=False),
            client,
            tools,
            connection.member_gone,
        )
        policy.watch(server, lambda: holder.current)
        try:
            policy.apply(admitted.session)
        except Refusal as refusal:
            await connection.refuse(refusal.code, refusal.message)
        else:
            await connection.serve(holder)


async def _refuse(visit: Visit, refusal: OpeningRefusal) -> None:
    visit.transport.send_nowait(refusal.frame)
    await visit.transport.aclose(refusal.close_code, refusal.close_reason)


@frozen(slots=True)
class _Maker:
    """Makes the speakers of one connection."""

    realm: Realm
    client: Client
    tools: ClientTools
    own: SessionConfig

    def make(self, ref: SessionRef, *, called_by_name: bool) -> Speaker:
        """A speaker for this member. MemberError."""
        ability, limits = ability_of(ref), self.realm.limits
        if ability.live:
            return LiveSpeaker(
                ability,
                lambda: ref.member,
                lambda options: self.realm.channels.lease(ref, options),
                self.client,
                self.tools,
                self.own,
                limits=limits,
                called_by_name=called_by_name,
            )
        voice = _voice_of(ref.member.session.profile)
        return TextSpeaker(ability, ref, self.client, self.tools, voice, limits=limits)


def ability_of(ref: SessionRef) -> Ability:
    """What this member can do. MemberError."""
    session = ref.member.session
    model = session.model
    speaks = "audio" in model.output_modalities if model.realtime else session.profile.voice is not None
    return Ability(ref.identity, model, model.realtime, speaks)


def gateway_sockets(realm: Realm, gatekeeper: Gatekeeper) -> Sequence[SocketRoute]:
    """The gateway's WebSocket."""
    gateway = Gateway(realm, gatekeeper)
    return (
        SocketRoute(
            PATH,
            gateway.serve,
            "Talk with a member as with a model of the OpenAI Realtime API.",
            auth="own",
            admit=gateway.admit,
            subprotocols=("realtime",),
            max_frame_bytes=_MAX_FRAME_BYTES,
        ),
    )


def _voice_of(profile: Profile) -> Voice | None:
    """What reads out what a member writes: tone speech, or espeak where its profile asks for that and it is there."""
    if profile.voice is None:
        return None
    return EspeakVoice() if profile.voice == "espeak" and find_espeak() is not None else ToneVoice()


def _own_session(profile: Profile, ability: Ability) -> JsonObject:
    """The session as the member has it, before the client says anything."""
    output = (profile.output or "audio") if ability.speaks else "text"
    heard: JsonObject = {"transcription": {"model": ability.identity}}
    if profile.turn_detection is not None:
        heard["turn_detection"] = _detection(profile.turn_detection)
    spoken = {} if profile.voice is None else {"voice": profile.voice}
    return {"output_modalities": [output], "audio": {"input": heard, "output": spoken}}


def _detection(detection: TurnDetection) -> JsonObject | None:
    """For the client, who ends its turns as the member's profile has it; what follows from that is the session's."""
    if detection.mode == "manual":
        return None
    own = {name: getattr(detection, name) for name in _DETECTION[detection.mode]}
    return {"type": detection.mode, **{name: value for name, value in own.items() if value is not None}}


_DETECTION = {
    "server_vad": ("threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"),
    "semantic_vad": ("eagerness",),
}
