"""How a run is printed: one JSON object an event, or lines for people. Both read the same run events."""

from __future__ import annotations

import json
import sys
from typing import Protocol

from mob.cli.history import unheard_part
from mob.cli.style import Style
from mob.history.items import AgentMessage, Timings, Turn
from mob.sessions.events import (
    ErrorOccurred,
    FloorChanged,
    MessageSent,
    MobStarted,
    MobStopped,
    RunEvent,
    ToolEnded,
    TurnEnded,
    UserTranscribed,
)
from mob.values import Usage


class Output(Protocol):
    """Prints the events of a run, in order, each as soon as it comes."""

    def event(self, event: RunEvent, turn: Turn | None) -> None:
        """Print one event; `turn` is the committed turn when the event is a TurnEnded."""
        ...


class JsonOutput:
    """One JSON object a line on stdout, flushed, so that a program can follow."""

    def event(self, event: RunEvent, turn: Turn | None) -> None:
        """Print the event's own JSON."""
        print(json.dumps(event.as_json(), ensure_ascii=False), flush=True)


class PlainOutput:
    """Lines for people; with a Style that is on, in colour."""

    def __init__(self, style: Style, *, echo_user: bool = True) -> None:
        self._style = style
        self._echo_user = echo_user

    def event(self, event: RunEvent, turn: Turn | None) -> None:
        """Print what a person wants to see of this event; log-like things go to stderr."""
        style = self._style
        match event:
            case MobStarted(mob=mob, run=run, members=members):
                self._started(mob, run, members)
            case TurnEnded(member=member, latency=latency, usage=usage) if turn is not None:
                self._turn(str(member), turn, latency, usage)
            case UserTranscribed(text=text) if text:
                _line(style.faint(f"  heard: {text}"))
            case MessageSent(origin=origin, to=to, via=via, text=text):
                _line(f"  {style.member(origin)} → {style.member(to)} ({via}): {text}")
            case ToolEnded(name=name, status=status, output=output, elapsed_ms=elapsed):
                shown = f"  {name} {status} in {elapsed} ms: {_short(output)}"
                _line(style.faint(shown) if status == "done" else style.red(shown))
            case FloorChanged(origin=origin, to=to):
                _line(style.bold(f"── {origin or 'nobody'} → {to or 'nobody'} has the floor"))
            case ErrorOccurred(member=member, error_class=name, message=message, recovery=recovery):
                print(style.red(f"{member or 'mob'}: {name}: {message} ({recovery})"), file=sys.stderr, flush=True)
            case MobStopped(reason=reason, turns=turns, usage=usage):
                _line(style.faint(f"── {reason}: {turns} turns, {_used(usage)}"))
            case _:
                pass

    def _started(self, mob: str, run: str, members: dict[str, dict[str, object]]) -> None:
        _line(self._style.faint(f"── {mob}, run {run}: {', '.join(members)}"))
        rehearsed = [name for name, facts in members.items() if facts.get("rehearsed")]
        if rehearsed:
            why = f"{', '.join(rehearsed)} rehearsed: simulated models on the vendor's wire, no key used"
            print(self._style.faint(f"── {why}"), file=sys.stderr, flush=True)

    def _turn(self, member: str, turn: Turn, latency: Timings, usage: Usage) -> None:
        asked_by = turn.cause.origin
        if self._echo_user and asked_by is None and turn.user_text:
            _line(f"you: {turn.user_text}")
        indent = "" if asked_by is None else "  "
        for item in turn.items:
            if not isinstance(item, AgentMessage):
                continue
            struck = self._style.unheard(unheard_part(item)) if item.interrupted else ""
            if item.text or struck:
                _line(f"{indent}{self._style.member(member)}: {item.text}{struck}")
        if turn.error:
            _line(f"{indent}{self._style.red(f'{member}: {turn.error}')}")
        _line(indent + self._style.faint(f"#{turn.seq} {turn.status} · {latency_line(latency)} · {_used(usage)}"))


def latency_line(latency: Timings) -> str:
    """One turn's waiting on one line, in milliseconds from the end of the user's turn."""
    parts = (
        ("first token", latency.first_token_ms),
        ("first audio", latency.first_audio_ms),
        ("first played", latency.first_played_ms),
        ("total", latency.total_ms),
    )
    known = [f"{name} {ms} ms" for name, ms in parts if ms is not None]
    return " · ".join(known) if known else "no timing"


def _used(usage: Usage) -> str:
    if usage.requests and not usage.reported and not usage.total_tokens:
        return "usage unavailable"
    cost = "unpriced" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
    return f"{usage.total_tokens} tokens, {cost}"


def _short(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _line(text: str) -> None:
    print(text, flush=True)
