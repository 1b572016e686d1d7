"""`mob` where the standard streams or the disk are not as one would wish: a sentence and an exit code."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOB = f"{sys.executable} -W error -m mob"
RUN = f"{MOB} run {ROOT / 'definitions' / 'front-desk.toml'} --plain"

pytestmark = pytest.mark.real_socket


def shell(
    command: str, cwd: Path, stdin: bytes = b"", limit: int | None = None, **environ: str
) -> tuple[int, str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}

    def smaller_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environ},
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=smaller_files,
    )
    errors = done.stderr.decode()
    assert "Traceback" not in errors
    return done.returncode, done.stdout.decode(), errors


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_silence(tmp_path: Path, closed: str) -> None:
    code, _, _ = shell(f"{RUN} {closed}", tmp_path)
    assert code == 0
    _, runs, _ = shell(f"{MOB} history", tmp_path)
    assert "front-desk" in runs


@pytest.mark.parametrize("command", [f"{RUN} --say hello", f"{MOB} models"])
def test_a_full_device_for_stdout_is_one_sentence(tmp_path: Path, command: str) -> None:
    code, _, errors = shell(f"{command} > /dev/full", tmp_path)
    assert code == 5
    assert "No space left" in errors


def test_input_that_is_not_in_the_encoding_is_read_and_output_that_cannot_be_said_is_escaped(tmp_path: Path) -> None:
    code, said, _ = shell(RUN, tmp_path, stdin=b"h\xe9llo\nhello\n", PYTHONIOENCODING="utf-8:strict")
    assert code == 0
    assert "Olive Tree" in said
    code, said, _ = shell(f"{RUN} --say hello", tmp_path, PYTHONIOENCODING="ascii:strict")
    assert code == 0
    assert "Olive Tree" in said


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    code, _, errors = shell(RUN, tmp_path, stdin=b"a" * 1_500_000)
    assert code == 2
    assert "1000000 characters" in errors


def test_a_run_whose_turns_could_not_be_kept_did_not_end_well(tmp_path: Path) -> None:
    code, said, errors = shell(f"{RUN} --say hello --say hello", tmp_path, limit=40 * 1024)
    assert code == 5, said + errors
    assert "store_full" in errors
