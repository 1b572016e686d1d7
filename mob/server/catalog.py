"""The model catalogue as Meerkat's clients read it, over JSON-RPC and REST alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mob.definition.catalogue import catalogue, providers
from mob.definition.model import ModelCapabilities

JSON = dict[str, Any]

CONTRACT = (0, 9, 6)
"""The version of Meerkat's contract whose shapes these are."""


def contract_version() -> JSON:
    """The contract's version as an object."""
    return dict(zip(("major", "minor", "patch"), CONTRACT, strict=True))


def catalog(default_model: str, declared: Mapping[str, ModelCapabilities] | None = None) -> JSON:
    """The model catalogue, by provider. The first live model of a provider that has no default of ours is its own."""
    grouped: dict[str, list[ModelCapabilities]] = {}
    for model in {**catalogue(), **(declared or {})}.values():
        grouped.setdefault(model.provider, []).append(model)
    return {
        "contract_version": contract_version(),
        "providers": [
            {
                "provider": provider,
                "display_name": providers()[provider].display_name if provider in providers() else provider,
                "default_model_id": default_model if default_model in {m.id for m in models} else models[0].id,
                "models": [_entry(model) for model in models],
            }
            for provider, models in grouped.items()
        ],
    }


def _entry(model: ModelCapabilities) -> JSON:
    entry: JSON = {
        "id": model.id,
        "display_name": model.display_name or model.id,
        "tier": "recommended" if model.price is not None else "supported",
        "profile": {
            "model_family": model.wire,
            "params_schema": {},
            "supports_temperature": not model.realtime,
            "supports_thinking": False,
            "supports_reasoning": False,
            "vision": "image" in model.input_modalities,
            "realtime": model.realtime,
            "input_modalities": list(model.input_modalities),
            "output_modalities": list(model.output_modalities),
            "turn_modes": list(model.turn_modes),
            "wire": model.wire,
        },
    }
    if model.context_window is not None:
        entry["context_window"] = model.context_window
    if model.max_output_tokens is not None:
        entry["max_output_tokens"] = model.max_output_tokens
    return entry
