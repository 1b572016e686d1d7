"""A client's own functions as tools of a member, the same at every door: called here, answered over there.

Theory. Nobody says what a client's function does, so it counts as one that writes: it never starts for an answer that
was cut, and never twice (law 18). Only `team/lend_tools` says otherwise, where the client says it of its own tool. What
bounds a call in time is the door's: the client's answer, the request that brings it, or the turn.

Where the answer comes in a later message of the client's, the call stands in a book until then:

    called ──given to the client──> open ──answer──> answered ──go_on──> told to the member, which goes on
       │                             ├──go_on──> told that the client had no answer
       └──not this client's──────────┴──refuse──> told so
    any ──its time, an interruption, the client's end──> gone: a late answer is refused

A door says only how a call is given, and when the member is to go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import trio
from attrs import define, field, frozen

from mob.definition.model import Effect
from mob.history.items import Cause
from mob.sessions.tools import BadArguments, CallWithdrawn, ToolCallable, ToolContext, ToolFunction
from mob.values import ToolSchema

NOT_YOURS = "This tool is for another conversation than this; go on without it."
NO_ANSWER = "The client went on without an answer to this call."


def lent(
    schema: ToolSchema,
    run: ToolCallable,
    *,
    timeout_s: float | None,
    effect: Effect = "write",
    keeps_running: bool = False,
    ends_turn: bool = False,
) -> ToolFunction:
    """A client's function, as `MemberHandle.lend_tools` wants it. `timeout_s` None: bounded by its turn alone."""
    return ToolFunction(schema, run, effect, timeout_s, keeps_running, ends_turn)


def client_gone(name: str) -> CallWithdrawn:
    """How a call ends whose client has gone while it ran it."""
    return CallWithdrawn(
        f"{name} was given up: the client that offered it has gone. Whether it took effect is not known."
    )


@frozen(slots=True)
class Call:
    """A function of the client's is called; `arguments` is a JSON object."""

    call_id: str
    name: str
    arguments: str


@define(eq=False, slots=True)
class _Open:
    call: Call
    output: str | None = None
    over: trio.Event = field(factory=trio.Event)


class Calls:
    """The calls that wait for one client, in the order in which they came."""

    def __init__(self) -> None:
        self._calls: dict[str, _Open] = {}

    def caller(self, name: str, give: Callable[[Call, Cause], bool]) -> ToolCallable:
        """What runs the client's function of this name: `give` hands a call over, or says that it is not for it."""

        async def run(arguments: dict[str, Any], context: ToolContext) -> str:
            call = Call(context.call_id, name, json.dumps(arguments, ensure_ascii=False))
            here = self._calls[call.call_id] = _Open(call)
            try:
                if not give(call, context.cause):
                    raise BadArguments(NOT_YOURS)
                await here.over.wait()
                return NO_ANSWER if here.output is None else here.output
            finally:
                del self._calls[call.call_id]

        return run

    @property
    def unanswered(self) -> tuple[Call, ...]:
        """Those that the client may still answer."""
        return tuple(here.call for here in self._calls.values() if here.output is None and not here.over.is_set())

    @property
    def waiting(self) -> bool:
        """Whether the member waits for the client."""
        return any(not here.over.is_set() for here in self._calls.values())

    def open(self, call_id: str) -> bool:
        """Whether this call waits for its answer."""
        return any(call.call_id == call_id for call in self.unanswered)

    def answer(self, call_id: str, output: str) -> bool:
        """The client's answer; the member is told when it is to go on. False: nobody waits for it."""
        if not self.open(call_id):
            return False
        self._calls[call_id].output = output
        return True

    def refuse(self, call_id: str) -> None:
        """The turn that this call belongs to is not the client's after all."""
        here = self._calls.get(call_id)
        if here is not None:
            here.output = NOT_YOURS
            here.over.set()

    def go_on(self, call_ids: Iterable[str] | None = None) -> None:
        """Tell the member what there is of these calls; None: of all."""
        for call_id in tuple(self._calls) if call_ids is None else call_ids:
            self._calls[call_id].over.set()
