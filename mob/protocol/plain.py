"""What the live socket tells clients that know Meerkat's observations and nothing else. Pure.

    Connected                ready the first time, then status_changed to ready
    Disconnected             status_changed to degraded; when final, to closed, after `error` if a fault was the end
    UserTranscript, AgentTranscriptDelta, AgentTranscript, TextDelta, AudioDelta, ToolCall, ResponseDone,
    ContentCommitted         as with `control=1`, without our further fields
    Interrupted              assistant_transcript_truncated for each item that was cut, turn_interrupted once
    ChannelError             command_rejected; turn_failed when nothing can be done about it
    a gap                    unknown, which says what was lost

For the rest these clients have no word, and it is left out.
"""

from __future__ import annotations

from typing import Any

from mob.live import events as live
from mob.live.events import LiveEvent
from mob.protocol.observations import ContentCommitted, response_done, said
from mob.protocol.refusals import fault_code

JSON = dict[str, Any]

READY: JSON = {"observation": "ready"}


def status_json(status: str) -> JSON:
    """A channel's status as Meerkat's clients read it."""
    if status == "degraded":
        return {"status": status, "reason": {"kind": "network_unstable"}}
    return {"status": status}


class Plain:
    """One client's tongue: it remembers what was told. `epoch` is that of the connection it has been told of."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._interrupted: str | None = None
        self._fault: live.ChannelError | None = None

    def tell(self, event: LiveEvent) -> list[JSON]:
        """The event in observations, none of them AudioDelta's."""
        match event:
            case live.Connected(epoch=epoch):
                return self._connected(epoch)
            case live.Disconnected():
                return self._disconnected(event)
            case live.Interrupted():
                return self._cut(event)
            case live.ResponseDone():
                return [response_done(event)]
            case live.ChannelError():
                return [self._error(event)]
            case (
                live.UserTranscript()
                | live.AgentTranscriptDelta()
                | live.AgentTranscript()
                | live.TextDelta()
                | live.ToolCall()
                | ContentCommitted()
            ):
                return [said(event)]
        return []

    @staticmethod
    def tell_lost(audio_bytes: int, events: int) -> JSON:
        """Something is missing here."""
        return {
            "observation": "unknown",
            "debug": f"lost on the way to a slow client: {audio_bytes} bytes of audio, {events} other events",
        }

    def _connected(self, epoch: int) -> list[JSON]:
        first, known, self._epoch = self._epoch == 0, epoch <= self._epoch, max(epoch, self._epoch)
        if known:
            return []
        return [READY if first else _changed("ready")]

    def _disconnected(self, event: live.Disconnected) -> list[JSON]:
        if not event.final:
            return [_changed("degraded")]
        end = [_changed("closed")]
        if self._fault is None or self._fault.code != event.reason:
            return end
        return [{"observation": "error", "code": fault_code(event.reason), "message": self._fault.message}, *end]

    def _cut(self, event: live.Interrupted) -> list[JSON]:
        told: list[JSON] = []
        if event.item_id is not None:
            names = {"provider_item_id": event.item_id, "response_id": event.response_id, "content_index": 0}
            told.append({"observation": "assistant_transcript_truncated", **names})
        if event.response_id != self._interrupted:
            self._interrupted = event.response_id
            told.append({"observation": "turn_interrupted", "response_id": event.response_id})
        return told

    def _error(self, event: live.ChannelError) -> JSON:
        if event.recovery == "fatal":
            self._fault = event
            failure = {"status": "failed", "code": event.code, "message": event.message}
            return {"observation": "turn_failed", "failure": failure}
        return {"observation": "command_rejected", "code": fault_code(event.code), "message": event.message}


def _changed(status: str) -> JSON:
    return {"observation": "status_changed", "status": status_json(status)}
