"""How a run is printed: one JSON object an event, or lines for people. Both read the same run events."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from typing import Protocol, TextIO

from mob.cli.fold import fold
from mob.cli.history import unheard_part
from mob.cli.streams import harmless
from mob.cli.style import Style, dollars
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

    def said(self, text: str) -> None:
        """The human said this in writing, just now."""
        ...


class JsonOutput:
    """One JSON object a line on stdout, flushed, so that a program can follow."""

    def event(self, event: RunEvent, turn: Turn | None) -> None:
        """Print the event's own JSON."""
        print(json.dumps(event.as_json(), ensure_ascii=False), flush=True)

    def said(self, text: str) -> None:
        """Nothing: what was said is in the events of its turn."""


def how_rehearsed(members: Iterable[str]) -> str:
    """What the user should know of members that are rehearsed."""
    return f"{', '.join(members)} rehearsed: simulated models on the vendor's wire, no key used"


class PlainOutput:
    """Lines for people; with a Style that is on, in colour.

    `screen`: the human sees what they type, and lines are folded to the window.
    """

    def __init__(self, style: Style, *, screen: bool = False) -> None:
        self._style = style
        self._screen = screen
        self._answered: set[str] = set()

    def said(self, text: str) -> None:
        """Print what the human said, unless it stands at the prompt already."""
        if not self._screen:
            self._line(f"you: {text}")

    def event(self, event: RunEvent, turn: Turn | None) -> None:
        """Print what a person wants to see of this event; log-like things go to stderr."""
        style = self._style
        match event:
            case MobStarted(mob=mob, run=run, members=members):
                self._started(mob, run, members)
            case TurnEnded(member=member, latency=latency, usage=usage) if turn is not None:
                self._turn(str(member), turn, latency, usage)
            case UserTranscribed(text=text) if text:
                self._line(f"you, heard: {text}")
            case MessageSent(origin=origin, to=to, via=via, text=text):
                self._answered.add(f"ask_{to}")
                self._line(f"  {style.member(origin)} → {style.member(to)} ({via}): {text}")
            case ToolEnded(name=name, status=status, output=output, elapsed_ms=elapsed):
                shown = f"  {name} {status} in {elapsed} ms"
                if status != "done" or name not in self._answered:  # the answer itself was just printed
                    shown += f": {_short(output)}"
                self._line(style.faint(shown) if status == "done" else style.red(shown))
            case FloorChanged(origin=origin, to=to):
                self._line(style.bold(f"── {f'{origin} → ' if origin else ''}{to or 'nobody'} has the floor"))
            case ErrorOccurred(member=member, error_class=name, message=message, recovery=recovery):
                shown = f"{member or 'mob'}: {name}: {message} ({recovery})"
                self._line(style.faint(shown) if recovery == "benign" else style.red(shown), file=sys.stderr)
            case MobStopped(reason=reason, turns=turns, usage=usage):
                self._line(style.faint(f"── {reason}: {turns} turn{'s' * (turns != 1)}, {_used(usage)}"))
            case _:
                pass

    def _started(self, mob: str, run: str, members: dict[str, dict[str, object]]) -> None:
        self._line(self._style.faint(f"── {mob}, run {run}: {', '.join(members)}"))
        rehearsed = [name for name, facts in members.items() if facts.get("rehearsed")]
        if rehearsed:
            self._line(self._style.faint(f"── {how_rehearsed(rehearsed)}"), file=sys.stderr)

    def _turn(self, member: str, turn: Turn, latency: Timings, usage: Usage) -> None:
        # What one member says to another stands further in than what is said to the human.
        indent = "" if turn.cause.origin is None or turn.cause.kind == "hand_off" else "  "
        for item in turn.items:
            if not isinstance(item, AgentMessage):
                continue
            struck = self._style.unheard(unheard_part(item)) if item.interrupted else ""
            if item.text or struck:
                self._line(f"{indent}{self._style.member(member)}: {item.text}{struck}")
        if turn.error:
            self._line(f"{indent}{self._style.red(f'{member}: {turn.error}')}")
        self._line(indent + self._style.faint(f"#{turn.seq} {turn.status} · {latency_line(latency)} · {_used(usage)}"))

    def _line(self, text: str, file: TextIO | None = None) -> None:
        text = harmless(text)
        print(fold(text, columns()) if self._screen else text, file=file, flush=True)


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
    cost = "unpriced" if usage.cost_usd is None else dollars(usage.cost_usd)
    return f"{usage.total_tokens} tokens, {cost}"


def _short(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def columns() -> int:
    """How wide the window is."""
    return shutil.get_terminal_size().columns
