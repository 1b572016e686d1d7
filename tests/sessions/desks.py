"""A session's inner parts put together on a real log in memory, for the tests of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import define, field

from mob.definition.model import Budget, ModelCapabilities
from mob.history.fold import History
from mob.history.items import ToolCall
from mob.history.rows import Stored
from mob.sessions.budget import BudgetMeter
from mob.sessions.desk import TurnDesk
from mob.sessions.events import RunEvent
from mob.sessions.journal import Journal
from mob.sessions.ledger import Ledger
from mob.sessions.tools import ToolBox, ToolFunction
from mob.store.memory import MemoryStore
from mob.store.port import RunLog
from mob.values import ToolSchema

MODEL = ModelCapabilities("a-model", "somebody", "openai-chat", context_window=1000, max_output_tokens=100)


@define(eq=False)
class Bench:
    """One member's journal, ledger and desk, with what they published."""

    log: RunLog
    journal: Journal
    ledger: Ledger
    desk: TurnDesk
    tools: ToolBox
    nursery: trio.Nursery
    events: list[RunEvent] = field(factory=list)

    @property
    def history(self) -> History:
        """The fold."""
        return self.journal.history

    async def rows(self) -> list[Stored]:
        """All rows of the log."""
        return [row async for row in self.log.read()]


@asynccontextmanager
async def open_bench(
    *tools: ToolFunction,
    store: MemoryStore | None = None,
    budget: Budget | None = None,
    max_output_bytes: int = 65536,
    ledger: type[Ledger] = Ledger,
    wrap=lambda log: log,
) -> AsyncIterator[Bench]:
    """Open a bench on a run (again, when the store has it)."""
    events: list[RunEvent] = []
    async with (store or MemoryStore()).open_run("run", create=True) as opened:
        log = wrap(opened)
        rows = [row async for row in log.read()]
        history = History.of("host", rows)
        journal = Journal(log, history, timeout_s=5.0)
        box = ToolBox(tools)
        async with trio.open_nursery() as nursery:
            yield Bench(
                log,
                journal,
                ledger(journal, box, nursery=nursery, publish=events.append, max_output_bytes=max_output_bytes),
                TurnDesk(
                    journal, BudgetMeter("host", budget or Budget()), generation=1, model=MODEL, publish=events.append
                ),
                box,
                nursery,
                events,
            )
            nursery.cancel_scope.cancel()


def tool(call, name: str = "look", **options) -> ToolFunction:
    """A tool around `async call(arguments, context)`."""
    return ToolFunction(ToolSchema(name, name), call, **options)


def call(call_id: str = "c1", name: str = "look", arguments: str = "{}") -> ToolCall:
    """A call as the model makes it."""
    return ToolCall(f"item_{call_id}", call_id, name, arguments)
