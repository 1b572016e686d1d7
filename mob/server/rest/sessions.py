"""Sessions and mobs over REST: look at them, read their histories, say something, follow what happens."""

from __future__ import annotations

import functools
from typing import Any

from mob.errors import RequestInvalid
from mob.protocol.shapes import turn_json
from mob.server.front.routes import Call, Handler, Route
from mob.server.pictures import check_sees
from mob.server.realm.realm import Realm, SessionRef
from mob.server.rest.events import CONTENT_TYPE, EventStreams
from mob.server.rest.facts import mob_json, page_json, ref_of, session_json
from mob.server.rest.reading import body_params, check_known, images_of, query_whole
from mob.server.rest.schemas import COUNT_QUERY, ERRORS, component, list_of
from mob.values import Image

_PAGE = 100
_LONGEST_WAIT_S = 3600


class RestDoor:
    """Handlers of one realm."""

    def __init__(self, realm: Realm, streams: EventStreams) -> None:
        self._realm = realm
        self._streams = streams
        self.most = realm.limits.max_page

    # Which session a path means.

    def by_session(self, call: Call) -> SessionRef:
        """`/sessions/{session_id}/…`."""
        return self._realm.session(call.params["session_id"])

    def by_member(self, call: Call) -> SessionRef:
        """`/mobs/{mob}/members/{member}/…`."""
        return ref_of(self._realm, call.params["mob"], call.params["member"])

    # What there is.

    async def sessions(self, call: Call) -> None:
        """All sessions."""
        await call.reply.send_json(200, {"sessions": [session_json(ref) for ref in self._realm.sessions()]})

    async def mobs(self, call: Call) -> None:
        """All mobs."""
        await call.reply.send_json(200, {"mobs": [mob_json(hosted) for hosted in self._realm.mobs]})

    async def mob(self, call: Call) -> None:
        """One mob."""
        await call.reply.send_json(200, mob_json(self._realm.mob(call.params["mob"])))

    async def members(self, call: Call) -> None:
        """The members of a mob."""
        mob_id = call.params["mob"]
        there = mob_json(self._realm.mob(mob_id))["members"]
        members = [session_json(ref_of(self._realm, mob_id, identity)) for identity in there]
        await call.reply.send_json(200, {"members": members})

    async def mob_events(self, call: Call) -> None:
        """A mob's events."""
        await self._streams.serve(call, self._realm.mob(call.params["mob"]).mob)

    # One session, by either path.

    async def session(self, call: Call, ref: SessionRef) -> None:
        """What it is."""
        await call.reply.send_json(200, session_json(ref))

    async def history(self, call: Call, ref: SessionRef) -> None:
        """A page of its turns."""
        offset = query_whole(call, "offset", default=0)
        limit = query_whole(call, "limit", default=min(_PAGE, self.most), least=1, most=self.most)
        turns = await self._realm.history(ref)
        page = {"session_id": ref.session_id, **page_json(turns, offset=offset, limit=limit)}
        await call.reply.send_json(200, page)

    async def turn(self, call: Call, ref: SessionRef) -> None:
        """Say something and wait for the answer; a client that hangs up meanwhile interrupts it."""
        params = body_params(call)
        check_known(params, "text", "images", "timeout_s")
        text = params.maybe_text("text") or ""
        images = images_of(params, self._realm.limits)
        if not text.strip() and not images:
            raise RequestInvalid("say something: `text` is empty and there are no `images`", field="text")
        timeout = params.maybe_whole("timeout_s", least=1, most=_LONGEST_WAIT_S)
        await call.reply.while_there(functools.partial(self._ask, call, ref, text, images, timeout))

    async def _ask(
        self, call: Call, ref: SessionRef, text: str, images: tuple[Image, ...], timeout: int | None
    ) -> None:
        if ref.stand_alone:
            await ref.hosted.start()
        check_sees(ref.member, images, field="images")
        answer = await ref.member.ask(text, images=images, timeout=timeout)
        body = {"session_id": ref.session_id, "text": answer.text, "turn": turn_json(answer.turn)}
        await call.reply.send_json(200, body)

    async def interrupt(self, call: Call, ref: SessionRef) -> None:
        """Cut what it says now."""
        await call.reply.send_json(200, {"interrupted": await ref.member.interrupt()})

    async def events(self, call: Call, ref: SessionRef) -> None:
        """Its events, and those that are about no member."""
        await self._streams.serve(call, ref.hosted.mob, member=ref.identity)


def session_routes(realm: Realm, streams: EventStreams) -> list[Route]:
    """Everything below /sessions and /mobs."""
    door = RestDoor(realm, streams)
    return [
        Route(
            "GET", "/sessions", door.sessions, "All sessions, members' included.", answer=list_of("sessions", "Session")
        ),
        *_routes_of(door, "/sessions/{session_id}", by_session=True),
        Route("GET", "/mobs", door.mobs, "All mobs.", answer=list_of("mobs", "Mob")),
        Route("GET", "/mobs/{mob}", door.mob, "One mob.", answer=component("Mob"), answers=_missing()),
        Route(
            "GET",
            "/mobs/{mob}/members",
            door.members,
            "The members of a mob.",
            answer=list_of("members", "Session"),
            answers=_missing(),
        ),
        _events("/mobs/{mob}/events", door.mob_events, "What happens in a mob, as server-sent events."),
        *_routes_of(door, "/mobs/{mob}/members/{member}", by_session=False),
    ]


def _routes_of(door: RestDoor, path: str, *, by_session: bool) -> list[Route]:
    """A session's operations, below whichever path leads to it."""
    find, most = (door.by_session if by_session else door.by_member), door.most

    def at(operation: Any) -> Handler:
        async def serve(call: Call) -> None:
            await operation(call, find(call))

        return serve

    return [
        Route("GET", path, at(door.session), "One session.", answer=component("Session"), answers=_missing()),
        Route(
            "GET",
            f"{path}/history",
            at(door.history),
            "A page of a session's committed turns, the oldest first.",
            answer=component("HistoryPage"),
            answers=_missing(),
            query={"offset": COUNT_QUERY, "limit": {"type": "integer", "minimum": 1, "maximum": most}},
        ),
        Route(
            "POST",
            f"{path}/turns",
            at(door.turn),
            "Say something to a member and wait for its answer.",
            body=component("TurnRequest"),
            answer=component("TurnAnswer"),
            answers=ERRORS,
        ),
        Route(
            "POST",
            f"{path}/interrupt",
            at(door.interrupt),
            "Cut what a member says now.",
            answer=component("Interrupted"),
            answers=ERRORS,
        ),
        _events(f"{path}/events", at(door.events), "What a member does, as server-sent events."),
    ]


def _events(path: str, handler: Handler, summary: str) -> Route:
    return Route(
        "GET",
        path,
        handler,
        summary,
        answer={"type": "string"},
        answers=ERRORS,
        query={"after": COUNT_QUERY},
        content_type=CONTENT_TYPE,
        streams=True,
    )


def _missing() -> dict[int, Any]:
    return {404: ERRORS[404]}
