"""Tools that an outside client lends to a session for a while.

Theory. A loan begins and ends with its client. While it lasts, its tools stand beside the member's own and are called
through the ledger like any other. When it ends, nobody is there to answer: what still runs is given up, as a call that
was cancelled, and the model is told that the client has gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio
from attrs import evolve

from mob.definition.names import name_fault
from mob.errors import UsageError
from mob.sessions.tools import CallWithdrawn, ToolCallable, ToolContext, ToolFunction


class Loan:
    """One client's tools. `tools` are what a session is given, in the place of those that were lent."""

    def __init__(self, tools: Iterable[ToolFunction]) -> None:
        """UsageError: a name that no tool can have, or the same name twice."""
        self._calls: set[trio.CancelScope] = set()
        self._over = False
        self.tools = tuple(evolve(tool, call=self._guarded(tool)) for tool in tools)
        seen: set[str] = set()
        for name in self.names:
            fault = name_fault("tool", name)
            if fault is not None or name in seen:
                raise UsageError(f"the tool {name!r} cannot be lent: {fault or 'it is there twice'}")
            seen.add(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names, in their order."""
        return tuple(tool.name for tool in self.tools)

    def end(self) -> None:
        """The client has gone: give up what it was to answer."""
        self._over = True
        for scope in self._calls:
            scope.cancel()

    def _guarded(self, tool: ToolFunction) -> ToolCallable:
        async def call(arguments: dict[str, Any], context: ToolContext) -> object:
            if not self._over:
                with trio.CancelScope() as scope:
                    self._calls.add(scope)
                    try:
                        return await tool.call(arguments, context)
                    finally:
                        self._calls.discard(scope)
            maybe = " Whether it took effect is not known." if tool.effect == "write" else ""
            raise CallWithdrawn(f"{tool.name} was given up: the client that offered it has gone.{maybe}")

        return call
