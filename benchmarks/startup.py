"""Start-up of the commands a user waits for, beside the floor: an interpreter that does nothing.

Prints the minimum of several runs and its ratio to the floor. Run: python benchmarks/startup.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOB = [sys.executable, "-m", "mob"]
TEAM = str(ROOT / "definitions" / "front-desk.toml")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import trio, numpy'": [sys.executable, "-c", "import trio, numpy"],
    "mob --help": [*MOB, "--help"],
    "mob check": [*MOB, "check", TEAM],
    "mob run --say hello": [*MOB, "run", TEAM, "--plain", "--say", "hello"],
}


ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
"""As users have it: the second start reads compiled modules."""


def best_of(command: list[str], runs: int) -> float:
    """The shortest wall time, in seconds."""
    times = []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(runs):
            began = time.perf_counter()
            subprocess.run(command, cwd=directory, env=ENVIRONMENT, capture_output=True, check=True, timeout=60)
            times.append(time.perf_counter() - began)
    return min(times)


floor = None
for name, command in COMMANDS.items():
    best = best_of(command, 5)
    floor = floor or best
    print(f"{name:34s}{best * 1000:8.0f} ms   {best / floor:6.1f}x")
