"""Tools that run here, lent to a member that runs elsewhere.

Theory. The server asks for each call (`team/run_tool`) and gives it up (`team/give_up`); each runs in the nursery of
the block that lent it, by the same code that runs a tool of a local member, and its outcome is what the server is
answered. When the block is left the tools are taken back, and what still runs is cancelled.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from mob.errors import MobError
from mob.protocol.jsonrpc import INVALID_PARAMS, Request, Response, RpcError
from mob.remote.peer import Peer
from mob.remote.replica import codec_read
from mob.sessions.lending import Loan
from mob.sessions.running import Outcome, attempt
from mob.sessions.tools import ToolContext, ToolFunction

JSON = dict[str, Any]

RUN, GIVE_UP = "team/run_tool", "team/give_up"
_MAX_OUTPUT_BYTES = 1024 * 1024
"""The server cuts to what the team file's limits say."""
_TAKE_BACK_S = 5.0


class Workshop:
    """The tools that one connection lends, by loan. `peer` is where calls come from and answers go."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._loans: dict[str, tuple[trio.Nursery, dict[str, ToolFunction]]] = {}
        self._runs: dict[str, trio.CancelScope] = {}
        self._lent = 0

    @asynccontextmanager
    async def lend(self, whose: JSON, tools: Iterable[ToolFunction]) -> AsyncIterator[None]:
        """Lend these to a member, whose parameters these are, until the block is left. As MemberHandle.lend_tools."""
        own = Loan(tools).tools
        self._lent += 1
        loan = {**whose, "loan": f"l{self._lent}"}
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            self._loans[loan["loan"]] = nursery, {tool.name: tool for tool in own}
            try:
                await self._peer.call("team/lend_tools", {**loan, "tools": [_told(tool) for tool in own]})
                yield
            except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
                failure = error
            finally:
                with trio.move_on_after(_TAKE_BACK_S, shield=True), suppress(MobError):
                    await self._peer.call("team/take_back", loan)
                del self._loans[loan["loan"]]
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def asked(self, request: Request) -> None:
        """The server wants a call run."""
        match request.params:
            case {"loan": str(loan), "run": str(run), "name": str(name), "arguments": dict(arguments)}:
                nursery, tools = self._loans.get(loan, (None, {}))
                context: ToolContext = codec_read(request.params.get("context"), ToolContext, "context")
                if nursery is not None and name in tools and run not in self._runs:
                    scope = self._runs[run] = trio.CancelScope()
                    nursery.start_soon(self._run, request, run, scope, tools[name], arguments, context)
                    return
                gone = Outcome("cancelled", f"{name} was given up: it is lent no longer.")
                self._answer(request, gone)
            case _:
                what = RpcError(INVALID_PARAMS, "a call has `loan`, `run`, `name`, `arguments` and `context`")
                self._peer.answer(Response(request.id, error=what))

    def given_up(self, params: Mapping[str, Any]) -> None:
        """The server waits for this call no longer."""
        scope = self._runs.get(str(params.get("run")))
        if scope is not None:
            scope.cancel()

    async def _run(
        self,
        request: Request,
        run: str,
        scope: trio.CancelScope,
        tool: ToolFunction,
        arguments: JSON,
        context: ToolContext,
    ) -> None:
        outcome = Outcome("cancelled", f"{tool.name} was cancelled.")
        try:
            async with trio.open_nursery() as nursery:
                with scope:
                    outcome = await attempt(
                        tool, json.dumps(arguments), context, nursery=nursery, max_output_bytes=_MAX_OUTPUT_BYTES
                    )
        finally:
            del self._runs[run]
            self._answer(request, outcome)

    def _answer(self, request: Request, outcome: Outcome) -> None:
        self._peer.answer(Response(request.id, {"status": outcome.status, "output": outcome.output}))


def _told(tool: ToolFunction) -> JSON:
    """What the server must know of a tool."""
    told: JSON = {
        "name": tool.name,
        "description": tool.schema.description,
        "parameters": dict(tool.schema.parameters),
        "effect": tool.effect,
        "keeps_running": tool.keeps_running,
        "ends_turn": tool.ends_turn,
    }
    return told if tool.timeout_s is None else {**told, "timeout_s": tool.timeout_s}
