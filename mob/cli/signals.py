"""What Ctrl-C means: the talking stops, the run drains, and the exit code is 130."""

from __future__ import annotations

import signal

import trio

INTERRUPTED = 130


async def cancel_on_signal(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Cancel `scope` at the first SIGINT or SIGTERM. After that the signals mean what they always do."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(aiter(signals))
        scope.cancel()
