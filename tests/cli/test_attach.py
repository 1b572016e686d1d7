"""`mob attach` as a user calls it: real processes, a served front desk, no key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEAM = str(ROOT / "definitions" / "front-desk.toml")
MOB = [sys.executable, "-W", "error", "-m", "mob"]

pytestmark = pytest.mark.real_socket


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a served front desk is."""
    where = tmp_path_factory.mktemp("served")
    process = subprocess.Popen(
        [*MOB, "serve", TEAM, "--rehearse", "--seed", "1", "--listen", "127.0.0.1:0"],
        cwd=where,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(30)
    process.stdout.close()


def attach(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MOB, "attach", *arguments],
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_what_is_said_is_answered_and_the_mob_goes_on(server: str) -> None:
    first = attach(server, "--say", "What does the mushroom risotto cost?")
    assert first.returncode == 0, first.stderr
    assert "host → menu (ask)" in first.stdout
    assert "host: I asked menu. The mushroom risotto costs 14 euros" in first.stdout
    assert "attached to front-desk" in first.stderr
    assert "host, manager, menu, bookings rehearsed: simulated models" in first.stderr

    second = attach(server, "--say", "hello", "--member", "bookings", "--plain")
    assert second.returncode == 0
    assert "bookings: " in second.stdout
    assert "risotto" not in second.stdout  # only what happens while it watches


def test_lines_of_a_pipe_are_turns_and_json_is_the_runs_own(server: str) -> None:
    done = attach(server, "--member", "menu", "--json", stdin="Is the soup vegan?\n\nAnd the cake?\n")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[-1]["seq"] + 1))
    turns = [event for event in events if event["type"] == "turn_committed"]
    assert [turn["user"] for turn in turns] == ["Is the soup vegan?", "And the cake?"]


def test_two_watch_and_see_the_same(server: str) -> None:
    watching = subprocess.Popen(
        [*MOB, "attach", server, "--json"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    assert "attached" in watching.stderr.readline()
    driving = attach(server, "--member", "menu", "--say", "What does the cake cost?", "--json")
    told = driving.stdout.splitlines(keepends=True)
    assert watching.stdout is not None
    assert [watching.stdout.readline() for _ in told] == told
    watching.communicate(timeout=30)  # its input ends: it leaves
    assert watching.returncode == 0


def test_ctrl_c_leaves_with_130_and_the_mob_goes_on(server: str) -> None:
    watching = subprocess.Popen(
        [*MOB, "attach", server],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    assert "attached" in watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert attach(server, "--member", "menu", "--say", "hello").returncode == 0


def test_what_cannot_be_is_one_sentence_and_a_code(server: str) -> None:
    nobody = attach(server, "--member", "nobody", "--say", "hello")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "there is no member 'nobody'" in nobody.stderr
    nowhere = attach("http://127.0.0.1:9", "--say", "hello")
    assert nowhere.returncode == 5
    assert "cannot be reached" in nowhere.stderr
    assert "Connection refused" in nowhere.stderr
    assert attach("ftp://127.0.0.1", "--say", "hello").returncode == 2
    bare = attach("127.0.0.1:9", "--say", "hello")
    assert bare.stderr.endswith("an address is written http://127.0.0.1:9\n")
    other = attach(server, "--mob", "another", "--say", "hello")
    assert "it has front-desk" in other.stderr


def test_a_command_is_a_server_too() -> None:
    command = " ".join([sys.executable, "-m", "mob", "rpc", "--team", TEAM, "--rehearse"])
    done = attach(command, "--member", "menu", "--say", "What does the cake cost?")
    assert done.returncode == 0, done.stderr
    assert "5 euros" in done.stdout


def test_a_mob_that_stops_ends_the_watching(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*MOB, "serve", TEAM, "--rehearse", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    where = process.stdout.readline().strip()
    watching = subprocess.Popen(
        [*MOB, "attach", where, "--plain"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    assert "attached" in watching.stderr.readline()
    process.send_signal(signal.SIGINT)
    watching.wait(30)
    assert watching.returncode in (0, 5)  # it heard that the mob stopped, or only that the server went
    watching.communicate()
    process.wait(30)
    process.stdout.close()


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, 5)])
@pytest.mark.parametrize("lines", [False, True])
def test_a_server_that_is_stopped_is_no_failure_and_one_that_is_lost_is(
    tmp_path: Path, lines: bool, how: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [*MOB, "serve", TEAM, "--rehearse", "--listen", "127.0.0.1:0", "--rpc", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    url = process.stdout.readline().strip()
    while lines and not url.startswith("tcp:"):
        url = process.stderr.readline().strip().removeprefix("JSON-RPC lines: ")
    watching = subprocess.Popen(
        [*MOB, "attach", url],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stderr is not None
    assert "attached" in watching.stderr.readline()
    process.send_signal(how)
    process.communicate(timeout=30)
    watching.wait(30)
    said = watching.stderr.read()
    watching.communicate()
    assert watching.returncode == code, said
    assert ("the server was stopped" in said) == (how == signal.SIGINT)
