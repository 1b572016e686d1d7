"""The far end of `relay.py`: a provider that says back at once whatever it hears, on just enough of the wire.

Each connection answers its first audio with one endless response, and every piece of audio with a delta that holds the
same bytes. So a client that writes the time into its audio reads the round trip from what comes back. Prints its port
on stdout; ends with its parent's pipe.
"""

from __future__ import annotations

import json
import sys

import trio

from mob.errors import MobError
from mob.live.transport import Transport, accept_websocket

IDS = {"response_id": "resp_bench", "item_id": "item_bench", "output_index": 0, "content_index": 0}
HEAD, TAIL = '"audio":"', '"'


def event(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, "event_id": "event_bench", **fields}, separators=(",", ":"))


DELTA = event("response.output_audio.delta", **IDS, delta="@").partition("@")


def opening() -> list[str]:
    response = {"id": "resp_bench", "object": "realtime.response", "status": "in_progress", "output": []}
    item = {"id": "item_bench", "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
    return [
        event("response.created", response=response),
        event("response.output_item.added", response_id="resp_bench", output_index=0, item=item),
        event("conversation.item.added", item=item, previous_item_id=None),
        event("response.content_part.added", **IDS, part={"type": "audio", "transcript": ""}),
    ]


async def echo(transport: Transport) -> None:
    session: dict[str, object] = {"type": "realtime", "object": "realtime.session", "id": "sess_bench"}
    session["model"] = "gpt-realtime-2"
    transport.send_nowait(event("session.created", session=session))
    speaking = False
    while True:
        for frame in await transport.receive():
            assert isinstance(frame, str)
            if "input_audio_buffer.append" in frame[:60] or "input_audio_buffer.append" in frame[-60:]:
                if not speaking:
                    speaking = True
                    for each in opening():
                        transport.send_nowait(each)
                start = frame.index(HEAD) + len(HEAD) if HEAD in frame else frame.index('"audio": "') + 10
                audio = frame[start : frame.index(TAIL, start)]
                transport.send_nowait(f"{DELTA[0]}{audio}{DELTA[2]}", audio=True)
                continue
            message = json.loads(frame)
            if message["type"] == "session.update":
                session |= message["session"]
                transport.send_nowait(event("session.updated", session=session))


async def serve(stream: trio.SocketStream) -> None:
    try:
        transport, _ = await accept_websocket(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.run_writer)
            await echo(transport)
    except* MobError:
        pass


async def main() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listeners[0].socket.getsockname()[1], flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


trio.run(main)
