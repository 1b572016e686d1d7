"""`mob attach`: watch and drive a mob that a server runs, from another terminal. It goes on when we leave.

As `mob run` has it: `--say`, lines from a pipe, or the screen; JSON, plain lines, or that screen. What is typed goes to
whoever has the floor (with `--member`, to that member) and waits its turn there: others may be talking, too, so nothing
is cut off unless `/interrupt` says so. Leaving: the end of the input and Ctrl-D with 0, Ctrl-C with 130; when the mob
stops, or its server is stopped, 0; when the server goes without a word, 5.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import trio

import mob
from mob.cli.conversation import exit_code_of, rehearsed_of, turn_of
from mob.cli.loop import run_loop
from mob.cli.output import JsonOutput, Output, PlainOutput, how_rehearsed
from mob.cli.run import read_lines
from mob.cli.signals import INTERRUPTED, cancel_on_signal
from mob.cli.style import Style
from mob.cli.view import RunView
from mob.errors import MobError, ServerGone
from mob.remote.mob import RemoteMob
from mob.server.front.auth import read_secret
from mob.sessions.events import RunEvent, TurnEnded

HELP = """\
  TEXT              say it to whoever has the floor
  @MEMBER TEXT      say it to another member
  /interrupt        cut the answer off
  /hand_off NAME    let the conversation go on with this member, for everybody
  /members          who is here, and how they are
  /history [NAME]   what was committed
  /quit, Ctrl-D     leave; the mob goes on. Ctrl-C does so with exit code 130
  ?                 this"""


def command(arguments: argparse.Namespace) -> int:
    """Attach to the server at `arguments.server`; returns the exit code."""
    return run_loop(functools.partial(_attach, arguments))


async def _attach(arguments: argparse.Namespace) -> int:
    talking = trio.CancelScope()
    secret = read_secret(arguments.secret_file, os.environ)
    async with trio.open_nursery() as nursery:
        await nursery.start(cancel_on_signal, talking)
        async with mob.connect(arguments.server, secret=secret, mob=arguments.mob) as team:
            code = await _converse(team, arguments, talking)
        nursery.cancel_scope.cancel()
    return INTERRUPTED if talking.cancel_called else code


async def _converse(team: RemoteMob, arguments: argparse.Namespace, talking: trio.CancelScope) -> int:
    if arguments.member is not None:
        team.member(arguments.member)  # refused now, before anything is said
    shaped = arguments.json or arguments.plain
    if not arguments.say and not shaped and sys.stdin.isatty() and sys.stdout.isatty():
        from mob.cli.terminal import Terminal

        terminal = Terminal(team, start=None, help_text=HELP, make=lambda out: Attachment(team, out, arguments.member))
        return await terminal.run(talking)
    output: Output = JsonOutput() if arguments.json else PlainOutput(Style.for_stdout())
    attachment = Attachment(team, output, arguments.member)

    async def talk() -> None:
        if arguments.say:
            for text in arguments.say:
                await attachment.put(text)
            return
        async with aclosing(read_lines()) as lines:
            async for line in lines:
                await attachment.put(line)

    await attachment.hold(talk, talking=talking, start=None)
    return attachment.exit_code


class Attachment:
    """One terminal at a mob elsewhere: prints its run, and talks with whoever has the floor, or with `member`."""

    def __init__(self, team: RemoteMob, output: Output, member: str | None) -> None:
        self._team = team
        self._output = output
        self._member = member
        self._nursery: trio.Nursery | None = None
        self._printed = team.statistics().events.last_seq
        self._news = trio.Event()
        self.view = RunView(floor=team.floor)
        self.exit_code = 0
        for identity, facts in team.members.items():
            row = self.view.member(identity)
            row.state, row.turns, row.cost_usd = facts.state, len(facts.history()), facts.usage.cost_usd

    async def hold(self, talk: Callable[[], Awaitable[None]], *, talking: trio.CancelScope, start: str | None) -> None:
        """Print the run while `talk` runs; return when that has ended, or the mob has. `start` gets the floor first."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            print(*await self._greeting(), sep="\n", file=sys.stderr, flush=True)
            nursery.start_soon(self._follow_run, nursery.cancel_scope)
            with talking:
                if start is not None:
                    await self.hand_off(start)
                await talk()
                await self._printed_all()
            nursery.cancel_scope.cancel()

    async def put(self, text: str) -> None:
        """One turn, to its end: returns when nobody has anything left to do."""
        self._output.said(text)
        try:
            await self._ask(self._member, text)
            await self._team.wait_quiet()
        except ServerGone:
            raise
        except MobError as error:
            self._failed(error)

    async def send_text(self, text: str) -> None:
        """Say something, and go on; its answer is printed when it is committed."""
        self._say(self._member, text)

    def say_to(self, member: str, text: str) -> None:
        """Say something to this member; its answer is printed when it is committed. MemberUnknown."""
        self._team.member(member)
        self._say(member, text)

    async def interrupt(self) -> None:
        """Cut the answer off where it is."""
        holder = self._member or self._team.floor
        if holder is not None:
            await self._team.member(holder).interrupt()

    async def hand_off(self, member: str) -> None:
        """Let the conversation go on with this member, for everybody."""
        await self._team.hand_off(member)

    def _say(self, member: str | None, text: str) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._ask_and_tell, member, text)

    async def _ask_and_tell(self, member: str | None, text: str) -> None:
        try:
            await self._ask(member, text)
        except ServerGone:
            raise
        except MobError as error:
            self._failed(error)

    async def _ask(self, member: str | None, text: str) -> None:
        await (self._team if member is None else self._team.member(member)).ask(text)

    def _failed(self, error: MobError) -> None:
        self.exit_code = error.exit_code
        print(f"mob: {error}", file=sys.stderr, flush=True)

    async def _greeting(self) -> list[str]:
        team = self._team
        floor = f"{team.floor} has the floor" if team.floor else "nobody has the floor"
        rehearsed = await rehearsed_of(team)
        for identity in rehearsed:
            self.view.member(identity).rehearsed = True
        where = f"attached to {team.mob_id}, run {team.run_id}: {', '.join(team.members)}; {floor}"
        return [where, how_rehearsed(rehearsed)] if rehearsed else [where]

    async def _follow_run(self, all_of_it: trio.CancelScope) -> None:
        """Print until the mob has stopped; then there is nothing left to do here."""
        async with self._team.events(after=self._printed) as events:
            async for event in events:
                self._print(event)
                self._printed = event.seq
                self._news.set()
        if not self._team.statistics().connected:
            print("mob: the server was stopped, and the mob with it", file=sys.stderr, flush=True)
        all_of_it.cancel()

    def _print(self, event: RunEvent) -> None:
        turn = turn_of(self._team, event) if isinstance(event, TurnEnded) else None
        self.view.apply_run_event(event, () if turn is None else [item.id for item in turn.items])
        self.exit_code = exit_code_of(event, turn, self.exit_code)
        self._output.event(event, turn)

    async def _printed_all(self) -> None:
        """Wait until everything that has happened so far was printed."""
        last = self._team.statistics().events.last_seq
        while self._printed < last:
            self._news = trio.Event()
            await self._news.wait()
