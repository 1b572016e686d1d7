"""Every example runs as its first line says, and prints what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "ask.py": "risotto",
    "barge_in.py": "heard 1200 of",
    "own_model.py": "nine to six",
    "prove_timing.py": "s of",
}


def test_each_example_has_an_expectation() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example_runs(name: str) -> None:
    command = [sys.executable, "-W", "error", f"examples/{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert EXPECTED[name] in done.stdout
