"""Sessions and their turns: made, listed, read, spoken to, put away.

A session of its own (`session/create`) is a mob of one that nobody sees; members of mobs have sessions too, and are
read and spoken to by the same methods. A session that was made and never started is *idle*: what it is to begin with is
kept until its first turn, and no live channel can be opened on it.

    session/create ──deferred──> idle ──turn/start──> started ──session/archive──> gone; its log stays
                   ──else──────────────────────────────> started
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import trio
from attrs import field, frozen

from mob.definition.catalogue import capabilities_for
from mob.definition.model import ModelCapabilities, Profile
from mob.errors import CapabilityUnavailable, DuplicateRequest, MemberError, RequestInvalid
from mob.history.items import Turn
from mob.server.params import Params
from mob.server.realm.realm import Realm, SessionRef
from mob.server.realm.standalone import spec_of
from mob.server.rooms import Room
from mob.server.rpc.client import RpcClient
from mob.server.rpc.content import Content
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.mobs.facts import Remembered
from mob.server.rpc.sessions.params import (
    check_staged,
    refuse_unavailable,
    respec,
    said_from,
    spec_from,
    staged_from,
    with_staged,
)
from mob.server.rpc.sessions.turns import Turns, name_of
from mob.server.rpc.shapes import count_rows, history_page, provider_of, resolved_capabilities, run_result
from mob.server.rpc.tools import read_tools, tools_of
from mob.values import NO_USAGE, Usage

JSON = dict[str, Any]

_PAGE: Final = 100
_KEYS: Final = 256
_STAGED: Final = "staged"


def session_methods(realm: Realm) -> dict[str, Serve]:
    """The methods of sessions and turns."""
    door = SessionDoor(realm)
    return {
        "session/create": door.create,
        "session/list": door.list,
        "session/read": door.read,
        "session/history": door.history,
        "session/archive": door.archive,
        "session/inject_context": door.inject_context,
        "turn/start": door.start_turn,
        "turn/interrupt": door.interrupt_turn,
    }


@frozen(slots=True, eq=False)
class _Injected:
    """The digests of what was put into one session under keys: one after the other, so that a key counts once."""

    keys: Remembered[bytes] = field(factory=lambda: Remembered(_KEYS))
    lock: trio.Lock = field(factory=trio.Lock)


INJECTED: Final[Room[_Injected]] = Room("what was injected")


class SessionDoor:
    """Serves these methods for all clients."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._turns = Turns(realm)

    # -- made and put away -----------------------------------------------------------------------------------------

    async def create(self, client: RpcClient, params: Params) -> JSON:
        """A new session: with its first turn, or idle."""
        spec = spec_from(params, self._realm.config)
        deferred = params.choice("initial_turn", ("deferred", "run_immediately")) == "deferred"
        limits = self._realm.limits
        said = said_from(params, limits, notes=False)
        staged = staged_from(params, limits) if deferred else None
        labels, tools = params.labels("labels"), read_tools(params, "external_tools")
        ref = self._realm.add_session(spec.definition, document=spec.as_json(), labels=labels)
        try:
            with self._turns.hold(ref) as held:
                await self._realm.keep(ref.hosted, **{_STAGED: staged or None})
                tools_of(client).reserve(ref, tools)
                if deferred:
                    return {"session_id": ref.session_id, **_named(ref)}
                await self._start(client, ref)
                if not said:
                    return run_result(ref.session_id, name_of(ref), None, NO_USAGE)
                return await self._turns.run(client, ref, held, said, tell=params.flag("session_events", default=True))
        except BaseException:
            # Nobody was told of it: it never was.
            await self._realm.end_mob(ref.hosted, "not created")
            tools_of(client).forget(ref)
            raise

    async def archive(self, client: RpcClient, params: Params) -> JSON:
        """The session ends, and is no more in any list; its log stays."""
        ref = self._session(params)
        if not ref.stand_alone:
            raise CapabilityUnavailable(
                f"this is the session of {ref.identity} in {ref.hosted.mob_id}: retire it with mob/retire",
                field="session_id",
            )
        await self._realm.end_mob(ref.hosted, "archived")
        tools_of(client).forget(ref)
        return {"archived": True, "session_id": ref.session_id}

    async def _start(self, client: RpcClient, ref: SessionRef) -> None:
        """Let a session of its own run. A member of a mob runs when its mob does, and is left as it is."""
        if ref.stand_alone:
            await ref.hosted.start()
            await tools_of(client).offer(ref)

    # -- read ------------------------------------------------------------------------------------------------------

    async def list(self, client: RpcClient, params: Params) -> JSON:
        """The sessions that have these labels, in the order in which they came."""
        labels = params.labels("labels").items()
        offset = params.maybe_whole("offset") or 0
        limit = params.maybe_whole("limit", least=0, most=self._realm.limits.max_page)
        found = [ref for ref in self._realm.sessions() if labels <= ref.hosted.labels.items()]
        page = found[offset:] if limit is None else found[offset : offset + limit]
        rows = []
        for ref in page[: self._realm.limits.max_page]:
            turns = await self._realm.history(ref)
            rows.append({**self._row(ref, turns), "total_tokens": _usage(turns).total_tokens})
        return {"sessions": rows}

    async def read(self, client: RpcClient, params: Params) -> JSON:
        """What a session is, and what was said last."""
        ref = self._session(params)
        turns = await self._realm.history(ref)
        model = model_of(ref)
        last = next((turn.agent_text for turn in reversed(turns) if turn.agent_text), None)
        return {
            **self._row(ref, turns),
            "model": model.id,
            "provider": provider_of(model),
            **({} if last is None else {"last_assistant_text": last}),
            "resolved_capabilities": resolved_capabilities(model),
        }

    async def history(self, client: RpcClient, params: Params) -> JSON:
        """A page of its history, from the oldest row on."""
        ref = self._session(params)
        offset = params.maybe_whole("offset") or 0
        limit = params.maybe_whole("limit", least=1, most=self._realm.limits.max_page) or _PAGE
        turns = await self._realm.history(ref)
        rows, total = history_page(
            profile_of(ref).instructions, ref.hosted.created_at, turns, offset=offset, limit=limit
        )
        return {
            "session_id": ref.session_id,
            **_named(ref),
            "message_count": total,
            "offset": offset,
            "limit": limit,
            "has_more": offset + len(rows) < total,
            "messages": rows,
        }

    def _row(self, ref: SessionRef, turns: Sequence[Turn]) -> JSON:
        created = ref.hosted.created_at
        return {
            "session_id": ref.session_id,
            **_named(ref),
            "created_at": int(created),
            "updated_at": int(max((_ended_at(turn) for turn in turns[-1:]), default=created)),
            "message_count": count_rows(profile_of(ref).instructions, turns),
            "is_active": self._turns.holds(ref.session_id) or _in_turn(ref),
            "labels": dict(ref.hosted.labels),
        }

    # -- spoken to -------------------------------------------------------------------------------------------------

    async def start_turn(self, client: RpcClient, params: Params) -> JSON:
        """One turn; answered when it is over."""
        ref = self._session(params)
        limits, staged = self._realm.limits, self._realm.kept_of(ref.hosted).get(_STAGED)
        said = with_staged(said_from(params, limits, notes=True), staged, limits)
        if not said:
            raise RequestInvalid("`prompt` is empty, and nothing else is said in this turn", field="prompt")
        with self._turns.hold(ref) as held:
            await self._respec(ref, params)
            await self._start(client, ref)
            _ = ref.member  # SessionIdle, MemberNotRunning
            if _STAGED in self._realm.kept_of(ref.hosted):
                await self._realm.keep(ref.hosted, **{_STAGED: None})
            return await self._turns.run(client, ref, held, said, tell=params.flag("session_events", default=True))

    async def _respec(self, ref: SessionRef, params: Params) -> None:
        """Let the session be from now on as the turn wants it: its model, what it is told, how long it answers."""
        if not ref.stand_alone:
            refuse_unavailable(params)
            for name in ("model", "provider", "system_prompt", "max_tokens"):
                if params.values.get(name):
                    raise CapabilityUnavailable(f"`{name}` of a mob's member is in its profile", field=name)
            return
        before = spec_of(ref.hosted.document or {})
        spec = respec(params, before)
        if spec == before:
            return
        definition = spec.definition
        if ref.hosted.running:
            ref.member.rebind(spec.profile, capabilities_for(spec.profile, definition))
        ref.hosted.respecify(definition, spec.as_json())
        await self._realm.keep(ref.hosted)

    async def interrupt_turn(self, client: RpcClient, params: Params) -> JSON:
        """Cut the turn that runs. Nothing is wrong when none does."""
        ref = self._session(params)
        cut = await self._turns.interrupt(ref)
        return {
            "session_id": ref.session_id,
            "interrupted": cut,
            "result": "interrupted" if cut else "staged_noop",
        }

    async def inject_context(self, client: RpcClient, params: Params) -> JSON:
        """Something the session is to know, without a turn of the model; an idle one knows it from its first on."""
        ref = self._session(params)
        given = params.child("content")
        if given.choice("type", ("text",), "text") != "text":
            raise given.wrong("type", "must be text")
        text = given.text("text")
        source, key = params.maybe_text("source", most=200), params.maybe_text("idempotency_key", most=200)
        told = f"[{source}] {text}" if source else text
        injected = ref.hosted.rooms.enter(INJECTED, _Injected, of=ref.identity)
        async with injected.lock:
            before = injected.keys.get(key) if key else None
            digest = Content(told).digest()
            if before is not None and before != digest:
                raise DuplicateRequest(f"the key {key!r} was used for another text")
            if before is None:
                await self._inject(ref, told)
                if key:
                    injected.keys.put(key, digest)
        return {"status": "applied" if before is None else "duplicate"}

    async def _inject(self, ref: SessionRef, text: str) -> None:
        if ref.hosted.running or ref.hosted.began or not ref.stand_alone:
            if ref.stand_alone:
                await ref.hosted.start()
            await ref.member.inject(text)
            return
        staged = dict(self._realm.kept_of(ref.hosted).get(_STAGED) or {})
        staged["injected_context"] = [*staged.get("injected_context", ()), text]
        check_staged(staged)
        await self._realm.keep(ref.hosted, **{_STAGED: staged})

    def _session(self, params: Params) -> SessionRef:
        return self._realm.session(params.text("session_id", most=200))


def profile_of(ref: SessionRef) -> Profile:
    """The profile in force, also of a session that does not run."""
    hosted = ref.hosted
    if not hosted.running:
        return hosted.definition.profile_of(ref.identity)
    with suppress(MemberError):
        return ref.member.profile
    return hosted.mob.definition.profile_of(ref.identity)


def model_of(ref: SessionRef) -> ModelCapabilities:
    """The model in force, also of a session that does not run."""
    return capabilities_for(profile_of(ref), ref.hosted.definition)


def _usage(turns: Sequence[Turn]) -> Usage:
    return sum((turn.usage for turn in turns), NO_USAGE)


def _named(ref: SessionRef) -> JSON:
    name = name_of(ref)
    return {} if name is None else {"session_ref": name}


def _ended_at(turn: Turn) -> float:
    return turn.timings.started_at + (turn.timings.total_ms or 0) / 1000


def _in_turn(ref: SessionRef) -> bool:
    if not ref.hosted.running:
        return False
    state = ref.member.state
    return state not in ("idle", "retired", "failed", "stopped")
