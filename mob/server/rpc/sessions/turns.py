"""Turns that a client asks for: one at a time for each session, told as they go, answered when they are over.

Theory. A request holds its session's turn from when it is taken to when it is answered; a second request meanwhile is
refused (SessionBusy). A turn that nobody asked for here (a spoken one, another member's question) is waited for, as
anywhere else. The turn's events and its answer go out on one line, the events first: they are read up to the last one
that was told when the turn ended, and only then is the answer given.

    asked ──started if need be──> in line ──turn_started──> told ──over──> the rest is told ──> answered
      └── interrupt: taken out of the line, or cut; the request ends as REQUEST_CANCELLED
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import trio
from attrs import define, field, frozen

from mob.errors import MobError, SessionBusy
from mob.history.items import Note, Turn
from mob.ids import Ids
from mob.server.pictures import check_sees
from mob.server.realm.realm import Realm, SessionRef
from mob.server.rpc.client import RpcClient
from mob.server.rpc.content import Content
from mob.server.rpc.errors import Cancelled
from mob.server.rpc.sessions.agent_events import Narrator
from mob.server.rpc.sessions.envelopes import Envelopes, send
from mob.server.rpc.shapes import CONTEXT_NOTE, run_result
from mob.sessions.events import RunEvent, TurnBegan
from mob.sessions.mailbox import Answer
from mob.team.bus import Subscription
from mob.team.handles import MemberHandle
from mob.team.running import Mob

JSON = dict[str, Any]

_CUT: Final = "the turn was interrupted; what was said of it so far is in the history"


@frozen(slots=True)
class Said:
    """What a turn is begun with: `context` goes before it, as notes."""

    prompt: Content = field(factory=Content)
    context: tuple[str, ...] = ()

    @property
    def told(self) -> str | list[JSON]:
        """The prompt as events tell it: pictures by what they are, since their senders have them."""
        if not self.prompt:
            return "\n".join(self.context)
        pictures = [f"[picture: {image.mime}, {len(image.data)} bytes]" for image in self.prompt.images]
        texts = [text for text in (self.prompt.text, *pictures) if text]
        return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]

    def __bool__(self) -> bool:
        return bool(self.prompt or self.context)


@define(eq=False, slots=True)
class Held:
    """A request that holds its session's turn."""

    message_id: str
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    interrupted: bool = False


class Turns:
    """The turns of one server's sessions that requests hold."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._ids = Ids()
        self._runs: dict[str, Held] = {}

    def holds(self, session_id: str) -> bool:
        """Whether a request holds this session's turn now."""
        return session_id in self._runs

    @contextmanager
    def hold(self, ref: SessionRef) -> Iterator[Held]:
        """The session's turn, for one request. SessionBusy."""
        if ref.session_id in self._runs:
            raise SessionBusy(
                f"the session {ref.session_id} is in a turn that another request began; "
                "wait for its answer, or interrupt it with turn/interrupt"
            )
        run = self._runs[ref.session_id] = Held(self._ids.new("message"))
        try:
            yield run
        finally:
            del self._runs[ref.session_id]

    async def run(self, client: RpcClient, ref: SessionRef, run: Held, said: Said, *, tell: bool) -> JSON:
        """Run one turn of a session that runs; its result in Meerkat's shape. `tell`: its events go to the client.

        Cancelled when somebody interrupts it; what MemberHandle.ask raises.
        """
        mob, member = ref.hosted.mob, ref.member
        check_sees(member, said.prompt.images, field="prompt")
        teller = _Teller(client, ref, mob, said, run.message_id, self._realm.wall) if tell else None
        turn = await self._ask(mob, member, run, said, teller)
        if turn.status == "interrupted":
            raise Cancelled(_CUT)
        return run_result(ref.session_id, name_of(ref), turn, member.usage)

    async def interrupt(self, ref: SessionRef) -> bool:
        """Cut the turn that runs, or take back the one that waits. False when there is none."""
        run = self._runs.get(ref.session_id)
        if run is not None:
            run.interrupted = True
        if ref.hosted.running:
            member = ref.member
            cause = member.turn_cause
            if run is None or (cause is not None and cause.message_id == run.message_id):
                return await member.interrupt() or run is not None
        if run is not None:
            run.scope.cancel()
        return run is not None

    async def _ask(self, mob: Mob, member: MemberHandle, run: Held, said: Said, teller: _Teller | None) -> Turn:
        notes = [Note(self._ids.new("item"), text, CONTEXT_NOTE) for text in said.context]
        answer: Answer | None = None
        error: MobError | None = None
        async with trio.open_nursery() as nursery:
            if teller is not None:
                nursery.start_soon(teller.run)
            try:
                with run.scope:
                    answer = await member.ask(
                        said.prompt.text, images=said.prompt.images, context=notes, message_id=run.message_id
                    )
            except MobError as raised:  # kept aside, so that it does not come out of the nursery as a group
                error = raised
            nursery.cancel_scope.cancel()
        if teller is not None:
            await teller.finish(error)
        if answer is not None:
            return answer.turn
        if error is None or run.interrupted:
            raise Cancelled(_CUT)
        raise error


class _Teller:
    """Tells a client of one turn: `session/event` notifications, in order, none of another turn."""

    def __init__(
        self, client: RpcClient, ref: SessionRef, mob: Mob, said: Said, message_id: str, wall: Callable[[], float]
    ) -> None:
        self._client = client
        self._ref = ref
        self._mob = mob
        self._wall = wall
        self._message_id = message_id
        self._narrator = Narrator(ref.session_id, ref.identity, turn_of=turns_of(ref))
        self._said = said
        self._waiting: deque[JSON] = deque()
        self._envelopes = Envelopes(ref)
        self._numbers = itertools.count(1)
        self._ours = False
        self._events: Subscription = mob.events(after=mob.statistics().events.published)

    async def run(self) -> None:
        """Tell what comes, until cancelled."""
        async for event in self._events:
            self._take(event)
            await self._send()

    async def finish(self, error: MobError | None) -> None:
        """Tell what was published until now and was not told yet; that a turn which came to nothing has failed."""
        last = self._mob.statistics().events.published
        await self._send()
        while self._events.last_seq < last:
            self._take(await anext(self._events))
            await self._send()
        if self._ours:
            self._queue(self._narrator.give_up("it was interrupted" if error is None else error.message))
        await self._send()

    def _take(self, event: RunEvent) -> None:
        if isinstance(event, TurnBegan) and event.member == self._ref.identity:
            for payload in self._narrator.give_up("it came to nothing"):
                if self._ours:
                    self._queue([payload])
            self._ours = event.message_id == self._message_id
            self._narrator.prompt = self._said.told if self._ours else None
        payloads = tuple(self._narrator.tell(event))
        if self._ours:
            self._queue(payloads)
            self._ours = self._narrator.open

    def _queue(self, payloads: Iterable[JSON]) -> None:
        for payload in payloads:
            event = self._envelopes.wrap(payload, at=self._wall())
            number = next(self._numbers)
            self._waiting.append({"session_id": self._ref.session_id, "sequence": number, "event": event})

    async def _send(self) -> None:
        """Send what waits. Cancelled, nothing of it is lost or sent twice."""
        while self._waiting:
            await send(self._client, "session/event", self._waiting[0])
            self._waiting.popleft()


def turns_of(ref: SessionRef) -> Callable[[str], Turn | None]:
    """How to find a committed turn of this session while it runs."""

    def find(turn_id: str) -> Turn | None:
        if not ref.hosted.running:
            return None
        return next((turn for turn in reversed(ref.member.history()) if turn.id == turn_id), None)

    return find


def name_of(ref: SessionRef) -> str | None:
    """A name for people: the member's, or the one that its creator gave a session of its own."""
    if not ref.stand_alone:
        return ref.identity
    name = (ref.hosted.document or {}).get("name")
    return name if isinstance(name, str) else None
