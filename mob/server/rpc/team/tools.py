"""`team/lend_tools` and `team/take_back`: tools that a client of `mob.connect` runs, lent to one member.

    team/lend_tools    `member generation loan tools`. A tool has `name description parameters` (a JSON Schema),
                       `effect timeout_s keeps_running ends_turn`; `loan` is the client's own name for them all.
                       Without `effect` it counts as one that writes
    team/take_back     `loan`

When the member calls one, the client is asked (`team/run_tool`: `loan run name arguments context`) and answers how that
ended, `status` and `output`, which is how the call ends. A call that is given up here is told (`team/give_up`: `run`).
What a client lends goes with it.
"""

from __future__ import annotations

import logging
from typing import Any, Final, cast, get_args

import trio

from mob.definition.model import Effect
from mob.errors import LimitReached, MemberFailed, MobError, RequestInvalid, TurnTimedOut
from mob.history.codec import as_json
from mob.server.lending import client_gone, lent
from mob.server.params import Params
from mob.server.realm.realm import Realm
from mob.server.rpc.client import ClientGone, RpcClient
from mob.server.rpc.dispatch import Serve
from mob.server.rpc.team.methods import handle_of, hosted_of, room_of, seconds
from mob.server.rpc.tools import read_schema
from mob.sessions.tools import CallWithdrawn, ToolContext, ToolFunction
from mob.team.handles import MemberHandle

JSON = dict[str, Any]

_log = logging.getLogger(__name__)

_A_DAY_S: Final = 86_400.0
"""A call without a bound of its own ends with its turn."""


def team_tool_methods(realm: Realm) -> dict[str, Serve]:
    """The table."""

    async def lend_tools(client: RpcClient, params: Params) -> JSON:
        member, name = handle_of(hosted_of(realm, params).mob, params), params.text("loan", most=64)
        loans, most = room_of(client).loans, client.limits.max_client_tools
        if name in loans or len(loans) >= most:
            raise params.wrong("loan", f"must be new, and at most {most} at once")
        tools = [_tool(client, name, entry) for entry in params.children("tools", most=most)]
        loan = loans[name] = _Loan()
        try:
            await client.nursery.start(loan.run, member, tools)
        finally:
            if not loan.begun:
                loans.pop(name, None)
        return {}

    async def take_back(client: RpcClient, params: Params) -> JSON:
        loan = room_of(client).loans.pop(params.text("loan"), None)
        if loan is not None:
            await loan.end()
        return {"taken_back": loan is not None}

    return {"team/lend_tools": lend_tools, "team/take_back": take_back}


class _Loan:
    """Tools that a member has for as long as the client says."""

    def __init__(self) -> None:
        self.begun = False
        self._over = trio.Event()
        self._ended = trio.Event()

    async def run(self, member: MemberHandle, tools: list[ToolFunction], task_status: trio.TaskStatus[None]) -> None:
        """Lend them until the end. What keeps it from beginning is raised; later it is logged."""
        try:
            async with member.lend_tools(tools):
                self.begun = True
                task_status.started()
                await self._over.wait()
        except MobError as error:
            if not self.begun:
                raise
            _log.warning("%s was not told that a client's tools have gone: %s", member.identity, error.message)
        finally:
            self._ended.set()

    async def end(self) -> None:
        """Take them back, and wait until they are."""
        self._over.set()
        await self._ended.wait()


def _tool(client: RpcClient, loan: str, entry: Params) -> ToolFunction:
    schema, timeout_s = read_schema(entry, "parameters"), seconds(entry, "timeout_s")

    async def call(arguments: dict[str, Any], context: ToolContext) -> object:
        asked = {"loan": loan, "name": schema.name, "arguments": arguments, "context": as_json(context)}
        return await _run(client, asked, _A_DAY_S if timeout_s is None else timeout_s + 1)

    return lent(
        schema,
        call,
        timeout_s=timeout_s,
        effect=cast("Effect", entry.choice("effect", get_args(Effect), "write")),
        keeps_running=entry.flag("keeps_running"),
        ends_turn=entry.flag("ends_turn"),
    )


async def _run(client: RpcClient, asked: JSON, timeout_s: float) -> str:
    """Have the client run it; its output. How it ended otherwise is raised so that the call ends so."""
    room = room_of(client)
    room.runs += 1
    run = f"r{room.runs}"
    try:
        answer = await client.call("team/run_tool", {**asked, "run": run}, timeout_s=timeout_s)
    except trio.Cancelled:
        client.notify("team/give_up", {"run": run})
        raise
    except ClientGone:
        raise client_gone(asked["name"]) from None
    match answer:
        case {"status": "done", "output": str(output)}:
            return output
        case {"status": "failed", "output": str(output)}:
            raise MemberFailed(output)
        case {"status": "denied", "output": str(output)}:
            raise LimitReached(output)
        case {"status": "timed_out", "output": str(output)}:
            raise TurnTimedOut(output)
        case {"status": "cancelled", "output": str(output)}:
            raise CallWithdrawn(output)
    raise RequestInvalid(f"{asked['name']}: the client's answer is no outcome of a tool", field="status")
