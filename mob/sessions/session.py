"""A member's one conversation: its history, its turns, its tools, however it is reached.

Theory. A Session is the only writer of its member's history. What is said to the member arrives in two ways: as letters
in its mailbox (`ask`, `tell_nowait`), served one after the other by `run`, or spoken and typed over a live channel that
a client holds (`open_live`). Both pass the one turn desk, so one turn runs at a time. A letter is delivered by
request/response or over the live channel, as the model in force demands; the channel asks back through a `ChannelPort`.

    new ──run──> running ──stop──> draining (what was taken in is still served) ──> stopped
                 running ──a fault, or the member's scope is cancelled──> stopped

Whatever belongs to the member runs in `run`'s nursery and is gone when it returns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import trio
from attrs import frozen

from mob.definition.model import MobDefinition, ModelCapabilities, Profile, Route
from mob.errors import (
    LiveClosed,
    MemberFailed,
    MemberNotRunning,
    MobError,
    ProviderError,
    ProviderUnreachable,
    ReopenRequired,
    TurnTimedOut,
    UsageError,
)
from mob.history.fold import History, HistoryStatistics
from mob.history.items import Cause, Item, Note, Timings, Turn, UserMessage
from mob.ids import Ids, session_id_of
from mob.live.channel import LiveChannel
from mob.live.network import Dialler
from mob.live.ports import ChannelOptions, Prompt, Seed
from mob.live.watchdog import Watchdog
from mob.sessions.binding import Binding, Bindings
from mob.sessions.budget import BudgetMeter, BudgetStatistics
from mob.sessions.channelport import ChannelPort
from mob.sessions.channels import ChannelHost
from mob.sessions.desk import DeskStatistics, TurnDesk
from mob.sessions.events import ErrorOccurred, RunEvent
from mob.sessions.instructions import build_config, build_instructions
from mob.sessions.journal import Journal
from mob.sessions.ledger import Ledger, LedgerStatistics
from mob.sessions.lending import Loan
from mob.sessions.mailbox import Answer, Letter, Mailbox, MailboxStatistics
from mob.sessions.observing import ChannelObserver, StateBoard
from mob.sessions.requesting import RequestDelivery
from mob.sessions.seeds import build_seed
from mob.sessions.tools import ToolBox, ToolFunction
from mob.store.port import RunLog
from mob.values import Image

_STORE_TIMEOUT_S = 10.0
_STATEMENT = Cause("text")
_CONTEXT = Cause("context")


@frozen(slots=True)
class SessionStatistics:
    """What each part of the session counts. `state` is what the member does now; `live` whether it has a channel."""

    state: str
    live: bool
    mailbox: MailboxStatistics
    desk: DeskStatistics
    history: HistoryStatistics
    budget: BudgetStatistics
    ledger: LedgerStatistics | None


class Session:
    """One member's conversation. Made whole by `run`, which must be running for anything but reading.

    `history` is the fold of the member's rows so far, `generation` the number that is written into its turns. `routes`
    gives the routes that start at this member as they are now; by default those of the definition.
    """

    def __init__(
        self,
        identity: str,
        generation: int,
        profile: Profile,
        model: ModelCapabilities,
        *,
        definition: MobDefinition,
        log: RunLog,
        history: History,
        tools: ToolBox,
        dialler: Dialler,
        ids: Ids,
        budget: BudgetMeter,
        publish: Callable[[RunEvent], object],
        wall: Callable[[], float],
        watchdog: Watchdog,
        routes: Callable[[], Sequence[Route]] | None = None,
    ) -> None:
        self.identity = identity
        self.generation = generation
        self.tools = tools
        self._definition = definition
        self._limits = definition.limits
        self._routes = routes or (lambda: definition.routes_from(identity))
        self._ids = ids
        self._publish = publish
        self._wall = wall
        self._watchdog = watchdog
        self._dialler = dialler
        self._session_id = session_id_of(log.run_id, identity)
        self._bindings = Bindings(profile, model, definition)
        self._budget = budget
        self._journal = Journal(log, history, timeout_s=_STORE_TIMEOUT_S)
        self._mailbox = Mailbox(identity, self._limits.max_mailbox)
        self._board = StateBoard(identity, generation, publish)
        self._observer = ChannelObserver(identity, self._board, publish)
        self._desk = TurnDesk(self._journal, budget, generation=generation, model=model, publish=publish)
        self._served: Letter | None = None
        self._parts: _Parts | None = None
        self._stopped = trio.Event()

    # Being spoken to.

    async def ask(
        self,
        text: str,
        *,
        cause: Cause = _STATEMENT,
        timeout: float | None = None,
        context: Sequence[Item] = (),
        images: Sequence[Image] = (),
    ) -> Answer:
        """Say something to the member and wait for its answer. `context`: items that go before the text (notes).

        MailboxFull, MemberNotRunning: it was not taken. TurnTimedOut after `timeout` seconds, waiting included, or when
        the turn does not end. BudgetExceeded, MemberFailed, ProviderError, StoreError: the turn came to nothing, or
        failed and is in the history as failed. Cancelling takes the message back, or interrupts the turn it has.
        """
        letter = self._put(text, cause, context, images)
        return await self._await(letter, timeout)

    async def _await(self, letter: Letter, timeout: float | None = None) -> Answer:
        try:
            with trio.move_on_after(float("inf") if timeout is None else timeout):
                return await letter.wait()
        finally:
            if not letter.ended and not self._mailbox.withdraw(letter):
                letter.interrupt()
        raise TurnTimedOut(f"{self.identity} did not answer within {timeout:g} s; go on without the answer")

    def tell_nowait(
        self, text: str, *, cause: Cause = _STATEMENT, context: Sequence[Item] = (), images: Sequence[Image] = ()
    ) -> Letter:
        """Say something to the member and go on. The letter says how it ended, for who wants to wait.

        MailboxFull, MemberNotRunning.
        """
        return self._put(text, cause, context, images)

    async def inject(self, text: str, *, kind: str = "context") -> Turn:
        """Tell the member something and ask nothing of its model: a turn that holds one Note of this kind, durable.

        It waits its place among the turns, is not counted by the budget, and an open live channel is told of it.
        UsageError: there is nothing in the text. MailboxFull, MemberNotRunning, StoreError.
        """
        if not text.strip():
            raise UsageError(f"there is nothing in this text to tell {self.identity}; give some words")
        note = Note(self._ids.new("item"), text, kind)
        return (await self._await(self._take((note,), _CONTEXT))).turn

    def check_room(self) -> None:
        """MailboxFull, MemberNotRunning: when nothing could be said to the member now."""
        self._running_parts()
        self._mailbox.check_room()

    async def interrupt(self) -> bool:
        """Cut the turn that runs; what was said of it so far is kept. False when none runs."""
        parts = self._running_parts()
        channel = parts.channels.channel
        if channel is not None and self._desk.running is not None and not parts.requesting.busy:
            await channel.interrupt()
            return True
        if self._served is None:
            return False
        self._served.interrupt()
        return True

    @asynccontextmanager
    async def open_live(self, options: ChannelOptions | None = None) -> AsyncIterator[LiveChannel]:
        """The member's live channel, ready, for as long as the block lasts.

        A channel that the session opened for itself is taken over when it was opened with the same options; otherwise
        it is closed, when what is being asked over it has ended, and a new one opened. AlreadyOpen, NotRealtime,
        MemberNotRunning, UsageError (the model cannot do what the options ask for), CredentialMissing,
        ProviderUnreachable, ProviderRefused.
        """
        async with self._running_parts().channels.client(options) as channel:
            yield channel

    @asynccontextmanager
    async def lend_tools(self, tools: Iterable[ToolFunction]) -> AsyncIterator[None]:
        """Offer the member these tools of an outside client, beside its own, for as long as the block lasts.

        When it is left they are taken away, and what they still run is cancelled. An open live channel is told of both.
        UsageError: a name is taken, or no tool can have it. MemberNotRunning.
        """
        self._running_parts()
        loan = Loan(tools)
        self.tools.lend(loan.tools)
        try:
            await self._tell_tools()
            yield
        finally:
            self.tools.take_back(loan.names)
            loan.end()
            with trio.CancelScope(shield=True):
                await self._tell_tools()

    async def _tell_tools(self) -> None:
        """An open channel is told which tools there are now; one that is closing takes none."""
        parts = self._parts
        if parts is not None and parts.channels.channel is not None:
            tools = self.tools.schemas if parts.channels.binding.model.tools else ()
            with suppress(LiveClosed):
                await parts.channels.channel.refresh(tools=tools)

    # What it is.

    @property
    def session_id(self) -> str:
        """The session's id: a UUID, the same for all generations of the member and all processes of the run."""
        return self._session_id

    @property
    def profile(self) -> Profile:
        """The profile in force."""
        return self._bindings.first.profile

    @property
    def model(self) -> ModelCapabilities:
        """The model in force."""
        return self._bindings.first.model

    @property
    def running(self) -> bool:
        """Whether it can be spoken to."""
        return self._parts is not None

    @property
    def turn_cause(self) -> Cause | None:
        """Why the turn that runs now began; None when none runs."""
        return self._desk.running

    @property
    def channel(self) -> LiveChannel | None:
        """The live channel that is open now, whoever opened it."""
        return None if self._parts is None else self._parts.channels.channel

    @property
    def folded(self) -> History:
        """The fold of the member's rows as of now. A live view; do not change it."""
        return self._journal.history

    def history(self) -> tuple[Turn, ...]:
        """The committed turns, oldest first, as of now."""
        return tuple(self._journal.history.turns)

    def statistics(self) -> SessionStatistics:
        """Counts, as of now."""
        return SessionStatistics(
            state=self._board.state,
            live=self.channel is not None,
            mailbox=self._mailbox.statistics(),
            desk=self._desk.statistics(),
            history=self._journal.history.statistics(),
            budget=self._budget.statistics(),
            ledger=None if self._parts is None else self._parts.ledger.statistics(),
        )

    def rebind(self, profile: Profile, model: ModelCapabilities) -> None:
        """Speak with this profile and model from the next turn on; the history stays.

        ReopenRequired when a client holds a live channel to another model. With the same model, `refresh` on the
        channel puts the profile in force.
        """
        parts = self._parts
        if parts is not None and parts.channels.has_client and model.id != parts.channels.binding.model.id:
            raise ReopenRequired(
                f"{self.identity} has an open live channel to {parts.channels.binding.model.id}; close it, change the "
                "model, and open it again",
                fields=("model",),
            )
        self._bindings.rebind(profile, model)

    # Its life.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until `stop` or cancellation. Started when the calls that an earlier process left open are closed."""
        try:
            async with trio.open_nursery() as nursery:
                parts = self._parts = self._assemble(nursery)
                try:
                    self._budget.restore(self.folded.usage, self.folded.turns_begun)
                    await parts.ledger.close_dangling()
                    task_status.started()
                    await self._serve(parts)
                    await parts.channels.close()
                finally:
                    parts.channels.shut()
                nursery.cancel_scope.cancel()
        finally:
            self._parts = None
            self._end_letters()
            self._stopped.set()

    async def stop(self) -> None:
        """Serve what was taken in, for half of `shutdown_timeout_s`; then cancel what is left.

        Returns when nothing is left. Nothing happens when it does not run.
        """
        if self._parts is None:
            return
        self._mailbox.close()
        bound = self._limits.shutdown_timeout_s
        with trio.move_on_after(bound / 2):
            await self._stopped.wait()
        self.cancel(within_s=bound / 4)
        await self._stopped.wait()

    def cancel(self, *, within_s: float) -> None:
        """Cancel what runs and end. What is still to be written is written within this time, or not at all."""
        if self._parts is not None:
            self._journal.hurry(trio.current_time() + within_s)
            self._parts.nursery.cancel_scope.cancel()

    def _assemble(self, nursery: trio.Nursery) -> _Parts:
        ledger = Ledger(
            self._journal,
            self.tools,
            nursery=nursery,
            publish=self._publish,
            max_output_bytes=self._limits.max_tool_output_bytes,
        )
        port = ChannelPort(
            self._session_id,
            self.identity,
            desk=self._desk,
            journal=self._journal,
            ledger=ledger,
            tools=self.tools,
            observer=self._observer,
            seed=self.seed,
            model=lambda: self._running_parts().channels.binding.model,
            nursery=nursery,
            tell=self._tell,
        )
        channels = ChannelHost(
            self.identity,
            port,
            bindings=self._bindings,
            dialler=self._dialler,
            ids=self._ids,
            limits=self._limits,
            nursery=nursery,
            wall=self._wall,
            watchdog=self._watchdog,
        )
        requesting = RequestDelivery(
            self.identity,
            self._desk,
            ledger,
            self.tools,
            bindings=self._bindings,
            seed=self._seed_for,
            dialler=self._dialler,
            ids=self._ids,
            limits=self._limits,
            nursery=nursery,
            board=self._board,
            publish=self._publish,
            wall=self._wall,
        )
        return _Parts(nursery, ledger, channels, requesting)

    async def _serve(self, parts: _Parts) -> None:
        while (letter := await self._mailbox.next()) is not None:
            self._served = letter
            try:
                turn = await self._deliver(parts, letter)
            except MobError as error:
                letter.close(error)
                self._tell(error)
            else:
                letter.close(Answer(turn.agent_text, turn))
            self._served = None
            self._board.show("idle")

    async def _note(self, parts: _Parts, letter: Letter) -> Turn:
        """What is only told goes to the log, and to whoever is connected now; everybody later is told the log."""
        turn: Turn | None = None
        timings = Timings(started_at=self._wall())
        with letter.scope:
            turn = await self._desk.note(Turn(self._ids.new("turn"), letter.cause, letter.items, timings=timings))
        if turn is None:
            raise MemberFailed(f"{self.identity} was not told: it was taken back")
        if parts.channels.channel is not None:
            for item in letter.items:
                parts.channels.channel.add_context(item)
        return turn

    async def _deliver(self, parts: _Parts, letter: Letter) -> Turn:
        if letter.cause.kind == "context":
            return await self._note(parts, letter)
        usable = self._bindings.usable()
        if not usable[0].model.realtime:
            return await parts.requesting.deliver(letter)
        async with AsyncExitStack() as asking:
            try:
                channel = await asking.enter_async_context(parts.channels.for_prompts())
            except ProviderUnreachable as error:
                if all(binding.model.realtime for binding in usable):
                    raise
                self._tell(error)
            else:
                return await self._prompt(parts, channel, letter)
        return await parts.requesting.deliver(letter)

    async def _prompt(self, parts: _Parts, channel: LiveChannel, letter: Letter) -> Turn:
        turn: Turn | None = None
        # Who is handed the conversation speaks; who is asked by another member answers it in text.
        output = None if letter.cause.kind == "hand_off" else "text"
        with letter.scope:
            try:
                turn = await channel.prompt(Prompt(letter.items, letter.cause, output=output))
            except LiveClosed as closed:
                if closed.reason != "unanswered":
                    raise
                await parts.channels.ended(channel)
        if turn is None and not letter.interrupted:
            letter.scope = trio.CancelScope()
            return await self._deliver(parts, letter)  # whose channel it was has gone; it is asked over another
        if turn is None:
            raise MemberFailed(f"{self.identity} was interrupted before its answer was whole")
        if turn.status == "failed":
            raise MemberFailed(f"{self.identity} failed: {turn.error or 'no reason given'}")
        return turn

    def _put(self, text: str, cause: Cause, context: Sequence[Item], images: Sequence[Image]) -> Letter:
        said = UserMessage(self._ids.new("item"), text, author=cause.origin, images=tuple(images))
        return self._take((*context, said) if text or images else tuple(context), cause)

    def _take(self, items: tuple[Item, ...], cause: Cause) -> Letter:
        self._running_parts()
        letter = Letter(items, cause)
        self._mailbox.put(letter)
        return letter

    def _end_letters(self) -> None:
        error = MemberNotRunning(f"{self.identity} stopped before it could answer; ask again when it runs")
        self._mailbox.refuse_all(error)
        if self._served is not None:
            self._served.close(error)
            self._served = None

    def _running_parts(self) -> _Parts:
        if self._parts is None:
            raise MemberNotRunning(f"{self.identity} does not run; start it, or take a handle of its next generation")
        return self._parts

    def _tell(self, error: MobError) -> None:
        recovery = error.recovery if isinstance(error, ProviderError) else "benign"
        self._publish(
            ErrorOccurred(member=self.identity, error_class=error.code, message=error.message, recovery=recovery)
        )

    # What it is told of itself and its past.

    def seed(self, max_chars: int | None = None) -> Seed:
        """The projection that a channel opens with, as of now; at most so many characters of the past."""
        return self._seed_for(self._running_parts().channels.binding, max_chars)

    def _seed_for(self, binding: Binding, max_chars: int | None = None) -> Seed:
        instructions = build_instructions(self._definition, self.identity, binding.profile, self._routes())
        config = build_config(binding.profile, binding.model, instructions=instructions, tools=self.tools.schemas)
        return build_seed(config, binding.model, self.folded, max_chars=max_chars)


@frozen(slots=True, eq=False)
class _Parts:
    """What a running session has and one that does not run has not."""

    nursery: trio.Nursery
    ledger: Ledger
    channels: ChannelHost
    requesting: RequestDelivery
