"""`mob models`: the catalogue as a table, or as JSON with every field."""

from __future__ import annotations

import argparse
import json

from attrs import asdict

from mob.definition.catalogue import catalogue
from mob.definition.model import ModelCapabilities

_HEADINGS = ("MODEL", "PROVIDER", "WIRE", "LIVE", "IN", "OUT", "CONTEXT", "USD PER 1M IN/OUT", "AS OF")


def command(arguments: argparse.Namespace) -> int:
    """Print the catalogue."""
    models = list(catalogue().values())
    if arguments.json:
        print(json.dumps([asdict(model) for model in models], indent=2))
        return 0
    rows = [_HEADINGS, *(_row(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(model: ModelCapabilities) -> tuple[str, ...]:
    price = model.price
    return (
        model.id,
        model.provider,
        model.wire,
        "live" if model.realtime else "-",
        ",".join(model.input_modalities),
        ",".join(model.output_modalities),
        "-" if model.context_window is None else f"{model.context_window // 1000}k",
        "unpriced" if price is None else f"{_money(price.input_text)}/{_money(price.output_text)}",
        "-" if price is None else price.as_of,
    )


def _money(dollars: float | None) -> str:
    return "-" if dollars is None else f"{dollars:g}"
