"""CPU of N live channels in one process: 20 ms of PCM in, 40 ms deltas out, both streaming.

Three clients of the same server, one after the other, each in a process of its own: mob's live channel, bare
`websockets` with orjson (what one would write by hand), and `openai-agents`' RealtimeRunner (AGENTS_PYTHON). Prints
CPU microseconds per channel-second and the ratios. Run: python benchmarks/channels.py [N …]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 6.0
CLIENTS = {"mob": "client_mob.py", "bare": "client_bare.py", "agents": "client_agents.py"}


def python_for(client: str) -> str | None:
    return os.environ.get("AGENTS_PYTHON") if client == "agents" else sys.executable


def measure(client: str, port: int, channels: int) -> tuple[float, float] | None:
    """CPU seconds per channel-second, and the share of the deltas that came through."""
    python = python_for(client)
    if python is None:
        return None
    command = [python, str(HERE / CLIENTS[client]), str(port), str(channels), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        print(f"{client}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    cpu, received = (float(part) for part in done.stdout.split())
    return cpu / (channels * SECONDS), received / (channels * SECONDS / 0.04)


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or [10, 50]
    for channels in counts:
        results: dict[str, float] = {}
        for client in CLIENTS:
            with subprocess.Popen(
                [sys.executable, str(HERE / "wire_server.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as server:
                assert server.stdout is not None
                figure = measure(client, int(server.stdout.readline()), channels)
                server.kill()
            if figure is not None:
                results[client] = figure[0]
                cost = f"{figure[0] * 1e6:8.0f} us per channel-second"
                print(f"N={channels:4d}  {client:7s}{cost}, {figure[1]:.0%} of the deltas", flush=True)
        for peer in ("bare", "agents"):
            if peer in results and "mob" in results:
                print(f"N={channels:4d}  mob / {peer}: {results['mob'] / results[peer]:.2f}")


main()
