"""Delivery by request/response: one turn is a loop of requests until the model has no more calls to make.

Theory. The states of a turn, and what moves it:

    waiting ──slot──> asking ──answer with calls──> calling ──all ended──> asking …
                      asking ──answer without calls──> done
                      calling ──a call that ends the turn (a hand-over) is done──> done
    asking, calling ──interrupt──> interrupted     what was shown is kept as a cut message
                    ──turn deadline, refusal, empty answer, too many rounds──> failed, with a typed error
                    ──the member stops──> cancelled

Every end but the last returns through one commit; the last commits shielded and lets the cancellation go on. A request
is repeated (rate, 5xx) or sent to a fallback model (unreachable) only while nothing of its answer was shown.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio
from attrs import define, field, frozen

from mob.definition.model import Limits
from mob.errors import (
    LimitReached,
    MemberFailed,
    MobError,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
    TurnTimedOut,
    UsageError,
)
from mob.history.items import ToolCall, Turn
from mob.history.projection import project
from mob.ids import Ids
from mob.live.network import Dialler
from mob.live.ports import Seed
from mob.live.seeding import item_commands
from mob.providers.events import (
    AgentTextFinal,
    AgentTextPart,
    ProviderFault,
    ResponseEnded,
    ResponseStarted,
    ToolCallReady,
    WireEvent,
)
from mob.providers.openai_chat.client import build_request
from mob.sessions.binding import Binding, Bindings
from mob.sessions.calls import CallBatch
from mob.sessions.desk import TurnDesk
from mob.sessions.draft import Draft
from mob.sessions.events import AgentWriting, AgentWrote, ErrorOccurred, RunEvent
from mob.sessions.http import ChatAnswer, ChatConnections, open_chat
from mob.sessions.ledger import Ledger
from mob.sessions.mailbox import Letter
from mob.sessions.observing import StateBoard
from mob.sessions.tools import ToolBox
from mob.values import Usage

_WIRE = "openai-chat"
_REPEATS = 2
_BACK_OFF_S = 0.5


@define(eq=False, slots=True)
class _Heard:
    """What has come of one request so far."""

    response_id: str = ""
    calls: list[ToolCallReady] = field(factory=list)
    ended: ResponseEnded | None = None
    usage: Usage | None = None
    anything: bool = False


@frozen(slots=True)
class _Answer:
    """What one request brought: its calls, and the response they belong to."""

    response_id: str
    calls: tuple[ToolCall, ...]


class RequestDelivery:
    """Runs turns over request/response. `seed` gives the past as of now, closed under law 7."""

    def __init__(
        self,
        identity: str,
        desk: TurnDesk,
        ledger: Ledger,
        tools: ToolBox,
        *,
        bindings: Bindings,
        seed: Callable[[Binding], Seed],
        dialler: Dialler,
        ids: Ids,
        limits: Limits,
        nursery: trio.Nursery,
        board: StateBoard,
        publish: Callable[[RunEvent], object],
        wall: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._desk = desk
        self._ledger = ledger
        self._tools = tools
        self._bindings = bindings
        self._seed = seed
        self._dialler = dialler
        self._ids = ids
        self._limits = limits
        self._nursery = nursery
        self._board = board
        self._publish = publish
        self._wall = wall
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether the turn that runs is one of its own."""
        return self._busy

    async def deliver(self, letter: Letter) -> Turn:
        """Run one turn to its commit. When it fails, the failed turn is committed and its error raised."""
        try:
            return await self._deliver(letter)
        finally:
            self._busy = False

    async def _deliver(self, letter: Letter) -> Turn:
        draft: Draft | None = None
        error: MobError | None = None
        try:
            with letter.scope:
                await self._desk.admit(letter.cause)
                draft = Draft(self._ids.new("turn"), letter.cause, self._wall(), list(letter.items))
                letter.scope.deadline = trio.current_time() + self._limits.turn_timeout_s
                self._busy = True
                self._board.show("thinking")
                await self._answer(draft)
        except MobError as raised:
            if draft is None:
                raise
            error = raised
        except trio.Cancelled:
            if draft is not None:
                await self._desk.commit(draft.turn(self._ids, "cancelled", "the member stopped"))
            raise
        if draft is None:
            raise MemberFailed(f"{self._identity} was not asked any more: the message was withdrawn")
        if letter.scope.cancelled_caught and not letter.interrupted:
            seconds = f"{self._limits.turn_timeout_s:g} s"
            error = TurnTimedOut(f"{self._identity} did not end its turn within {seconds} (turn_timeout_s in [limits])")
        return await self._end(draft, error, interrupted=letter.interrupted and letter.scope.cancelled_caught)

    async def _end(self, draft: Draft, error: MobError | None, *, interrupted: bool) -> Turn:
        if error is None:
            return await self._desk.commit(draft.turn(self._ids, "interrupted" if interrupted else "done"))
        await self._desk.commit(draft.turn(self._ids, "failed", error.message))
        raise error

    async def _answer(self, draft: Draft) -> None:
        """Ask until the model has no more calls to make."""
        async with open_chat(self._dialler.network) as chat:
            for _ in range(self._limits.max_tool_rounds + 1):
                answer = await self._ask(draft, chat)
                if not answer.calls:
                    if not draft.acted:
                        raise MemberFailed(f"{self._identity} answered with nothing; ask again, or with other words")
                    return
                if await self._call(draft, answer):
                    return
        raise LimitReached(
            f"{self._identity} called tools {self._limits.max_tool_rounds + 1} times without an answer "
            "(max_tool_rounds in [limits])"
        )

    async def _call(self, draft: Draft, answer: _Answer) -> bool:
        """Run the calls; whether the turn is over with them."""
        draft.add_calls(answer.calls)
        batch = CallBatch(self._ledger, self._tools, self._nursery, answer.calls)
        self._board.show("tool")
        try:
            await batch.run(turn_id=draft.id, response_id=answer.response_id, cause=draft.cause)
        finally:
            draft.add_results(batch.results)
            self._board.show("thinking")
        ending = {tool.name for tool in self._tools if tool.ends_turn}
        return any(result.name in ending and result.status == "done" for result in batch.results)

    async def _ask(self, draft: Draft, chat: ChatConnections) -> _Answer:
        """One answer, by whichever model can be reached, repeated where that may help."""
        unreachable: ProviderUnreachable | None = None
        for binding in self._bindings.usable():
            if binding.model.realtime:
                continue
            if binding.model.wire != _WIRE:
                raise UsageError(
                    f"{binding.model.id} is spoken to over {binding.model.wire}, which mob does not speak; "
                    f"choose a model whose wire is {_WIRE} (`mob models` lists them)"
                )
            try:
                return await self._ask_patiently(draft, chat, binding)
            except ProviderUnreachable as error:
                if draft.streaming:
                    raise
                self._bindings.mark_down(binding)
                self._tell(error)
                unreachable = error
        raise unreachable or MemberFailed(f"{self._identity} has no model that is reached by request/response")

    async def _ask_patiently(self, draft: Draft, chat: ChatConnections, binding: Binding) -> _Answer:
        for repeat in range(_REPEATS + 1):
            try:
                return await self._ask_once(draft, chat, binding)
            except ProviderError as error:
                if error.recovery != "retry" or draft.streaming or repeat == _REPEATS:
                    raise
                self._tell(error)
                await trio.sleep(_BACK_OFF_S * 2**repeat if error.retry_after_s is None else error.retry_after_s)
        raise AssertionError("the last repeat returns or raises")

    async def _ask_once(self, draft: Draft, chat: ChatConnections, binding: Binding) -> _Answer:
        seed = self._seed(binding)
        own = project([draft.so_far()], self._ledger.calls).items
        request = build_request(
            binding.model.id,
            seed.config,
            [told for item in (*seed.items, *own) for told in item_commands(item, item.id, "")],
        )
        endpoint = await self._dialler.endpoint(self._identity, binding.profile, binding.model)
        self._desk.model = binding.model
        await self._desk.reserve(len(request.body))
        heard = _Heard()
        unmade = False
        try:
            await self._listen(draft, chat.stream(endpoint, request), heard)
        except ProviderUnreachable:
            unmade = not heard.anything
            raise
        finally:
            if unmade:
                self._desk.unmade()
            else:
                draft.usage += self._desk.settle(heard.usage)
        return self._close(draft, heard)

    async def _listen(self, draft: Draft, answer: AbstractAsyncContextManager[ChatAnswer], heard: _Heard) -> None:
        limits = self._limits
        with trio.move_on_after(limits.connect_timeout_s + limits.response_timeout_s) as patience:
            async with answer as events:
                async for event in events:
                    patience.deadline = trio.current_time() + limits.response_timeout_s
                    heard.anything = True
                    self._hear(draft, event, heard)
        if patience.cancelled_caught:
            raise ProviderUnreachable(
                f"{self._identity}'s provider sent nothing for {limits.response_timeout_s:g} s "
                "(response_timeout_s in [limits])",
                recovery="retry",
            )

    def _hear(self, draft: Draft, event: WireEvent, heard: _Heard) -> None:
        match event:
            case ResponseStarted(response_id=response_id):
                heard.response_id = response_id
            case AgentTextPart(delta=delta):
                draft.more_text(delta)
                self._publish(AgentWriting(member=self._identity, delta=delta))
            case AgentTextFinal(text=text):
                draft.whole_text(text)
            case ToolCallReady():
                heard.calls.append(event)
            case ProviderFault():
                raise _refused(event)
            case ResponseEnded(usage=usage):
                heard.ended, heard.usage = event, usage

    def _close(self, draft: Draft, heard: _Heard) -> _Answer:
        """Make the answer part of the turn. ProviderError when there is none, or only a part of one."""
        ended = heard.ended
        if ended is None:
            raise ProviderUnreachable(
                f"{self._identity}'s provider hung up before its answer was whole", recovery="retry"
            )
        if ended.status not in ("completed", "incomplete"):
            raise _refused(ended.fault or ProviderFault("response_failed", ended.reason or "no reason given", "retry"))
        if ended.status == "incomplete" and (heard.calls or not draft.streaming):
            raise _refused(ProviderFault(ended.reason or "incomplete", "the answer was cut short", "fatal"))
        message = draft.end_text(self._ids.new("item"), heard.response_id or None)
        if message is not None:
            self._publish(AgentWrote(member=self._identity, text=message.text))
        if ended.status == "incomplete":
            self._tell(_refused(ProviderFault(ended.reason or "incomplete", "the answer was cut short", "benign")))
        return _Answer(heard.response_id or draft.id, self._own(heard.calls))

    def _own(self, calls: list[ToolCallReady]) -> tuple[ToolCall, ...]:
        """The calls under ids that the log does not know yet: some servers count theirs anew in each answer."""
        own: dict[str, ToolCall] = {}
        for call in calls:
            taken = not call.call_id or call.call_id in own or self._ledger.known(call.call_id)
            call_id = self._ids.new("call") if taken else call.call_id
            own[call_id] = ToolCall(self._ids.new("item"), call_id, call.name, call.arguments)
        return tuple(own.values())

    def _tell(self, error: ProviderError) -> None:
        self._publish(
            ErrorOccurred(member=self._identity, error_class=error.code, message=error.message, recovery=error.recovery)
        )


def _refused(fault: ProviderFault) -> ProviderRefused:
    return ProviderRefused(
        f"the provider reported {fault.code}: {fault.message}",
        recovery=fault.recovery,
        provider_code=fault.code,
        retry_after_s=fault.retry_after_s,
    )
