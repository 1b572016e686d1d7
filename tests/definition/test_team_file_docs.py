"""docs/team-files.md is true: its reference is the table of keys, and its blocks are teams."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from team_files import parse

from mob.definition.keys import ROOT
from mob.definition.names import ROUTE_PREFIXES
from mob.definition.reference import render_reference

PAGE = (Path(__file__).parents[2] / "docs" / "team-files.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_reference_is_rendered_from_the_table_of_keys():
    """When this fails: replace what follows the heading with `python -m mob.definition.reference`."""
    assert PAGE.endswith(render_reference())


def test_every_section_is_in_the_reference():
    for key in ROOT.keys:
        assert re.search(rf"\[{key.name}|`{key.name}`", PAGE), key.name


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[1])
def test_each_block_is_a_team_without_a_finding(block: str):
    assert parse(block)[1] == ()


def test_the_page_names_the_tools_that_routes_make():
    for prefix in ROUTE_PREFIXES.values():
        assert f"`{prefix}MEMBER(" in PAGE
