"""The teams that ship: without a finding, and with what the README and the issue promise of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mob.definition.catalogue import capabilities_for
from mob.definition.load import check, load
from mob.definition.toolmodules import import_tool

HOME = Path(__file__).parents[2] / "definitions"


@pytest.mark.parametrize("path", sorted(HOME.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_team_has_no_finding(path: Path):
    assert check(path) == ()
    assert load(path).id == path.stem


def live_members(name: str) -> set[str]:
    team = load(HOME / f"{name}.toml")
    return {member for member in team.members if capabilities_for(team.profile_of(member), team).realtime}


def test_who_is_live():
    assert live_members("front-desk") == {"host", "manager"}
    assert live_members("panel") == {"chair", "planner", "botanist"}
    assert live_members("newsroom") == set()


def test_the_front_desk_reads_and_writes_and_hands_over_and_back():
    desk = load(HOME / "front-desk.toml")
    assert {name: tool.effect for name, tool in desk.tools.items()} == {"free_tables": "read", "book_table": "write"}
    assert desk.tools["book_table"].keeps_running
    ways = {(route.origin, route.to): route.via for route in desk.routes}
    assert ways["host", "manager"] == ways["manager", "host"] == ("hand_off",)
    told = {name: desk.profile_of(name).instructions for name in desk.members}
    assert not any("19 euros" in text for text in told.values())
    assert "19 euros" in desk.skills["dishes"]
    assert desk.profiles["menu"].skills == ("dishes",)


def test_booking_twice_is_booking_once():
    tools = {name: import_tool(f"front_desk_tools:{name}", HOME) for name in ("free_tables", "book_table", "_book")[:2]}
    first = tools["book_table"](name="Ada", guests=2, time="03:33")
    assert first == "The window table is booked for Ada, 2 guests at 03:33."
    assert tools["book_table"](name="Ada", guests=2, time="03:33") == first
    assert tools["free_tables"](time="03:33") == "Free at 03:33: the corner table for 4, the terrace table for 6."
    assert tools["book_table"](name="Bob", guests=5, time="03:33").startswith("The terrace table")
    assert tools["book_table"](name="Cy", guests=5, time="03:33") == "There is no table left for 5 at 03:33."
