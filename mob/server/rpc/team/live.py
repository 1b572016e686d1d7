"""`team/live_open` and `team/live_close`: a member's live channel for a client of `mob.connect`, which then dials the
live socket (docs/live-socket.md) with the token that it is given.

    team/live_open     `member`, `generation`, `options` (ChannelOptions without its limits) -> `channel token path url
                       session_id model input_rate output_rate`; `url` is null where only the caller knows the address
    team/live_close    `channel`, `reason`

What a client opened ends when it goes.
"""

from __future__ import annotations

from typing import Any

from mob.errors import ChannelUnknown
from mob.history.codec import as_json
from mob.live.ports import ChannelOptions
from mob.server.livesocket.terms import PATH
from mob.server.params import Params
from mob.server.realm.realm import Realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.live import LiveDoor, channels_of
from mob.server.rpc.team.methods import handle_of, hosted_of, read

JSON = dict[str, Any]


def team_live_methods(realm: Realm, door: LiveDoor) -> dict[str, Serve]:
    """The table. `door`: where live sockets are."""

    async def live_open(client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(realm, params)
        handle = handle_of(hosted.mob, params)
        if "options" in params and "limits" in params.child("options"):
            raise params.wrong("options.limits", "are the server's own")
        options = read(params, "options", ChannelOptions)
        _ = handle.state  # StaleGeneration
        held = await realm.channels.open(realm.session_of(hosted, handle.identity), options)
        try:
            channels_of(client).keep(held, spare_attached=False)
            live = held.live
            return {
                "channel": held.channel_id,
                "token": held.mint_token(),
                "path": PATH,
                "url": door.url,
                "session_id": live.session_id,
                "model": as_json(live.capabilities),
                "input_rate": live.input_rate,
                "output_rate": live.output_rate,
            }
        except BaseException:
            await held.close("not_opened")
            raise

    async def live_close(client: RpcClient, params: Params) -> JSON:
        held = realm.channels.get(params.text("channel", most=200))
        if held not in channels_of(client):
            raise ChannelUnknown(f"this client did not open {held.channel_id}")
        await held.close(params.maybe_text("reason", most=200) or "client_closed")
        return {"reason": held.reason}

    return {"team/live_open": live_open, "team/live_close": live_close}
