"""A turn while it runs: what has been said so far, so that whatever ends it, what was shown is kept."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from attrs import define, field

from mob.history.items import AgentMessage, Cause, Item, Timings, ToolCall, ToolResult, Turn, TurnStatus
from mob.ids import Ids
from mob.values import NO_USAGE, Usage


@define(eq=False, slots=True)
class Draft:
    """One request/response turn under way. `streaming` is the text of the answer that is coming in now."""

    id: str
    cause: Cause
    started_at: float
    items: list[Item]
    usage: Usage = NO_USAGE
    streaming: str = ""
    _began: float = field(factory=trio.current_time, init=False)
    _first_token_ms: int | None = field(default=None, init=False)
    _total_ms: int | None = field(default=None, init=False)

    def more_text(self, delta: str) -> None:
        """The answer goes on."""
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self.streaming += delta

    def whole_text(self, text: str) -> None:
        """The answer's text as the provider has it in the end; it stands above the parts."""
        if text:
            self.more_text("")
            self.streaming = text

    def end_text(self, message_id: str, response_id: str | None, *, cut: bool = False) -> AgentMessage | None:
        """The answer is over, or was cut: what came of it becomes a message. None when nothing did."""
        text, self.streaming = self.streaming, ""
        self._total_ms = self._elapsed_ms()
        if not text:
            return None
        message = AgentMessage(
            message_id,
            display_text=text,
            interrupted=cut,
            generated_text=text if cut else "",
            response_id=response_id,
        )
        self.items.append(message)
        return message

    def add_calls(self, calls: Sequence[ToolCall]) -> None:
        """The answer calls tools."""
        if calls and self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self.items.extend(calls)

    def add_results(self, results: Sequence[ToolResult]) -> None:
        """How the calls ended."""
        self.items.extend(results)

    @property
    def acted(self) -> bool:
        """Whether the member has said or called anything yet."""
        return any(isinstance(item, AgentMessage | ToolCall) for item in self.items)

    def turn(self, ids: Ids, status: TurnStatus, error: str | None = None) -> Turn:
        """The turn as it stands, with this end. Text that was still coming in is kept as a cut message."""
        self.end_text(ids.new("item"), None, cut=True)
        return self.so_far(status, error)

    def so_far(self, status: TurnStatus = "done", error: str | None = None) -> Turn:
        """The turn as it stands."""
        timings = Timings(self.started_at, first_token_ms=self._first_token_ms, total_ms=self._total_ms)
        return Turn(self.id, self.cause, tuple(self.items), status, 0, self.usage, timings, error)

    def _elapsed_ms(self) -> int:
        return round((trio.current_time() - self._began) * 1000)
