"""A session as its live channel sees it: turns, requests, tools and the log, each handed on to who looks after it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from mob.definition.model import ModelCapabilities
from mob.errors import MobError, StoreError
from mob.history.items import Cause, ToolCall, ToolResult, Turn
from mob.history.rows import ChannelOpened, Row
from mob.live import events as live
from mob.live.ports import Seed, SessionPort
from mob.sessions.desk import TurnDesk
from mob.sessions.journal import Journal
from mob.sessions.ledger import Ledger
from mob.sessions.observing import ChannelObserver
from mob.sessions.tools import ToolBox
from mob.values import Usage


class ChannelPort(SessionPort):
    """What a channel asks of its session; see the port. `model` is the channel's own, `tell` publishes an error."""

    def __init__(
        self,
        session_id: str,
        identity: str,
        *,
        desk: TurnDesk,
        journal: Journal,
        ledger: Ledger,
        tools: ToolBox,
        observer: ChannelObserver,
        seed: Callable[[int | None], Seed],
        model: Callable[[], ModelCapabilities],
        nursery: trio.Nursery,
        tell: Callable[[MobError], object],
    ) -> None:
        self._session_id = session_id
        self._identity = identity
        self._desk = desk
        self._journal = journal
        self._ledger = ledger
        self._tools = tools
        self._observer = observer
        self._seed = seed
        self._model = model
        self._nursery = nursery
        self._tell = tell

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._session_id

    def seed(self, max_chars: int | None = None) -> Seed:
        """The projection to open with, as of now."""
        return self._seed(max_chars)

    async def admit_turn(self, cause: Cause) -> None:
        """Wait until this turn is the one that runs, and until its first request may be made. BudgetExceeded."""
        self._desk.model = self._model()
        await self._desk.admit(cause)
        await self._desk.make_ready()

    def abandon_turn(self) -> None:
        """The admitted turn came to nothing."""
        self._desk.abandon()

    def admit_request(self) -> None:
        """Before each request for a response. BudgetExceeded."""
        self._desk.reserve_nowait()

    def spent(self, usage: Usage | None) -> None:
        """A request ended."""
        self._desk.settle(usage)

    async def commit(self, turn: Turn) -> Turn:
        """Make the turn durable; the slot is free afterwards. StoreError."""
        return await self._desk.commit(turn)

    async def fill_transcript(self, item_id: str, text: str, *, failed: bool = False) -> None:
        """A transcript came late. StoreError."""
        await self._desk.fill_transcript(item_id, text, failed=failed)

    def runs_tool(self, name: str) -> bool:
        """Whether the tool is ours to run."""
        return name in self._tools

    def keeps_running(self, name: str) -> bool:
        """Whether a running call survives the interruption of its turn."""
        tool = self._tools.get(name)
        return tool is not None and tool.keeps_running

    def ends_turn(self, name: str) -> bool:
        """Whether the turn is over when this tool is done."""
        tool = self._tools.get(name)
        return tool is not None and tool.ends_turn

    def observe(self, event: live.LiveEvent) -> None:
        """One event of the channel, before its client can see it."""
        match event:
            case live.Interrupted(response_id=response_id):
                self._ledger.response_cut(response_id)
            case live.Connected(channel_id=channel_id, epoch=epoch, continuity=continuity):
                row = ChannelOpened(self._identity, channel_id, epoch, continuity)
                self._nursery.start_soon(self._record, row)
        self._observer.see(event)

    async def run_tool(self, call: ToolCall, *, turn_id: str, response_id: str, cause: Cause) -> ToolResult:
        """Run the call to its one terminal state."""
        return await self._ledger.run(call, turn_id=turn_id, response_id=response_id, cause=cause)

    async def _record(self, *rows: Row) -> None:
        try:
            await self._journal.write(*rows)
        except StoreError as error:
            self._tell(error)
