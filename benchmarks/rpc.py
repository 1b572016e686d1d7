"""JSON-RPC calls per second over TCP: `mob rpc` beside a floor, in one run.

The floor is a server of twenty lines that reads a line, parses it, and writes an answer of the same size. Both are
asked one by one, and 32 at a time, by the same client. Run: python benchmarks/rpc.py
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLS = 4000
FLOOR = """
import json, sys, trio
async def serve(stream):
    buffer = b""
    while data := await stream.receive_some(65536):
        *lines, buffer = (buffer + bytes(data)).split(b"\\n")
        for line in lines:
            ident = json.loads(line)["id"]
            answer = {"jsonrpc": "2.0", "id": ident, "result": {"mob_id": "front-desk", "status": "Running"}}
            await stream.send_all(json.dumps(answer).encode() + b"\\n")
async def main():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print("tcp://127.0.0.1:%d" % listeners[0].socket.getsockname()[1], flush=True)
    await trio.serve_listeners(serve, listeners)
trio.run(main)
"""
MOB = ["-m", "mob", "rpc", "--listen", "127.0.0.1:0", "--team", "definitions/front-desk.toml", "--rehearse"]


@contextmanager
def running(*arguments: str) -> Iterator[int]:
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


async def ask(port: int, at_once: int) -> float:
    """Calls per second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    for first in range(0, CALLS, at_once):
        for ident in range(first, first + at_once):
            call = {"jsonrpc": "2.0", "id": ident, "method": "mob/status", "params": {"mob_id": "front-desk"}}
            writer.write(json.dumps(call).encode() + b"\n")
        for _ in range(at_once):
            assert b"Running" in await reader.readline()
    taken = time.perf_counter() - began
    writer.close()
    return CALLS / taken


def main() -> None:
    with running(*MOB) as mob, running("-c", FLOOR) as floor:
        for at_once in (1, 32):
            rates = {name: asyncio.run(ask(port, at_once)) for name, port in (("mob", mob), ("floor", floor))}
            ratio = rates["mob"] / rates["floor"]
            print(f"{at_once:3d} at once: mob {rates['mob']:7.0f}/s, floor {rates['floor']:7.0f}/s, ratio {ratio:.2f}")


main()
