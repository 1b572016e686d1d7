"""Every command and code block that the README and the docs print is run as printed.

```python blocks run as a program; ```sh blocks run as a script, line by line, in a folder that holds what a clone
holds, and the files that a page shows (a ```python block that begins with `# NAME.py`); ```toml blocks with a [mob]
section are checked; ```text blocks are output and ```html blocks pages for a browser; neither is run. A command that
serves (`mob rehearse …`, `mob serve …`) is started, must come up, and is stopped when its block ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"python", "sh", "toml", "text", "json", "html"}


@frozen
class Block:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(page, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in BLOCK.finditer(text)]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone holds, as far as a reader of the docs uses it."""
    for block in of("python"):
        if named := re.match(r"# (\w+\.py)\n", block.text):
            (tmp_path / named[1]).write_text(block.text)
    for name in ("definitions", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_every_fence_is_of_a_known_kind() -> None:
    fences = sum(len(re.findall(r"^```\w", page.read_text(), re.MULTILINE)) for page in PAGES)

    assert {block.language for block in BLOCKS} <= KNOWN
    assert len(BLOCKS) == fences > 0


def is_run_by_its_page(block: Block) -> bool:
    """A program that the page's own commands run, beside the server that it needs."""
    named = re.match(r"# (\w+\.py)\n", block.text)
    scripts = [other.text for other in of("sh") if other.page == block.page]
    return named is not None and any(named[1] in script for script in scripts)


@pytest.mark.parametrize("block", [block for block in of("python") if not is_run_by_its_page(block)], ids=str)
def test_python_block_runs(block: Block, clone: Path) -> None:
    done = run([sys.executable, "-W", "error", "-c", block.text], clone)

    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_block_is_a_team_file_that_can_run(block: Block, clone: Path) -> None:
    if "[mob]" not in block.text:
        import tomli

        assert tomli.loads(block.text)
        return
    (clone / "block.toml").write_text(block.text)

    done = run(["mob", "check", "block.toml"], clone)

    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_shell_block_runs(block: Block, clone: Path) -> None:
    serving: list[subprocess.Popen[str]] = []
    with one_at_a_time():
        try:
            for command in commands(block.text):
                if command.startswith(("mob rehearse", "mob serve")):
                    serving.append(start(command, clone))
                    continue
                done = run(["bash", "-euo", "pipefail", "-c", command], clone)
                assert done.returncode == 0, f"{block}\n$ {command}\n{done.stdout}\n{done.stderr}"
        finally:
            for process in serving:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=20)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Blocks use the ports that they print, so they take turns, also between pytest's workers."""
    with (Path(tempfile.gettempdir()) / "mob-docs-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start(command: str, cwd: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        shlex.split(command), cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://"), command
    return process


def commands(script: str) -> list[str]:
    """The commands of a block as a shell would read them; comments left out, the clone's own set-up taken as done.

    The set-up lines of the README are what made the environment in which this test runs; of the first, the part
    that remains is the command that it is there for. The second runs these tests.
    """
    lines = [re.sub(r"^python3 -m venv \.venv && \.venv/bin/pip install .*? && ", "", line) for line in whole(script)]
    lines = [line.replace(".venv/bin/", "") for line in lines]
    return [line for line in lines if "pytest" not in line and ".ci/run" not in line]


def whole(script: str) -> Iterator[str]:
    """Each command with all of its lines, untouched: one goes on while a quotation is open, or behind a backslash."""
    begun = ""
    for line in script.splitlines():
        if not begun and (not line.strip() or line.strip().startswith("#")):
            continue
        begun += line
        try:
            shlex.split(begun)
        except ValueError:
            begun += "\n"
            continue
        yield begun.strip()
        begun = ""
    assert not begun, f"this command has no end:\n{begun}"
