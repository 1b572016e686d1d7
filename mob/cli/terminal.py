"""The interactive screen of `mob run`: a transcript that scrolls; below it the strip, what is being said, a prompt.

The line editor is prompt_toolkit's, in a thread of its own (it cannot run on trio); what it reads comes here over a
bounded channel, and everything else happens in the run's own loop.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style as Styles

from mob.cli.conversation import Talk
from mob.cli.fold import fold
from mob.cli.history import describe
from mob.cli.output import Output, PlainOutput, columns
from mob.cli.style import Style, dollars
from mob.cli.toolbar import toolbar
from mob.errors import MobError
from mob.team.supervisor import Mob

if TYPE_CHECKING:
    from mob.remote.mob import RemoteMob

HELP = """\
  TEXT              say it to whoever has the floor; while they speak, this cuts in
  @MEMBER TEXT      say it to another member, beside the conversation
  /interrupt        cut the answer off
  /hand_off NAME    talk with this member from now on
  /members          who is here, and how they are
  /history [NAME]   what was committed
  /quit, Ctrl-D     end; Ctrl-C does so with exit code 130
  ?                 this"""

_PLAIN_TOOLBAR = Styles.from_dict({"bottom-toolbar": "noreverse"})
"""Not in inverse video: there the dim words would be the bright ones."""


class Terminal:
    """One human at one terminal."""

    def __init__(
        self,
        team: Mob | RemoteMob,
        *,
        start: str | None,
        make: Callable[[Output], Talk],
        help_text: str = HELP,
    ) -> None:
        """`make` gives the conversation that prints to this output; `start` gets the floor first."""
        self._team = team
        self._start = start
        self._help = help_text
        self._style = Style.for_stdout()
        self._conversation = make(PlainOutput(self._style, screen=True))
        self._keyboard = Keyboard(lambda: toolbar(self._conversation.view, self._style, columns()))

    async def run(self, talking: trio.CancelScope) -> int:
        """Talk until the human leaves or `talking` is cancelled (Ctrl-C does that); returns the exit code."""

        async def talk() -> None:
            async with self._keyboard.open() as lines:
                if await self._listen(lines):
                    talking.cancel()
                    await trio.lowlevel.checkpoint()

        with patch_stdout(raw=True):
            print(self._style.faint("Type to talk, ? for help."))
            await self._conversation.hold(talk, talking=talking, start=self._start)
        return self._conversation.exit_code

    async def _listen(self, lines: trio.MemoryReceiveChannel[str | None]) -> bool:
        """Obey line after line; True when the human broke it off."""
        async for line in lines:
            if line is None:
                return True
            if not await self._obey(line.strip()):
                return False
        return False

    async def _obey(self, line: str) -> bool:
        """Do what a line says; False to leave."""
        word, _, rest = line.partition(" ")
        try:
            match word:
                case "":
                    pass
                case "?" | "/help":
                    print(self._help)
                case "/quit" | "/exit":
                    return False
                case "/interrupt":
                    await self._conversation.interrupt()
                case "/hand_off" if not rest.strip():
                    print(self._style.red("Name a member: /hand_off NAME"))
                case "/hand_off":
                    await self._conversation.hand_off(rest.strip())
                case "/members":
                    self._print_members()
                case "/history":
                    self._print_history(rest.strip() or None)
                case _ if word.startswith("/"):
                    print(self._style.red(f"There is no {word}; ? shows what there is."))
                case _ if word.startswith("@") and not rest.strip():
                    print(self._style.red("Say what to whom: @MEMBER TEXT"))
                case _ if word.startswith("@"):
                    self._conversation.say_to(word[1:], rest)
                case _:
                    await self._conversation.send_text(line)
        except MobError as error:
            print(self._style.red(str(error)))
        return True

    def _print_members(self) -> None:
        rows = self._conversation.view.members.values()
        widest = max((len(row.identity) for row in rows), default=0)
        for row in rows:
            handle = self._team.member(row.identity)
            how = ("live" if row.live else "text") + (", rehearsed" if row.rehearsed else "")
            turns = f"{row.turns} turn" + "s" * (row.turns != 1)
            cost = "" if row.cost_usd is None else f", {dollars(row.cost_usd)}"
            mark = " ← floor" if row.identity == self._conversation.view.floor else ""
            name = self._style.member(row.identity) + " " * (widest - len(row.identity))
            self._print(f"  {name}  {row.state} ({how}), generation {handle.generation}, {turns}{cost}{mark}")

    def _print(self, text: str) -> None:
        print(fold(text, columns()))

    def _print_history(self, member: str | None) -> None:
        identity = member or self._conversation.view.floor
        if identity is None:
            print("Nobody has the floor; name a member: /history NAME")
            return
        for turn in self._team.member(identity).history():
            self._print(self._style.bold(f"  #{turn.seq} {identity}") + self._style.faint(f"  {turn.status}"))
            for item in turn.items:
                self._print("    " + describe(item, self._style).replace("\n", "\n    "))


class Keyboard:
    """The prompt in its thread. Yields lines, and None for Ctrl-C; ends at Ctrl-D."""

    def __init__(self, toolbar: Callable[[], str]) -> None:
        self._toolbar = toolbar
        self._application: Application[str] | None = None
        self._stopping = threading.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.MemoryReceiveChannel[str | None]]:
        """Start reading; leaving the block ends the prompt and gives the terminal back as it was."""
        send, receive = trio.open_memory_channel[str | None](8)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._host, send)
            try:
                yield receive
            finally:
                self._stop()

    async def _host(self, send: trio.MemorySendChannel[str | None]) -> None:
        with send:
            await trio.to_thread.run_sync(self._read, send)

    def _read(self, send: trio.MemorySendChannel[str | None]) -> None:
        session: PromptSession[str] = PromptSession(
            bottom_toolbar=lambda: ANSI(self._toolbar()),
            refresh_interval=0.1,
            style=_PLAIN_TOOLBAR,
        )
        self._application = session.app
        while not self._stopping.is_set():
            line: str | None
            try:
                line = session.prompt("you> ")
            except KeyboardInterrupt:
                line = None
            except EOFError:
                return
            try:
                trio.from_thread.run(send.send, line)
            except (trio.Cancelled, trio.BrokenResourceError):
                return

    def _stop(self) -> None:
        self._stopping.set()
        application = self._application
        if application is None or not application.is_running or application.loop is None:
            return

        def leave() -> None:
            # The prompt may have ended by itself between our look and this call.
            if application.is_running and not application.is_done:
                application.exit(exception=EOFError)

        application.loop.call_soon_threadsafe(leave)
