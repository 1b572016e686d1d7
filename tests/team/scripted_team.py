"""A whole team on memory streams: every member's model is a script at the far end of the real request/response wire."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import trio
from attrs import define, field, frozen

from mob.definition.model import Limits, Member, MobDefinition, ModelCapabilities, Profile, Route
from mob.live.network import Endpoint
from mob.providers.openai_chat.server import ChatReply, ChatToolCall, error_body, parse_request
from mob.store.memory import MemoryStore
from mob.team.supervisor import open_supervisor
from mob.testing import MemoryNetwork
from mob.values import Usage
from mob.web.http import serve_http

MODEL = ModelCapabilities("writer-1", "somebody", "openai-chat", context_window=100_000, max_output_tokens=1000)
USED = Usage(input_tokens=10, output_tokens=5, requests=1)
ALL = ("ask", "tell", "hand_off")


def definition_of(names="ann bob cyd", *, routes=None, limits=None, **more):
    """A team of one profile. `routes` None: everybody reaches everybody in every way."""
    names = names.split()
    if routes is None:
        routes = [Route(a, b, ALL) for a in names for b in names if a != b]
    more.setdefault("profiles", {"clerk": Profile("clerk", MODEL.id, instructions="You help.")})
    more.setdefault("members", {name: Member(name, "clerk") for name in names})
    return MobDefinition(
        "team", limits=limits or Limits(restart_backoff_s=0.5), routes=tuple(routes), models={MODEL.id: MODEL}, **more
    )


# What a model does with one request: a list of (verb, value) pairs.


def says(text, *, after=0.0):
    return [("wait", after), ("say", text)]


def calls(name, *, after=0.0, **arguments):
    return [("wait", after), ("call", (name, arguments))]


HANGS = [("wait", float("inf"))]
REFUSES = [("refuse", 400)]


@frozen
class Dialler:
    """Each member has a path of its own at one address of the memory network."""

    network: MemoryNetwork

    async def endpoint(self, identity, profile, model):
        await trio.lowlevel.checkpoint()
        return Endpoint(f"http://far.end:1/{identity}/v1", api_key="key", rehearsed=True)


@define(eq=False)
class Stage:
    """The far end of a team, and what it was asked. A member without a script says its name and how often it spoke."""

    scripts: dict = field(factory=dict)
    requests: list = field(factory=list)

    def requests_of(self, member):
        return [request for name, request in self.requests if name == member]

    async def handle(self, request, reply):
        member = request.path.split("/")[1]
        understood = parse_request(request.body)
        self.requests.append((member, understood))
        script = self.scripts.get(member)
        steps = script.pop(0) if script else says(f"{member} {len(self.requests_of(member))}")
        chat = ChatReply(understood, reply_id=f"chat_{len(self.requests)}", created=0)
        started = False
        for verb, value in steps:
            if verb == "wait":
                await trio.sleep(value)
                continue
            if verb == "refuse":
                await reply.send_bytes(value, error_body(value, "no"), "application/json")
                return
            if not started:
                started = True
                await reply.start(200, chat.content_type)
                await reply.write(chat.start())
            if verb == "say":
                await reply.write(chat.text(value))
            else:
                name, arguments = value
                call_id = f"call_{member}_{len(self.requests)}_{name}"
                await reply.write(chat.tool_call(ChatToolCall(call_id, name, json.dumps(arguments))))
        await reply.write(chat.finish(USED))
        await reply.end()


@asynccontextmanager
async def open_team(definition=None, scripts=None, *, store=None, **options):
    """A running mob with its far end; `mob.stage` is the Stage."""
    stage = Stage(dict(scripts or {}))
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        network.listen("far.end", 1, lambda stream: serve_http(stream, stage.handle))
        opened = open_supervisor(
            definition or definition_of(), dialler=Dialler(network), store=store or MemoryStore(), **options
        )
        failure = None
        try:
            async with opened as mob:
                mob.stage, mob.network = stage, network
                yield mob
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def rows_of(store):
    """All rows of the store's only run."""
    (run,) = await store.runs()
    return [stored.row async for stored in store.read_run(run.run_id)]


def run_virtual(main, *args):
    return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))
