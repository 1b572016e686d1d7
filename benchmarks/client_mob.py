"""mob's live channels on one trio loop. Arguments: port, channels, seconds."""

from __future__ import annotations

import random
import sys
import time

import trio

from mob import AudioDelta, connect_realtime

PCM = bytes(960)


async def channel(port: int, stop: float, counts: list[int]) -> None:
    async with (
        connect_realtime(
            provider="openai", model="gpt-realtime-2", instructions="Speak.", base_url=f"http://127.0.0.1:{port}/v1"
        ) as live,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send, live, stop)
        async for event in live:
            if isinstance(event, AudioDelta):
                live.played(event)
                counts[0] += 1
            if trio.current_time() >= stop:
                break


async def send(live, stop: float) -> None:
    await trio.sleep(random.random() * 0.02)
    due = trio.current_time()
    while trio.current_time() < stop:
        await live.send_audio(PCM)
        due += 0.02
        await trio.sleep_until(due)


async def main() -> None:
    port, channels, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    counts = [0]
    stop = trio.current_time() + seconds
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(channels):
            nursery.start_soon(channel, port, stop, counts)
    print(time.process_time() - began, counts[0])


trio.run(main)
