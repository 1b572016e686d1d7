"""One human's conversation with a team: the line to the floor holder, a loudspeaker, and an output that prints.

The scripted ways to talk (`put`: one turn, then wait until it is settled) and the interactive one (`send_text`: no
waiting) share everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from mob.cli.output import Output
from mob.cli.sound import read_wav
from mob.cli.speaker import Receipt, Speaker
from mob.cli.view import RunView
from mob.errors import LimitReached, MemberFailed, StoreError, StoreFull, StoreLocked
from mob.history.items import Turn
from mob.live.events import AudioDelta, Interrupted, LiveEvent, SpeechStarted
from mob.sessions.events import ErrorOccurred, FloorChanged, MobStarted, RunEvent, TurnEnded
from mob.team.line import Line
from mob.team.supervisor import Mob

if TYPE_CHECKING:
    from mob.remote.mob import RemoteMob

_LIMITS = {LimitReached.code, *(kind.code for kind in LimitReached.__subclasses__())}

_NOT_KEPT = frozenset({StoreError.code, StoreFull.code, StoreLocked.code})
"""The store refused a row: what was said is not in the log."""

_TICK_S = 0.02
_CHUNK_MS = 100
_SILENCE_MS = 1200  # longer than any turn detection waits before it takes the turn as over


class Talk(Protocol):
    """What the screen needs of whoever talks with a team: a Conversation here, or an attachment to a server."""

    view: RunView
    exit_code: int

    async def hold(self, talk: Callable[[], Awaitable[None]], *, talking: trio.CancelScope, start: str | None) -> None:
        """Print the run while `talk` runs, inside `talking`; then let go. `start` gets the floor first."""
        ...

    async def send_text(self, text: str) -> None:
        """Say something to whoever is talked with."""
        ...

    def say_to(self, member: str, text: str) -> None:
        """Say something to another member."""
        ...

    async def interrupt(self) -> None:
        """Cut the answer off."""
        ...

    async def hand_off(self, member: str) -> None:
        """Talk with this member from now on."""
        ...


class Conversation:
    """Talks with whoever has the floor. `instant`: audio counts as played when it arrives."""

    def __init__(self, team: Mob, output: Output, *, instant: bool = True) -> None:
        self._team = team
        self._output = output
        self._speaker = Speaker(instant=instant)
        self._instant = instant
        self._playing = trio.CancelScope()
        self._speaking: dict[str, str] = {}
        self._turns = 0
        self.view = RunView()
        self.exit_code = 0

    async def hold(self, talk: Callable[[], Awaitable[None]], *, talking: trio.CancelScope, start: str | None) -> None:
        """Print the run and hold the line while `talk` runs; then stop the team, print its last word, and let go.

        It runs inside `talking`: when that is cancelled, the run is stopped as interrupted. The line is held until the
        team has stopped, so that what is still being said is heard and settled. `start` gets the floor first.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow_run)
            async with AsyncExitStack() as held:
                with talking:
                    if start is not None and start != self._team.floor:
                        await self._team.hand_off(start)
                    self._line = await held.enter_async_context(self._team.open_line())
                    nursery.start_soon(self._follow_line, self._line)
                    if not self._instant:
                        nursery.start_soon(self._play)
                    await talk()
                # The run's events end with its last one, and with them the task that follows them.
                await self._team.stop("interrupted" if talking.cancel_called else "done")
                self._playing.cancel()

    async def put(self, *, text: str | None = None, wav: Path | None = None) -> None:
        """One turn, to its end: returns when nobody has anything left to do."""
        try:
            if wav is not None:
                await self._send_sound(wav)
                await self._team.wait_quiet()
                if not self._turns:
                    print(f"mob: nothing in {wav} was taken for speech", file=sys.stderr, flush=True)
            if text is not None:
                self._output.said(text)
                await self._line.send_text(text)
            await self._team.wait_quiet()
        except LimitReached as error:
            self.exit_code = LimitReached.exit_code
            print(f"mob: {error}", file=sys.stderr, flush=True)

    async def send_text(self, text: str) -> None:
        """Say something; cuts in when the member is speaking."""
        await self._line.send_text(text)

    def say_to(self, member: str, text: str) -> None:
        """Say something to another member; its answer is printed when it is committed."""
        self._line.say_to(member, text)

    async def interrupt(self) -> None:
        """Cut the answer off where it is."""
        await self._line.interrupt()

    async def hand_off(self, member: str) -> None:
        """Talk with this member from now on."""
        await self._team.hand_off(member)

    async def _send_sound(self, path: Path) -> None:
        rate = self._line.input_rate
        silence = bytes(2 * rate * _SILENCE_MS // 1000)
        sound = read_wav(path, rate) + silence
        step = 2 * rate * _CHUNK_MS // 1000
        for start in range(0, len(sound), step):
            await self._line.send_audio(sound[start : start + step])
            # Ten times the speed of sound: quick, and never more than the channel's buffer holds.
            await trio.sleep(_CHUNK_MS / 10_000)

    async def _follow_run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self._team.events() as events:
            task_status.started()
            async for event in events:
                self._run_event(event)

    def _run_event(self, event: RunEvent) -> None:
        if isinstance(event, MobStarted):
            for identity, facts in event.members.items():
                self.view.member(identity).rehearsed = bool(facts.get("rehearsed"))
        if isinstance(event, FloorChanged | MobStarted):
            self.view.floor = self._team.floor
        turn = turn_of(self._team, event) if isinstance(event, TurnEnded) else None
        self.view.apply_run_event(event, () if turn is None else [item.id for item in turn.items])
        self.exit_code = exit_code_of(event, turn, self.exit_code)
        self._turns += isinstance(event, TurnEnded)
        self._output.event(event, turn)

    async def _follow_line(self, line: Line) -> None:
        async for member, event in line:
            if isinstance(event, LiveEvent):
                self._live_event(member, event)

    def _live_event(self, member: str, event: LiveEvent) -> None:
        now = trio.current_time()
        self.view.apply_live_event(member, event)
        match event:
            case AudioDelta(item_id=item_id, start_ms=start, pcm=pcm):
                self._speaking[item_id] = member
                duration = len(pcm) * 1000 // (2 * self._line.output_rate)
                self.view.sound(member, item_id, duration)
                self._receipts(self._speaker.play(item_id, start, duration, now))
            case SpeechStarted():
                self._receipts(self._speaker.stop(now))
            case Interrupted():
                self._speaker.stop(now)
            case _:
                pass

    def _receipts(self, receipts: list[Receipt]) -> None:
        for receipt in receipts:
            member = self._speaking[receipt.item_id]
            self._line.played(member, receipt.item_id, receipt.ms)
            self.view.played(member, receipt.item_id, receipt.ms)

    async def _play(self) -> None:
        with self._playing:
            while True:
                await trio.sleep(_TICK_S)
                self._receipts(self._speaker.advance(trio.current_time()))


async def rehearsed_of(team: Mob | RemoteMob) -> list[str]:
    """The members that were rehearsed when it was started. It told that first of all; none, when that is not kept."""
    async with team.events(after=0) as events:
        async for event in events:
            started = event.members if isinstance(event, MobStarted) else {}
            return [name for name, facts in started.items() if facts.get("rehearsed")]
    return []


def turn_of(team: Mob | RemoteMob, event: TurnEnded) -> Turn | None:
    """The turn that has ended, from its member's history."""
    turns = team.member(event.member or "").history()
    return next((turn for turn in reversed(turns) if turn.id == event.turn), None)


def exit_code_of(event: RunEvent, turn: Turn | None, code: int) -> int:
    """What the terminal exits with after this event, when it would have exited with `code` before."""
    if isinstance(event, ErrorOccurred) and event.error_class in _LIMITS:
        return LimitReached.exit_code
    if isinstance(event, ErrorOccurred) and event.error_class in _NOT_KEPT:
        return code or StoreError.exit_code
    if turn is not None and turn.status == "failed":
        return code or MemberFailed.exit_code
    return code
