"""mob/*: saying something to a member, and reading what was said.

    member_send, queue     it waits its turn in the member's mailbox; the answer is in the history and on the streams
    member_send, steer     the same, and the turn that the member is in is cut, so that those that wait come sooner

`member_send` returns when the message is taken, never when it is answered. Under an idempotency key the same content is
taken once, however often it is sent: a client that lost its answer sends again (of the last 256 keys of each member).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mob.errors import DuplicateRequest
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.pictures import check_sees
from mob.server.realm.realm import SessionRef
from mob.server.rpc.client import RpcClient
from mob.server.rpc.content import content
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.mobs.door import MobDoor, check_generation
from mob.server.rpc.mobs.facts import Delivery
from mob.server.rpc.mobs.roll import view_of
from mob.server.rpc.mobs.shapes import JSON, generation_of, spawned
from mob.server.rpc.sessions.methods import profile_of
from mob.server.rpc.shapes import history_page
from mob.sessions.mailbox import Letter

_MODES: Final = ("queue", "steer")
_PAGE: Final = 100


def talk_methods(door: MobDoor, sessions: Mapping[str, Serve]) -> dict[str, Serve]:
    """The methods of this module. `sessions` does the same for sessions."""
    talk = Talk(door, sessions)
    return {
        "mob/turn_start": talk.start_turn,
        "mob/append_system_context": talk.append_context,
        "mob/member_send": talk.send,
        "mob/member_history": talk.history,
        "mob/force_cancel": talk.force_cancel,
    }


class Talk:
    """What is said to members, and what they have said."""

    def __init__(self, door: MobDoor, sessions: Mapping[str, Serve]) -> None:
        self._door = door
        self._sessions = sessions

    async def send(self, _client: RpcClient, params: Params) -> JSON:
        """Say something to a member and go on. MailboxFull, MemberNotRunning, DuplicateRequest, StaleGeneration, …"""
        said = content(params, "content", self._door.realm.limits)
        if not said:
            raise params.wrong("content", "says nothing")
        mode = params.choice("handling_mode", _MODES, _MODES[0])
        key = params.maybe_text("idempotency_key", most=512)
        hosted, handle = await self._door.member(params)
        deliveries = self._door.member_facts(hosted, handle.identity).deliveries
        before = None if key is None else deliveries.get(key)
        if before is not None:
            if before.digest != said.digest():
                raise DuplicateRequest(f"the key {key!r} was used for another message; a new one needs a new key")
            return before.told
        check_sees(handle, said.images, field="content")
        letter = handle.tell(said.text, images=said.images)
        told: JSON = {
            "mob_id": hosted.mob_id,
            **spawned(hosted.mob_id, handle.identity),
            "handling_mode": mode,
            "session_id": hosted.session_id(handle.identity),
        }
        if key is not None:
            told["continuation"] = self._continuation(hosted, handle.identity, letter)
            deliveries.put(key, Delivery(said.digest(), told))
        if mode == "steer":
            await handle.interrupt()
        return told

    async def start_turn(self, client: RpcClient, params: Params) -> JSON:
        """One turn of the member; answered when it is over. As turn/start."""
        return await self._as_session(client, params, "turn/start", params.values)

    async def append_context(self, client: RpcClient, params: Params) -> JSON:
        """Something the member is to know, without a turn. As session/inject_context."""
        told = {"content": {"type": "text", "text": params.text("text")}}
        about = {name: params.values.get(name) for name in ("source", "idempotency_key")}
        done = await self._as_session(client, params, "session/inject_context", {**about, **told})
        return {"mob_id": params.text("mob_id"), "agent_identity": params.text("agent_identity"), **done}

    async def force_cancel(self, client: RpcClient, params: Params) -> JSON:
        """Cut the member's turn; what was said of it so far is kept. As turn/interrupt."""
        done = await self._as_session(client, params, "turn/interrupt", {})
        return {
            "mob_id": params.text("mob_id"),
            "agent_identity": params.text("agent_identity"),
            "cancelled": done["interrupted"],
        }

    async def _as_session(self, client: RpcClient, params: Params, method: str, values: Mapping[str, Any]) -> JSON:
        ref = await self._door.session(params)
        done: JSON = await self._sessions[method](client, Params({**values, "session_id": ref.session_id}))
        return done

    async def history(self, _client: RpcClient, params: Params) -> JSON:
        """A page of what was said, oldest first; also of a member that is retired, or of a mob that is stopped."""
        hosted = self._door.hosted(params)
        identity = params.text("agent_identity", most=200)
        most = self._door.realm.limits.max_page
        first, limit = params.maybe_whole("from_index") or 0, params.maybe_whole("limit", least=1, most=most) or _PAGE
        view = await view_of(self._door.realm, hosted, identity)
        check_generation(params, view.generation)
        ref = SessionRef(hosted.session_id(identity), hosted, identity)
        turns = await self._door.realm.history(ref)
        here = hosted.running and identity in hosted.mob.members
        profile = profile_of(ref) if here else hosted.definition.profiles[view.role]
        rows, total = history_page(profile.instructions, hosted.created_at, turns, offset=first, limit=limit)
        begin = min(first, total)
        end = begin + len(rows)
        shown: JSON = {"from_index": begin, "message_count": total, "complete": end == total, "messages": rows}
        if end < total:
            shown["next_index"] = end
        return {
            "mob_id": hosted.mob_id,
            "agent_identity": identity,
            "session_id": ref.session_id,
            "generation": generation_of(view.generation),
            "provenance": "controlling_host_verified",
            "page": shown,
        }

    def _continuation(self, hosted: HostedMob, identity: str, letter: Letter) -> JSON:
        """The message was taken: which item of which session it is."""
        item = letter.items[-1].id
        status = {"state": "admitted", "session_id": hosted.session_id(identity), "input_id": item}
        return {"delivery_id": item, "committed_at_ms": round(self._door.realm.wall() * 1000), "status": status}
