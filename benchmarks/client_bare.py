"""What one would write by hand: asyncio, `websockets`, orjson. Arguments: port, channels, seconds."""

from __future__ import annotations

import asyncio
import base64
import random
import sys
import time

import orjson
from websockets.asyncio.client import connect

PCM = bytes(960)


async def channel(port: int, stop: float, counts: list[int]) -> None:
    loop = asyncio.get_running_loop()
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2"
    async with connect(url, compression=None, max_size=None, ping_interval=None) as socket:
        await socket.recv()
        update = {"type": "session.update", "session": {"type": "realtime"}}
        await socket.send(orjson.dumps(update).decode())
        sender = asyncio.create_task(send(socket, stop))
        while loop.time() < stop:
            message = orjson.loads(await socket.recv())
            if message["type"] == "response.output_audio.delta":
                counts[0] += len(base64.b64decode(message["delta"])) > 0
        await sender


async def send(socket, stop: float) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(random.random() * 0.02)
    due = loop.time()
    while loop.time() < stop:
        frame = {"type": "input_audio_buffer.append", "audio": base64.b64encode(PCM).decode()}
        await socket.send(orjson.dumps(frame).decode())
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


async def main() -> None:
    port, channels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    counts = [0]
    stop = asyncio.get_running_loop().time() + seconds
    began = time.process_time()
    await asyncio.gather(*(channel(port, stop, counts) for _ in range(channels)))
    print(time.process_time() - began, counts[0])


asyncio.run(main())
