"""The edge: team files, and what they name, on a real disk."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from team_files import SMALL

from mob.definition.findings import Finding, findings_as_json
from mob.definition.load import check, load
from mob.definition.toolmodules import ToolImportError, import_tool
from mob.errors import DefinitionError


def team(folder: Path, text: str) -> Path:
    path = folder / "team.toml"
    path.write_text(text)
    return path


def codes(path: Path) -> list[str]:
    return [finding.code for finding in check(path)]


def test_a_team_with_files_and_tools_beside_it(tmp_path: Path):
    (tmp_path / "host.md").write_text("Greet people.")
    (tmp_path / "helpers.py").write_text("WORD = 'found'\n")
    (tmp_path / "own_tools.py").write_text(
        'import helpers\n\ndef find() -> str:\n    """Finds."""\n    return helpers.WORD\n'
    )
    path = team(
        tmp_path,
        SMALL + 'instructions = { file = "host.md" }\ntools = ["find"]\n[tools.find]\npython = "own_tools:find"\n',
    )
    assert check(path) == ()
    definition = load(path)
    assert definition.profiles["host"].instructions == "Greet people."
    assert definition.base_dir == tmp_path
    assert len(definition.digest) == 64
    assert import_tool("own_tools:find", tmp_path)() == "found"
    assert str(tmp_path) not in sys.path
    sys.modules.pop("helpers")


def test_two_teams_may_each_have_a_module_of_the_same_name(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tools.py").write_text(f'def which() -> str:\n    """Says."""\n    return "{name}"\n')
    assert import_tool("tools:which", tmp_path / "one")() == "one"
    assert import_tool("tools:which", tmp_path / "two")() == "two"
    assert import_tool("tools:which", tmp_path / "one") is import_tool("tools:which", tmp_path / "one")


def test_packages_attributes_of_classes_and_installed_modules(tmp_path: Path):
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").write_text("from .inner import Shelf\n")
    (tmp_path / "kit" / "inner.py").write_text("class Shelf:\n    @staticmethod\n    def get(): return 1\n")
    assert import_tool("kit:Shelf.get", tmp_path)() == 1
    assert import_tool("textwrap:dedent", tmp_path)(" a") == "a"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("1 / 0\n", "tool_import_failed"),
        ("def (:\n", "tool_import_failed"),
        ("import nothing_of_this_name\n", "tool_import_failed"),
        ("raise SystemExit(3)\n", "tool_import_failed"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n", "tool_import_failed"),
        ("import time\n", "tool_attribute_missing"),
        ("find = 3\n", "tool_not_callable"),
        ("def __getattr__(name): raise RuntimeError(name)\n", "tool_import_failed"),
        ("def find(*words):\n    'Finds.'\n", "tool_signature"),
        ("def find(word, /):\n    'Finds.'\n", "tool_signature"),
        ("def find(word):\n    return word\n", "tool_undocumented"),
    ],
)
def test_whatever_a_tool_module_does_is_a_finding(tmp_path: Path, source: str, code: str, capsys):
    (tmp_path / "bad_tools.py").write_text("print('noise')\n" + source)
    path = team(tmp_path, SMALL + '[tools.find]\npython = "bad_tools:find"\n')
    assert codes(path) == [code]
    assert capsys.readouterr().out == "", "stdout is data"


def test_a_tool_that_is_nowhere(tmp_path: Path):
    assert codes(team(tmp_path, SMALL + '[tools.find]\npython = "no_such_module_at_all:find"\n')) == [
        "tool_import_failed"
    ]
    with pytest.raises(ToolImportError, match="cannot be imported"):
        import_tool("no_such_module_at_all:find", tmp_path)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "file_missing"),
        (lambda path: path.mkdir(), "file_unreadable"),
        (os.mkfifo, "file_unreadable"),
        (lambda path: path.symlink_to("/dev/zero"), "file_outside"),
        (lambda path: path.symlink_to(path), "file_unreadable"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not_utf8"),
        (lambda path: path.write_bytes(b"ok\n\xc3\x28"), "not_utf8"),
        (lambda path: path.write_bytes(b"x" * (2**20 + 1)), "file_too_large"),
    ],
    ids=["missing", "directory", "fifo", "outside", "loop", "utf-16", "bytes", "large"],
)
@pytest.mark.timeout(10)
def test_hostile_file_references(tmp_path: Path, make, code):
    make(tmp_path / "host.md")
    path = team(tmp_path, SMALL + 'instructions = { file = "host.md" }\n')
    findings = check(path)
    assert [(finding.code, finding.line) for finding in findings] == [(code, 6)]


@pytest.mark.parametrize("name", ["x" * 5000, "a\\u0000b", "."])
def test_file_names_that_are_none(tmp_path: Path, name: str):
    assert codes(team(tmp_path, SMALL + f'instructions = {{ file = "{name}" }}\n')) == ["file_unreadable"]


@pytest.mark.timeout(10)
def test_team_files_that_are_none(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large.toml").write_bytes(b"#" * 10 * 2**20)
    (tmp_path / "utf16.toml").write_text(SMALL, encoding="utf-16")
    for name, code in (
        ("nothing.toml", "file_missing"),
        (".", "file_unreadable"),
        ("fifo", "file_unreadable"),
        ("/dev/zero", "file_unreadable"),
        ("large.toml", "file_too_large"),
        ("utf16.toml", "not_utf8"),
    ):
        assert codes(tmp_path / name) == [code], name


def test_load_raises_all_findings_and_names_the_first_error(tmp_path: Path):
    path = team(tmp_path, SMALL + 'runtime_mode = "turn_driven"\nvoise = "x"\nvoice = "nobody"\n')
    with pytest.raises(DefinitionError) as caught:
        load(path)
    assert [finding.code for finding in caught.value.findings] == ["not_built", "unknown_key", "unsupported_voice"]
    assert caught.value.message.startswith(f"{path}: 7:1: error: `voise`")
    assert caught.value.message.endswith("(and 1 more)")


def test_warnings_alone_do_not_stop_a_team(tmp_path: Path):
    assert load(team(tmp_path, SMALL + 'runtime_mode = "turn_driven"\n')).id == "small"


def test_findings_as_json():
    findings = (Finding("warning", "not_built", "É", "mcp", 3, 1), Finding("error", "unknown_key", "x", nearest="y"))
    document = json.loads(findings_as_json("a.toml", findings))
    assert document["file"] == "a.toml"
    assert document["ok"] is False
    assert document["findings"][0] == {
        "severity": "warning",
        "code": "not_built",
        "message": "É",
        "path": "mcp",
        "line": 3,
        "column": 1,
        "nearest": None,
    }
    assert json.loads(findings_as_json("a.toml", findings[:1]))["ok"] is True
