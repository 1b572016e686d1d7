"""A member as the outside holds it: bound to one generation, and refused when that is over (law 22)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from mob.definition.model import ModelCapabilities, Profile
from mob.errors import MemberNotRunning, StaleGeneration
from mob.history.fold import History
from mob.history.items import Cause, Note, Turn
from mob.live.channel import LiveChannel
from mob.live.ports import ChannelOptions
from mob.sessions.mailbox import Answer, Letter
from mob.sessions.session import Session, SessionStatistics
from mob.sessions.tools import ToolFunction
from mob.team.host import MemberHost
from mob.values import Image, Usage

_HUMAN = Cause("text")


class MemberHandle:
    """One generation of a member. Get one with `mob.member(identity)`; every use of a stale one is StaleGeneration."""

    def __init__(
        self,
        identity: str,
        generation: int,
        *,
        session_id: str,
        current: Callable[[], MemberHost],
        check_open: Callable[[], None],
    ) -> None:
        self.identity = identity
        self.generation = generation
        self.session_id = session_id
        """A UUID, the same for all generations of the member and all processes of the run, running or not."""
        self._current = current
        self._check_open = check_open

    @property
    def state(self) -> str:
        """What it does: idle, connecting, listening, thinking, speaking, tool.

        Or why it does nothing: starting, restarting, failed, retired, stopped.
        """
        host = self._host()
        if host.state == "running" and host.last_session is not None:
            return host.last_session.statistics().state
        return host.state

    @property
    def profile_name(self) -> str:
        """The name of the profile it is made from."""
        return self._host().profile_name

    @property
    def profile(self) -> Profile:
        """The profile in force, with its own keys laid over it; the last one of a member that does not run."""
        host = self._host()
        return host.profile if host.last_session is None else host.last_session.profile

    @property
    def model(self) -> ModelCapabilities:
        """What is known of the model in force; of the last one, for a member that does not run."""
        host = self._host()
        return host.model if host.last_session is None else host.last_session.model

    @property
    def channel(self) -> LiveChannel | None:
        """The live channel that is open now, whoever opened it; None when none is."""
        session = self._host().last_session
        return None if session is None else session.channel

    async def ask(
        self,
        text: str,
        *,
        timeout: float | None = None,
        images: Sequence[Image] = (),
        context: Sequence[Note] = (),
        message_id: str | None = None,
    ) -> Answer:
        """Say something to the member and wait for its answer, at most `timeout` seconds.

        `context`: notes that go before the text. `message_id` stands in the turn's cause, and so in `turn_started`.

        StaleGeneration, MemberNotRunning, MemberFailed, MailboxFull: it was not taken. TurnTimedOut, BudgetExceeded,
        ProviderError, StoreError: there is no answer.
        """
        cause = _HUMAN if message_id is None else Cause("text", message_id=message_id)
        return await self._open_host().ask(text, cause=cause, timeout=timeout, context=context, images=images)

    def tell(self, text: str, *, images: Sequence[Image] = ()) -> Letter:
        """Say something to the member and go on; its answer is in its history. Refusals as for `ask`.

        The letter says how it ended, for who wants to wait.
        """
        return self._open_host().tell(text, cause=_HUMAN, images=images)

    async def inject(self, text: str, *, kind: str = "context") -> Turn:
        """Tell the member something and ask nothing of its model: a turn with one Note of this kind, in the log.

        Its next answer knows it, by whichever way it is reached. UsageError: an empty text; refusals as for `ask`.
        """
        return await self._open_host().inject(text, kind=kind)

    def rebind(self, profile: Profile, model: ModelCapabilities) -> None:
        """Be this from the next turn on, with the same history. See Session.rebind; refusals as for `ask`."""
        self._open_host().rebind(profile, model)

    @property
    def turn_cause(self) -> Cause | None:
        """Why the turn that runs now began; None when none runs."""
        session = self._host().last_session
        return None if session is None else session.turn_cause

    async def interrupt(self) -> bool:
        """Cut what it says now. False when it says nothing."""
        return await self._host().session.interrupt()

    @asynccontextmanager
    async def open_live(self, options: ChannelOptions | None = None) -> AsyncIterator[LiveChannel]:
        """The member's live channel, ready, until the block is left. See Session.open_live for what it raises."""
        async with self._open_host().session.open_live(options) as live:
            yield live

    @asynccontextmanager
    async def lend_tools(self, tools: Iterable[ToolFunction]) -> AsyncIterator[None]:
        """Offer the member tools of an outside client until the block is left. See Session.lend_tools.

        They are lent to this generation: a new one has to be lent them anew.
        """
        async with self._open_host().session.lend_tools(tools):
            yield

    def history(self) -> tuple[Turn, ...]:
        """The committed turns, oldest first, as of now."""
        return self._session().history()

    @property
    def folded(self) -> History:
        """The fold of the member's rows as of now, for who reads it again and again. A live view; do not change it.

        A new generation has another.
        """
        return self._session().folded

    @property
    def usage(self) -> Usage:
        """What the member used, over all its generations."""
        return self._session().statistics().budget.usage

    @property
    def session(self) -> Session:
        """The session of this generation. MemberNotRunning, MemberFailed."""
        return self._host().session

    def statistics(self) -> SessionStatistics:
        """Counts, as of now."""
        return self._session().statistics()

    def _host(self) -> MemberHost:
        host = self._current()
        if host.generation != self.generation:
            raise StaleGeneration(
                f"this handle is of generation {self.generation} of {self.identity}, which is over; generation "
                f"{host.generation} runs now: take a new handle with member({self.identity!r})",
                generation=self.generation,
                current=host.generation,
            )
        return host

    def _open_host(self) -> MemberHost:
        self._check_open()
        return self._host()

    def _session(self) -> Session:
        session = self._host().last_session
        if session is None:
            raise MemberNotRunning(f"{self.identity} has not started yet")
        return session
