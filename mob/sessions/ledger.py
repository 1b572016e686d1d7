"""Every tool call of a member, from its durable beginning to its one terminal state.

Theory. The states of a call id, and what moves it:

    unknown ──run, tool there──> started ──outcome, timeout, cancel──> done | failed | timed_out | cancelled | denied
    unknown ──run, no such tool, or a write of a cut response──> denied        (it has no row that begins it)
    unknown ──run, given up before it started──> cancelled                     (likewise)
    started ──the process died──> (next start: close_dangling) ──> cancelled

The row that begins a call is durable before the function runs, the row that ends it before anybody is told. No move
leads out of a terminal state: whoever runs the id again gets the first result again, waits for it where it still runs,
and starts nothing, within one process, over reconnects and over restarts, since the states are the fold of the log.
A call that is given up is ended as cancelled, shielded for a bounded time, before the cancellation goes on. A write
that belongs to a response that was cut does not start, even if the cut came while its first row was being written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import trio
from attrs import frozen

from mob.definition.model import Effect
from mob.errors import StoreError
from mob.history.fold import History, ToolRecord
from mob.history.items import Cause, ToolCall, ToolResult, result_id
from mob.history.rows import ToolEnded, ToolStarted
from mob.sessions.events import RunEvent, ToolCalled, ToolEnded as ToolEndedEvent
from mob.sessions.journal import Journal
from mob.sessions.running import Outcome, attempt
from mob.sessions.tools import ToolBox, ToolContext, ToolFunction

_log = logging.getLogger(__name__)
_CUTS_KEPT = 256

STOPPED = "Cancelled: the program stopped while this ran; whether it took effect is not known."
CUT = "It was not started: the answer that called it had been interrupted."


@frozen(slots=True)
class LedgerStatistics:
    """Counts: calls ever seen, running now, and repeated ids that were given their first result."""

    calls: int
    running: int
    repeated: int


class Ledger:
    """Runs a member's tool calls. `nursery` is where functions run; it must outlive every call."""

    def __init__(
        self,
        journal: Journal,
        tools: ToolBox,
        *,
        nursery: trio.Nursery,
        publish: Callable[[RunEvent], object],
        max_output_bytes: int,
    ) -> None:
        self._journal = journal
        self._tools = tools
        self._nursery = nursery
        self._publish = publish
        self._max_output_bytes = max_output_bytes
        self._running: dict[str, trio.Event] = {}
        self._cut: dict[str, None] = {}
        self._repeated = 0

    def response_cut(self, response_id: str) -> None:
        """This response was interrupted: no write of it starts any more."""
        self._cut[response_id] = None
        while len(self._cut) > _CUTS_KEPT:
            del self._cut[next(iter(self._cut))]

    async def close_dangling(self) -> int:
        """Close the calls that the log holds open, before anything runs: their process is gone. Returns how many."""
        dangling = [record for record in self._history.open_calls.values() if record.call_id not in self._running]
        if dangling:
            await self._journal.write(
                *(ToolEnded(self._member, each.call_id, each.name, "cancelled", STOPPED) for each in dangling)
            )
        return len(dangling)

    async def run(self, call: ToolCall, *, turn_id: str, response_id: str, cause: Cause) -> ToolResult:
        """Run the call to its terminal state, or give the one it has. Never raises but for cancellation."""
        while call.call_id in self._running:
            await self._running[call.call_id].wait()
        record = self._history.calls.get(call.call_id)
        if record is not None:
            self._repeated += 1
            return _result(record)
        ended = self._running[call.call_id] = trio.Event()
        try:
            return await self._first_run(call, turn_id, response_id, cause)
        finally:
            del self._running[call.call_id]
            ended.set()

    @property
    def calls(self) -> Mapping[str, ToolRecord]:
        """Every call by its id, as the log has it."""
        return self._history.calls

    def known(self, call_id: str) -> bool:
        """Whether this call was ever seen."""
        return call_id in self._running or call_id in self._history.calls

    def result(self, call_id: str) -> ToolResult | None:
        """How this call ended; None while it has not."""
        record = self._history.calls.get(call_id)
        return None if record is None or record.status is None else _result(record)

    def statistics(self) -> LedgerStatistics:
        """Counts, as of now."""
        return LedgerStatistics(len(self._history.calls), len(self._running), self._repeated)

    async def _first_run(self, call: ToolCall, turn_id: str, response_id: str, cause: Cause) -> ToolResult:
        tool = self._tools.get(call.name)
        effect: Effect = "read" if tool is None else tool.effect
        started = ToolStarted(self._member, call.call_id, call.name, call.arguments, effect, turn_id, response_id)
        began = trio.current_time()
        outcome = Outcome("cancelled", f"{call.name} was cancelled before it started.")
        try:
            refusal = self._refusal(call, tool, response_id)
            if refusal is not None or tool is None:
                outcome = Outcome("denied", refusal or "")
            else:
                await self._journal.write(started)
                outcome = _given_up(tool)
                context = ToolContext(call.call_id, self._member, turn_id, cause)
                outcome = await self._start(call, tool, response_id, context)
        except StoreError as error:
            outcome = Outcome("failed", f"{call.name} was not run: it could not be recorded.")
            _log.error("%s: the call %s was not run: %s", self._member, call.call_id, error)
        finally:
            elapsed_ms = round((trio.current_time() - began) * 1000)
            await self._end(started, outcome, elapsed_ms)
        return ToolResult(result_id(call.call_id), call.call_id, call.name, outcome.status, outcome.output, elapsed_ms)

    async def _start(self, call: ToolCall, tool: ToolFunction, response_id: str, context: ToolContext) -> Outcome:
        self._tell_start(call)
        refusal = self._refusal(call, tool, response_id)
        if refusal is not None:
            return Outcome("denied", refusal)
        return await attempt(
            tool, call.arguments, context, nursery=self._nursery, max_output_bytes=self._max_output_bytes
        )

    def _refusal(self, call: ToolCall, tool: ToolFunction | None, response_id: str) -> str | None:
        if tool is None:
            return self._tools.unknown(call.name)
        return CUT if tool.effect == "write" and response_id in self._cut else None

    async def _end(self, started: ToolStarted, outcome: Outcome, elapsed_ms: int) -> None:
        """Write the terminal row, whoever cancels, within the journal's bounds, and tell of it."""
        ended = ToolEnded(self._member, started.call_id, started.name, outcome.status, outcome.output, elapsed_ms)
        begun = started.call_id in self._history.calls
        with trio.CancelScope(shield=True):
            try:
                await self._journal.write(ended)
            except StoreError as error:
                _log.error("%s: the end of call %s is not recorded: %s", self._member, started.call_id, error)
        if not begun:
            self._tell_start(ToolCall("", started.call_id, started.name, started.arguments))
        self._publish(
            ToolEndedEvent(
                member=self._member,
                call=started.call_id,
                name=started.name,
                status=outcome.status,
                output=outcome.output,
                elapsed_ms=elapsed_ms,
            )
        )

    def _tell_start(self, call: ToolCall) -> None:
        self._publish(ToolCalled(member=self._member, call=call.call_id, name=call.name, arguments=call.arguments))

    @property
    def _history(self) -> History:
        return self._journal.history

    @property
    def _member(self) -> str:
        return self._journal.history.member


def _given_up(tool: ToolFunction) -> Outcome:
    """The outcome of a call whose scope is cancelled while it runs."""
    if tool.effect == "write":
        return Outcome("cancelled", f"{tool.name} was given up while it ran; whether it took effect is not known.")
    return Outcome("cancelled", f"{tool.name} was given up: its turn was interrupted.")


def _result(record: ToolRecord) -> ToolResult:
    """The result of a call that the log knows. One that is still open there was left by a process that is gone."""
    status, output = (record.status, record.output) if record.status is not None else ("cancelled", STOPPED)
    return ToolResult(result_id(record.call_id), record.call_id, record.name, status, output, record.elapsed_ms)
