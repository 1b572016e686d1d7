"""`team/*`: one running mob in our own whole vocabulary. These methods are mob's; `mob.connect` is their client.

All take `mob` (its id; may be left out where there is one) and answer with what `mob.Mob` and `mob.MemberHandle` give,
as `mob.protocol.shapes` writes it. Those about a member take `member`, and `generation` to be refused when that is over
(law 22). Before a method answers, the caller's own feeds (`mob.server.rpc.team.feed`) were told of all it did.

    team/describe           the mob, whole, but for the turns
    team/history            turns from `start` on, at most `limit`, and as many as go into one answer; `total`
    team/events             events after `after`, as many as are asked for and kept; `last` is the newest there is
    team/events_open        a stream of them, as `team/event` notifications; `state`: with the state as they change it
    team/events_close       ends it
    team/ask                an answer: `text turn`. `call` names it, and `team/cancel` with that name gives it up
    team/tell, interrupt, inject
    team/hand_off, spawn, retire, respawn, wire, unwire
    team/wait_quiet, stop, statistics
    team/live_open, live_close    see `mob.server.rpc.team.live`
    team/lend_tools, take_back    see `mob.server.rpc.team.tools`
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import trio
from attrs import asdict, define, field

from mob.errors import DoorFull, MobUnknown, RequestInvalid
from mob.history import codec
from mob.history.items import Turn
from mob.protocol.shapes import event_json, turn_json
from mob.server.facts import described, history_of_member, member_facts, mob_facts
from mob.server.hosted import HostedMob
from mob.server.params import Params
from mob.server.pictures import check_picture, check_together
from mob.server.realm.realm import Realm
from mob.server.rooms import Room
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.errors import Cancelled
from mob.server.rpc.sessions.streams import streams_of
from mob.server.rpc.team.feed import Feed
from mob.team.handles import MemberHandle
from mob.team.running import Mob
from mob.values import Image, Via

JSON = dict[str, Any]
_T = TypeVar("_T")

_PAGE = 200
_PAGE_BYTES = 1024 * 1024
_VIAS: tuple[Via, ...] = ("ask", "tell", "hand_off")


@define(eq=False, slots=True)
class TeamRoom:
    """What these methods keep for one client: feeds by stream, calls that may be given up, the tools that it lends."""

    feeds: dict[str, Feed] = field(factory=dict)
    calls: dict[str, trio.CancelScope] = field(factory=dict)
    loans: dict[str, Any] = field(factory=dict)
    runs: int = 0


_ROOM: Room[TeamRoom] = Room("team")


def room_of(client: RpcClient) -> TeamRoom:
    """The client's room, made when it first comes."""
    return client.rooms.enter(_ROOM, TeamRoom)


def hosted_of(realm: Realm, params: Params) -> HostedMob:
    """The mob that is meant. MobUnknown, RequestInvalid."""
    name = params.maybe_text("mob", most=200)
    if name is not None:
        return realm.mob(name)
    mobs = realm.mobs
    if not mobs:
        raise MobUnknown("this server has no mob; create one first, or start it with a team file")
    if len(mobs) > 1:
        known = ", ".join(hosted.mob_id for hosted in mobs)
        raise RequestInvalid(
            f"this server has more than one mob: name one of {known} (`mob`; --mob of mob attach)", field="mob"
        )
    return mobs[0]


def handle_of(mob: Mob, params: Params) -> MemberHandle:
    """The member that is meant, bound to the generation that the caller knows. MemberUnknown."""
    return mob.member(given(params, "member"), params.maybe_whole("generation") or None)


def given(params: Params, name: str) -> str:
    """A string that must be given; whether it may be empty is the mob's to say. RequestInvalid."""
    text = params.maybe_text(name)
    return params.text(name) if text is None else text


def read(params: Params, name: str, cls: type[_T]) -> _T | None:
    """A parameter of this class, as the log writes it; None when it is not given. RequestInvalid."""
    if name not in params:
        return None
    try:
        return cast("_T", codec.from_json(params.values[name], cls, where=name))
    except ValueError as error:
        raise RequestInvalid(f"`{name}` cannot be read: {error}", field=name) from None


async def _flushed(serve: Serve, client: RpcClient, params: Params) -> Any:
    """Serve this, and bring the client's copies up to now before it is answered, with a refusal or otherwise."""
    try:
        return await serve(client, params)
    finally:
        for feed in tuple(room_of(client).feeds.values()):
            await feed.flush()


def team_methods(realm: Realm) -> dict[str, Serve]:
    """The table; without the methods of live channels (`team_live_methods`)."""
    team = _Team(realm)
    looking: dict[str, Serve] = {
        "team/describe": team.describe,
        "team/history": team.history,
        "team/events": team.events,
        "team/events_open": team.events_open,
        "team/events_close": team.events_close,
        "team/cancel": team.cancel,
        "team/tell": team.tell,
        "team/stop": team.stop,
        "team/statistics": team.statistics,
    }
    doing: dict[str, Serve] = {
        "team/ask": team.ask,
        "team/interrupt": team.interrupt,
        "team/inject": team.inject,
        "team/hand_off": team.hand_off,
        "team/spawn": team.spawn,
        "team/retire": team.retire,
        "team/respawn": team.respawn,
        "team/wire": team.wire,
        "team/unwire": team.unwire,
        "team/wait_quiet": team.wait_quiet,
    }
    return looking | {name: functools.partial(_flushed, serve) for name, serve in doing.items()}


class _Team:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm

    # -- looking ---------------------------------------------------------------------------------------------------

    async def describe(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        mob = hosted.mob
        members = {identity: member_facts(hosted, handle) for identity, handle in mob.members.items()}
        last = mob.statistics().events.published
        return {**described(hosted, mob), **mob_facts(mob), "members": members, "last": last}

    async def history(self, client: RpcClient, params: Params) -> JSON:
        turns = history_of_member(handle_of(hosted_of(self._realm, params).mob, params))
        start = params.maybe_whole("start") or 0
        limit = params.maybe_whole("limit", least=1, most=self._realm.limits.max_page) or _PAGE
        return {"start": start, "total": len(turns), "turns": _page(turns[start : start + limit])}

    async def events(self, client: RpcClient, params: Params) -> JSON:
        mob = hosted_of(self._realm, params).mob
        after, last = params.maybe_whole("after") or 0, mob.statistics().events.published
        limit = params.maybe_whole("limit", least=1, most=self._realm.limits.max_page) or _PAGE
        told: list[JSON] = []
        async with mob.events(after=after) as events:
            while events.last_seq < last and len(told) < limit:
                told.append(event_json(await anext(events)))
            return {"events": told, "next": events.last_seq, "last": last}

    async def events_open(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        last = hosted.mob.statistics().events.published
        after = params.maybe_whole("after")
        begins = last if after is None else after
        state, scope = params.flag("state"), trio.CancelScope()
        stream = streams_of(client).enter(scope)
        feed = room_of(client).feeds[stream] = Feed(client, hosted, stream, scope, after=begins, state=state)
        client.nursery.start_soon(_run_feed, client, stream, feed)
        return {"stream": stream, "after": begins, **described(hosted, hosted.mob)}

    async def events_close(self, client: RpcClient, params: Params) -> JSON:
        stream = params.text("stream", most=200)
        return {"closed": stream in room_of(client).feeds and streams_of(client).close(stream)}

    # -- talking ---------------------------------------------------------------------------------------------------

    async def ask(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        text, images, timeout = given(params, "text"), _images(client, params), seconds(params, "timeout")
        of: Mob | MemberHandle = handle_of(hosted.mob, params) if "member" in params else hosted.mob
        answer = await _cancellable(client, params, lambda: of.ask(text, timeout=timeout, images=images))
        return {"text": answer.text, "turn": turn_json(answer.turn)}

    async def cancel(self, client: RpcClient, params: Params) -> JSON:
        scope = room_of(client).calls.get(params.text("call", most=200))
        if scope is not None:
            scope.cancel()
        return {"cancelled": scope is not None}

    async def tell(self, client: RpcClient, params: Params) -> JSON:
        mob = hosted_of(self._realm, params).mob
        of: Mob | MemberHandle = handle_of(mob, params) if "member" in params else mob
        of.tell(given(params, "text"), images=_images(client, params))
        return {}

    async def interrupt(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        interrupted = await handle_of(hosted.mob, params).interrupt()
        return {"interrupted": interrupted}

    async def inject(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        kind = params.maybe_text("kind", most=64)
        handle, text = handle_of(hosted.mob, params), given(params, "text")
        turn = await _cancellable(
            client, params, lambda: handle.inject(text) if kind is None else handle.inject(text, kind=kind)
        )
        return {"turn": turn_json(turn)}

    # -- changing it -----------------------------------------------------------------------------------------------

    async def hand_off(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        await hosted.mob.hand_off(given(params, "to"))
        return {}

    async def spawn(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        if len(hosted.mob.members) >= self._realm.limits.max_members:
            raise DoorFull(f"this mob has {self._realm.limits.max_members} members, which is all this server takes")
        overrides = params.maybe_child("overrides")
        handle = await hosted.mob.spawn(
            given(params, "member"),
            profile=given(params, "profile"),
            overrides=None if overrides is None else overrides.values,
        )
        return {"generation": handle.generation}

    async def retire(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        await hosted.retire(given(params, "member"))
        return {}

    async def respawn(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        handle = await hosted.mob.respawn(given(params, "member"))
        return {"generation": handle.generation}

    async def wire(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        await hosted.mob.wire(given(params, "from"), given(params, "to"), *_vias(params))
        return {}

    async def unwire(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        await hosted.mob.unwire(given(params, "from"), given(params, "to"), *_vias(params))
        return {}

    # -- its life --------------------------------------------------------------------------------------------------

    async def wait_quiet(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        await _cancellable(client, params, hosted.mob.wait_quiet)
        return {}

    async def stop(self, client: RpcClient, params: Params) -> JSON:
        hosted = hosted_of(self._realm, params)
        _ = hosted.mob  # MemberNotRunning
        await hosted.stop(params.maybe_text("reason", most=200) or "done", drain=params.flag("drain", default=True))
        return {}

    async def statistics(self, client: RpcClient, params: Params) -> JSON:
        return asdict(hosted_of(self._realm, params).mob.statistics())


async def _run_feed(client: RpcClient, stream: str, feed: Feed) -> None:
    try:
        await feed.run()
    finally:
        streams_of(client).leave(stream)
        del room_of(client).feeds[stream]


async def _cancellable(client: RpcClient, params: Params, work: Callable[[], Awaitable[_T]]) -> _T:
    """Do this until it is done, or `team/cancel` comes with the name that this call was given."""
    name = params.maybe_text("call", most=64)
    if name is None:
        return await work()
    calls = room_of(client).calls
    if name in calls:
        raise RequestInvalid(
            f"a call named {name!r} is under way; each call under way has a name of its own", field="call"
        )
    with trio.CancelScope() as calls[name]:
        try:
            return await work()
        finally:
            del calls[name]
    raise Cancelled("the caller gave this up")


def _page(turns: Sequence[Turn]) -> list[JSON]:
    """As many of these as one answer takes; at least one."""
    page: list[JSON] = []
    size = 0
    for turn in turns:
        body = turn_json(turn)
        size += len(json.dumps(body))
        if page and size > _PAGE_BYTES:
            break
        page.append(body)
    return page


def _images(client: RpcClient, params: Params) -> tuple[Image, ...]:
    images = read(params, "images", tuple[Image, ...]) or ()
    for index, image in enumerate(images):
        at = params.where(f"images[{index}]")
        check_picture(image, client.limits, mime_field=f"{at}.mime", data_field=f"{at}.data")
    check_together(images, client.limits, field=params.where("images"))
    return images


def seconds(params: Params, name: str) -> float | None:
    """A span of time that is not forever; None when it is not given. RequestInvalid."""
    span = read(params, name, float)
    if span is not None and not 0 < span < 86_400:
        raise params.wrong(name, f"must be seconds, above 0 and below a day, not {span:g}")
    return span


def _vias(params: Params) -> tuple[Via, ...]:
    for via in params.texts("via", most=len(_VIAS)):
        if via not in _VIAS:
            raise params.wrong("via", f"must be some of {', '.join(_VIAS)}, not {via!r:.40}")
    return cast("tuple[Via, ...]", params.texts("via"))
