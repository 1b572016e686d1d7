"""Law 26 for every parser at the doors: some tens of thousands of spoilt inputs, seeded, in some seconds.

`tests/fuzz/run.py` tries as many as one likes. A parser that was broken on purpose is caught (`BREAKS`): each target
has a mutant in which one guard is gone.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import targets_protocol
from fuzzing import Broken, Target, check_valid, fuzz, todays_seed

TARGETS = (*targets_protocol.TARGETS,)
COUNT = 1200


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_law_26_spoilt_inputs_are_read_or_refused(target: Target):
    check_valid(target)
    fuzz(target, COUNT, todays_seed())


def _anything(value: Any, *_: Any, **__: Any) -> Any:
    return value


def _nothing(*_: Any, **__: Any) -> None:
    return None


BREAKS: dict[str, tuple[str, Any]] = {
    "jsonrpc": ("mob.jsontext._finite", float),
    "live frames of clients": ("mob.protocol.frames._read_id", lambda body: body.get("id")),
    "live frames of servers": ("mob.protocol.observations._place", lambda frame, _: {"channel_id": "x", **frame}),
    "binary speech": ("mob.protocol.speech.math", SimpleNamespace(isfinite=lambda _: True)),
    "shape of a turn": ("mob.history.codec._a", lambda _, value: value),
    "shape of an item": ("mob.history.codec._a", lambda _, value: value),
    "shape of usage": ("mob.history.codec._a", lambda _, value: value),
    "shape of a run event": ("mob.protocol.shapes._type_of", lambda body, _: body["type"]),
    "shape of a live event": ("mob.protocol.shapes._object", _anything),
    "shape of an error": ("mob.protocol.shapes._details", lambda cls: ("reason",)),
}
"""For each target the guard that is taken out, and what stands in its place."""


def test_no_target_is_without_its_mutant():
    assert set(BREAKS) == {target.name for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_law_26_mutant_a_parser_without_a_guard_is_caught(target: Target, monkeypatch: pytest.MonkeyPatch):
    path, instead = BREAKS[target.name]
    module, _, name = path.rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), name, instead)
    with pytest.raises(Broken):
        fuzz(target, 50_000, 1)
