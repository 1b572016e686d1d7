"""mob/*: how members do, and waiting until they are there.

    wait_ready      everybody named has started, or has failed to
    wait_kickoff    everybody named has answered its first message, or that came to nothing; who had none is done

Waiting is bounded by `timeout_ms`, and then refused by its own word; nothing else is touched by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from mob.definition.catalogue import capabilities_for
from mob.errors import MemberNotRunning, MobError
from mob.history.items import Turn
from mob.protocol.jsonrpc import INVALID_PARAMS
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.realm.realm import SessionRef
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.errors import Refusal, Refused
from mob.server.rpc.mobs.door import MobDoor, check_generation
from mob.server.rpc.mobs.roll import Roll, roll_of, view_of
from mob.server.rpc.mobs.shapes import JSON, MemberView, incarnation, member_ref
from mob.server.rpc.sessions.methods import profile_of
from mob.server.rpc.shapes import resolved_capabilities, timestamp

_READY_S: Final = 60.0
_KICKOFF_S: Final = 600.0
_MOST_MS: Final = 3_600_000
_PREVIEW: Final = 200
_NOT_READY: Final = ("starting", "restarting", "connecting")


class ReadyTimedOut(Refused):
    """Somebody had not started in time."""

    code = "ready_wait_timed_out"
    refusal = Refusal(INVALID_PARAMS, "ready_wait_timed_out")


class KickoffTimedOut(Refused):
    """Somebody had not answered its first message in time."""

    code = "kickoff_wait_timed_out"
    refusal = Refusal(INVALID_PARAMS, "kickoff_wait_timed_out")


def watch_methods(door: MobDoor) -> dict[str, Serve]:
    """The methods of this module."""
    watch = Watch(door)
    return {
        "mob/member_status": watch.status,
        "mob/wait_ready": watch.wait_ready,
        "mob/wait_kickoff": watch.wait_kickoff,
    }


class Watch:
    """Looks at members."""

    def __init__(self, door: MobDoor) -> None:
        self._door = door

    async def status(self, _client: RpcClient, params: Params) -> JSON:
        """One member, in every respect; also one that is retired."""
        hosted = self._door.hosted(params)
        roll = await roll_of(self._door.realm, hosted)
        view = await view_of(self._door.realm, hosted, params.text("agent_identity", most=200))
        check_generation(params, view.generation)
        profile = profile_of(self._ref(hosted, view)) if _runs(hosted, view) else hosted.definition.profiles[view.role]
        turns = await self._turns(hosted, view)
        return {
            **await self._snapshot(hosted, roll, view, turns),
            "mob_id": hosted.mob_id,
            "member_ref": member_ref(hosted.mob_id, view.identity),
            "resolved_capabilities": resolved_capabilities(capabilities_for(profile, hosted.definition)),
            "progress": _progress(hosted, view, turns),
            "state": view.state,
            "model": profile.model,
            **incarnation(view.identity, view.generation),
        }

    async def wait_ready(self, _client: RpcClient, params: Params) -> JSON:
        """Wait until they have started. ReadyTimedOut, MemberUnknown, MemberNotRunning."""
        hosted = await self._door.started(params)
        mob = hosted.mob
        names = await self._names(hosted, params)

        def ready() -> bool:
            states = [mob.members[name].state for name in names if name in mob.members]
            return mob.state != "running" or not any(state in _NOT_READY for state in states)

        with trio.move_on_after(_patience(params, _READY_S)) as patience:
            await mob.wait_until(ready)
        if patience.cancelled_caught:
            late = [name for name in names if mob.members[name].state in _NOT_READY]
            raise ReadyTimedOut(f"not ready in time: {', '.join(late)}")
        return await self._all(hosted, names)

    async def wait_kickoff(self, _client: RpcClient, params: Params) -> JSON:
        """Wait until their first messages have ended. KickoffTimedOut, MemberUnknown, MemberNotRunning."""
        hosted = await self._door.started(params)
        names = await self._names(hosted, params)
        letters = {name: self._door.member_facts(hosted, name).kickoff for name in names}
        with trio.move_on_after(_patience(params, _KICKOFF_S)) as patience:
            for letter in letters.values():
                if letter is not None:
                    try:
                        await letter.wait()
                    except MobError:
                        continue  # how it ended is in the row
        if patience.cancelled_caught:
            late = [name for name, letter in letters.items() if letter is not None and not letter.ended]
            raise KickoffTimedOut(f"not kicked off in time: {', '.join(late)}")
        return await self._all(hosted, names)

    async def _names(self, hosted: HostedMob, params: Params) -> list[str]:
        roll = await roll_of(self._door.realm, hosted)
        wanted = params.texts("member_ids", most=self._door.realm.limits.max_members)
        for name in wanted:
            roll.view(name)
        return list(wanted) or [view.identity for view in roll.present()]

    async def _all(self, hosted: HostedMob, names: Sequence[str]) -> JSON:
        roll = await roll_of(self._door.realm, hosted)
        views = [roll.view(name) for name in names]
        rows = [await self._snapshot(hosted, roll, view, await self._turns(hosted, view)) for view in views]
        return {"mob_id": hosted.mob_id, "members": rows}

    async def _snapshot(self, hosted: HostedMob, roll: Roll, view: MemberView, turns: Sequence[Turn]) -> JSON:
        said = next((turn.agent_text for turn in reversed(turns) if turn.agent_text), None)
        row: JSON = {
            "agent_identity": view.identity,
            "status": view.status,
            "tokens_used": sum(turn.usage.total_tokens for turn in turns),
            "is_final": view.is_final,
            "current_session_id": hosted.session_id(view.identity),
            "peer_connectivity": _peers(hosted, roll, view),
        }
        if said is not None:
            row["output_preview"] = said[:_PREVIEW]
        facts = self._door.member_facts(hosted, view.identity)
        phase = await facts.kickoff_phase()
        if phase is not None:
            word, error = phase
            kickoff: JSON = {"phase": word, "updated_at": timestamp(facts.kickoff_at)}
            row["kickoff"] = kickoff if error is None else {**kickoff, "error": error}
        return row

    async def _turns(self, hosted: HostedMob, view: MemberView) -> Sequence[Turn]:
        try:
            return await self._door.realm.history(self._ref(hosted, view))
        except MemberNotRunning:
            return ()  # it has not started yet

    def _ref(self, hosted: HostedMob, view: MemberView) -> SessionRef:
        return SessionRef(hosted.session_id(view.identity), hosted, view.identity)


def _patience(params: Params, default_s: float) -> float:
    asked = params.maybe_whole("timeout_ms", most=_MOST_MS)
    return default_s if asked is None else asked / 1000


def _runs(hosted: HostedMob, view: MemberView) -> bool:
    return hosted.running and view.identity in hosted.mob.members


def _peers(hosted: HostedMob, roll: Roll, view: MemberView) -> JSON:
    """Who can be reached: those it is wired to, as far as they run."""
    if not _runs(hosted, view):
        return {"status": "not_applicable"}
    states = {name: roll.view(name).state for name in view.wired_to}
    away = [{"peer": name, "reason": state} for name, state in states.items() if state in ("failed", "stopped")]
    reached = {"reachable_peer_count": len(states) - len(away), "unknown_peer_count": 0, "unreachable_peers": away}
    return {"status": "known", "snapshot": reached}


def _progress(hosted: HostedMob, view: MemberView, turns: Sequence[Turn]) -> JSON:
    """Whether it does something; the keys are Meerkat's, and there are no others."""
    running, waiting = False, 0
    if _runs(hosted, view) and view.state not in ("starting", "failed"):
        counts = hosted.mob.member(view.identity).statistics()
        running, waiting = counts.desk.running is not None, counts.mailbox.waiting + counts.desk.waiting
    last = turns[-1].timings if turns else None
    at = hosted.created_at if last is None else last.started_at + (last.total_ms or 0) / 1000
    health = {"failed": "wedged", "restarting": "degraded"}.get(view.state, "healthy")
    return {
        "run_state": "run_open" if running else "idle",
        "in_flight_work": waiting + running,
        "last_progress_at_ms": round(at * 1000),
        "last_progress_event": "execution_advanced" if running else "became_idle" if turns else "unchanged",
        "health": health if _runs(hosted, view) else "unknown",
    }
