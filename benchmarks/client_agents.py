"""The peer: openai-agents' RealtimeRunner. Arguments: port, channels, seconds."""

from __future__ import annotations

import asyncio
import sys
import time

from agents import set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

PCM = bytes(960)


async def listen(port: int, channels: list, counts: list[int]) -> None:
    runner = RealtimeRunner(RealtimeAgent(name="bench", instructions="Speak."))
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2"
    async with await runner.run(model_config={"api_key": "bench", "url": url}) as session:
        channels.append(session)
        async for event in session:
            counts[0] += event.type == "audio"
            if event.type == "error":
                print(event.error, file=sys.stderr)


async def microphone(channels, stop: float) -> None:
    """Feeds every channel each 20 ms, a quarter of them each 5 ms: the cost is the channels', not of many timers."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    phase = 0
    while loop.time() < stop:
        for channel in channels[phase::4]:
            await channel.send_audio(PCM)
        phase = (phase + 1) % 4
        due += 0.005
        await asyncio.sleep(max(0.0, due - loop.time()))


async def main() -> None:
    set_tracing_disabled(True)
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
