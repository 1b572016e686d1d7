"""Running the published client, which leaves pipes of its server's process for the garbage collector to find."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Coroutine
from typing import Any


def run_client(main: Coroutine[Any, Any, Any]) -> Any:
    """Run an asyncio program; what it leaves to the garbage collector is collected here, and not in another test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return asyncio.run(main)
        finally:
            gc.collect()
