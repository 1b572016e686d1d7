"""What a request cost, and the most that it can cost, from the catalogue's prices.

A provider reports totals with parts of them named: cached tokens are part of the input, audio and image tokens are
part of their side, cached audio is part of both. Each part has its own price; a part whose price is not in the
catalogue takes the dearest price that is known for its side, so that a bill is never guessed too low.
"""

from __future__ import annotations

import math

from attrs import evolve, frozen

from mob.definition.model import ModelCapabilities, Price
from mob.values import Usage

_PER_TOKEN = 1_000_000


@frozen(slots=True)
class Ceiling:
    """The most one request can use: tokens in and out together, and US dollars. `inf` when nothing bounds it."""

    tokens: float
    usd: float


def priced(usage: Usage, price: Price | None) -> Usage:
    """The usage with `cost_usd` worked out; unchanged when the model has no price or the provider named the cost."""
    if price is None or usage.cost_usd is not None or not usage.reported:
        return usage
    into, out = _input_rate(price), _output_rate(price)
    if into is None or out is None:
        return usage
    cached_audio = min(usage.cached_audio_tokens, usage.input_audio_tokens, usage.cached_tokens)
    text_in = max(usage.input_tokens - usage.input_audio_tokens - usage.input_image_tokens, 0)
    cached_text = min(usage.cached_tokens - cached_audio, text_in)
    text_rate, audio_rate = _first(price.input_text, into), _first(price.input_audio, into)
    total = (
        (text_in - cached_text) * text_rate
        + cached_text * _first(price.cached_text, text_rate)
        + (usage.input_audio_tokens - cached_audio) * audio_rate
        + cached_audio * _first(price.cached_audio, audio_rate)
        + usage.input_image_tokens * _first(price.input_image, into)
        + max(usage.output_tokens - usage.output_audio_tokens, 0) * _first(price.output_text, out)
        + usage.output_audio_tokens * _first(price.output_audio, out)
    )
    return evolve(usage, cost_usd=total / _PER_TOKEN)


def ceiling(model: ModelCapabilities, *, input_bytes: int | None = None) -> Ceiling:
    """The most one request to this model can use. `input_bytes` is the size of the request, when it is known.

    A token is at least one byte of the request, so its size bounds the input; the context window bounds both sides.
    """
    window = math.inf if model.context_window is None else model.context_window
    into = min(window, math.inf if input_bytes is None else input_bytes)
    out = min(window, math.inf if model.max_output_tokens is None else model.max_output_tokens)
    if model.price is None:
        return Ceiling(into + out, 0.0)
    usd = into * (_input_rate(model.price) or 0.0) + out * (_output_rate(model.price) or 0.0)
    return Ceiling(into + out, 0.0 if math.isnan(usd) else usd / _PER_TOKEN)


def _input_rate(price: Price) -> float | None:
    return _dearest(price.input_text, price.input_audio, price.input_image)


def _output_rate(price: Price) -> float | None:
    return _dearest(price.output_text, price.output_audio)


def _dearest(*rates: float | None) -> float | None:
    return max((rate for rate in rates if rate is not None), default=None)


def _first(rate: float | None, otherwise: float) -> float:
    return otherwise if rate is None else rate
