"""Laws 24 and 26 at the JSON-RPC door: whatever comes is answered or passed over, and whoever goes leaves nothing."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, example, given, settings, strategies as st
from rpc_peer import HOST, WEATHER, RpcFailed, join, open_server

from mob.errors import RequestInvalid
from mob.protocol.jsonrpc import Malformed, Notification, Request, Response, read_message, write_message
from mob.server.limits import DoorLimits
from mob.server.params import Params
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Methods

WRITES = {"model": "gpt-4.1-mini", "system_prompt": HOST}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"session/list","params":{"labels":{"a":"b"},"limit":3}}'


@given(data=st.binary(max_size=80))
@example(data=b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":"\\ud800"}}')
@example(data=b"[" * 100_000)
@example(data=b"9" * 5000)
def test_law_26_any_bytes_are_a_message_or_are_said_to_be_none(data):
    message = read_message(data)
    assert isinstance(message, Request | Notification | Response | Malformed)
    if not isinstance(message, Response):
        assert json.loads(write_message(message))


@given(
    cuts=st.lists(st.tuples(st.integers(0, len(REQUEST)), st.integers(0, 8), st.binary(max_size=4)), max_size=4),
)
def test_law_26_a_message_that_was_broken_is_read_or_refused(cuts):
    data = REQUEST
    for at, size, instead in cuts:
        data = data[:at] + instead + data[at + size :]
    message = read_message(data)
    if isinstance(message, Malformed):
        assert message.error.code in (-32700, -32600, -32602)
        assert message.error.message


@given(values=st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2))
def test_law_26_a_parameter_that_does_not_fit_names_itself(values):
    params = Params(values)
    for take in (
        params.text,
        params.maybe_text,
        params.flag,
        params.whole,
        params.child,
        params.items,
        params.children,
        params.texts,
        params.labels,
    ):
        error = None
        try:
            take("a")
        except RequestInvalid as refused:
            error = refused
        if error is not None:
            assert error.field is not None
            assert error.field.startswith("a")
            assert f"`{error.field}`" in error.message


NAMES = [
    "session_id",
    "channel_id",
    "prompt",
    "model",
    "provider",
    "labels",
    "offset",
    "limit",
    "chunk",
    "kind",
    "data",
    "text",
    "tools",
    "name",
    "config",
    "patch",
    "expected_generation",
    "content",
    "source",
    "idempotency_key",
    "stream_id",
    "turning_mode",
    "transport",
    "seed_max_chars",
    "item_id",
    "response_modality",
    "audio_played_ms",
    "system_prompt",
    "max_tokens",
    "injected_context",
    "additional_instructions",
    "external_tools",
    "initial_turn",
    "mob_id",
    "agent_identity",
    "definition",
    "spec",
    "specs",
    "profile",
    "member",
    "peer",
    "edges",
    "filter",
    "action",
    "verb",
    "after_cursor",
    "handling_mode",
    "budget_limits",
    "output_id",
    "sample_rate_hz",
    "channels",
    "mime",
    "turn_tool_overlay",
    "session_events",
]
KNOWN = st.sampled_from(["SESSION", "CHANNEL", "crew", "gpt-4.1-mini", "text", "audio", "image", "ann", "host"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**40)
    | st.text(max_size=6)
    | KNOWN
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.tuples(st.integers(0, 10_000), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)),
    min_size=1,
    max_size=12,
)


def filled(value, names):
    """The drawn value with the server's own ids in it."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    return value


@settings(
    deadline=None,
    max_examples=60,
    phases=[Phase.generate, Phase.explicit],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(calls=CALLS, raw=st.lists(st.binary(max_size=40).filter(lambda data: b"\n" not in data), max_size=3))
async def test_law_26_every_method_answers_whatever_it_is_given(autojump_clock, calls, raw):
    async with open_server() as (realm, methods), join(realm, methods) as other, join(realm, methods) as peer:
        kept = (await other("session/create", prompt="Hello", session_events=False, **WRITES))["session_id"]
        before = await other("session/history", session_id=kept)
        speaks = (await peer("session/create", prompt="", model="gpt-realtime-2"))["session_id"]
        channel = (await peer("live/open", session_id=speaks))["channel_id"]
        names = {"SESSION": speaks, "CHANNEL": channel}
        offered = methods.names
        for data in raw:
            await peer.send(data)
        answered = 0
        for number, params in calls:
            method = offered[number % len(offered)]
            given = {"session_id": speaks, "channel_id": channel, **filled(params, names)}
            result, refused = {}, None
            try:
                with trio.fail_after(1000):
                    result = await peer(method, **given)
            except RpcFailed as error:
                refused = error
            except trio.TooSlowError:
                raise AssertionError(f"{method} hangs with {given}") from None
            assert isinstance(result, dict), method
            if refused is not None:
                assert refused.data["error"]["code"], (method, given, refused.message)
                assert refused.data["message"] == refused.message
            answered += 1
        assert answered == len(calls)
        assert await other("session/history", session_id=kept) == before
        with suppress(RpcFailed):
            await peer("live/close", channel_id=channel)
        assert (await other("turn/start", session_id=kept, prompt="When are you open?"))["text"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.integers(0, 120), doing=st.sampled_from(["create", "turn", "tool", "live", "stream", "idle"]))
async def test_law_24_a_client_may_go_at_any_moment(autojump_clock, steps, doing):
    """After `steps` turns of the loop the client is gone, whatever it was doing; nothing of it is left."""
    async with open_server() as (realm, methods), join(realm, methods) as other:
        kept = (await other("session/create", prompt="", **WRITES))["session_id"]
        resting = trio.lowlevel.current_statistics().tasks_living

        async def act(peer):
            with suppress(RpcFailed, trio.BrokenResourceError, trio.ClosedResourceError):
                await peer("tools/register", tools=[WEATHER])
                match doing:
                    case "create":
                        await peer("session/create", prompt="Hello", **WRITES)
                    case "turn":
                        await peer("turn/start", session_id=kept, prompt="When are you open?")
                    case "tool":
                        peer.run_tool = lambda params: None
                        await peer("turn/start", session_id=kept, prompt="Is there rain, sun or wind today?")
                    case "live":
                        made = await peer("session/create", prompt="Hello", model="gpt-realtime-2")
                        await peer("live/open", session_id=made["session_id"])
                    case "stream":
                        await peer("session/stream_open", session_id=kept)
                        await peer("turn/start", session_id=kept, prompt="When are you open?")

        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with join(realm, methods) as peer:
                peer.nursery.start_soon(act, peer)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
        assert not peer.client.statistics().under_way
        assert all(held.status == "closed" for held in realm.channels)
        assert "weather" not in realm.session(kept).member.session.tools
        assert (await other("turn/start", session_id=kept, prompt="When are you open?"))["text"]
        for ref in list(realm.sessions()):
            if ref.session_id != kept:
                await other("session/archive", session_id=ref.session_id)
        await trio.sleep(5)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == resting


class Deaf:
    """A link whose client asks and never reads."""

    def __init__(self, requests):
        self._requests = iter(requests)
        self.taken = 0

    async def receive(self):
        await trio.lowlevel.checkpoint()
        self.taken += 1
        return next(self._requests)

    async def send(self, message):
        await trio.sleep_forever()


async def test_a_client_that_never_reads_cannot_grow_memory(autojump_clock):
    limits = DoorLimits(max_requests_under_way=4, max_requests_waiting=8, max_notifications_waiting=8)

    async def answer(client, params):
        for number in range(100):
            client.notify("session/event", {"number": number})
        return {"much": "x" * 1000}

    methods = Methods()
    methods.add({"ask": answer})

    def requests():
        for number in range(10_000):
            yield json.dumps({"jsonrpc": "2.0", "id": number, "method": "ask"}).encode()

    link = Deaf(requests())
    client = RpcClient(link, methods.call, limits)
    with trio.move_on_after(1000):
        await client.run()
    counts = client.statistics()
    assert link.taken <= 32
    assert len(client._outbox) <= 3 * limits.max_requests_under_way + limits.max_notifications_waiting
    assert counts.dropped > 0


async def test_a_client_may_ask_only_so_much_at_once(autojump_clock):
    limits = DoorLimits(max_requests_under_way=3)
    running, most = 0, 0

    async def slow(client, params):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return {}

    methods = Methods()
    methods.add({"slow": slow})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(peer, "slow")
    assert most == 3


async def test_what_a_client_is_asked_is_answered_past_all_that_it_asks(autojump_clock):
    limits = DoorLimits(max_requests_under_way=2, max_requests_waiting=64)

    async def ask_back(client, params):
        return await client.call("tool/execute", {"name": "it"}, timeout_s=5)

    methods = Methods()
    methods.add({"ask_back": ask_back})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:
        results = []

        async def ask():
            results.append(await peer("ask_back"))

        with trio.fail_after(4):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask)
        assert results == [{"content": "it ran", "is_error": False}] * 50


async def test_requests_that_come_together_begin_in_their_order(autojump_clock):
    limits = DoorLimits(max_requests_under_way=3)
    begun = []

    async def begin(client, params):
        begun.append(params.whole("number"))
        if params.flag("wait"):
            await trio.sleep(1)
        return {}

    methods = Methods()
    methods.add({"begin": begin})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:
        requests = [
            {
                "jsonrpc": "2.0",
                "id": f"x{number}",
                "method": "begin",
                "params": {"number": number, "wait": number % 7 == 0},
            }
            for number in range(200)
        ]
        peer._waiting.update({request["id"]: [trio.Event(), None] for request in requests})
        await peer.send(b"\n".join(json.dumps(request).encode() for request in requests))
        await trio.sleep(100)
    assert begun == list(range(200))


async def test_answers_and_requests_that_are_too_long_are_refused_alone(autojump_clock):
    limits = DoorLimits(max_request_bytes=300, max_response_bytes=1000)

    async def echo(client, params):
        return {"text": params.text("text") * params.whole("times")}

    methods = Methods()
    methods.add({"echo": echo})
    async with open_server(limits=limits) as (realm, _), join(realm, methods) as peer:
        await peer.send(b"x" * 400)
        with pytest.raises(RpcFailed, match="ask for less"):
            await peer("echo", text="x", times=2000)
        assert await peer("echo", text="x", times=3) == {"text": "xxx"}
