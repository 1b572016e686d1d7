"""How inputs are drawn and tried: a target, its mutants from one seed, and what is said when one breaks it.

A target is one parser (or one door) with valid inputs and a check. The check gives the parser one input and raises
whenever law 26 does not hold: anything but the declared refusal comes out, a refusal does not name its place, what was
accepted cannot be written again. The same seed draws the same inputs; a failure says which, so that it can be had again
(`python tests/fuzz/run.py --only NAME --seed N`).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import field, frozen
from mutations import Mutator, words_of

Check = Callable[[bytes], object]


class Broken(AssertionError):
    """Law 26 does not hold for this input."""


@frozen
class Target:
    """`values` are valid inputs that are JSON, `raw` those that are not; `check` raises when the parser is broken."""

    name: str
    check: Check
    values: tuple[Any, ...] = ()
    raw: tuple[bytes, ...] = ()
    seeds: tuple[bytes, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        written = (json.dumps(value).encode() for value in self.values)
        object.__setattr__(self, "seeds", (*written, *self.raw))

    def inputs(self, seed: int) -> Iterator[bytes]:
        """Mutants without an end."""
        mutator = Mutator(seed, words_of(self.values))
        rng = mutator.random
        while True:
            if self.values and rng.random() < (0.75 if not self.raw else 0.4):
                text = mutator.write(mutator.spoil_value(rng.choice(self.values), self.values))
                yield mutator.spoil_bytes(text, self.seeds) if rng.random() < 0.08 else text
            else:
                yield mutator.spoil_bytes(rng.choice(self.seeds), self.seeds)


@frozen
class Tally:
    """How many mutants were tried, and the longest that one took, in seconds."""

    tried: int
    slowest_s: float


def fuzz(target: Target, count: int, seed: int) -> Tally:
    """Try so many mutants. Broken names the first that breaks it."""
    slowest = 0.0
    for number, data in zip(range(count), target.inputs(seed), strict=False):
        began = time.perf_counter()
        try:
            target.check(data)
            slowest = max(slowest, time.perf_counter() - began)
        except Exception as error:
            shown = data if len(data) <= 1500 else data[:1500] + b"..."
            raise Broken(
                f"{target.name}, seed {seed}, input {number}: {type(error).__name__}: {error}\n{shown!r}"
            ) from error
    return Tally(count, slowest)


def check_valid(target: Target) -> None:
    """The seeds are inputs that the parser at least does not break at."""
    for data in target.seeds:
        target.check(data)


def todays_seed() -> int:
    """The same in continuous integration, another one at each run elsewhere."""
    return 1 if os.environ.get("CI") else random.SystemRandom().randrange(2**32)


def must(condition: object, what: str) -> None:
    """The invariant."""
    if not condition:
        raise Broken(what)


def is_text(value: object, most: int = 2000) -> bool:
    """Whether this is a sentence that can be shown: some, not too long, and with whole characters."""
    return isinstance(value, str) and 0 < len(value) <= most


def names(values: Sequence[Target]) -> dict[str, Target]:
    """By name."""
    return {target.name: target for target in values}
