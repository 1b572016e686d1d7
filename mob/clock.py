"""The clock of a run: trio's own, which is virtual in a test, and the unix time that passes with it."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio


def is_virtual_time() -> bool:
    """Whether this trio run keeps a clock of its own. Threads count as idle under such a clock: await none of them."""
    return type(trio.lowlevel.current_clock()).__name__ != "SystemClock"


def wall_clock() -> Callable[[], float]:
    """Unix seconds that pass as trio's clock does: the wall time of this call plus the time elapsed in the run."""
    start = time.time() - trio.current_time()
    return lambda: start + trio.current_time()
