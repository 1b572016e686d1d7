"""What the run is told of a live channel: its events in the run's own vocabulary, and the member's state."""

from __future__ import annotations

from collections.abc import Callable

from mob.live import events as live
from mob.sessions.events import (
    AgentTranscribed,
    AgentWrote,
    AnswerInterrupted,
    ChannelClosed,
    ChannelOpened,
    ErrorOccurred,
    MemberChanged,
    RunEvent,
    ToolCalled,
    ToolEnded,
    UserTranscribed,
)


class StateBoard:
    """Publishes a member's state when it changes: idle, connecting, listening, thinking, speaking or tool."""

    def __init__(self, member: str, generation: int, publish: Callable[[RunEvent], object]) -> None:
        self._member = member
        self._generation = generation
        self._publish = publish
        self.state = "idle"

    def show(self, state: str) -> None:
        """The member is in this state now."""
        if state != self.state:
            self.state = state
            self._publish(MemberChanged(member=self._member, state=state, generation=self._generation))


class ChannelObserver:
    """Turns a channel's events into run events. Tool calls that the session runs are told by its ledger."""

    def __init__(self, member: str, board: StateBoard, publish: Callable[[RunEvent], object]) -> None:
        self._member = member
        self._board = board
        self._publish = publish
        self._external: set[str] = set()

    def see(self, event: live.LiveEvent) -> None:
        """One event, in the order in which the client gets them."""
        state = _STATES.get(type(event))
        if state is not None:
            self._board.show(state)
        told = self._told(event)
        if told is not None:
            self._publish(told)

    def _told(self, event: live.LiveEvent) -> RunEvent | None:
        member = self._member
        match event:
            case live.Connected(channel_id=channel, continuity=continuity, epoch=epoch):
                return ChannelOpened(member=member, channel=channel, continuity=continuity, epoch=epoch)
            case live.Disconnected(channel_id=channel, reason=reason, final=final):
                self._board.show("idle" if final else "connecting")
                return ChannelClosed(member=member, channel=channel, reason=reason) if final else None
            case live.UserTranscript(text=text):
                return UserTranscribed(member=member, text=text)
            case live.AgentTranscript(text=text):
                return AgentTranscribed(member=member, text=text)
            case live.Text(text=text):
                return AgentWrote(member=member, text=text)
            case live.Interrupted(generated_ms=generated, heard_ms=heard, fidelity=fidelity):
                return AnswerInterrupted(member=member, generated_ms=generated, heard_ms=heard, fidelity=fidelity)
            case live.ChannelError(code=code, message=message, recovery=recovery):
                return ErrorOccurred(member=member, error_class=code, message=message, recovery=recovery)
            case live.ToolCall() | live.ToolFinished():
                return self._told_of_tool(event)
        return None

    def _told_of_tool(self, event: live.ToolCall | live.ToolFinished) -> RunEvent | None:
        """Only of calls that the channel's client answers."""
        if isinstance(event, live.ToolCall):
            if not event.external:
                return None
            self._external.add(event.call_id)
            return ToolCalled(member=self._member, call=event.call_id, name=event.name, arguments=event.arguments)
        if event.call_id not in self._external:
            return None
        self._external.discard(event.call_id)
        return ToolEnded(
            member=self._member,
            call=event.call_id,
            name=event.name,
            status=event.status,
            output=event.output,
            elapsed_ms=event.elapsed_ms,
        )


_STATES: dict[type[live.LiveEvent], str] = {
    live.Connected: "idle",
    live.SpeechStarted: "listening",
    live.SpeechStopped: "thinking",
    live.UserTranscript: "thinking",
    live.AgentTranscriptDelta: "speaking",
    live.TextDelta: "speaking",
    live.ToolCall: "tool",
    live.ToolFinished: "thinking",
    live.Interrupted: "listening",
    live.TurnCommitted: "idle",
}
