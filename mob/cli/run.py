"""`mob run`: a team, and one human's conversation with whoever holds its floor.

Three ways to talk: `--say`/`--wav` (each one turn, then the end), lines from a pipe (likewise), or the interactive
screen. Three ways to print: one JSON object an event, plain lines, or that screen. Ctrl-C drains, says honestly what
became of the run, and exits 130.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import trio
from attrs import frozen

import mob
from mob.cli.conversation import Conversation
from mob.cli.loop import run_loop
from mob.cli.main import STORE_FILE
from mob.cli.output import JsonOutput, Output, PlainOutput
from mob.cli.signals import INTERRUPTED, cancel_on_signal
from mob.cli.sound import read_wav
from mob.cli.style import Style
from mob.definition.load import load
from mob.definition.model import MobDefinition
from mob.errors import MemberUnknown, RunUnknown, UsageError
from mob.rehearsal.faults import parse_fault
from mob.store.sqlite import SqliteStore
from mob.team.supervisor import Mob

_ANY_RATE = 24_000

_MAX_LINE = 1_000_000
"""Characters of one line of stdin: more than any model takes in a turn, and little enough to be held."""


@frozen(slots=True)
class Input:
    """One thing the human does: a line of text, or a sound file."""

    text: str | None = None
    wav: Path | None = None


def command(arguments: argparse.Namespace) -> int:
    """Run the team of `arguments.team`; returns the exit code."""
    definition = load(arguments.team)
    if arguments.member is not None and arguments.member not in definition.members:
        known = ", ".join(definition.members)
        raise MemberUnknown(f"{arguments.team} has no member {arguments.member!r}; it has {known}")
    if arguments.wav is not None:
        read_wav(arguments.wav, _ANY_RATE)  # refused now, before a run is opened for it
    return run_loop(functools.partial(_run, definition, arguments))


async def _run(definition: MobDefinition, arguments: argparse.Namespace) -> int:
    state = state_file(arguments.state)
    run_id = await last_run(state, definition.id) if arguments.resume == "last" else arguments.resume
    opened = mob.open_mob(
        definition,
        rehearse=True if arguments.rehearse else None,
        store=state,
        run_id=run_id,
        resume=run_id is not None,
        seed=arguments.seed,
        faults=tuple(parse_fault(text) for text in arguments.fault),
    )
    talking = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        await nursery.start(cancel_on_signal, talking)
        async with opened as team:
            code = await _converse(team, arguments, talking)
        nursery.cancel_scope.cancel()
    return INTERRUPTED if talking.cancel_called else code


async def last_run(state: Path, team: str) -> str:
    """The run of this team that was begun last: clients of a server begin runs of their own. RunUnknown."""
    runs = [run for run in await SqliteStore(state).runs() if run.mob == team]
    if not runs:
        raise RunUnknown(f"{state} holds no run of {team} to resume; leave out --resume, or name another --state")
    return runs[-1].run_id


async def _converse(team: Mob, arguments: argparse.Namespace, talking: trio.CancelScope) -> int:
    """Talk until there is nothing more to say or `talking` is cancelled; then the team is stopped, in order."""
    scripted = bool(arguments.say or arguments.wav)
    interactive = not scripted and sys.stdin.isatty() and sys.stdout.isatty()
    if interactive and not arguments.json and not arguments.plain:
        from mob.cli.terminal import Terminal

        terminal = Terminal(team, start=arguments.member, make=lambda out: Conversation(team, out, instant=False))
        return await terminal.run(talking)
    output: Output = JsonOutput() if arguments.json else PlainOutput(Style.for_stdout())
    conversation = Conversation(team, output)

    async def talk() -> None:
        async with aclosing(_inputs(arguments, scripted=scripted)) as inputs:
            async for entry in inputs:
                await conversation.put(text=entry.text, wav=entry.wav)

    await conversation.hold(talk, talking=talking, start=arguments.member)
    return conversation.exit_code


async def _inputs(arguments: argparse.Namespace, *, scripted: bool) -> AsyncGenerator[Input, None]:
    if scripted:
        if arguments.wav is not None:
            yield Input(wav=arguments.wav)
        for text in arguments.say:
            yield Input(text=text)
        return
    async with aclosing(read_lines()) as lines:
        async for line in lines:
            yield Input(text=line)


async def read_lines() -> AsyncGenerator[str, None]:
    """The lines of stdin that are not blank, stripped. UsageError for one that is too long."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, _MAX_LINE + 1, abandon_on_cancel=True):
        if len(line) > _MAX_LINE:
            raise UsageError(f"a line of stdin is over {_MAX_LINE} characters; each line is one turn")
        if line.strip():
            yield line.strip()


def state_file(directory: Path) -> Path:
    """The store's file in this directory, which is made when it is not there. UsageError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot keep runs in {directory}: {error.strerror}; choose another --state") from error
    return directory / STORE_FILE
