"""`mob serve` as a process: what its clients make is there when it is started again, whatever runs its team begins."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from mob.cli.doors import load_teams
from mob.errors import UsageError

TEAM = str(Path(__file__).resolve().parents[2] / "definitions" / "front-desk.toml")
SERVE = [sys.executable, "-W", "error", "-m", "mob", "serve", TEAM, "--rehearse"]
PORTS = ["--listen", "127.0.0.1:0", "--rpc", "127.0.0.1:0"]

pytestmark = pytest.mark.real_socket


@contextmanager
def served(directory: Path, *more: str):
    """A server that is interrupted when the block is left; a function that asks it over JSON lines."""
    process = subprocess.Popen(
        [*SERVE, *PORTS, *more],
        cwd=directory,
        env={"HOME": str(directory / "home"), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    try:
        while "JSON-RPC lines: tcp://" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        host, port = said.rpartition("tcp://")[2].strip().rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=20) as connection, connection.makefile("rw") as lines:

            def ask(method: str, **params: object):
                print(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}), file=lines)
                lines.flush()
                answer = {}
                while answer.get("id") != method:
                    answer = json.loads(lines.readline())
                return answer["result"]

            yield ask
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
        assert process.returncode == 130, said + rest
    finally:
        process.kill()
        process.communicate()


def test_what_clients_make_outlives_the_server(tmp_path):
    for directory, text in ((tmp_path / "home" / ".mob", "gpt-4.1-mini"), (tmp_path / ".mob", "gpt-realtime-2")):
        directory.mkdir(parents=True)
        (directory / "config.toml").write_text(f'default_model = "{text}"\n')
    crew = {"id": "crew", "profiles": {"host": {"model": "gpt-4.1-mini"}}, "members": {"ann": {"profile": "host"}}}
    with served(tmp_path) as ask:
        made = ask("session/create", initial_turn="deferred", prompt="Hello")
        assert ask("session/read", session_id=made["session_id"])["model"] == "gpt-realtime-2"  # the project's layer
        ask("mob/create", definition=crew)
        ask("mob/turn_start", mob_id="front-desk", agent_identity="menu", prompt="What does the cake cost?")
        ask("mob/turn_start", mob_id="crew", agent_identity="ann", prompt="Hello?")
        config = ask("config/get")
        assert messages(ask, "front-desk", "menu") == 3  # what it was told to be, what was said, its answer
        ask("config/patch", patch={"default_model": "gpt-4.1"}, expected_generation=config["generation"])

    with served(tmp_path) as ask:  # the team begins anew; what clients made goes on
        assert [row["session_id"] for row in ask("session/list")["sessions"]].count(made["session_id"]) == 1
        assert messages(ask, "front-desk", "menu") == 1
        ask("mob/lifecycle", mob_id="crew", action="resume")
        ask("mob/turn_start", mob_id="front-desk", agent_identity="menu", prompt="What is in the risotto?")
        assert messages(ask, "crew", "ann") == 2
        assert ask("config/get")["config"]["agent"]["model"] == "gpt-4.1"

    with served(tmp_path, "--resume", "last") as ask:
        assert messages(ask, "front-desk", "menu") == 3


def messages(ask, mob_id: str, identity: str) -> int:
    return ask("mob/member_history", mob_id=mob_id, agent_identity=identity)["page"]["message_count"]


def test_a_team_is_served_once():
    with pytest.raises(UsageError, match=r"front-desk\.toml are both the team 'front-desk'"):
        load_teams([Path(TEAM), Path(TEAM)])
