"""The house as it is drawn: walls between rooms, and no room so large that it wants to be two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "mob").rglob("*.py"))


def test_the_import_walls_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_two_rooms(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 500


def test_nothing_is_spawned_without_an_owner() -> None:
    """Nurseries own tasks; the ways around them are not used anywhere."""
    ways_around = ("spawn_system_task", "asyncio", "threading.Thread(")
    exceptions = {"store"}  # the writer's one thread, joined by the scope of the run (docs/architecture.md)
    for module in MODULES:
        if exceptions & set(module.parts):
            continue
        text = module.read_text()
        assert not any(way in text for way in ways_around), module
