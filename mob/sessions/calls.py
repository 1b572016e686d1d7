"""The tool calls of one answer, run side by side, each in a task that outlives the turn when its tool says so."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from attrs import define, field

from mob.history.items import Cause, ToolCall, ToolResult
from mob.sessions.ledger import Ledger
from mob.sessions.tools import ToolBox


@define(eq=False, slots=True)
class _Running:
    call: ToolCall
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    ended: trio.Event = field(factory=trio.Event)


class CallBatch:
    """The calls of one response. `nursery` is the session's: a call that keeps running is joined there."""

    def __init__(self, ledger: Ledger, tools: ToolBox, nursery: trio.Nursery, calls: Sequence[ToolCall]) -> None:
        self._ledger = ledger
        self._tools = tools
        self._nursery = nursery
        self._running = [_Running(call) for call in calls]

    @property
    def results(self) -> list[ToolResult]:
        """Of the calls that have ended, in the order of the calls."""
        results = [self._ledger.result(each.call.call_id) for each in self._running]
        return [result for result in results if result is not None]

    async def run(self, *, turn_id: str, response_id: str, cause: Cause) -> None:
        """Run all calls to their ends.

        When this is cancelled, no write of the response starts any more, calls that are not to be kept are given up
        and have their ends when the cancellation goes on, and the others run on.
        """
        for each in self._running:
            self._nursery.start_soon(self._run_one, each, turn_id, response_id, cause)
        try:
            for each in self._running:
                await each.ended.wait()
        except trio.Cancelled:
            self._ledger.response_cut(response_id)
            await self._give_up()
            raise

    async def _run_one(self, each: _Running, turn_id: str, response_id: str, cause: Cause) -> None:
        try:
            with each.scope:
                await self._ledger.run(each.call, turn_id=turn_id, response_id=response_id, cause=cause)
        finally:
            each.ended.set()

    async def _give_up(self) -> None:
        given_up = [each for each in self._running if not self._keeps(each.call.name)]
        for each in given_up:
            each.scope.cancel()
        # The journal bounds this: what a cancelled call still does is to write its end.
        with trio.CancelScope(shield=True):
            for each in given_up:
                await each.ended.wait()

    def _keeps(self, name: str) -> bool:
        tool = self._tools.get(name)
        return tool is not None and tool.keeps_running
