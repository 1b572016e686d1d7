"""mob's live channels on one trio loop. Arguments: port, channels, seconds."""

from __future__ import annotations

import sys
import time

import trio

from mob import AudioDelta, LiveChannel, connect_realtime

PCM = bytes(960)


async def listen(port: int, channels: list[LiveChannel], counts: list[int]) -> None:
    async with connect_realtime(
        provider="openai", model="gpt-realtime-2", instructions="Speak.", base_url=f"http://127.0.0.1:{port}/v1"
    ) as live:
        channels.append(live)
        async for event in live:
            if isinstance(event, AudioDelta):
                live.played(event)
                counts[0] += 1


async def microphone(channels: list[LiveChannel], stop: float) -> None:
    """Feeds every channel each 20 ms, a quarter of them each 5 ms: the cost is the channels', not of many timers."""
    due = trio.current_time()
    phase = 0
    while trio.current_time() < stop:
        for channel in channels[phase::4]:
            await channel.send_audio(PCM)
        phase = (phase + 1) % 4
        due += 0.005
        await trio.sleep_until(due)


async def main() -> None:
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    counts = [0]
    channels: list[LiveChannel] = []
    stop = trio.current_time() + seconds
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(listen, port, channels, counts)
        await microphone(channels, stop)
        print(time.process_time() - began, counts[0], flush=True)
        nursery.cancel_scope.cancel()


trio.run(main)
