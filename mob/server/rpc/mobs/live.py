"""mob/member_live_*: the live channels of members; what live/* does with a session's, under the member's name.

A channel of another member is as unknown here as one that never was.
"""

from __future__ import annotations

from typing import Final

from mob.errors import CapabilityUnavailable, ChannelUnknown
from mob.server.channels.held import HeldChannel
from mob.server.params import Params
from mob.server.realm.realm import SessionRef
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.live import LiveChannels, LiveDoor
from mob.server.rpc.mobs.door import MobDoor
from mob.server.rpc.mobs.shapes import JSON

_VERBS: Final = ("commit_input", "interrupt", "refresh", "truncate")


def member_live_methods(door: MobDoor, live: LiveDoor) -> dict[str, Serve]:
    """The methods of this module, where there is a transport for live channels."""
    lives = MemberLives(door, LiveChannels(door.realm, live))
    return {
        "mob/member_live_open": lives.open,
        "mob/member_live_status": lives.status,
        "mob/member_live_control": lives.control,
        "mob/member_live_close": lives.close,
    }


class MemberLives:
    """The live channels of members."""

    def __init__(self, door: MobDoor, channels: LiveChannels) -> None:
        self._door = door
        self._channels = channels

    async def open(self, client: RpcClient, params: Params) -> JSON:
        """Open the member's channel. As live/open; MemberUnknown, StaleGeneration."""
        if params.values.get("execution_identity") is not None:
            raise CapabilityUnavailable(
                "`execution_identity` is not offered here: a channel is the member's, with its model and credentials",
                field="execution_identity",
            )
        return await self._channels.open(client, await self._door.session(params), params)

    async def status(self, _client: RpcClient, params: Params) -> JSON:
        """How the channel does; without `channel_id`: the one that is open."""
        return self._channels.status(self._held(params))

    async def control(self, _client: RpcClient, params: Params) -> JSON:
        """commit_input, interrupt, refresh or truncate."""
        asked = params.child("verb")
        verb = asked.choice("verb", _VERBS)
        held = self._held(params)
        match verb:
            case "commit_input":
                done = await self._channels.commit(held, asked)
            case "interrupt":
                done = await self._channels.interrupt(held)
            case "refresh":
                done = await self._channels.refresh(held)
            case "truncate":
                done = await self._channels.truncate(held, asked)
            case _:
                raise asked.wrong("verb", f"is missing; it is one of {', '.join(_VERBS)}")
        return {"verb": verb, **done}

    async def close(self, _client: RpcClient, params: Params) -> JSON:
        """End it; nothing is wrong when it has ended."""
        return await self._channels.close(self._held(params))

    def _held(self, params: Params) -> HeldChannel:
        """The member's channel. ChannelUnknown, MobUnknown."""
        hosted = self._door.hosted(params)
        identity = params.text("agent_identity", most=200)
        ref = SessionRef(hosted.session_id(identity), hosted, identity)
        if "channel_id" in params:
            held = self._channels.held(params)
            if held.session_id == ref.session_id:
                return held
        else:
            open_now = self._door.realm.channels.of_session(ref.session_id)
            if open_now is not None:
                return open_now
        raise ChannelUnknown(
            f"{identity} of {hosted.mob_id} has no such live channel; open one with mob/member_live_open"
        )
