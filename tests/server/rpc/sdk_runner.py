"""Running the published client, which leaves pipes of its server's process for the garbage collector to find."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Coroutine
from typing import Any


def run_client(main: Coroutine[Any, Any, Any]) -> Any:
    """Run an asyncio program; what it leaves to the garbage collector is collected here, and not in another test.

    Within the loop, since a pipe that is found after the loop was closed cannot be closed any more.
    """

    async def tidy() -> Any:
        try:
            return await main
        finally:
            gc.collect()
            await asyncio.sleep(0)

    hook = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return asyncio.run(tidy())
        finally:
            sys.unraisablehook = lambda found: None if _is_late(found.exc_value) else hook(found)
            gc.collect()
            sys.unraisablehook = hook


def _is_late(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and "Event loop is closed" in str(error)
