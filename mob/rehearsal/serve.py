"""The rehearsed provider as a server: which path leads to which member, and who reads a connection's bytes.

    /v1/realtime   /MEMBER/v1/realtime              WebSocket, OpenAI Realtime
    /v1/chat/completions, /v1/models, with or without /MEMBER   HTTP, OpenAI Chat Completions

Every connection lives in the nursery of `open_rehearsal`; leaving the block ends them all and closes the port.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio
from attrs import evolve, frozen
from trio_websocket import WebSocketConnection

from mob.clock import wall_clock
from mob.definition.model import Member, MobDefinition
from mob.errors import MemberUnknown, UsageError
from mob.ids import Ids
from mob.rehearsal.acceptance import accept_socket, reject_socket
from mob.rehearsal.brain import Brain, brain_for
from mob.rehearsal.chat import ChatService, models_of
from mob.rehearsal.faults import Fault, FaultPlan
from mob.rehearsal.manner import Manner
from mob.rehearsal.realtime import RealtimeSession
from mob.rehearsal.voice import ToneVoice, Voice
from mob.web.http import HttpReply, HttpRequest, error_body, serve_http
from mob.web.streams import Head, ReplayedStream, read_head

_ROOT = "v1"


@frozen(slots=True)
class _Place:
    """Where a path leads: the member (None: nobody in particular) and what is left after the API's root."""

    member: str | None
    rest: str


class Rehearsal:
    """A rehearsed provider. Made by `open_rehearsal`; see there for what it is given."""

    def __init__(
        self,
        definition: MobDefinition | None,
        *,
        seed: int,
        faults: Iterable[Fault],
        manner: Manner,
        voice: Voice,
        strict_auth: bool,
        member: str | None,
        address: str,
    ) -> None:
        self._definition = definition
        self._seed = seed
        self._member = member
        self._strict_auth = strict_auth
        self._faults = FaultPlan(faults)
        self._brains: dict[str | None, Brain] = {}
        self._manner = manner
        self._voice = voice
        self._wall = wall_clock()
        self._chat = ChatService(manner=manner, faults=self._faults, ids=Ids(seed), wall=self._wall)
        self._address = address
        self._scopes: set[trio.CancelScope] = set()
        self._gone = trio.lowlevel.ParkingLot()
        self._ended = False
        self._connections = 0
        self._sockets = 0
        self._responses = 0
        self._refused = 0

    def base_url(self, member: str | None = None) -> str:
        """Where this member (None: the default one) is dialled; ends in the API's root, `/v1`."""
        if member is not None and not self._knows(member):
            raise MemberUnknown(f"The rehearsed team has no member {member!r}.")
        return f"http://{self._address}/{member}/{_ROOT}" if member else f"http://{self._address}/{_ROOT}"

    def cast(self, member: str, profile: str) -> None:
        """Play this member too, as its profile: one that came while the team runs. One that is known stays as it is."""
        if self._definition is not None and member not in self._definition.members:
            members = {**self._definition.members, member: Member(member, profile)}
            self._definition = evolve(self._definition, members=members)

    def statistics(self) -> dict[str, int | dict[str, int]]:
        """Connections now open and ever made, requests refused, responses begun, and how often each fault struck."""
        return {
            "open": len(self._scopes),
            "connections": self._connections,
            "refused": self._refused,
            "responses": self._responses + self._chat.responses,
            "faults": self._faults.statistics(),
        }

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection to its end, and close it. Peers that vanish are no errors.

        Ends early when the block of `open_rehearsal` ends, whichever nursery this runs in.
        """
        scope = trio.CancelScope()
        if self._ended:
            scope.cancel()
        self._connections += 1
        self._scopes.add(scope)
        try:
            with scope:
                await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._scopes.discard(scope)
            self._gone.unpark_all()
            await trio.aclose_forcefully(stream)

    async def end_connections(self) -> None:
        """End every connection, also those yet to come, and wait until none is left; none waits for its peer."""
        self._ended = True
        with trio.CancelScope(shield=True):
            while self._scopes:
                for scope in self._scopes:
                    scope.cancel()
                await self._gone.park()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        head, replayed = await read_head(stream)
        if head is not None and head.is_upgrade:
            await self._serve_socket(head, replayed, stream)
        else:
            await serve_http(replayed, self._serve_request)

    async def _serve_socket(self, head: Head, stream: ReplayedStream, raw: trio.abc.Stream) -> None:
        if refusal := self._refusal_of_socket(head):
            self._refused += 1
            await reject_socket(stream, *refusal)
            return
        place = self._place(head.path)
        member = place.member if place else None
        self._sockets += 1
        seed = f"{self._seed}/{member}/{self._sockets}"

        async def serve(connection: WebSocketConnection) -> None:
            await RealtimeSession(
                connection,
                raw,
                model=head.query["model"],
                member=member,
                brain=self._brain(member),
                manner=self._manner,
                voice=self._voice,
                faults=self._faults,
                seed=seed,
                wall=self._wall,
                on_response=self._count_response,
            ).run()

        await accept_socket(head, stream, serve)

    def _refusal_of_socket(self, head: Head) -> tuple[int, dict[str, object]] | None:
        place = self._place(head.path)
        if place is None or place.rest != "realtime":
            return 404, self._refusal_of_path(head.path)
        if not self._admitted(head.headers):
            return 401, self._refusal_of_key()
        if not head.query.get("model"):
            message = "You must provide a model parameter: …/v1/realtime?model=NAME."
            return 400, error_body(message, code="missing_required_parameter")
        return None

    def _count_response(self) -> None:
        self._responses += 1

    async def _serve_request(self, request: HttpRequest, reply: HttpReply) -> None:
        place = self._place(request.path)
        refusal: tuple[int, dict[str, object]] | None = None
        if place is None:
            refusal = 404, self._refusal_of_path(request.path)
        elif not self._admitted(request.headers):
            refusal = 401, self._refusal_of_key()
        else:
            match request.method, place.rest:
                case "POST", "chat/completions":
                    await self._chat.complete(request, reply, member=place.member, brain=self._brain(place.member))
                case "GET", "models":
                    await reply.send_json(200, models_of(self._definition))
                case "GET", "realtime":
                    refusal = 426, error_body("This is a WebSocket: ask for the upgrade.")
                case _:
                    refusal = 404, self._refusal_of_path(f"{request.method} {request.path}")
        if refusal is not None:
            self._refused += 1
            await reply.send_json(*refusal)

    def _place(self, path: str) -> _Place | None:
        parts = [part for part in path.split("/") if part]
        if parts[:1] == [_ROOT]:
            return _Place(self._member, "/".join(parts[1:]))
        if len(parts) > 1 and parts[1] == _ROOT and self._knows(parts[0]):
            return _Place(parts[0], "/".join(parts[2:]))
        return None

    def _knows(self, member: str) -> bool:
        return self._definition is None or member in self._definition.members

    def _brain(self, member: str | None) -> Brain:
        if member not in self._brains:
            self._brains[member] = brain_for(self._definition, member, seed=self._seed)
        return self._brains[member]

    def _admitted(self, headers: dict[str, str]) -> bool:
        """Any key will do; with strict_auth there has to be one."""
        by_header = headers.get("authorization", "").casefold().startswith("bearer ")
        by_subprotocol = "openai-insecure-api-key." in headers.get("sec-websocket-protocol", "")
        return by_header or by_subprotocol or not self._strict_auth

    def _refusal_of_key(self) -> dict[str, object]:
        message = (
            "You didn't provide an API key. Send it as a Bearer token in the Authorization header; any will do here."
        )
        return error_body(message, code="invalid_api_key")

    def _refusal_of_path(self, path: str) -> dict[str, object]:
        members = ", ".join(self._definition.members) if self._definition else "any name"
        message = (
            f"Nothing is served at {path}. Served are /v1/realtime, /v1/chat/completions and /v1/models, by themselves "
            f"or after a member's name ({members})."
        )
        return error_body(message, code="unknown_url")


@asynccontextmanager
async def open_rehearsal(
    definition: MobDefinition | None,
    *,
    seed: int = 0,
    faults: Iterable[Fault] = (),
    pace: float = 12.0,
    chunk_ms: int = 100,
    max_session_s: float = 3600.0,
    voice: Voice | None = None,
    strict_auth: bool = False,
    member: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Rehearsal]:
    """Serve a rehearsed provider; leaving the block ends every connection and closes the port.

    `definition`: the team whose members it plays, None for nobody in particular. `seed`: same seed, same words and
    order. `pace`: how many times faster than real time sound is sent, in pieces of `chunk_ms` (40 to 200).
    `max_session_s`: how long a realtime connection may last. `strict_auth`: refuse who sends no key at all. `member`
    answers at the bare `/v1`. Raises UsageError for an address that cannot be had or a number out of range.
    """
    if pace <= 0 or not 20 <= chunk_ms <= 1000:
        raise UsageError(f"pace must be above 0 and chunk_ms between 20 and 1000, not {pace} and {chunk_ms}.")
    if member is not None and definition is not None and member not in definition.members:
        raise MemberUnknown(f"The team has no member {member!r}; it has {', '.join(definition.members)}.")
    listeners = await _listen(host, port)
    rehearsal = Rehearsal(
        definition,
        seed=seed,
        faults=faults,
        manner=Manner(pace=pace, chunk_ms=chunk_ms, max_session_s=max_session_s),
        voice=voice or ToneVoice(),
        strict_auth=strict_auth,
        member=member,
        address=_address_of(listeners[0]),
    )
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, rehearsal.serve_stream, listeners)
        try:
            yield rehearsal
        except Exception as error:  # kept out of the nursery, which would put it into a group
            failure = error
        finally:
            await rehearsal.end_connections()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except (OSError, OverflowError) as error:
        raise UsageError(f"Cannot listen on {host}:{port}: {error}; choose another address, or port 0.") from error


def _address_of(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve_forever(
    listen: str,
    *,
    definition: MobDefinition | None = None,
    member: str | None = None,
    seed: int = 0,
    faults: Iterable[Fault] = (),
    on_ready: Callable[[str], None],
) -> None:
    """Serve until cancelled: `mob rehearse`. `listen` is HOST:PORT, `on_ready` is told the base URL.

    Raises UsageError for an address that cannot be read or had, MemberUnknown for a member that is not in the team.
    """
    host, colon, number = listen.rpartition(":")
    if not colon or not number.isdecimal() or int(number) > 65535:
        raise UsageError(f"{listen!r} is no address; write HOST:PORT, and port 0 for any free one.")
    async with open_rehearsal(
        definition, seed=seed, faults=faults, member=member, host=host.strip("[]"), port=int(number)
    ) as rehearsal:
        on_ready(rehearsal.base_url())
        await trio.sleep_forever()
