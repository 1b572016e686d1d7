"""For the pump's tests: a session that remembers, and a provider at the other end of a connector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf

import trio
from attrs import define, evolve, field
from live_bench import MODEL, Provider as Script, Reply, pcm

from mob.errors import MobError, ProviderError, ProviderUnreachable
from mob.history.items import Cause, ToolCall, ToolResult, Turn
from mob.ids import Ids
from mob.live.channel import LiveChannel
from mob.live.events import LiveEvent
from mob.live.network import Endpoint, TcpNetwork
from mob.live.ports import ChannelLimits, ChannelOptions, Seed, SessionPort
from mob.live.watchdog import Watchdog
from mob.providers import commands as say, events as wire
from mob.values import ToolSchema, Usage

__all__ = ["FakeConnection", "FakeConnector", "FakeSession", "Reply", "open_channel", "pcm"]


@define(eq=False)
class FakeSession(SessionPort):
    """A session in memory. The hooks make it slow, refusing or failing."""

    session_id = "session_test"
    manual: bool = False
    output: str = "audio"
    log: list[Turn] = field(factory=list)
    filled: dict[str, tuple[str, bool]] = field(factory=dict)
    observed: list[LiveEvent] = field(factory=list)
    tools: dict[str, Callable[[], Awaitable[str]]] = field(factory=dict)
    ended_tools: dict[str, str] = field(factory=dict)
    reserved: int = 0
    settled: int = 0
    abandoned: int = 0
    commit_s: float = 0.0
    commit_error: MobError | None = None
    admit_error: MobError | None = None
    slot: trio.Semaphore = field(factory=lambda: trio.Semaphore(1, max_value=1))

    def seed(self, max_chars: int | None = None) -> Seed:
        config = say.SessionConfig(
            output=self.output,  # type: ignore[arg-type]
            turn_detection=say.TurnDetection("manual" if self.manual else "server_vad"),
            tools=(*(ToolSchema(name, name) for name in self.tools), ToolSchema("external", "the client's")),
        )
        items = tuple(item for turn in self.log for item in turn.items)
        return Seed(config, items, "transcript_only" if items else "fresh")

    async def admit_turn(self, cause: Cause) -> None:
        await self.slot.acquire()
        if self.admit_error is not None:
            self.slot.release()
            raise self.admit_error

    def abandon_turn(self) -> None:
        self.abandoned += 1
        self.slot.release()

    def admit_request(self) -> None:
        self.reserved += 1

    def spent(self, usage: Usage | None) -> None:
        self.settled += 1

    async def commit(self, turn: Turn) -> Turn:
        try:
            await trio.sleep(self.commit_s)
            if self.commit_error is not None:
                raise self.commit_error
            self.log.append(evolve(turn, seq=len(self.log) + 1))
        finally:
            self.slot.release()
        return self.log[-1]

    async def fill_transcript(self, item_id: str, text: str, *, failed: bool = False) -> None:
        self.filled[item_id] = (text, failed)

    def runs_tool(self, name: str) -> bool:
        return name in self.tools

    def keeps_running(self, name: str) -> bool:
        return name.startswith("keep")

    def observe(self, event: LiveEvent) -> None:
        self.observed.append(event)

    async def run_tool(self, call: ToolCall, *, turn_id: str, response_id: str, cause: Cause) -> ToolResult:
        try:
            output = await self.tools[call.name]()
        except trio.Cancelled:
            self.ended_tools[call.call_id] = "cancelled"
            raise
        self.ended_tools[call.call_id] = "done"
        return ToolResult(f"res_{call.call_id}", call.call_id, call.name, "done", output)


class _Wire(Script):
    """The bench's model of the provider, with a queue where the bench has a machine."""

    def tell(self, event: wire.WireEvent) -> None:
        self.bench.outgoing.send_nowait(event)


@define(eq=False)
class FakeConnection:
    """One connection: commands go to the provider's model, its events are received in batches."""

    connector: FakeConnector
    provider: Script = field(init=False)
    outgoing: trio.MemorySendChannel[wire.WireEvent] = field(init=False)
    incoming: trio.MemoryReceiveChannel[wire.WireEvent] = field(init=False)
    closed: bool = False
    commands: list[say.WireCommand] = field(factory=list)
    audio: list[tuple[float, bytes]] = field(factory=list)
    # What the provider's model asks of its bench.
    ids: Ids = field(factory=lambda: Ids(11))
    faults: list[str] = field(factory=list)
    replies: list[Reply] = field(factory=list)
    full_texts: dict[str, str] = field(factory=dict)
    durations: dict[str, int] = field(factory=dict)
    echo_refs: bool = False
    confirm_items: bool = True
    late: int = 2
    creates: int = 0
    overlaps: int = 0
    expires_at: float | None = None

    def __attrs_post_init__(self) -> None:
        self.outgoing, self.incoming = trio.open_memory_channel[wire.WireEvent](inf)
        self.provider = _Wire(self, 1)  # type: ignore[arg-type]
        self.replies = self.connector.replies
        if self.connector.greets:
            self.outgoing.send_nowait(wire.SessionOpened("sess"))

    async def receive(self) -> list[wire.WireEvent]:
        try:
            events = [await self.incoming.receive()]
        except trio.EndOfChannel:
            raise ProviderUnreachable("the connection was reset", recovery="reopen") from None
        while True:
            try:
                events.append(self.incoming.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return events

    def send_nowait(self, command: say.WireCommand) -> None:
        if self.closed:
            return
        self.commands.append(command)
        self.provider.receive(command)
        if isinstance(command, say.CreateResponse) and self.connector.talks:
            self.provider.finish()

    def send_audio_nowait(self, data: bytes) -> None:
        self.audio.append((trio.current_time(), data))
        self.provider.receive(say.AppendAudio(data))

    def reset(self) -> None:
        """The network breaks."""
        self.outgoing.close()

    async def run(self) -> None:
        await trio.sleep_forever()

    async def aclose(self, reason: str) -> None:
        await trio.sleep(self.connector.close_s)
        self.closed = True
        self.outgoing.close()
        self.incoming.close()

    def statistics(self) -> None:
        return None


@define(eq=False)
class FakeConnector:
    """Gives connections to a provider that answers at once (`talks`), or says nothing by itself."""

    talks: bool = True
    greets: bool = True
    connect_s: float = 0.0
    close_s: float = 0.0
    errors: list[ProviderError] = field(factory=list)
    replies: list[Reply] = field(factory=list)
    connections: list[FakeConnection] = field(factory=list)

    async def connect(self) -> FakeConnection:
        await trio.sleep(self.connect_s)
        if self.errors:
            raise self.errors.pop(0)
        self.connections.append(FakeConnection(self))
        return self.connections[-1]

    @property
    def last(self) -> FakeConnection:
        return self.connections[-1]

    @property
    def all_closed(self) -> bool:
        return all(connection.closed for connection in self.connections)


def make_channel(
    session: FakeSession, connector: FakeConnector, limits: ChannelLimits | None = None, ttl_s: float | None = None
) -> LiveChannel:
    start = trio.current_time()
    return LiveChannel(
        session,
        endpoint=Endpoint("http://nowhere.invalid/v1"),
        network=TcpNetwork(),
        model=MODEL,
        ids=Ids(3),
        options=ChannelOptions(limits or ChannelLimits(), ttl_s=ttl_s),
        wall=lambda: 1000.0 + trio.current_time() - start,
        watchdog=Watchdog(),
        connector=connector,
    )


@asynccontextmanager
async def open_channel(session: FakeSession, connector: FakeConnector, **options: object) -> AsyncIterator[LiveChannel]:
    """A channel that is ready, and closed when the block is left."""
    channel = make_channel(session, connector, **options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        yield channel
        await channel.close()
