"""Every fault switch bites: for each kind, what a client sees with it is not what it sees without."""

import json

import pytest
import trio
import trio.testing
import trio_websocket
from rehearsed_wire import Wire, dialled

from mob.rehearsal.faults import KINDS, parse_fault
from mob.rehearsal.serve import open_rehearsal
from mob.rehearsal.voice import hear

HOST = "You are the host.\nWe are open from noon to eleven.\nThere is free parking behind the house."
HEARD = "conversation.item.input_audio_transcription.completed"
TOOL = {
    "type": "function",
    "name": "ask_menu",
    "description": "Ask menu: dishes and prices.",
    "parameters": {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
}


async def spoken_turn(wire: Wire) -> None:
    await wire.session(instructions=HOST, audio={"input": {"transcription": {"model": "whisper-1"}}})
    await wire.say("Tell me about yourself.")
    await wire.until("response.done")
    await wire.settle()


async def typed_turn(wire: Wire, text: str = "Where can I park?", **session) -> dict:
    await wire.session(instructions=HOST, **session)
    return await wire.ask(text)


async def begun(wire: Wire) -> str:
    """A response under way; gives its id."""
    await wire.session(instructions=HOST)
    await wire.type("Tell me about yourself.")
    await wire.send("response.create")
    delta = await wire.until("response.output_audio.delta", count=3)
    return delta["response_id"]


async def cancelled(wire: Wire) -> None:
    await wire.send("response.cancel", response_id=await begun(wire))
    await wire.settle(30)


async def transcript_late(wire: Wire) -> bool:
    await spoken_turn(wire)
    return wire.kinds().index(HEARD) > wire.kinds().index("response.done")


async def transcript_never(wire: Wire) -> bool:
    await spoken_turn(wire)
    return HEARD not in wire.kinds()


async def transcript_failed(wire: Wire) -> bool:
    await spoken_turn(wire)
    return HEARD not in wire.kinds() and HEARD.replace("completed", "failed") in wire.kinds()


async def error_after(wire: Wire, kind: str, **fields) -> str:
    await wire.send(kind, event_id="mine", **fields)
    error = (await wire.until("error"))["error"]
    assert error["event_id"] == "mine"
    return error["code"]


async def response_refused(wire: Wire) -> bool:
    await wire.session(instructions=HOST)
    code = await error_after(wire, "response.create")
    return code == "conversation_already_has_active_response" and "response.created" not in wire.kinds()


async def vad_response_first(wire: Wire) -> bool:
    await wire.session(instructions=HOST)
    code = await error_after(wire, "response.create")
    return code == "conversation_already_has_active_response" and "response.created" in wire.kinds()


async def late_deltas(wire: Wire) -> bool:
    await cancelled(wire)
    after = wire.kinds()[wire.kinds().index("response.done") :]
    return after.count("response.output_audio.delta") == 3


async def cancel_ignored(wire: Wire) -> bool:
    await cancelled(wire)
    return [e["response"]["status"] for e in wire.of("response.done")] == ["completed"]


async def no_done(wire: Wire) -> bool:
    await cancelled(wire)
    return "response.output_item.done" in wire.kinds() and "response.done" not in wire.kinds()


async def truncate_with(wire: Wire) -> str:
    done = await typed_turn(wire)
    return await error_after(
        wire, "conversation.item.truncate", item_id=done["output"][0]["id"], content_index=0, audio_end_ms=300
    )


async def truncate_refused(wire: Wire) -> bool:
    return await truncate_with(wire) == "invalid_value"


async def truncate_unsupported(wire: Wire) -> bool:
    return await truncate_with(wire) == "unsupported_content_type"


async def commit_refused(wire: Wire) -> bool:
    await wire.session(audio={"input": {"turn_detection": None}})
    await wire.say("A whole sentence.")
    return await error_after(wire, "input_audio_buffer.commit") == "input_audio_buffer_commit_empty"


async def no_created(wire: Wire) -> bool:
    await typed_turn(wire)
    return "response.created" not in wire.kinds()


async def two_audio_items(wire: Wire) -> bool:
    output = (await typed_turn(wire))["output"]
    said = [hear(wire.sound(item["id"])) for item in output]
    return said == ["There is free", "parking behind the house."]


async def message_and_two_calls(wire: Wire) -> bool:
    output = (await typed_turn(wire, tools=[TOOL]))["output"]
    return [item["type"] for item in output] == ["message", "function_call", "function_call"]


async def response_failed(wire: Wire) -> bool:
    done = await typed_turn(wire)
    return done["status"] == "failed" and done["status_details"]["error"]["code"] == "rate_limit_exceeded"


async def response_incomplete(wire: Wire) -> bool:
    return (await typed_turn(wire))["status_details"]["reason"] == "max_output_tokens"


async def response_filtered(wire: Wire) -> bool:
    return (await typed_turn(wire))["status_details"]["reason"] == "content_filter"


async def drop_socket(wire: Wire) -> bool:
    return await wire.until_closed() == (1006, "")


async def close_1011(wire: Wire) -> bool:
    closed = await wire.until_closed()
    return closed is not None and closed[0] == 1011


async def half_open(wire: Wire) -> bool:
    await wire.type("hello")
    await wire.settle(300)
    return wire.events == [] and wire.closed is None


async def unknown_event(wire: Wire) -> bool:
    await wire.until("session.created")
    return wire.kinds() == ["response.daydream.delta", "session.created"]


async def unknown_field(wire: Wire) -> bool:
    event = await wire.next()
    return "x_new_thing" in event and "x_new_thing" in event["session"]


async def null_fields(wire: Wire) -> bool:
    done = await typed_turn(wire)
    return done["usage"] is None and done["output"] is None


async def string_status_details(wire: Wire) -> bool:
    return (await typed_turn(wire))["status_details"] == "completed"


async def usage_outside(wire: Wire) -> bool:
    done = await typed_turn(wire)
    return "usage" not in done and wire.events[-1]["usage"]["output_tokens"] > 0


async def unknown_previous(wire: Wire) -> bool:
    await wire.type("hello")
    return (await wire.until("conversation.item.added"))["previous_item_id"] == "item_nobody_has_seen"


async def null_previous(wire: Wire) -> bool:
    await wire.type("hello")
    await wire.type("again")
    return (await wire.until("conversation.item.added", count=2))["previous_item_id"] is None


async def duplicate_items(wire: Wire) -> bool:
    await wire.type("hello")
    await wire.until("conversation.item.done")
    return len(wire.of("conversation.item.added")) == 2


async def huge_frame(wire: Wire) -> bool:
    return len(json.dumps(await wire.next())) > 1024 * 1024


async def fragmented(wire: Wire) -> bool:
    return (await wire.next())["type"] == "session.created"  # that it was cut up is seen below, in raw bytes


async def ping_flood(wire: Wire) -> bool:
    return (await wire.next())["type"] == "session.created"  # likewise


async def call_of(wire: Wire) -> list[dict]:
    output = (await typed_turn(wire, "What does the soup cost?", tools=[TOOL]))["output"]
    return [item for item in output if item["type"] == "function_call"]


async def bad_arguments(wire: Wire) -> bool:
    with pytest.raises(ValueError):
        json.loads((await call_of(wire))[0]["arguments"])
    return True


async def empty_arguments(wire: Wire) -> bool:
    return (await call_of(wire))[0]["arguments"] == ""


async def unknown_tool(wire: Wire) -> bool:
    return (await call_of(wire))[0]["name"] == "ask_menu_of_yesterday"


async def duplicate_call_ids(wire: Wire) -> bool:
    first, second = await call_of(wire)
    return first["call_id"] == second["call_id"]


REALTIME = [kind for kind, (occasion, _) in KINDS.items() if occasion != "request"]
NEEDS = {"null-previous": "@2"}


@pytest.mark.parametrize("kind", REALTIME)
async def test_it_bites_and_then_the_wire_is_sound_again(kind, autojump_clock):
    bites = globals()[kind.replace("-", "_")]
    fault = parse_fault(kind + NEEDS.get(kind, ""))
    async with open_rehearsal(None, faults=[fault], max_session_s=1e6) as rehearsal:
        async with dialled(rehearsal, "/somebody/v1/realtime?model=m") as wire:
            assert await bites(wire)
        assert rehearsal.statistics()["faults"] == {kind: 1}
        async with dialled(rehearsal, "/somebody/v1/realtime?model=m") as wire:
            assert (await typed_turn(wire))["status"] == "completed"


PLAIN_BYTES_ONLY = {"fragmented", "ping-flood"}


@pytest.mark.parametrize("kind", [kind for kind in REALTIME if kind not in PLAIN_BYTES_ONLY])
async def test_it_does_not_bite_unasked(kind, autojump_clock):
    """The test above can fail: without the fault none of what it looks for is there."""
    async with open_rehearsal(None, max_session_s=1e6) as rehearsal:
        async with dialled(rehearsal, "/somebody/v1/realtime?model=m") as wire:
            bitten = False
            with trio.move_on_after(10_000):
                try:
                    bitten = await globals()[kind.replace("-", "_")](wire)
                except (
                    AssertionError,
                    ValueError,
                    KeyError,
                    TypeError,
                    IndexError,
                    trio.TooSlowError,
                    pytest.fail.Exception,
                ):
                    bitten = False
            assert not bitten


async def raw_frames(kind: str | None) -> bytes:
    """The bytes of the connection's first second."""
    faults = [parse_fault(kind)] if kind else []
    client, server = trio.testing.memory_stream_pair()
    received = b""
    async with open_rehearsal(None, faults=faults) as rehearsal, trio.open_nursery() as nursery:
        nursery.start_soon(rehearsal.serve_stream, server)
        head = b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await client.send_all(
            head + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with trio.move_on_after(1):
            while data := await client.receive_some():
                received += bytes(data)
        nursery.cancel_scope.cancel()
    return received.partition(b"\r\n\r\n")[2]


async def test_fragments_and_pings_in_raw_bytes(autojump_clock):
    sound, cut, pinged = [await raw_frames(kind) for kind in (None, "fragmented", "ping-flood")]
    assert sound[0] == 0x81  # one whole text message
    assert cut[0] == 0x01  # a text message that goes on
    assert cut.count(b"\x89\x04") == 0
    assert pinged.count(b"\x89\x04") == 200


async def test_a_dropped_socket_stays_dropped_once_over_reconnections(autojump_clock):
    async with open_rehearsal(None, faults=[parse_fault("drop-socket@4")]) as rehearsal:
        async with dialled(rehearsal) as wire:
            await wire.session()
            await wire.type("hello")
            assert await wire.until_closed() is not None
            assert len(wire.events) == 3
        async with dialled(rehearsal) as wire:
            await wire.session(instructions=HOST)
            assert (await wire.ask("Where can I park?"))["status"] == "completed"


async def test_a_fault_of_one_member_leaves_the_others_alone(autojump_clock):
    async with open_rehearsal(None, faults=[parse_fault("ada:drop-socket@1")]) as rehearsal:
        async with dialled(rehearsal, "/bob/v1/realtime?model=m") as wire:
            await wire.session()
        async with dialled(rehearsal, "/ada/v1/realtime?model=m") as wire:
            with pytest.raises(trio_websocket.ConnectionClosed):
                await wire.next()


async def complete(kind: str | None, *, stream: bool = True) -> tuple[bytes, bytes]:
    """One chat completion over memory streams: head and body, chunked or not."""
    client, server = trio.testing.memory_stream_pair()
    messages = [{"role": "system", "content": HOST}, {"role": "user", "content": "Wo ist Grüße? Where can I park?"}]
    body = json.dumps({"model": "m", "messages": messages, "stream": stream, "tools": []}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    received = b""
    async with open_rehearsal(None, faults=[parse_fault(kind)] if kind else []) as rehearsal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rehearsal.serve_stream, server)
            await client.send_all(head.encode() + body)
            while data := await client.receive_some():
                received += bytes(data)
    head_bytes, _, rest = received.partition(b"\r\n\r\n")
    return head_bytes, _dechunked(rest) if b"chunked" in head_bytes.lower() else rest


def _dechunked(data: bytes) -> bytes:
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        out += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]
    return out


async def test_a_sound_stream(autojump_clock):
    head, body = await complete(None)
    assert head.startswith(b"HTTP/1.1 200")
    assert body.endswith(b"data: [DONE]\n\n")
    assert b": " not in body.replace(b"data: ", b"").split(b"{")[0]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("sse-comments", lambda head, body: body.startswith(b": a comment") and b"\n: another\n" in body),
        ("sse-crlf", lambda head, body: b"data: [DONE]\r\n\r\n" in body),
        ("sse-no-done", lambda head, body: b"[DONE]" not in body and b'"finish_reason":"stop"' in body),
        ("sse-error", lambda head, body: b'"error"' in body and b"[DONE]" not in body),
        ("sse-pings", lambda head, body: body.startswith(b": keep-alive\n\n: keep-alive")),
        ("http-529", lambda head, body: head.startswith(b"HTTP/1.1 529") and b"overloaded" in body),
        ("http-429", lambda head, body: head.startswith(b"HTTP/1.1 429") and b"retry-after: 1" in head),
    ],
)
async def test_faults_of_the_text_wire_bite(kind, seen, autojump_clock):
    assert seen(*await complete(kind))
    assert not seen(*await complete(None))


async def test_split_bytes_come_one_by_one(autojump_clock):
    pieces = await _pieces("sse-split")
    assert max(len(piece) for piece in pieces) < 10 < max(len(piece) for piece in await _pieces(None))


async def _pieces(kind: str | None) -> list[bytes]:
    """What each write of the body was."""
    client, server = trio.testing.memory_stream_pair()
    pieces: list[bytes] = []
    sending = server.send_all

    async def noting(data) -> None:
        pieces.append(bytes(data))
        await sending(data)

    server.send_all = noting
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": "m", "messages": messages, "stream": True}).encode()
    async with open_rehearsal(None, faults=[parse_fault(kind)] if kind else []) as rehearsal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rehearsal.serve_stream, server)
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: "
            await client.send_all(f"{head}{len(body)}\r\n\r\n".encode() + body)
            while await client.receive_some():
                pass
    return pieces[1:]


def test_every_kind_has_a_test():
    tested = {name.replace("_", "-") for name in globals()} | {
        "sse-comments",
        "sse-crlf",
        "sse-no-done",
        "sse-error",
        "sse-pings",
        "sse-split",
        "http-529",
        "http-429",
    }
    assert set(KINDS) <= tested
