"""What is done to sound events on their way out, and to a client's on their way in: quirks and wire faults.

The protocol engine writes events in one legal order and shape. Real servers differ within what is legal, which the
seed decides here for each connection; and they have faults, which the plan decides. Without a plan nothing is looked
at.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, Literal

from attrs import frozen

from mob.providers.openai_realtime.outbox import EmissionOptions
from mob.rehearsal.faults import FaultPlan

JsonObject = dict[str, Any]

_HUGE_BYTES = 1536 * 1024
_PINGS = 200


@frozen(slots=True)
class Send:
    """A text frame; `fragments` above 1: as so many WebSocket fragments."""

    frame: str
    fragments: int = 1


@frozen(slots=True)
class Ping:
    """So many pings."""

    count: int


@frozen(slots=True)
class Break:
    """The connection ends or falls silent here."""

    how: Literal["drop-socket", "close-1011", "half-open"]


Outgoing = Send | Ping | Break


@frozen(slots=True)
class Refused:
    """A client's event is answered with this error and not read."""

    code: str
    message: str
    ref: str | None


@frozen(slots=True)
class Lost:
    """A client's event is not read, and nobody says so."""


_PAYLOAD = "input_audio_buffer.append"


class Tamper:
    """One connection's quirks and wire faults."""

    def __init__(self, faults: FaultPlan, member: str | None, dice: random.Random) -> None:
        self._faults = faults
        self._member = member
        self.options = EmissionOptions(
            transcript_done_first=dice.random() < 0.5,
            output_item_done_first=dice.random() < 0.5,
            deltas_after_end=faults.has("late-deltas"),
        )

    def rewrite(self, event: JsonObject) -> list[JsonObject]:
        """The events to write in the place of this one."""
        shaped = self._shaped(event)
        if shaped and self._due("unknown-event"):
            shaped.insert(0, {"type": "response.daydream.delta", "event_id": "event_odd", "delta": {"of": ["sheep"]}})
        if shaped and self._due("unknown-field"):
            shaped[-1] = _with_unknown_fields(shaped[-1])
        if shaped and self._due("huge-frame"):
            shaped[-1] = {**shaped[-1], "padding": "x" * _HUGE_BYTES}
        return shaped

    def outgoing(self, frames: list[str]) -> Iterator[Outgoing]:
        """What becomes of these frames on the connection, in order."""
        for frame in frames:
            if not self._faults:
                yield Send(frame)
                continue
            for how in _BREAKS:
                if self._due(how):
                    yield Break(how)
            if self._due("ping-flood"):
                yield Ping(_PINGS)
            yield Send(frame, fragments=7 if self._due("fragmented") else 1)

    def intercept(self, frame: str) -> Refused | Lost | None:
        """What happens to a client's frame instead of being read, when anything does."""
        if not self._faults or _PAYLOAD in frame[:200]:
            return None
        try:
            event = json.loads(frame)
        except ValueError:
            return None
        return self._intercepted(event) if isinstance(event, dict) else None

    def _intercepted(self, event: JsonObject) -> Refused | Lost | None:
        reference = event.get("event_id")
        match event.get("type"):
            case "response.create" if self._due("response-refused"):
                message = "Conversation already has an active response in progress: resp_somebody_elses."
                return Refused("conversation_already_has_active_response", message, reference)
            case "response.cancel" if self._due("cancel-ignored"):
                return Lost()
            case "conversation.item.truncate" if self._due("truncate-refused"):
                message = f"Audio content of 100ms is already shorter than {event.get('audio_end_ms')}ms"
                return Refused("invalid_value", message, reference)
            case "conversation.item.truncate" if self._due("truncate-unsupported"):
                return Refused("unsupported_content_type", "This item has no audio to truncate.", reference)
            case "input_audio_buffer.commit" if self._due("commit-refused"):
                message = "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio."
                return Refused("input_audio_buffer_commit_empty", message, reference)
        return None

    def _due(self, kind: str) -> bool:
        return self._faults.due(kind, self._member)

    def _shaped(self, event: JsonObject) -> list[JsonObject]:
        """The event as the faults about its kind make it: none, one or two."""
        match event["type"]:
            case "conversation.item.added":
                return self._odd_item(event)
            case "response.created" if self._due("no-created"):
                return []
            case "response.done":
                return self._odd_done(event)
        return [event]

    def _odd_item(self, event: JsonObject) -> list[JsonObject]:
        if self._due("unknown-previous"):
            event = {**event, "previous_item_id": "item_nobody_has_seen"}
        if self._due("null-previous"):
            event = {**event, "previous_item_id": None}
        return [event, event] if self._due("duplicate-items") else [event]

    def _odd_done(self, event: JsonObject) -> list[JsonObject]:
        response = dict(event["response"])
        odd = {**event, "response": response}
        if response["status"] == "cancelled" and self._due("no-done"):
            return []
        if self._due("null-fields"):
            response |= dict.fromkeys(("status_details", "usage", "metadata", "conversation_id", "output"))
        if self._due("string-status-details"):
            response["status_details"] = str(response["status"])
        if self._due("usage-outside"):
            odd["usage"] = response.pop("usage")
        return [odd]


_BREAKS: tuple[Literal["drop-socket", "close-1011", "half-open"], ...] = ("drop-socket", "close-1011", "half-open")


def _with_unknown_fields(event: JsonObject) -> JsonObject:
    strange = {"level": 3, "notes": [None, True]}
    parts = {key: {**value, "x_new_thing": strange} for key, value in event.items() if isinstance(value, dict)}
    return {**event, **parts, "x_new_thing": strange}
