"""The tool calls of a channel: each is started once, ends once, and is told to the provider once.

Theory. A call is known by its `call_id`, for the life of the channel and across its connections, so that a call that is
announced twice is run once (law 18). Its way:

    started ──outcome──> ended ──told to the provider──> told
       └──cut, policy cancel──> cancelling ──outcome──┘
       └──cut, policy keep──> kept (its turn no longer waits for it) ──outcome──┘

Whether the session runs it, the channel's client must, or nobody can (a name the model was never told) is decided when
it is ready. A result is told as the output of the call where the provider's conversation has that call; after a
reconnection the call is put there first; when its turn was seeded as history already, the outcome comes as a note.
"""

from __future__ import annotations

from typing import Literal

from attrs import define

from mob.history.items import ToolCall, ToolResult
from mob.live import events
from mob.live.context import Context
from mob.live.effects import CancelTool, StartTool
from mob.live.turns import LiveTurn
from mob.providers.commands import AddMessage, AddToolCall, AddToolResult
from mob.providers.events import ToolCallReady
from mob.values import ToolStatus

CallState = Literal["started", "cancelling", "kept", "ended", "told"]

CANCELLED = "This call was cancelled: the turn it belonged to was interrupted."
TIMED_OUT = "Nobody answered this call within {:g} s."
UNKNOWN = "There is no tool called {!r}. The tools are: {}."


@define(slots=True, eq=False)
class _Call:
    call: ToolCall
    turn: LiveTurn
    response_id: str
    epoch: int
    external: bool
    began: float
    deadline: float
    state: CallState = "started"
    result: ToolResult | None = None
    committed: bool = False


class Calls:
    """Every call of the channel."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._calls: dict[str, _Call] = {}
        self._seen: set[str] = set()

    # -- coming in -------------------------------------------------------------------------------------------------

    def ready(self, event: ToolCallReady, turn: LiveTurn) -> None:
        """A call of `turn` is complete: start it, unless it was seen before."""
        context = self._context
        if event.call_id in self._seen:
            context.count("duplicate_calls")
            return
        self._seen.add(event.call_id)
        turn.reducer.apply(event)
        item = next(call for call in turn.reducer.calls if call.call_id == event.call_id)
        ours = context.tools.runs_tool(event.name)
        call = _Call(item, turn, event.response_id, context.epoch, not ours, context.now, float("inf"))
        self._calls[event.call_id] = call
        turn.open_calls.add(event.call_id)
        context.publish(
            events.ToolCall, call_id=event.call_id, name=event.name, arguments=event.arguments, external=not ours
        )
        if ours:
            context.emit(StartTool(item, turn.turn_id, event.response_id, turn.cause))
        elif event.name in context.tool_names:
            call.deadline = context.now + context.limits.tool_timeout_s
        else:
            known = ", ".join(sorted(context.tool_names)) or "none"
            self._end(call, "failed", UNKNOWN.format(event.name, known))

    # -- going out -------------------------------------------------------------------------------------------------

    def outcome(self, call_id: str, result: ToolResult | None) -> LiveTurn | None:
        """A call that the session ran has ended. Gives its turn; None when that is no news."""
        call = self._calls.get(call_id)
        if call is None or call.result is not None:
            return None
        if result is None:
            self._end(call, "cancelled", CANCELLED)
        else:
            self._finish(call, result)
        return call.turn

    def answered(self, call_id: str, output: str) -> LiveTurn | None:
        """The client answers a call. Gives its turn; None when there is no such call that waits for the client."""
        call = self._calls.get(call_id)
        if call is None or not call.external or call.result is not None:
            return None
        self._end(call, "done", output)
        return call.turn

    def overdue(self) -> list[LiveTurn]:
        """Time out what the client did not answer. Gives the turns concerned."""
        late = [call for call in self._calls.values() if call.result is None and call.deadline <= self._context.now]
        for call in late:
            self._end(call, "timed_out", TIMED_OUT.format(self._context.limits.tool_timeout_s))
        return [call.turn for call in late]

    @property
    def next_deadline(self) -> float:
        """When the first call that waits for the client will be overdue."""
        return min((call.deadline for call in self._calls.values() if call.result is None), default=float("inf"))

    # -- interruption ----------------------------------------------------------------------------------------------

    def cut(self, turn: LiveTurn, *, closing: bool = False) -> frozenset[str]:
        """Its turn was cut: cancel or keep each running call by policy; nothing survives the channel's end.

        Gives the responses whose calls are still running.
        """
        running = [call for call in self._calls.values() if call.turn is turn and call.result is None]
        for call in running:
            if call.external:
                self._end(call, "cancelled", CANCELLED)
            elif closing or not self._context.tools.keeps_running(call.call.name):
                self._cancel(call)
            else:
                call.state = "kept"
                turn.open_calls.discard(call.call.call_id)
        return frozenset(call.response_id for call in running)

    def _cancel(self, call: _Call) -> None:
        if call.state != "cancelling":
            call.state = "cancelling"
            self._context.emit(CancelTool(call.call.call_id))

    def cancel_all(self) -> None:
        """The channel ends: whatever still runs is cancelled."""
        for call in self._calls.values():
            if call.result is None and not call.external:
                self._cancel(call)

    def give_up(self, turn: LiveTurn) -> None:
        """The turn waits for none of its calls any more: their ledger rows will fill the history."""
        for call in self._calls.values():
            if call.turn is turn and call.result is None:
                turn.open_calls.discard(call.call.call_id)

    def committed(self, turn: LiveTurn) -> None:
        """The turn goes to the log as it is; from now on the log is what a new connection is told of its calls."""
        for call in list(self._calls.values()):
            if call.turn is turn:
                call.committed = True
                self._forget(call)

    def _forget(self, call: _Call) -> None:
        """Of a call that is told and in the log, its id is all that matters."""
        if call.state == "told" and call.committed:
            self._calls.pop(call.call.call_id, None)

    @property
    def running(self) -> int:
        """How many calls run in the session."""
        return sum(1 for call in self._calls.values() if call.result is None and not call.external)

    # -- telling the provider --------------------------------------------------------------------------------------

    def place(self, turn: LiveTurn) -> None:
        """Put the ended calls of an uncommitted turn into a new connection's conversation."""
        for call in self._calls.values():
            if call.turn is turn and call.epoch != self._context.epoch and call.result is not None:
                call.state = "ended"
                self._tell(call)

    def seeded(self) -> None:
        """A new connection was told the log as of now: what has ended and is committed needs no telling."""
        for call in list(self._calls.values()):
            if call.state == "ended" and call.committed:
                call.state = "told"
                self._forget(call)

    def tell_late(self) -> None:
        """The connection is ready (again): say what could not be said meanwhile."""
        for call in list(self._calls.values()):
            if call.state == "ended" and call.committed:
                self._tell(call)

    def _end(self, call: _Call, status: ToolStatus, output: str) -> None:
        context = self._context
        elapsed = round((context.now - call.began) * 1000)
        name, call_id = call.call.name, call.call.call_id
        self._finish(call, ToolResult(context.ids.new("item"), call_id, name, status, output, elapsed))

    def _finish(self, call: _Call, result: ToolResult) -> None:
        context, turn = self._context, call.turn
        call.result = result
        call.state = "ended"
        turn.open_calls.discard(result.call_id)
        if not call.committed:
            turn.reducer.answer_call(result)
        context.publish(
            events.ToolFinished,
            call_id=result.call_id,
            name=result.name,
            status=result.status,
            output=result.output,
            elapsed_ms=result.elapsed_ms,
        )
        if turn.cut is None:
            turn.unanswered_results = True
            if result.status == "done" and context.tools.ends_turn(result.name):
                turn.ends = True
        if context.ready:
            self._tell(call)

    def _tell(self, call: _Call) -> None:
        """Exactly one output per call and connection, and none once it has been told."""
        context, result = self._context, call.result
        if result is None or call.state == "told":
            return
        call.state = "told"
        if call.epoch != context.epoch and call.committed:
            text = f"The call {result.name}({call.call.arguments}) has ended: {result.status}. {result.output}"
            context.send(AddMessage(context.ids.new("item"), "system", text, ref=context.new_ref("note")))
            self._forget(call)
            return
        if call.epoch != context.epoch:
            call.epoch = context.epoch
            context.send(
                AddToolCall(
                    context.ids.new("item"),
                    result.call_id,
                    result.name,
                    call.call.arguments,
                    ref=context.new_ref("tool"),
                )
            )
        context.send(AddToolResult(context.ids.new("item"), result.call_id, result.output, ref=context.new_ref("tool")))
        self._forget(call)
