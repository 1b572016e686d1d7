"""What a model is told of the past: as much of the history as there is room for, and an honest word about the rest."""

from __future__ import annotations

from mob.definition.model import ModelCapabilities
from mob.history.fold import History
from mob.history.projection import project
from mob.live.ports import Seed
from mob.providers.commands import SessionConfig

_CHARS_PER_TOKEN = 3
"""On the safe side of what tokenizers make of text."""
_WINDOW_SHARE = 0.75
"""How much of a model's window the past may fill; the rest is for the turn itself."""


def build_seed(
    config: SessionConfig, model: ModelCapabilities, history: History, *, max_chars: int | None = None
) -> Seed:
    """The newest whole turns that fit the model's window, and within `max_chars` characters."""
    bounds = [bound for bound in (_room(model, config.instructions), max_chars) if bound is not None]
    past = project(history.turns, history.calls, max_chars=min(bounds, default=None))
    if past.degraded:
        return Seed(config, past.items, "degraded")
    return Seed(config, past.items, "transcript_only" if past.items else "fresh")


def _room(model: ModelCapabilities, instructions: str) -> int | None:
    """How many characters the past may fill; None when nobody knows the model's window."""
    if model.context_window is None:
        return None
    return max(round(model.context_window * _CHARS_PER_TOKEN * _WINDOW_SHARE) - len(instructions), 0)
