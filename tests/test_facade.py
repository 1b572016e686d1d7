"""The facade names what is public: each name once, from where it lives, and `import mob` loads next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mob


def names_for_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(mob.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return {
        alias.name: str(node.module) for node in imports for alias in node.names if str(node.module).startswith("mob.")
    }


def test_runtime_and_type_checkers_see_the_same_names() -> None:
    at_runtime = {name: home for home, names in mob._HOMES.items() for name in names.split()}

    assert at_runtime == names_for_type_checkers()


def test_each_public_name_is_there() -> None:
    for name in mob.__all__:
        assert getattr(mob, name).__name__ == name
    assert set(mob.__all__) <= set(dir(mob))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        getattr(mob, "nothing_of_this_name")  # noqa: B009 - the type checker knows better


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


def test_importing_mob_loads_no_door_and_no_loop() -> None:
    loaded = loaded_by("import mob")

    assert not loaded & {"trio", "attrs", "numpy", "sqlite3", "websockets", "httpx2", "mob.cli", "mob.rehearsal"}


def test_help_loads_only_the_parser() -> None:
    loaded = loaded_by(
        "import mob.cli.main as m, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): m.main(['--help'])\n"
    )

    assert not loaded & {"trio", "numpy", "sqlite3", "prompt_toolkit", "mob.team", "mob.rehearsal"}
