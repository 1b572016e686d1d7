"""Run events as Meerkat's agent events: what `session/event` and `session/stream_event` carry.

Theory. A client wants to see a *run*: that it began, what was written, which tools ran, how it ended. Ours are told one
by one, of all members; the narrator of one member keeps the place in its run:

    between ──turn_started──> writing ──tool_call──> calling ──more is written──> writing …
    writing, calling ──turn_committed──> between          run_completed or run_failed
    writing, calling ──turn_started again, the mob stops──> between        run_failed: it came to nothing

In their words a *turn* is one answer of the model; ours are their runs. Everything a client may have missed is told in
its place (`stream_truncated`). Pure: events in, payloads out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from mob.history.items import Turn
from mob.server.rpc.shapes import arguments_of, usage_of
from mob.sessions.events import (
    AgentTranscribed,
    AgentWriting,
    AgentWrote,
    ErrorOccurred,
    MobStopped,
    RunEvent,
    ToolCalled,
    ToolEnded,
    TurnBegan,
    TurnEnded,
    UserTranscribed,
)
from mob.team.events import StreamLagged

JSON = dict[str, Any]

_CAUSES: Final = {"budget_exceeded": "budget_exhausted", "turn_timeout": "time_budget_exceeded"}
_CLASSES: Final = {"budget_exceeded": "budget", "store_error": "store", "store_full": "store"}


class Narrator:
    """Tells one member's runs. `turn_of` gives a committed turn by its id, None when it is not to be had.

    `prompt`: what a run whose words nobody has said yet was begun with, as Meerkat's clients wrote it.
    """

    def __init__(self, session_id: str, member: str, *, turn_of: Callable[[str], Turn | None]) -> None:
        self.session_id = session_id
        self.member = member
        self.prompt: Any = None
        self.open = False
        """Whether a run is being told."""
        self._turn_of = turn_of
        self._answers = 0
        self._answering = False
        self._streamed = ""
        self._calls = 0
        self._error: ErrorOccurred | None = None

    def tell(self, event: RunEvent) -> Iterator[JSON]:
        """What this event comes to; nothing for most."""
        if isinstance(event, StreamLagged):
            yield truncated(event.missed)
        elif isinstance(event, MobStopped):
            yield from self.give_up("the mob stopped")
        elif event.member == self.member:
            yield from self._tell(event)

    def give_up(self, why: str, error: ErrorOccurred | None = None) -> Iterator[JSON]:
        """The run that is being told comes to nothing more; nothing happens when none is."""
        if not self.open:
            return
        error = error or self._error
        code, message = (error.error_class, error.message) if error is not None else ("cancelled", why)
        yield self._failed(code, message)
        self._close()

    def _tell(self, event: RunEvent) -> Iterator[JSON]:
        match event:
            case TurnBegan(message_id=message_id):
                yield from self.give_up("the run came to nothing")
                yield from self._begin(message_id)
            case UserTranscribed(text=text):
                self.prompt = text
            case AgentWriting(delta=delta):
                yield from self._answer()
                self._streamed += delta
                yield {"type": "text_delta", "delta": delta}
            case AgentWrote(text=text) | AgentTranscribed(text=text):
                yield from self._answer()
                yield from self._whole(text)
            case ToolCalled(call=call, name=name, arguments=arguments):
                yield from self._called(call, name, arguments)
            case ToolEnded():
                yield from self._ended_call(event)
            case ErrorOccurred():
                self._error = event
            case TurnEnded():
                yield from self._end(event)

    def _begin(self, message_id: str | None) -> Iterator[JSON]:
        self.open = True
        said = self.prompt if self.prompt is not None else ""
        self.prompt = None
        run: JSON = {"type": "run_started", "session_id": self.session_id}
        run["input"] = {"kind": "content", "content": said}
        if message_id is not None:
            run["identity"] = {"interaction_id": message_id}
        yield run

    def _answer(self) -> Iterator[JSON]:
        """The model answers: a turn in their words."""
        if self._answering:
            return
        if not self.open:
            yield from self._begin(None)
        self._answering, self._calls = True, 0
        self._answers += 1
        yield {"type": "turn_started", "turn_number": self._answers}

    def _whole(self, text: str) -> Iterator[JSON]:
        rest = text[len(self._streamed) :] if text.startswith(self._streamed) else ""
        if rest:
            yield {"type": "text_delta", "delta": rest}
        self._streamed = ""
        yield {"type": "text_complete", "content": text}

    def _called(self, call: str, name: str, arguments: str) -> Iterator[JSON]:
        if not self._calls:
            yield from self._answer()
        given = arguments_of(arguments)
        args = given if isinstance(given, dict) else {}
        yield {"type": "tool_call_requested", "id": call, "name": name, "args": args}
        if not self._calls:
            yield {"type": "turn_completed", "stop_reason": "tool_use"}
            self._answering = False
        self._calls += 1
        yield {"type": "tool_execution_started", "id": call, "name": name}

    def _ended_call(self, event: ToolEnded) -> Iterator[JSON]:
        named: JSON = {"id": event.call, "name": event.name}
        failed = event.status != "done"
        if event.status == "timed_out":
            yield {"type": "tool_execution_timed_out", **named, "timeout_ms": event.elapsed_ms}
        else:
            ended = {"is_error": failed, "duration_ms": event.elapsed_ms}
            yield {"type": "tool_execution_completed", **named, **ended}
        content = [{"type": "text", "text": event.output}]
        yield {"type": "tool_result_received", **named, "is_error": failed, "content": content}

    def _end(self, event: TurnEnded) -> Iterator[JSON]:
        if not self.open:
            yield from self._begin(None)
        if event.status == "failed":
            error = self._turn_of(event.turn)
            message = (error.error if error is not None else None) or "the run failed"
            known = self._error if self._error is not None and self._error.message == message else None
            yield self._failed(known.error_class if known is not None else "member_failed", message)
        elif event.status == "cancelled":
            yield self._failed("cancelled", "the run was cancelled")
        else:
            yield from self._completed(event)
        self._close()

    def _completed(self, event: TurnEnded) -> Iterator[JSON]:
        usage = usage_of(event.usage)
        yield from self._answer() if event.agent else ()
        reason = "cancelled" if event.status == "interrupted" else "end_turn"
        if self._answering:
            yield {"type": "turn_completed", "stop_reason": reason, "usage": usage}
        yield {
            "type": "run_completed",
            "session_id": self.session_id,
            "result": event.agent,
            "usage": usage,
            "identity": {"run_id": event.turn},
        }

    def _failed(self, code: str, message: str) -> JSON:
        cancelled = code == "cancelled"
        cause = _CAUSES.get(code, "llm_failure" if code.startswith("provider") else "fatal_failure")
        report: JSON = {"class": "cancelled" if cancelled else _CLASSES.get(code, "llm"), "message": message}
        failed: JSON = {"type": "run_failed", "session_id": self.session_id, "error_report": report}
        if not cancelled:
            failed["terminal_cause_kind"] = cause
        return failed

    def _close(self) -> None:
        self.open = self._answering = False
        self._answers = self._calls = 0
        self._streamed = ""
        self._error = None


def truncated(dropped: int) -> JSON:
    """The payload that says that so many events are missing here."""
    return {"type": "stream_truncated", "reason": {"kind": "stream_lagged", "dropped": dropped}}
