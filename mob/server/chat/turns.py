"""The turns that chat clients have with members, from their statement to their answer, over one request or several.

Theory. A turn outlives the request that began it when the member calls a tool of the client: the answer to that request
says which calls to make, and the turn waits for the request that brings their results. So turns live in the door's
nursery, and requests attach to them, one at a time:

    attached ──the member calls the client's tools, and the client has been told──> waiting
    waiting  ──a request brings the results of exactly these calls──> attached
    attached ──the client is gone──> ended: the turn is interrupted
    waiting  ──the client stays away for `client_tool_s`──> ended: the turn is interrupted
    attached ──the member has answered, or cannot──> ended

The turns of one member that are begun here go one after the other, each with its own client's tools lent to the member
for as long as it lasts; they are gone when it ends, whatever ends it. A turn of somebody else that runs meanwhile may
see these tools, and is told that they are not for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import trio
from attrs import frozen

from mob.errors import MailboxFull, MemberFailed, MobError, RequestInvalid, TurnTimedOut
from mob.history.items import Cause
from mob.ids import Ids
from mob.providers.openai_chat.server import ChatToolCall
from mob.server.asking import Statement, ask_aloud
from mob.server.chat.request import untold
from mob.server.lending import Call, Calls, lent
from mob.server.limits import DoorLimits
from mob.server.pictures import check_sees
from mob.server.realm.realm import SessionRef
from mob.sessions.mailbox import Answer
from mob.sessions.tools import ToolFunction
from mob.values import ToolSchema

_log = logging.getLogger(__name__)

_SIBLINGS_S = 0.05
"""How long a call waits for others of the same answer, so that the client is told of them together."""


@frozen(slots=True)
class Said:
    """More of the member's text."""

    text: str


@frozen(slots=True)
class Called:
    """The member calls these tools of the client, and goes on with their results."""

    calls: tuple[ChatToolCall, ...]


Piece = Said | Called | Answer


class ChatTurn:
    """One turn. Made by `ChatTurns.begin`; `next` gives what comes of it to the request that is attached."""

    def __init__(self, ref: SessionRef, said: Statement, tools: Sequence[ToolSchema], *, message_id: str) -> None:
        self.ref = ref
        self.message_id = message_id
        self.taken = False
        self._said = said
        self._tools = tuple(tools)
        self._texts: list[str] = []
        self._begun = False
        self._calls = Calls()
        self._told: set[str] = set()
        self._outcome: Answer | MobError | None = None
        self._news = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    # For the request that is attached.

    async def next(self, *, one_call: bool = False) -> Piece:
        """What comes next: text, calls for the client to make, or at last the answer. MobError: there is none."""
        while True:
            if self._texts:
                text = "".join(self._texts)
                self._texts.clear()
                return Said(self._begin(text))
            if self._untold():
                if not one_call:
                    await trio.sleep(_SIBLINGS_S)
                if called := self._tell(one_call=one_call):
                    return Called(called)
                continue
            if isinstance(self._outcome, MobError):
                raise self._outcome
            if self._outcome is not None:
                return self._outcome
            await self._news.park()

    def leave(self, within_s: float) -> None:
        """The client knows what to do and goes; it has to be back within this time."""
        self._scope.deadline = trio.current_time() + within_s

    def cancel(self) -> None:
        """The client is gone: take the statement back, or interrupt the turn. Nothing happens when it has ended."""
        self._scope.cancel()

    def awaits(self) -> set[str]:
        """The calls that the client was told of and has not answered."""
        return {call.call_id for call in self._calls.unanswered} & self._told

    def give(self, results: Mapping[str, str]) -> None:
        """The client is back with the results of these calls, which it was told of."""
        self._scope.deadline = float("inf")
        self._begun = False
        for call_id, output in results.items():
            self._calls.answer(call_id, output)
        self._calls.go_on(results)

    def _begin(self, text: str) -> str:
        """A request's first text begins no new line, though in the turn it follows others."""
        begun, self._begun = self._begun, True
        return text if begun else text.removeprefix("\n")

    def _untold(self) -> list[Call]:
        return [call for call in self._calls.unanswered if call.call_id not in self._told]

    def _tell(self, *, one_call: bool) -> tuple[ChatToolCall, ...]:
        untold_calls = self._untold()[: 1 if one_call else None]
        self._told.update(call.call_id for call in untold_calls)
        return tuple(ChatToolCall(call.call_id, call.name, call.arguments) for call in untold_calls)

    # Its life, in the door's nursery.

    async def run(self, line: trio.Lock, ids: Ids) -> None:
        """Wait for the member's chat line, have the turn, and keep what came of it."""
        outcome: Answer | MobError = TurnTimedOut(f"{self.ref.identity}'s turn was interrupted: its client stayed away")
        try:
            with self._scope:
                async with line:
                    outcome = await self._ask(ids)
        except MobError as error:
            outcome = error
        except Exception as error:  # whatever it is, it is this turn's alone
            _log.exception("a chat turn of %s failed", self.ref.identity)
            outcome = MemberFailed(f"{self.ref.identity} failed ({type(error).__name__}); the server's log says why")
        finally:
            self._outcome = outcome
            self._news.unpark_all()

    async def _ask(self, ids: Ids) -> Answer:
        member = self.ref.member
        context = untold(self._said.context, member.history())
        said = Statement(self._said.text, self._said.images, context)
        async with AsyncExitStack() as lent:
            if self._tools:
                await lent.enter_async_context(member.lend_tools([self._lent(tool) for tool in self._tools]))
            self.taken = True
            return await ask_aloud(
                self.ref.hosted.mob, member, said, message_id=self.message_id, ids=ids, on_text=self._hear
            )

    def _hear(self, text: str) -> None:
        self._texts.append(text)
        self._news.unpark_all()

    def _lent(self, schema: ToolSchema) -> ToolFunction:
        """Bounded by the turn, which is the client's: one call's time would run while another is answered."""
        return lent(schema, self._calls.caller(schema.name, self._take), timeout_s=None)

    def _take(self, _call: Call, cause: Cause) -> bool:
        self._news.unpark_all()
        return cause.message_id == self.message_id


class ChatTurns:
    """The chat turns of a server that have not ended."""

    def __init__(self, nursery: trio.Nursery, limits: DoorLimits) -> None:
        self._nursery = nursery
        self._limits = limits
        self._ids = Ids()
        self._lines: dict[str, trio.Lock] = {}
        self._turns: dict[str, list[ChatTurn]] = {}
        self.begun = 0
        """Turns ever begun."""

    @property
    def open(self) -> int:
        """Turns that have not ended."""
        return sum(map(len, self._turns.values()))

    def begin(self, ref: SessionRef, said: Statement, tools: Sequence[ToolSchema]) -> ChatTurn:
        """Say this to the member, in its turn.

        MailboxFull: too many wait. CapabilityUnavailable: pictures for a blind model. SessionIdle, MemberNotRunning.
        """
        check_sees(ref.member, said.images, field="messages")
        waiting = self._turns.setdefault(ref.session_id, [])
        most = ref.hosted.definition.limits.max_mailbox
        if len(waiting) > most:
            raise MailboxFull(f"{ref.identity} has {most} chat requests waiting, which is all it takes; try later")
        turn = ChatTurn(ref, said, tools, message_id=self._ids.new("chat"))
        waiting.append(turn)
        self.begun += 1
        self._nursery.start_soon(self._run, turn)
        return turn

    def resume(self, ref: SessionRef, results: Mapping[str, str]) -> ChatTurn:
        """Give the results of calls to the turn that waits for them. RequestInvalid: none waits for exactly these."""
        for turn in (turn for turns in self._turns.values() for turn in turns):
            if turn.ref.hosted is ref.hosted and turn.awaits() == set(results):
                turn.give(results)
                return turn
        ids = ", ".join(sorted(results))
        raise RequestInvalid(
            f"no turn of {ref.identity} waits for the results of exactly these calls: {ids[:200]}; it has ended, or "
            f"they came later than {self._limits.client_tool_s:g} s. Say what you found in a user message instead",
            field="messages",
        )

    async def _run(self, turn: ChatTurn) -> None:
        session_id = turn.ref.session_id
        line = self._lines.setdefault(session_id, trio.Lock())
        try:
            await turn.run(line, self._ids)
        finally:
            turns = self._turns[session_id]
            turns.remove(turn)
            if not turns:
                del self._turns[session_id], self._lines[session_id]
