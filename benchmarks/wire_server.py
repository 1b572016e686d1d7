"""The other side of `channels.py`: one process that speaks just enough of the wire, as cheaply as it can.

Each connection gets 40 ms of audio every 40 ms from one endless response, begun when the client first sends audio
or asks for a response. Prints its port on stdout. Ends with its parent's pipe.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import sys

from websockets.asyncio.server import ServerConnection, serve

DELTA_S = 0.04
PCM = base64.b64encode(bytes(range(256)) * 7 + bytes(128)).decode()  # 1 920 bytes: 40 ms at 24 kHz


def event(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, "event_id": f"event_{random.getrandbits(40):x}", **fields})


async def handle(socket: ServerConnection) -> None:
    session: dict[str, object] = {"type": "realtime", "object": "realtime.session", "id": "sess_bench"}
    session |= {"model": "gpt-realtime-2"}
    await socket.send(event("session.created", session=session))
    stream: asyncio.Task[None] | None = None
    try:
        async for frame in socket:
            if stream is not None and "session.update" not in frame[:80] and "session.update" not in frame[-80:]:
                continue  # audio, most of the time: not worth parsing
            message = json.loads(frame)
            if message["type"] == "session.update":
                session |= message["session"]
                await socket.send(event("session.updated", session=session))
            elif message["type"] in ("input_audio_buffer.append", "response.create"):
                stream = asyncio.create_task(speak(socket))
    finally:
        if stream is not None:
            stream.cancel()


async def speak(socket: ServerConnection) -> None:
    await asyncio.sleep(random.random() * DELTA_S)
    ids = {"response_id": "resp_bench", "item_id": "item_bench", "output_index": 0, "content_index": 0}
    response = {"id": "resp_bench", "object": "realtime.response", "status": "in_progress", "output": []}
    item = {"id": "item_bench", "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
    await socket.send(event("response.created", response=response))
    await socket.send(event("response.output_item.added", response_id="resp_bench", output_index=0, item=item))
    await socket.send(event("conversation.item.added", item=item, previous_item_id=None))
    await socket.send(event("response.content_part.added", **ids, part={"type": "audio", "transcript": ""}))
    loop = asyncio.get_running_loop()
    due = loop.time()
    for number in range(1_000_000):
        await socket.send(
            f'{{"type":"response.output_audio.delta","event_id":"event_{number}","response_id":"resp_bench",'
            f'"item_id":"item_bench","output_index":0,"content_index":0,"delta":"{PCM}"}}'
        )
        due += DELTA_S
        await asyncio.sleep(max(0.0, due - loop.time()))


async def main() -> None:
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # clients leave without a close frame
    async with serve(handle, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
