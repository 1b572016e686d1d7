"""`mob history`: what was said. All runs; one run in the order of its log; one member of it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

import trio

from mob.cli.main import STORE_FILE
from mob.cli.streams import harmless
from mob.cli.style import Style
from mob.errors import MemberUnknown, RunUnknown
from mob.history.codec import encode
from mob.history.fold import History
from mob.history.items import AgentMessage, Item, Note, ToolCall, ToolResult, UserMessage
from mob.history.rows import FloorMoved, MessageAdmitted, Row, Stored, TurnRow, member_of
from mob.store.port import RunInfo
from mob.store.sqlite import SqliteStore


def command(arguments: argparse.Namespace) -> int:
    """Print runs, a run or a member's history."""
    path = arguments.state / STORE_FILE
    if not path.exists():
        raise RunUnknown(f"nothing is kept in {arguments.state}: run a team first, or name its --state directory")
    return trio.run(_print, SqliteStore(path), arguments)


async def _print(store: SqliteStore, arguments: argparse.Namespace) -> int:
    runs = await store.runs()
    if arguments.run is None:
        _print_runs(runs, as_json=arguments.json)
        return 0
    run_id = runs[-1].run_id if arguments.run == "last" and runs else arguments.run
    rows = [stored async for stored in store.read_run(run_id)]
    histories = _fold(rows)
    if arguments.member is not None and arguments.member not in histories:
        known = ", ".join(histories) or "none"
        raise MemberUnknown(f"run {run_id} has no member {arguments.member!r}; it has {known}")
    chosen = histories if arguments.member is None else {arguments.member: histories[arguments.member]}
    if arguments.json:
        _print_json(run_id, rows, chosen)
    else:
        _print_text(rows, chosen)
    return 0


def _fold(rows: list[Stored]) -> dict[str, History]:
    members = dict.fromkeys(member for stored in rows if (member := member_of(stored.row)) is not None)
    return {member: History.of(member, rows) for member in members}


def _print_runs(runs: tuple[RunInfo, ...], *, as_json: bool) -> None:
    if as_json:
        fields = ("run_id", "mob", "started_at", "rows", "turns", "stopped")
        print(json.dumps([{name: getattr(run, name) for name in fields} for run in runs], indent=2))
        return
    for run in runs:
        began = datetime.fromtimestamp(run.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        state = "" if run.stopped else "  (not stopped in order: mob run --resume goes on with it)"
        print(f"{run.run_id}  {began}Z  {run.mob}  {run.turns} turns{state}")


def _print_json(run_id: str, rows: list[Stored], histories: dict[str, History]) -> None:
    document: dict[str, Any] = {
        "run": run_id,
        "members": {
            member: [{**_json(TurnRow(member, turn))["turn"], "seq": turn.seq} for turn in history.turns]
            for member, history in histories.items()
        },
        "log": [
            {"seq": stored.seq, "at": stored.at, **_json(stored.row)}
            for stored in rows
            if member_of(stored.row) in {None, *histories}
        ],
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _json(row: Row) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode(row))
    return document


def _print_text(rows: list[Stored], histories: dict[str, History]) -> None:
    style = Style.for_stdout()
    turns = {turn.seq: (member, turn) for member, history in histories.items() for turn in history.turns}
    for stored in rows:
        match stored.row:
            case FloorMoved(origin=origin, to=to, reason=reason) if len(histories) > 1:
                print(style.faint(f"── floor: {origin or 'nobody'} → {to or 'nobody'} ({reason})"))
            case MessageAdmitted(member=member, sender=sender, via=via) if len(histories) > 1:
                print(style.faint(f"── {sender} {via}s {member}"))
            case _ if stored.seq in turns:
                member, turn = turns[stored.seq]
                print(style.bold(f"#{turn.seq} {member}") + style.faint(f"  {turn.cause.kind}, {turn.status}"))
                for item in turn.items:
                    print("  " + harmless(describe(item, style)).replace("\n", "\n    "))
                if turn.error:
                    print(f"  {style.red(harmless(turn.error))}")


def describe(item: Item, style: Style) -> str:
    """One item, as a rule on one line: the unheard rest of a cut answer is dim and struck through."""
    match item:
        case UserMessage(author=author, text=text, transcript=transcript):
            words = text or style.faint(f"(speech, transcript {transcript})")
            return f"{author or 'you'}: {words}"
        case AgentMessage(interrupted=True) as message:
            heard = style.faint(f"[cut: {message.heard_ms} of {message.generated_ms} ms heard, {message.fidelity}]")
            return f"→ {message.text}{style.unheard(unheard_part(message))} {heard}"
        case AgentMessage(text=text):
            return f"→ {text}"
        case ToolCall(name=name, arguments=arguments):
            return style.faint(f"calls {name}({arguments})")
        case ToolResult(name=name, status=status, output=output, elapsed_ms=elapsed_ms):
            line = f"{name} {status} in {elapsed_ms} ms: {output}"
            return style.faint(line) if status == "done" else style.red(line)
        case Note(text=text):
            return style.faint(f"note: {text}")


def unheard_part(message: AgentMessage) -> str:
    """What was generated and never reached the human."""
    whole, heard = message.generated_text, message.spoken_text
    return whole[len(heard) :] if whole.startswith(heard) else ""
