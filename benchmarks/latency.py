"""Three figures of one process: how fast a cut reaches the wire, what an idle channel weighs, how fast virtual time is.

    interrupt → truncate   from `live.interrupt()` to the frame handed to the socket; beside one echo on loopback
    memory                 resident bytes for each idle live channel, at 500 of them
    virtual time           seconds of a four-member call for each second of the clock on the wall

Run: python benchmarks/latency.py
"""

from __future__ import annotations

import resource
import socket
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio
import trio.testing

import mob
from mob.live.websocket import WebSocketTransport

HERE = Path(__file__).parent
TEAM = HERE.parent / "definitions" / "front-desk.toml"
CHANNELS = 500
CUTS = 20


def echo_on_loopback() -> float:
    """The median round trip of one byte, in seconds: the floor under everything that crosses a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far, _ = listener.accept()
        with far:
            times = []
            for _ in range(200):
                began = time.perf_counter()
                near.sendall(b"x")
                far.sendall(far.recv(1))
                near.recv(1)
                times.append(time.perf_counter() - began)
    return statistics.median(times)


async def interrupt_to_truncate() -> list[float]:
    """Cut an answer off again and again; for each, how long until its truncate was handed to the socket."""
    sent: list[float] = []
    plain = WebSocketTransport.send_nowait

    def noting(self: WebSocketTransport, message: str | bytes, *, audio: bool = False) -> None:
        plain(self, message, audio=audio)
        if isinstance(message, str) and "item.truncate" in message:
            sent.append(time.perf_counter())

    WebSocketTransport.send_nowait = noting  # type: ignore[method-assign]
    times = []
    try:
        async with mob.open_mob(mob.load(TEAM), rehearse=True) as desk, desk.member("host").open_live() as live:
            for _ in range(CUTS):
                await live.send_text("Tell me about the restaurant.")
                async for event in live:
                    if isinstance(event, mob.AudioDelta) and event.start_ms >= 500:
                        live.played(event.item_id, 400)
                        began = time.perf_counter()
                        await live.interrupt()
                    if isinstance(event, mob.TurnCommitted):
                        break
                times.append(sent[-1] - began)
    finally:
        WebSocketTransport.send_nowait = plain  # type: ignore[method-assign]
    return times


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def bytes_per_idle_channel() -> float:
    """Open many channels to another process, leave them alone, and weigh."""
    with subprocess.Popen(  # noqa: ASYNC220 - the peer of a benchmark, started before anything is measured
        [sys.executable, str(HERE / "wire_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(mob.connect_realtime(model="gpt-realtime-2", base_url=url))
            before = resident()
            for _ in range(CHANNELS):
                await stack.enter_async_context(mob.connect_realtime(model="gpt-realtime-2", base_url=url))
            weight = (resident() - before) / CHANNELS
        server.kill()
    return weight


async def a_call() -> float:
    """Ten turns with four members around, somebody listening at the speed of sound. Virtual seconds."""
    began = trio.current_time()
    async with mob.open_mob(mob.load(TEAM), rehearse=True, seed=1) as desk:
        for number in range(10):
            await desk.ask("What does the mushroom risotto cost?" if number % 2 else "Where do I find you?")
            await trio.sleep(20)
    return trio.current_time() - began


def main() -> None:
    floor = echo_on_loopback()
    cut = statistics.median(trio.run(interrupt_to_truncate))
    print(f"interrupt → truncate      {cut * 1e6:9.0f} us   {cut / floor:6.1f}x one echo on loopback")
    print(f"idle live channel         {trio.run(bytes_per_idle_channel) / 1024:9.0f} KiB each, {CHANNELS} open")
    began = time.perf_counter()
    virtual = trio.run(a_call, clock=trio.testing.MockClock(autojump_threshold=0))
    print(f"virtual time              {virtual / (time.perf_counter() - began):9.0f} s of a four-member call a second")


main()
