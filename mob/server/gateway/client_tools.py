"""The client's own function tools, as tools of the member: called here, answered over there (`mob.server.lending`).

A call is given to the client as a `function_call` item, and the answer that it stands in ends there, as the wire wants
it. `function_call_output` answers it, and `response.create` tells the member, so that it does not go on before it may.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from mob.errors import UsageError
from mob.history.items import Cause
from mob.server.lending import Call, Calls, lent
from mob.team.handles import MemberHandle
from mob.values import ToolSchema


class ClientTools(Calls):
    """The calls of one connection that are open. `timeout_s` bounds how long the client may take.

    `give` hands a call to the client; False: the turn that it belongs to is not the client's.
    """

    def __init__(self, *, timeout_s: float) -> None:
        super().__init__()
        self.give: Callable[[Call, Cause], bool] = lambda _call, _cause: False
        self._timeout_s = timeout_s
        self._loan = AsyncExitStack()
        self.lent: tuple[ToolSchema, ...] = ()
        """What the member has of the client now."""

    async def lend(self, member: MemberHandle, schemas: tuple[ToolSchema, ...]) -> None:
        """Let the member have these, and no longer those before. UsageError, MemberError."""
        if schemas == self.lent:
            return
        await self.take_back()
        if schemas:
            run = [lent(each, self.caller(each.name, self._give), timeout_s=self._timeout_s) for each in schemas]
            await self._loan.enter_async_context(member.lend_tools(run))
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

    def _give(self, call: Call, cause: Cause) -> bool:
        return self.give(call, cause)  # whoever talks with the client when the call is made
