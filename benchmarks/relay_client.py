"""N OpenAI Realtime clients in one process, which write the time into what they say. For `relay.py`.

Arguments: a URL with `{n}` for the client's number, how many, seconds. Each sends 20 ms of audio every 20 ms, evenly
spread, and reads the time back from the audio it hears. Prints one JSON object: the round trips' percentiles in ms, the
time to the first audio, how many pieces were sent and heard.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import time

import trio

from mob.live.network import TcpNetwork
from mob.live.transport import Transport, connect_websocket

CHUNK_S = 0.02
REST = bytes(952)
MARK = "response.output_audio.delta"
WARM_UP_S = 1.0


class Counts:
    def __init__(self) -> None:
        self.trips: list[float] = []
        self.first: list[float] = []
        self.sent = self.heard = 0


def pcm() -> bytes:
    return struct.pack("<d", time.perf_counter()) + REST


async def client(url: str, number: int, counts: Counts, ready: trio.Event, stop: float) -> None:
    transport = await connect_websocket(TcpNetwork(), url.format(n=number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run_writer)
        config = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        transport.send_nowait(json.dumps({"type": "session.update", "session": config}))
        while not any("session.updated" in str(frame)[:120] for frame in await transport.receive()):
            pass
        await ready.wait()
        nursery.start_soon(listen, transport, counts)
        await speak(transport, number, counts, stop)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await transport.aclose()


async def speak(transport: Transport, number: int, counts: Counts, stop: float) -> None:
    due = trio.current_time() + (number * 0.618) % 1 * CHUNK_S
    while due < stop:
        await trio.sleep_until(due)
        audio = base64.b64encode(pcm()).decode()
        transport.send_nowait(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}', audio=True)
        counts.sent += 1
        due += CHUNK_S


async def listen(transport: Transport, counts: Counts) -> None:
    began = trio.current_time()
    first = True
    while True:
        frames = await transport.receive()
        now = time.perf_counter()
        for frame in frames:
            if not isinstance(frame, str) or (MARK not in frame[:120]):
                continue
            start = frame.index('"delta":') + 8
            start = frame.index('"', start) + 1
            (then,) = struct.unpack_from("<d", base64.b64decode(frame[start : start + 12]))
            counts.heard += 1
            if first:
                first = False
                counts.first.append((now - then) * 1000)
            if trio.current_time() - began > WARM_UP_S:
                counts.trips.append((now - then) * 1000)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def main() -> None:
    url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    counts, ready = Counts(), trio.Event()
    stop = trio.current_time() + seconds + WARM_UP_S + 2.0
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(client, url, number, counts, ready, stop)
        await trio.sleep(2.0)
        ready.set()
    figures = {
        "p50": percentile(counts.trips, 0.5),
        "p99": percentile(counts.trips, 0.99),
        "first": percentile(counts.first, 0.5),
        "sent": counts.sent,
        "heard": counts.heard,
    }
    print(json.dumps(figures))


trio.run(main)
