"""Tools that a client runs itself: `tools/register`, and `tool/execute` back to the client when a member calls one.

Theory. A client's tools are lent to the sessions it makes, and to those sessions of their own on which it starts a turn
while nobody else lends them any. A loan is one task of the client's: it begins anew with each generation of the member
and with each change of the tools, and ends with the client or with the session. What a call ends in is the ledger's,
as of any other tool: a client that answers late, never, or has gone makes no turn hang.

    lent ──member calls──> tool/execute to the client ──result──> done, or failed when the client says so
                                                      ──120 s, no answer──> timed_out
                                                      ──client goes──> cancelled
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio
from attrs import define, evolve, field

from mob.errors import MemberError, MemberFailed, MobError, RequestInvalid
from mob.server.lending import client_gone, lent
from mob.server.params import Params
from mob.server.realm.realm import SessionRef
from mob.server.rooms import Room
from mob.server.rpc.client import ClientGone, RpcClient
from mob.server.rpc.dispatch import Serve
from mob.sessions.events import MemberChanged, MobStopped
from mob.sessions.tools import ToolContext, ToolFunction
from mob.team.bus import Subscription
from mob.team.events import StreamLagged
from mob.team.running import Mob
from mob.values import ToolSchema

JSON = dict[str, Any]

_log = logging.getLogger(__name__)

_CALL_S: Final = 120.0
_ENDS: Final = ("restarting", "failed", "retired", "stopped")
_MAX_SCHEMA_CHARS: Final = 64 * 1024


class ToolFailed(MemberFailed):
    """The client's tool says that it failed; the message is what it says."""

    code = "tool_failed"


def tool_methods() -> dict[str, Serve]:
    """The methods of tools."""

    async def register(client: RpcClient, params: Params) -> JSON:
        """More tools; one of a known name takes the old one's place."""
        schemas = read_tools(params, "tools")
        tools_of(client).register(schemas)
        return {"registered": len(schemas)}

    return {"tools/register": register}


def read_tools(params: Params, name: str) -> list[ToolSchema]:
    """Tools as Meerkat's clients write them. RequestInvalid."""
    found: dict[str, ToolSchema] = {}
    for entry in params.children(name, most=128):
        tool = read_schema(entry, "input_schema")
        found[tool.name] = tool if tool.description else evolve(tool, description=f"Tool: {tool.name}")
    return list(found.values())


def read_schema(entry: Params, parameters: str) -> ToolSchema:
    """One tool, whose arguments' JSON Schema stands under the name `parameters`. RequestInvalid."""
    name, schema = entry.text("name", most=64), entry.maybe_child(parameters)
    if schema is not None and len(repr(schema.values)) > _MAX_SCHEMA_CHARS:
        raise entry.wrong(parameters, f"is longer than {_MAX_SCHEMA_CHARS // 1024} KiB")
    described = entry.maybe_text("description", most=16 * 1024) or ""
    return ToolSchema(name, described, {"type": "object"} if schema is None else dict(schema.values))


_ROOM: Final[Room[ClientTools]] = Room("tools")


def tools_of(client: RpcClient) -> ClientTools:
    """The tools of this client, the same object each time."""
    return client.rooms.enter(_ROOM, lambda: ClientTools(client))


@define(eq=False, slots=True)
class _Loan:
    """A session that has this lender's tools. `scope` is left when they are to be lent anew."""

    lender: ClientTools
    mob: Mob
    own: tuple[ToolSchema, ...]
    generation: int = 0
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    over: bool = False


_LOANS: Final[Room[dict[str, _Loan]]] = Room("loans of clients' tools")
"""Those of a mob, by its members."""


class ClientTools:
    """What one client offers, and to whom."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self._schemas: dict[str, ToolSchema] = {}
        self._own: dict[str, tuple[ToolSchema, ...]] = {}
        self._loans: dict[str, _Loan] = {}

    def register(self, schemas: list[ToolSchema]) -> None:
        """Offer these too, also to the sessions that have the others already. RequestInvalid when it is too much."""
        whole = {**self._schemas, **{schema.name: schema for schema in schemas}}
        if len(whole) > self._client.limits.max_client_tools:
            raise RequestInvalid(f"a client offers at most {self._client.limits.max_client_tools} tools", field="tools")
        self._schemas = whole
        for loan in self._loans.values():
            loan.scope.cancel()

    def reserve(self, ref: SessionRef, schemas: list[ToolSchema]) -> None:
        """These are for this session alone, beside the others, from its next start on."""
        if schemas:
            self._own[ref.session_id] = tuple(schemas)

    async def offer(self, ref: SessionRef) -> None:
        """Lend the tools to this running session, unless it has them, or has others'. UsageError: a name clashes."""
        loans = ref.hosted.rooms.enter(_LOANS, dict)
        current = loans.get(ref.identity)
        if current is not None and current.lender is not self:
            return
        before = self._loans.get(ref.session_id)
        if before is not None and before.mob is ref.hosted.mob and not before.over:
            return
        if not self._schemas and ref.session_id not in self._own:
            return
        loan = _Loan(self, ref.hosted.mob, self._own.get(ref.session_id, ()))
        loans[ref.identity] = self._loans[ref.session_id] = loan
        await self._client.nursery.start(self._lend, ref, loan, loans)

    def forget(self, ref: SessionRef) -> None:
        """The session has gone for good."""
        self._own.pop(ref.session_id, None)

    # -- a loan ----------------------------------------------------------------------------------------------------

    async def _lend(
        self, ref: SessionRef, loan: _Loan, loans: dict[str, _Loan], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Lend until the session's mob stops. What keeps it from beginning is raised; later it is logged."""
        begun = False

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                task_status.started()

        try:
            async with loan.mob.events(after=loan.mob.statistics().events.published) as events:
                while loan.mob.state == "running":
                    try:
                        with trio.CancelScope() as loan.scope:
                            await self._lend_once(ref, loan, events, begin)
                    except MobError as error:
                        if not begun:
                            raise
                        if not isinstance(error, MemberError):
                            _log.warning("%s has a client's tools no longer: %s", ref.identity, error.message)
                            return
                        await _changed(events, ref.identity, loan.generation)
            begin()
        finally:
            loan.over = True
            if self._loans.get(ref.session_id) is loan:
                del self._loans[ref.session_id]
            if loans.get(ref.identity) is loan:
                del loans[ref.identity]

    async def _lend_once(self, ref: SessionRef, loan: _Loan, events: Subscription, begin: Callable[[], None]) -> None:
        """Lend to the member's generation of now, until it is over. As MemberHandle.lend_tools."""
        member = loan.mob.member(ref.identity)
        async with member.lend_tools(self._functions(loan)):
            loan.generation = member.generation
            begin()
            await _changed(events, ref.identity, member.generation)

    def _functions(self, loan: _Loan) -> list[ToolFunction]:
        whole = {**self._schemas, **{schema.name: schema for schema in loan.own}}
        return [self._function(schema) for schema in whole.values()]

    def _function(self, schema: ToolSchema) -> ToolFunction:
        async def call(arguments: dict[str, Any], context: ToolContext) -> object:
            return await self._execute(schema.name, arguments, context)

        return lent(schema, call, timeout_s=_CALL_S)

    async def _execute(self, name: str, arguments: dict[str, Any], context: ToolContext) -> str:
        asked = {"tool_use_id": context.call_id, "name": name, "arguments": arguments}
        try:
            result = await self._client.call("tool/execute", asked, timeout_s=_CALL_S + 1)
        except ClientGone:
            raise client_gone(name) from None
        if not isinstance(result, Mapping):
            raise ToolFailed(f"{name}: the client's answer is no tool result")
        text = result_text(result.get("content"))
        if result.get("is_error") is True:
            raise ToolFailed(text or f"{name} failed")
        return text


def result_text(content: object) -> str:
    """What a model is told of a client's result: its texts; of what is no text, that it is there."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = []
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text" and isinstance(block.get("text"), str):
            parts.append(block["text"])
        else:
            parts.append(f"[{kind if isinstance(kind, str) else 'something'}, which cannot be shown]")
    return "\n".join(parts)


async def _changed(events: Subscription, identity: str, generation: int) -> None:
    """Return when this generation of the member ends, when another begins, or when the mob has stopped."""
    async for event in events:
        match event:
            case StreamLagged() | MobStopped():
                return
            case MemberChanged(member=member) if member == identity and (
                event.generation != generation or event.state in _ENDS
            ):
                return
