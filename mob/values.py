"""Small values that every floor speaks of, so that each has one name and one shape.

Nothing here does anything: literals, and frozen records with arithmetic at most.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

Recovery = Literal["benign", "defer", "retry", "reopen", "reconfigure", "fatal"]
"""What can be done about a fault: ignore it; repeat after the response ends; back off and repeat on the same
channel; open a new channel and seed it; drop an option and reopen once; tell the user."""

Fidelity = Literal["exact", "estimated", "unknown"]
"""How well the heard position is known: by receipts, by the clock, or not at all."""

ToolStatus = Literal["done", "failed", "cancelled", "timed_out", "denied"]
"""The terminal states of a tool call; each call reaches exactly one."""

Continuity = Literal["fresh", "transcript_only", "degraded", "provider_native_resume"]
"""What the provider was told of the history: nothing to tell; all of it as text; part of it; it kept its own."""

Modality = Literal["audio", "text"]

Via = Literal["ask", "tell", "hand_off"]

TurnMode = Literal["server_vad", "semantic_vad", "manual"]
"""Who decides that the user's turn is over: the provider by loudness, by sense, or the client by `commit`."""


@frozen(slots=True)
class TurnDetection:
    """Who decides that the user's turn is over, in the vendor's own terms; None leaves the vendor's default.

    Times are milliseconds. `create_response` and `interrupt_response` False: mob owns both (one owner of
    `response.create`).
    """

    mode: TurnMode = "server_vad"
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    idle_timeout_ms: int | None = None
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool = False
    interrupt_response: bool = False


@frozen(slots=True)
class Usage:
    """What was used, in tokens, and what it cost. Sums with `+`.

    `reported` is False when the provider said nothing, so that 0 is never mistaken for free; `cost_usd` is None
    when the model has no price in the catalogue.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_audio_tokens: int = 0
    requests: int = 0
    reported: bool = True
    cost_usd: float | None = None

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        costs = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            input_audio_tokens=self.input_audio_tokens + other.input_audio_tokens,
            output_audio_tokens=self.output_audio_tokens + other.output_audio_tokens,
            input_image_tokens=self.input_image_tokens + other.input_image_tokens,
            cached_audio_tokens=self.cached_audio_tokens + other.cached_audio_tokens,
            requests=self.requests + other.requests,
            reported=self.reported and other.reported,
            cost_usd=sum(costs) if costs else None,
        )


NO_USAGE = Usage()


@frozen(slots=True)
class ToolSchema:
    """A function the model may call: its name, a sentence, and the JSON Schema of its arguments (an object)."""

    name: str
    description: str
    parameters: dict[str, object] = field(factory=dict, hash=False)


@frozen(slots=True)
class Image:
    """A still picture: `mime` is image/png or image/jpeg, `data` the file's bytes."""

    mime: str
    data: bytes = field(repr=lambda b: f"<{len(b)} bytes>")
