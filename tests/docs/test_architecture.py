"""The page that draws the house names every room, and its floors are those that the walls are checked by."""

from __future__ import annotations

import re
from pathlib import Path

import tomli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def rooms(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def test_every_room_is_drawn() -> None:
    house, doors = re.findall(r"^```text\nmob/(?:server/)?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[:2]

    assert set(re.findall(r"^  (\w+)/", house, re.MULTILINE)) == rooms(ROOT / "mob")
    assert rooms(ROOT / "mob" / "server") <= set(re.findall(r"(\w+)/ ", doors))


def test_the_floors_are_those_of_the_walls() -> None:
    contracts = tomli.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    drawn = re.search(r"^```text\n(cli → .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert drawn is not None
    floors = [{name for name in re.split(r"[\s|,]+", floor) if name} for floor in drawn[1].split("→")]

    assert floors == [{name.strip() for name in layer.split("|")} for layer in layers]
