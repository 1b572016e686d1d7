"""The client's own function tools, as tools of the member: called here, answered over there.

Theory. A call of the member's is given to the client as a `function_call` item, and the answer that it stands in ends
there, as the wire wants it. What moves a call on:

    called ──function_call_output──> answered ──response.create──> told to the member, whose answer goes on
       └──response.create──> told that the client had no answer
       └──time, interruption, the connection ends──> gone: a late output is refused

The member is told only when the client asks for the response, so that it does not go on before it may.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import trio
from attrs import define, field, frozen

from mob.errors import UsageError
from mob.history.items import Cause
from mob.sessions.tools import BadArguments, ToolContext, ToolFunction
from mob.team.handles import MemberHandle
from mob.values import ToolSchema

NOT_YOURS = "This tool is for another conversation than this; go on without it."
NO_ANSWER = "The client went on without an answer to this call."


@frozen(slots=True)
class Call:
    """A function of the client's is called; `arguments` is a JSON object."""

    call_id: str
    name: str
    arguments: str


@define(eq=False, slots=True)
class _Open:
    output: str | None = None
    told: trio.Event = field(factory=trio.Event)


class ClientTools:
    """The calls of one connection that are open. `timeout_s` bounds how long the client may take.

    `give` hands a call to the client; False: the turn that it belongs to is not the client's.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self.give: Callable[[Call, Cause], bool] = lambda _call, _cause: False
        self._timeout_s = timeout_s
        self._calls: dict[str, _Open] = {}
        self._loan = AsyncExitStack()
        self.lent: tuple[ToolSchema, ...] = ()
        """What the member has of the client now."""

    async def lend(self, member: MemberHandle, schemas: tuple[ToolSchema, ...]) -> None:
        """Let the member have these, and no longer those before. UsageError, MemberError."""
        if schemas == self.lent:
            return
        await self.take_back()
        if schemas:
            await self._loan.enter_async_context(member.lend_tools(self._functions(schemas)))
        self.lent = schemas

    async def move_to(self, member: MemberHandle, give: Callable[[Call, Cause], bool]) -> None:
        """Another member talks with the client from now on, and has what the one before had."""
        schemas = self.lent
        await self.take_back()
        self.give = give
        try:
            await self.lend(member, schemas)
        except UsageError:  # the names are taken there: this member has to do without them
            return

    async def take_back(self) -> None:
        """The client has gone, or names other functions: what the member still waits for is given up."""
        loan, self._loan, self.lent = self._loan, AsyncExitStack(), ()
        await loan.aclose()

    def _functions(self, schemas: Sequence[ToolSchema]) -> list[ToolFunction]:
        """A client's function may do anything, so it counts as one that writes: it never starts for a cut answer."""
        return [
            ToolFunction(schema, self._caller(schema.name), effect="write", timeout_s=self._timeout_s)
            for schema in schemas
        ]

    def _caller(self, name: str) -> Callable[[dict[str, Any], ToolContext], Any]:
        async def call(arguments: dict[str, Any], context: ToolContext) -> str:
            text = json.dumps(arguments, ensure_ascii=False)
            return await self._run(Call(context.call_id, name, text), context.cause)

        return call

    async def _run(self, call: Call, cause: Cause) -> str:
        here = self._calls[call.call_id] = _Open()
        try:
            if not self.give(call, cause):
                raise BadArguments(NOT_YOURS)
            await here.told.wait()
            return NO_ANSWER if here.output is None else here.output
        finally:
            del self._calls[call.call_id]

    def open(self, call_id: str) -> bool:
        """Whether this call waits for its answer."""
        call = self._calls.get(call_id)
        return call is not None and call.output is None and not call.told.is_set()

    @property
    def waiting(self) -> bool:
        """Whether the member waits for the client."""
        return any(not call.told.is_set() for call in self._calls.values())

    def answer(self, call_id: str, output: str) -> bool:
        """The client's answer; the member is told when the answer is to go on. False: nobody waits for it."""
        if not self.open(call_id):
            return False
        self._calls[call_id].output = output
        return True

    def refuse(self, call_id: str) -> None:
        """The turn that this call belongs to is not the client's after all."""
        call = self._calls.get(call_id)
        if call is not None:
            call.output = NOT_YOURS
            call.told.set()

    def go_on(self) -> None:
        """The client asks for the next response: tell the member what there is."""
        for call in self._calls.values():
            call.told.set()
