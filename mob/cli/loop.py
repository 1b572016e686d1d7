"""Starting the loop for a command: what comes out of it is one error, not a group of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from mob.errors import MobError


def run_loop(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main` to its exit code.

    Of several MobErrors the first is raised. What the system refuses (OSError: a reader of our output that left, a full
    disk) and a second Ctrl-C (KeyboardInterrupt) come out bare as well; a bug comes out as trio gives it.
    """
    try:
        return trio.run(main)
    except* (MobError, OSError, KeyboardInterrupt) as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group holds at least one exception")
