"""A session in one piece on memory streams: a scripted chat server at the other end of the real wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from attrs import define, evolve, field, frozen

from mob.definition.model import Budget, Limits, Member, MobDefinition, ModelCapabilities, Profile
from mob.history.fold import History
from mob.ids import Ids
from mob.live.network import Endpoint
from mob.live.watchdog import Watchdog
from mob.providers.openai_chat.server import (
    ChatRefused,
    ChatReply,
    ChatServerRequest,
    ChatToolCall,
    error_body,
    parse_request,
)
from mob.sessions.budget import BudgetMeter
from mob.sessions.events import RunEvent
from mob.sessions.session import Session
from mob.sessions.tools import ToolBox, ToolFunction
from mob.store.memory import MemoryStore
from mob.store.port import RunLog
from mob.testing import MemoryNetwork
from mob.values import Usage
from mob.web.http import HttpReply, HttpRequest, serve_http

MODEL = ModelCapabilities("writer-1", "somebody", "openai-chat", context_window=100_000, max_output_tokens=1000)
SPARE = ModelCapabilities("writer-2", "somebody else", "openai-chat", context_window=100_000, max_output_tokens=1000)
SPOKEN = Usage(input_tokens=10, output_tokens=5, requests=1)


class Exchange:
    """One request at the far end, and the means to answer it piece by piece."""

    def __init__(self, number: int, request: ChatServerRequest, reply: HttpReply) -> None:
        self.request = request
        self.chat = ChatReply(request, reply_id=f"chat_{number}", created=0)
        self._reply = reply
        self._started = False

    async def start(self) -> None:
        if not self._started:
            self._started = True
            await self._reply.start(200, self.chat.content_type)
            await self._reply.write(self.chat.start())

    async def say(self, *parts: str, every: float = 0) -> None:
        await self.start()
        for part in parts:
            await self._reply.write(self.chat.text(part))
            await trio.sleep(every)

    async def call(self, call_id: str, name: str, arguments: str = "{}") -> None:
        await self.start()
        await self._reply.write(self.chat.tool_call(ChatToolCall(call_id, name, arguments), pieces=2))

    async def finish(self, usage: Usage | None = SPOKEN, *, reason=None) -> None:
        await self.start()
        await self._reply.write(self.chat.finish(usage, reason=reason))
        await self._reply.end()

    async def break_off(self, message: str) -> None:
        await self.start()
        await self._reply.write(self.chat.fail(message))
        await self._reply.end()

    async def refuse(self, status: int, message: str, *, code: str | None = None, headers=()) -> None:
        await self._reply.send_bytes(status, error_body(status, message, code=code), "application/json", headers)


Step = Callable[[Exchange], Awaitable[None]]


def says(*parts: str, every: float = 0, usage: Usage | None = SPOKEN) -> Step:
    """Answers with this text."""

    async def step(exchange: Exchange) -> None:
        await exchange.say(*parts, every=every)
        await exchange.finish(usage)

    return step


def calls(*names: str, arguments: str = "{}", text: str = "", ids: Sequence[str] = ()) -> Step:
    """Answers with calls of these tools; ids count up over the whole script unless given."""

    async def step(exchange: Exchange) -> None:
        if text:
            await exchange.say(text)
        for index, name in enumerate(names):
            own = ids[index] if ids else f"call_{len(exchange.request.messages)}_{index}"
            await exchange.call(own, name, arguments)
        await exchange.finish()

    return step


def refuses(status: int, message: str = "no", *, code: str | None = None, headers=()) -> Step:
    """Answers with an HTTP error."""

    async def step(exchange: Exchange) -> None:
        await exchange.refuse(status, message, code=code, headers=headers)

    return step


async def hangs(exchange: Exchange) -> None:
    """Never answers."""
    await trio.sleep_forever()


@frozen
class Dialler:
    """Everybody is at one address of the memory network, each model under its own port."""

    network: MemoryNetwork
    realtime: str = "http://far.end:1/v1"

    async def endpoint(self, identity, profile, model) -> Endpoint:
        await trio.lowlevel.checkpoint()
        if model.realtime:
            return Endpoint(self.realtime, api_key="sk-1234", rehearsed=True)
        return Endpoint(f"http://far.end:{2 if model.id == MODEL.id else 3}/v1", api_key="sk-1234", rehearsed=True)


@define(eq=False)
class Stage:
    """A running session and what stands around it. `script` is what the far end does, request by request."""

    session: Session
    network: MemoryNetwork
    log: RunLog
    store: MemoryStore
    nursery: trio.Nursery
    budget: BudgetMeter
    script: list[Step]
    requests: list[ChatServerRequest] = field(factory=list)
    events: list[RunEvent] = field(factory=list)

    def told(self, kind: str) -> list[RunEvent]:
        """The events of this type."""
        return [event for event in self.events if event.type == kind]

    async def rows(self) -> list:
        """All rows of the log."""
        return [stored.row async for stored in self.log.read()]


def team(
    *, limits: Limits | None = None, budget: Budget | None = None, model: ModelCapabilities = MODEL, **profile
) -> MobDefinition:
    """A team of one."""
    return MobDefinition(
        "team",
        {"writer": Profile("writer", model.id, instructions="You write.", **profile)},
        {"host": Member("host", "writer")},
        limits=limits or Limits(),
        budget=budget or Budget(),
        models={each.id: each for each in (model, MODEL, SPARE)},
    )


@asynccontextmanager
async def open_stage(
    *script: Step,
    tools: Sequence[ToolFunction] = (),
    definition: MobDefinition | None = None,
    model: ModelCapabilities = MODEL,
    store: MemoryStore | None = None,
    otherwise: Step | None = None,
    realtime=None,
    wrap=lambda log: log,
    run: bool = True,
) -> AsyncIterator[Stage]:
    """A session, running, with a scripted far end.

    `otherwise` is what it does when the script is at its end; `realtime` handles streams to the realtime address.
    """
    definition = definition or team(model=model)
    store = store or MemoryStore(wall=trio.current_time)
    steps = list(script)
    requests: list[ChatServerRequest] = []
    events: list[RunEvent] = []

    async def handle(request: HttpRequest, reply: HttpReply) -> None:
        try:
            understood = parse_request(request.body)
        except ChatRefused as refused:
            await reply.send_bytes(refused.status, refused.body, "application/json")
            return
        requests.append(understood)
        step = steps.pop(0) if steps else otherwise or says("(the script is at its end)")
        await step(Exchange(len(requests), understood, reply))

    async with store.open_run("run", create=True) as opened, trio.open_nursery() as far, trio.open_nursery() as near:
        network = MemoryNetwork(far)
        for port in (2, 3):
            network.listen("far.end", port, lambda stream: serve_http(stream, handle))
        if realtime is not None:
            network.listen("far.end", 1, realtime)
        log = wrap(opened)
        history = History.of("host", [stored async for stored in opened.read()])
        budget = BudgetMeter("team", definition.budget)
        watchdog = Watchdog()
        session = Session(
            "host",
            1,
            evolve(definition.profile_of("host"), model=model.id),
            model,
            definition=definition,
            log=log,
            history=history,
            tools=ToolBox(tools),
            dialler=Dialler(network),
            ids=Ids(7 + len(history.turns)),
            budget=budget.child("host"),
            publish=events.append,
            wall=trio.current_time,
            watchdog=watchdog,
        )
        near.start_soon(watchdog.run)
        stage = Stage(session, network, log, store, near, budget, steps, requests, events)
        if run:
            await near.start(session.run)
        try:
            yield stage
            await session.stop()
        finally:
            near.cancel_scope.cancel()
            far.cancel_scope.cancel()
