"""The peer: openai-agents' RealtimeRunner. Arguments: port, channels, seconds."""

from __future__ import annotations

import asyncio
import random
import sys
import time

from agents import set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

PCM = bytes(960)


async def channel(port: int, stop: float, counts: list[int]) -> None:
    runner = RealtimeRunner(RealtimeAgent(name="bench", instructions="Speak."))
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2"
    async with await runner.run(model_config={"api_key": "bench", "url": url}) as session:
        sender = asyncio.create_task(send(session, stop))
        receiver = asyncio.create_task(receive(session, counts))
        await sender
        receiver.cancel()


async def receive(session, counts: list[int]) -> None:
    async for event in session:
        counts[0] += event.type == "audio"
        if event.type == "error":
            print(event.error, file=sys.stderr)


async def send(session, stop: float) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(random.random() * 0.02)
    due = loop.time()
    while loop.time() < stop:
        await session.send_audio(PCM)
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


async def main() -> None:
    set_tracing_disabled(True)
    port, channels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    counts = [0]
    stop = asyncio.get_running_loop().time() + seconds
    began = time.process_time()
    await asyncio.gather(*(channel(port, stop, counts) for _ in range(channels)))
    print(time.process_time() - began, counts[0])


asyncio.run(main())
