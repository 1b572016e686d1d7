"""`mob check` as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mob.cli.main import main


def test_one_error_is_one_error_and_stands_behind_the_files_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.toml"

    assert main(["check", str(missing)]) == 2

    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{missing}: error: ")
    assert last == f"{missing}: cannot run (1 error, 0 warnings)"


def test_a_finding_with_a_place_is_printed_as_compilers_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    team = tmp_path / "team.toml"
    team.write_text('[mob]\nid = "a"\n\n[profiles.host]\nmodel = gpt-4.1-mini\n')

    assert main(["check", str(team)]) == 2

    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{team}:5:9: error: ")
    assert "Every text stands in quotes" in first


@pytest.mark.parametrize(
    "words", [["serve"], ["serve", "definitions/front-desk.toml"], ["rpc", "--team"]], ids=" ".join
)
def test_of_several_teams_the_one_that_is_wrong_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    team = tmp_path / "team.toml"
    team.write_text("[mob\n")

    assert main([*words, str(team)]) == 2

    assert capsys.readouterr().err.startswith(f"{team}:1:5: error: ")
