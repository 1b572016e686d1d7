"""What Ctrl-C means: the talking stops, the run drains, and the exit code is 130."""

from __future__ import annotations

import signal

import trio

INTERRUPTED = 130


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    """Cancel `scope` at the first SIGINT or SIGTERM; runs until then."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await anext(aiter(signals))
        scope.cancel()
