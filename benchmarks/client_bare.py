"""What one would write by hand: asyncio, `websockets`, orjson. Arguments: port, channels, seconds."""

from __future__ import annotations

import asyncio
import base64
import sys
import time

import orjson
from websockets.asyncio.client import connect

PCM = bytes(960)


async def listen(port: int, channels: list, counts: list[int]) -> None:
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2"
    async with connect(url, compression=None, max_size=None, ping_interval=None) as socket:
        await socket.recv()
        update = {"type": "session.update", "session": {"type": "realtime"}}
        await socket.send(orjson.dumps(update).decode())
        channels.append(socket)
        while True:
            message = orjson.loads(await socket.recv())
            if message["type"] == "response.output_audio.delta":
                counts[0] += len(base64.b64decode(message["delta"])) > 0


async def microphone(channels, stop: float) -> None:
    """Feeds every channel each 20 ms, a quarter of them each 5 ms: the cost is the channels', not of many timers."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    phase = 0
    while loop.time() < stop:
        for channel in channels[phase::4]:
            append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(PCM).decode()}
            await channel.send(orjson.dumps(append).decode())
        phase = (phase + 1) % 4
        due += 0.005
        await asyncio.sleep(max(0.0, due - loop.time()))


async def main() -> None:
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    counts = [0]
    channels: list = []
    stop = asyncio.get_running_loop().time() + seconds
    began = time.process_time()
    listeners = [asyncio.create_task(listen(port, channels, counts)) for _ in range(count)]
    await microphone(channels, stop)
    for listener in listeners:
        listener.cancel()
    print(time.process_time() - began, counts[0])


asyncio.run(main())
