"""What a mob between an OpenAI client and its provider costs: latency and CPU, beside the same talk without it.

client → provider, and client → `mob serve` → provider: the same client, the same provider, the same wire, in one run.
The provider says back what it hears, so the client reads the round trip from the audio itself. The mob is alone on one
core where there are two. Prints p50 and p99 of the round trip of both ways and their differences, the time until the
first audio came back, and the server's CPU per channel-second. Run: python benchmarks/relay.py [N …]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import usage_of

HERE = Path(__file__).parent
SECONDS = 8.0
CHUNK_S = 0.02
TEAM = """[mob]
id = "relay"

[profiles.voice]
model = "gpt-realtime-2"
turn_detection = "manual"
instructions = "Speak."

[providers.openai]
base_url = "http://127.0.0.1:{port}/v1"

[limits]
turn_timeout_s = 600.0
response_timeout_s = 600.0
"""


@contextmanager
def running(*command: str, core: int | None = None) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, core)
        try:
            yield process
        finally:
            process.terminate()


def pin(pid: int, core: int | None) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if core is not None and len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core]})


def team_file(directory: Path, port: int, count: int) -> Path:
    members = "".join(f'\n[members.m{n}]\nprofile = "voice"\n' for n in range(count))
    path = directory / "relay.toml"
    path.write_text(TEAM.format(port=port) + members)
    return path


def talk(url: str, count: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "relay_client.py"), url, str(count), str(SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, 1)
        said, _ = process.communicate(timeout=120)
    figures: dict[str, float] = json.loads(said)
    return figures


def measure(count: int) -> None:
    with (
        running(sys.executable, str(HERE / "echo_provider.py"), core=1) as provider,
        tempfile.TemporaryDirectory() as d,
    ):
        assert provider.stdout is not None
        port = int(provider.stdout.readline())
        direct = talk(f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2", count)
        team = team_file(Path(d), port, count)
        mob = [sys.executable, "-m", "mob", "serve", str(team), "--listen", "127.0.0.1:0", "--state", d]
        with running(*mob, core=0) as server:
            assert server.stdout is not None
            base = server.stdout.readline().strip()
            before, empty = usage_of.seconds(server.pid), usage_of.resident_kib(server.pid)
            through = talk(f"{base.replace('http', 'ws')}/v1/realtime?model=m{{n}}", count)
            spent = usage_of.seconds(server.pid) - before
            memory = (usage_of.resident_kib(server.pid) - empty) / count
    tell(f"N={count:4d}  direct ", direct)
    tell(f"N={count:4d}  mob    ", through)
    tell(f"N={count:4d}  added  ", {name: through[name] - direct[name] for name in ("p50", "p99", "first")})
    heard = through["heard"] / max(through["sent"], 1)
    per_channel = spent / (through["sent"] * CHUNK_S) * 1e6
    print(
        f"N={count:4d}  {per_channel:.0f} us CPU per channel-second, {heard:.1%} heard, {memory:.0f} KiB a channel",
        flush=True,
    )


def tell(what: str, figures: dict[str, float]) -> None:
    print(f"{what} p50 {figures['p50']:7.3f}  p99 {figures['p99']:7.3f}  first {figures['first']:7.3f} ms")


def main() -> None:
    for count in [int(argument) for argument in sys.argv[1:]] or [1, 25, 50, 100]:
        measure(count)


main()
