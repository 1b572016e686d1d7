"""`mob run`, `mob history`, `mob new` as a user calls them: real processes, real sockets, no key."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEAMS = ROOT / "definitions"
MOB = [sys.executable, "-W", "error", "-m", "mob"]

pytestmark = pytest.mark.real_socket


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def mob(*arguments: str, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MOB, *arguments],
        cwd=cwd,
        env=environment(),
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_events(team: str, *arguments: str, cwd: Path, code: int = 0) -> list[dict[str, Any]]:
    done = mob("run", str(TEAMS / team), "--json", "--seed", "1", *arguments, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_type(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def said_by(events: list[dict[str, Any]], member: str) -> str:
    return " ".join(turn["agent"] for turn in of_type(events, "turn_committed") if turn["member"] == member)


def test_the_host_asks_the_menu_and_speaks_its_answer(tmp_path: Path) -> None:
    events = run_events("front-desk.toml", "--say", "What does the mushroom risotto cost?", cwd=tmp_path)

    assert "14 euros" in said_by(events, "menu")
    assert "14 euros" in said_by(events, "host")
    assert [(m["from"], m["to"], m["via"]) for m in of_type(events, "message")] == [("host", "menu", "ask")]
    assert [(r["name"], r["status"]) for r in of_type(events, "tool_result")] == [("ask_menu", "done")]


def test_the_event_stream_is_whole(tmp_path: Path) -> None:
    events = run_events("front-desk.toml", "--say", "hello", cwd=tmp_path)

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [events[0]["type"], events[-1]["type"]] == ["mob_started", "mob_stopped"]
    assert all(late["t"] >= early["t"] for early, late in itertools.pairwise(events))
    assert set(events[0]["members"]) == {"host", "manager", "menu", "bookings"}
    assert events[-1]["turns"] == len(of_type(events, "turn_committed")) == 1
    opened = {event["member"] for event in of_type(events, "channel_opened")}
    assert opened == {"host", "manager"}


def test_a_table_is_booked_once(tmp_path: Path) -> None:
    events = run_events("front-desk.toml", "--say", "Please book a table for two at eight for Ada.", cwd=tmp_path)

    bookings = [r for r in of_type(events, "tool_result") if r["name"] == "book_table"]
    assert [r["status"] for r in bookings] == ["done"]
    assert "booked" in said_by(events, "host")


def test_the_floor_goes_to_the_manager_and_back(tmp_path: Path) -> None:
    words = ("--say", "I want to complain to the manager.", "--say", "Thank you, back to the host please.")
    events = run_events("front-desk.toml", *words, cwd=tmp_path)

    moves = [(move.get("from"), move.get("to")) for move in of_type(events, "floor_moved")]
    assert moves[-2:] == [("host", "manager"), ("manager", "host")]
    assert said_by(events, "manager")


def test_the_panel_hands_over(tmp_path: Path) -> None:
    events = run_events("panel.toml", "--say", "Over to the planner please.", cwd=tmp_path)

    assert ("chair", "planner") in [(move.get("from"), move.get("to")) for move in of_type(events, "floor_moved")]
    assert said_by(events, "planner")


def test_the_newsroom_asks_and_tells(tmp_path: Path) -> None:
    words = ("--say", "What happened at the harbour?", "--say", "Print it and tell the archive.")
    events = run_events("newsroom.toml", *words, cwd=tmp_path)

    assert "two hours" in said_by(events, "editor")
    assert {(m["to"], m["via"]) for m in of_type(events, "message")} == {("reporter", "ask"), ("archive", "tell")}


def test_sound_in_a_file_is_heard(tmp_path: Path) -> None:
    import wave

    from mob.rehearsal.voice import speak

    with wave.open(str(tmp_path / "say.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24000)
        file.writeframes(speak("What does the tomato soup cost?"))

    events = run_events("front-desk.toml", "--wav", "say.wav", cwd=tmp_path)

    assert [t["text"] for t in of_type(events, "user_transcript")] == ["What does the tomato soup cost?"]
    assert "6 euros" in said_by(events, "host")


def test_lines_from_a_pipe_are_turns(tmp_path: Path) -> None:
    done = mob("run", str(TEAMS / "front-desk.toml"), cwd=tmp_path, stdin="hello\nWhat does the cake cost?\n")

    assert done.returncode == 0, done.stderr
    assert "Olive Tree" in done.stdout
    assert "5 euros" in done.stdout
    assert "rehearsed" in done.stderr
    assert "\x1b" not in done.stdout


def test_history_shows_what_was_said(tmp_path: Path) -> None:
    run_events("front-desk.toml", "--say", "hello", "--say", "What does the cake cost?", cwd=tmp_path)

    runs = json.loads(mob("history", "--json", cwd=tmp_path).stdout)
    document = json.loads(mob("history", "last", "host", "--json", cwd=tmp_path).stdout)
    text = mob("history", "last", cwd=tmp_path).stdout

    assert [(run["mob"], run["stopped"]) for run in runs] == [("front-desk", True)]
    assert list(document["members"]) == ["host"]
    assert len(document["members"]["host"]) == 2
    assert "What does the cake cost?" in text
    assert "host asks menu" in text


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*MOB, *arguments],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], kind: str) -> list[dict[str, Any]]:
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["type"] == kind:
            return events
    raise AssertionError(f"no {kind} among {[event['type'] for event in events]}")


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C, and what the process still says. Its stdin stays open: the end of input is another way to end."""
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    rest, errors = process.communicate(timeout=20)
    return rest, errors


@pytest.mark.crash
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    words = [part for number in range(20) for part in ("--say", f"hello number {number}")]
    process = start("run", str(TEAMS / "front-desk.toml"), "--json", *words, cwd=tmp_path)
    seen = read_until(process, "turn_committed") + read_until(process, "turn_committed")
    process.kill()
    rest, _ = process.communicate(timeout=20)
    printed = [json.loads(line) for line in rest.splitlines() if line.endswith("}")]
    run_id = seen[0]["run"]
    committed = [t["turn"] for t in of_type(seen + printed, "turn_committed")]

    before = json.loads(mob("history", run_id, "host", "--json", cwd=tmp_path).stdout)["members"]["host"]
    assert [turn["id"] for turn in before][: len(committed)] == committed

    resumed = run_events("front-desk.toml", "--resume", "last", "--say", "What does the cake cost?", cwd=tmp_path)
    after = json.loads(mob("history", run_id, "host", "--json", cwd=tmp_path).stdout)["members"]["host"]
    assert resumed[0]["run"] == run_id
    assert [turn["id"] for turn in after][: len(before)] == [turn["id"] for turn in before]
    assert len(after) == len(before) + 1


def test_ctrl_c_drains_and_says_so(tmp_path: Path) -> None:
    process = start("run", str(TEAMS / "front-desk.toml"), "--json", cwd=tmp_path)
    read_until(process, "channel_opened")
    rest, errors = interrupt(process)

    assert process.returncode == 130, errors
    last = json.loads(rest.splitlines()[-1])
    assert (last["type"], last["reason"]) == ("mob_stopped", "interrupted")
    assert errors.count("Traceback") == 0


@pytest.mark.parametrize("moment", ["mob_started", "floor_moved"])
def test_ctrl_c_before_the_line_is_open_is_no_failure(tmp_path: Path, moment: str) -> None:
    process = start("run", str(TEAMS / "front-desk.toml"), "--json", cwd=tmp_path)
    read_until(process, moment)
    rest, errors = interrupt(process)

    assert process.returncode == 130, errors
    assert json.loads(rest.splitlines()[-1])["type"] == "mob_stopped"


def test_ctrl_c_in_the_middle_of_an_answer_is_no_failure(tmp_path: Path) -> None:
    words = [part for number in range(30) for part in ("--say", f"Tell me about the restaurant, part {number}.")]
    process = start("run", str(TEAMS / "front-desk.toml"), "--json", *words, cwd=tmp_path)
    read_until(process, "agent_transcript")
    rest, errors = interrupt(process)

    assert process.returncode == 130, errors
    events = [json.loads(line) for line in rest.splitlines()]
    assert (events[-1]["type"], events[-1]["reason"]) == ("mob_stopped", "interrupted")
    assert of_type(events, "turn_committed"), "what was being said is settled before the end"
    assert not errors.strip().endswith("takes no messages")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    command = f"{' '.join(MOB)} run {TEAMS / 'front-desk.toml'} --json --say hello --say hello | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert json.loads(done.stdout)["type"] == "mob_started"
    assert done.stderr.count("Traceback") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "none.toml"], "none.toml"),
        (["run", str(TEAMS / "front-desk.toml"), "--member", "hots"], "hots"),
        (["run", str(TEAMS / "front-desk.toml"), "--resume", "run_none", "--say", "x"], "run_none"),
        (["run", str(TEAMS / "front-desk.toml"), "--wav", "none.wav"], "none.wav"),
        (["run", str(TEAMS / "front-desk.toml"), "--fault", "gremlins", "--say", "x"], "gremlins"),
        (["history", "run_none"], "nothing is kept"),
        (["new", "1team"], "1team"),
        (["rehearse", "--listen", "nowhere"], "HOST:PORT"),
    ],
)
def test_bad_usage_is_one_sentence_and_code_2(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = mob(*arguments, cwd=tmp_path)

    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not json.loads(mob("history", "--json", cwd=tmp_path).stdout or "[]"), "a refused run leaves no run behind"


def test_a_new_team_runs(tmp_path: Path) -> None:
    assert mob("new", "toys", cwd=tmp_path).returncode == 0
    assert mob("new", "toys", cwd=tmp_path).returncode == 2
    assert len((tmp_path / "toys.toml").read_text().splitlines()) <= 25

    done = mob("run", "toys.toml", "--plain", "--say", "What does a train cost?", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "30 euros" in done.stdout


@pytest.mark.parametrize("entry", ["host", "menu"])
def test_a_used_up_budget_is_code_4(tmp_path: Path, entry: str) -> None:
    team = (TEAMS / "front-desk.toml").read_text() + "\n[budget]\nmax_turns = 1\n"
    (tmp_path / "team.toml").write_text(team)
    (tmp_path / "front_desk_tools.py").write_text((TEAMS / "front_desk_tools.py").read_text())

    words = ("--say", "hello", "--say", "What does the cake cost?")
    done = mob("run", "team.toml", "--json", "--member", entry, *words, cwd=tmp_path)

    assert done.returncode == 4, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "budget_exceeded" in {error["class"] for error in of_type(events, "error")}
    assert len(of_type(events, "turn_committed")) >= 1
