"""The chat client's connections: cancelled, kept, to the rehearsed model; and the vendor's client to our server."""

import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore2
import openai
import pytest
import trio
from attrs import evolve
from chat_servers import (
    HEAD,
    KEY,
    PLACES,
    REQUEST,
    SAYS_HELLO,
    SEARCH,
    Place,
    ask,
    chunked,
    everywhere,
    fail,
    for_ever,
    loopback,
    memory,
    raw,
    response,
    serve_chat,
    stream_chat,
    words,
)

from mob.errors import ProviderRefused, ProviderUnreachable
from mob.providers.commands import AddMessage, SessionConfig
from mob.providers.events import AgentTextPart, ResponseEnded
from mob.providers.openai_chat.client import build_request
from mob.rehearsal.faults import Fault
from mob.rehearsal.serve import open_rehearsal
from mob.sessions.http import ChatConnections, open_chat
from mob.web.http import HttpReply, HttpRequest, serve_http

# --- cancellation ---------------------------------------------------------------------------------------------------


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task has made so many steps."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.left = step
        self.task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if not self.left:
                self.scope.cancel()


@everywhere
async def test_cancelled_at_any_step_it_leaves_nothing(place):
    async with PLACES[place](serve_chat) as (endpoint, network):
        for step in range(1, 200):
            with trio.CancelScope() as scope:
                instrument = CancelAt(scope, step)
                trio.lowlevel.add_instrument(instrument)
                try:
                    async with open_chat(network) as chat:
                        for _ in range(2):
                            async with chat.stream(endpoint, REQUEST) as events:
                                async for _ in events:
                                    await trio.lowlevel.checkpoint()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            network.check_closed()
            if not scope.cancelled_caught:
                break
        else:
            pytest.fail("it never came to an end")
        assert step > 5


@everywhere
async def test_left_in_the_middle_it_leaves_nothing(place):
    async with PLACES[place](raw(HEAD, chunked(SAYS_HELLO[0]), then=for_ever)) as (endpoint, network):
        async with stream_chat(endpoint, REQUEST, network) as events:
            async for event in events:
                if isinstance(event, AgentTextPart):
                    break
        network.check_closed()
        with contextlib.suppress(ZeroDivisionError):
            async with stream_chat(endpoint, REQUEST, network) as events:
                await anext(events)
                raise ZeroDivisionError
        network.check_closed()


# --- connections that are kept ---------------------------------------------------------------------------------------


@everywhere
async def test_a_connection_is_kept_for_the_next_request(place):
    async with PLACES[place](serve_chat) as (endpoint, network):
        async with open_chat(network) as chat:
            for _ in range(3):
                async with chat.stream(endpoint, REQUEST) as events:
                    assert words([event async for event in events]) == "You said: say hello"
            refused = evolve(REQUEST, body=b"{}")
            with pytest.raises(ProviderRefused):
                await chat.stream(endpoint, refused).__aenter__()
            async with chat.stream(endpoint, REQUEST) as events:
                pass  # left unread: this connection cannot be kept
            assert len(network.streams) == 1
            async with chat.stream(endpoint, REQUEST) as events:
                assert len([event async for event in events]) > 3
        assert len(network.streams) == 2


@everywhere
async def test_a_kept_connection_that_the_server_has_closed(place):
    async def once(request: HttpRequest, reply: HttpReply) -> None:
        await reply.send_bytes(200, b"".join(SAYS_HELLO), "text/event-stream")
        raise trio.BrokenResourceError  # it leaves, and did not say so in the head

    async with PLACES[place](lambda stream: serve_http(stream, once)) as (endpoint, network):
        async with open_chat(network) as chat:
            for count in range(1, 4):
                async with chat.stream(endpoint, REQUEST) as events:
                    assert words([event async for event in events]) == "hello"
                assert len(network.streams) == count
                await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.real_socket
@pytest.mark.parametrize("place", ["loopback", "tls"])
async def test_the_end_of_a_socket_is_seen_before_anything_is_sent(place, monkeypatch):
    async def send_once(self: ChatConnections, post: httpcore2.Request) -> httpcore2.Response:
        return await self._pool(post.url.scheme).handle_async_request(post)

    monkeypatch.setattr(ChatConnections, "_send", send_once)
    leave = raw(response("200 OK", b"".join(SAYS_HELLO), b"Content-Type: text/event-stream"))
    async with PLACES[place](leave) as (endpoint, network):
        async with open_chat(network.network) as chat:
            for _ in range(2):
                async with chat.stream(endpoint, REQUEST) as events:
                    assert words([event async for event in events]) == "hello"
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_request_on_a_new_connection_is_sent_once(autojump_clock):
    async with memory(raw()) as at:
        await fail(at, ProviderUnreachable)
        assert len(at[1].streams) == 1


async def test_of_what_was_cancelled_nothing_is_kept(autojump_clock):
    """The rest of one answer must not be read as the beginning of the next."""
    async with memory(serve_chat) as (endpoint, network):
        async with open_chat(network) as chat:
            with trio.CancelScope() as scope:
                async with chat.stream(endpoint, REQUEST) as events:
                    await anext(events)
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            async with chat.stream(endpoint, REQUEST) as events:
                assert words([event async for event in events]) == "You said: say hello"
        assert len(network.streams) == 2


# --- the rehearsed model, with the faults of the text wire -----------------------------------------------------------

SOUP = build_request(
    "m", SessionConfig(instructions="The soup is tomato soup."), [AddMessage("i", "user", "Which soup is there?")]
)


@asynccontextmanager
async def rehearsed(fault: str) -> AsyncIterator[Place]:
    async with open_rehearsal(None, faults=[Fault(fault)]) as rehearsal:
        async with memory(rehearsal.serve_stream) as at:
            yield at


@pytest.mark.parametrize("fault", ["sse-comments", "sse-crlf", "sse-split", "sse-no-done", "sse-pings"])
async def test_faults_of_the_stream_change_nothing(autojump_clock, fault):
    async with rehearsed(fault) as at:
        events = await ask(at, SOUP)
    assert "tomato" in words(events)
    assert isinstance(events[-1], ResponseEnded)
    assert (events[-1].status, events[-1].fault) == ("completed", None)


async def test_an_error_in_the_middle_of_the_stream(autojump_clock):
    async with rehearsed("sse-error") as at:
        ended = (await ask(at, SOUP))[-1]
    assert isinstance(ended, ResponseEnded)
    assert ended.fault is not None
    assert (ended.status, ended.fault.recovery) == ("failed", "retry")


@pytest.mark.parametrize(("fault", "status", "wait"), [("http-529", 529, None), ("http-429", 429, 1.0)])
async def test_too_much_asked(autojump_clock, fault, status, wait):
    async with rehearsed(fault) as at:
        error = await fail(at, ProviderRefused)
    assert (error.status, error.recovery, error.retry_after_s) == (status, "retry", wait)


# --- the vendor's own client ----------------------------------------------------------------------------------------


# The package stops reading its streams at [DONE] and leaves their generators to the collector, as trio then remarks.
vendors = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")


@asynccontextmanager
async def vendors_client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with loopback(serve_chat) as (endpoint, _):
        async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=KEY, max_retries=0) as client:
            yield client
        gc.collect()


@pytest.mark.real_socket
@vendors
async def test_the_vendors_client_streams():
    async with vendors_client() as client:
        async with client.chat.completions.stream(
            model="m",
            messages=[{"role": "user", "content": "hello"}],
            stream_options={"include_usage": True},
        ) as stream:
            final = await stream.get_final_completion()
    assert final.choices[0].message.content == "You said: hello"
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (3, 4)


@pytest.mark.real_socket
@vendors
@pytest.mark.parametrize("streamed", [True, False])
async def test_the_vendors_client_is_given_a_tool_call(streamed):
    tool = {"type": "function", "function": {"name": "search", "parameters": SEARCH.parameters}}
    asked = {"model": "m", "messages": [{"role": "user", "content": "search"}], "tools": [tool]}
    async with vendors_client() as client:
        if streamed:
            async with client.chat.completions.stream(**asked) as stream:
                final = await stream.get_final_completion()
        else:
            final = await client.chat.completions.create(**asked)
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"q":"menu"}'


@pytest.mark.real_socket
@vendors
async def test_the_vendors_client_is_refused():
    async with vendors_client() as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="m", messages=[])
    assert (caught.value.param, caught.value.code) == ("messages", "empty_array")
