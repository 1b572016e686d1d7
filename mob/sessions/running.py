"""Runs one call of one tool to its outcome, whatever the tool does.

Theory. The function runs in a task of its own in the session's nursery, under a scope of its own, and the caller waits
for its outcome. So whoever gives the call up (a timeout, an interruption) goes on at once: the function is cancelled,
and one that is slow to obey, or never does, delays nobody but the end of its session. A sync function is left behind in
its thread. What a tool raises is its outcome, a sentence without a traceback; the traceback goes to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio
from attrs import frozen

from mob.errors import HopLimitReached, LimitReached, MobError, RouteRefused, TurnTimedOut
from mob.sessions.tools import BadArguments, CallWithdrawn, ToolContext, ToolFunction, as_text, cut, parse_arguments
from mob.values import ToolStatus

_log = logging.getLogger(__name__)
_SENTENCE_CHARS = 1000


@frozen(slots=True)
class Outcome:
    """How a call ended, and what the model is told of it."""

    status: ToolStatus
    output: str


async def attempt(
    tool: ToolFunction, arguments: str, context: ToolContext, *, nursery: trio.Nursery, max_output_bytes: int
) -> Outcome:
    """Run the tool with these arguments (JSON text). Never raises but for the caller's own cancellation."""

    async def job() -> object:
        return await tool.call(parse_arguments(tool.name, arguments), context)

    timeout_s = float("inf") if tool.timeout_s is None else tool.timeout_s
    with trio.move_on_after(timeout_s) as patience:
        outcome = await _detached(tool, job, nursery)
    if patience.cancelled_caught:
        maybe = "; whether it took effect is not known" if tool.effect == "write" else ""
        return Outcome("timed_out", f"{tool.name} did not end within {timeout_s:g} s and was given up{maybe}.")
    return Outcome(outcome.status, cut(outcome.output, max_output_bytes))


async def _detached(tool: ToolFunction, job: Callable[[], Awaitable[object]], nursery: trio.Nursery) -> Outcome:
    scope, ended = trio.CancelScope(), trio.Event()
    outcome = Outcome("cancelled", f"{tool.name} was cancelled.")

    async def body() -> None:
        nonlocal outcome
        try:
            with scope:
                outcome = Outcome("done", as_text(await job()))
        except (Exception, SystemExit) as error:
            outcome = _failure(tool.name, error)
        except BaseExceptionGroup as group:
            stray = group.split((Exception, SystemExit))[1]
            if stray is not None:
                raise
            outcome = _failure(tool.name, group)
        finally:
            ended.set()

    nursery.start_soon(body, name=f"tool {tool.name}")
    try:
        await ended.wait()
    finally:
        scope.cancel()
    return outcome


def _failure(name: str, error: BaseException) -> Outcome:
    match error:
        case BadArguments():
            return Outcome("failed", str(error))
        case CallWithdrawn():
            return Outcome("cancelled", str(error))
        case TurnTimedOut():
            return Outcome("timed_out", error.message)
        case RouteRefused() | HopLimitReached() | LimitReached():
            return Outcome("denied", error.message)
        case MobError():
            return Outcome("failed", error.message)
    _log.warning("the tool %s raised", name, exc_info=error)
    told = "; ".join(f"{type(leaf).__name__}: {_words(leaf)}".rstrip(": ") for leaf in _leaves(error))
    return Outcome("failed", f"{name} failed: {told[:_SENTENCE_CHARS]}")


def _words(error: BaseException) -> str:
    """What the exception says of itself, if it can: its `__str__` is the tool's code as well."""
    try:
        return str(error)
    except Exception:  # whatever a stranger's code raises
        return ""


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
