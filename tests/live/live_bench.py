"""A bench for the pure channel machine: models of the provider, the session and the client, on a clock of its own.

The provider is modelled as strictly as the vendor (what it refuses is noted in `faults`), speaks evenly at 15
characters a second, and emits what it has to say one event at a time, when the test says so. Everything that the
machine wants done is performed or recorded. Nothing here is asynchronous.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field, frozen

from mob.definition.model import ModelCapabilities
from mob.errors import BudgetExceeded, LiveError, ProviderUnreachable
from mob.history.items import Item, ToolCall, ToolResult, Turn
from mob.ids import Ids
from mob.live import effects, events, inputs
from mob.live.machine import ChannelMachine
from mob.live.ports import ChannelLimits, ChannelOptions, Seed
from mob.providers import commands as say, events as wire
from mob.values import ToolSchema, Usage

RATE = 24000
CHARS_PER_S = 15
WORDS = ["the", "table", "by", "the", "window", "is", "free", "at", "eight", "and", "we", "keep", "it", "for", "you"]

MODEL = ModelCapabilities(
    "test-realtime",
    "test",
    "openai-realtime",
    realtime=True,
    input_modalities=("text", "audio", "image"),
    output_modalities=("text", "audio"),
    input_rate=RATE,
    output_rate=RATE,
    turn_modes=("server_vad", "manual"),
    can_interrupt=True,
    can_truncate=True,
    can_seed=True,
)


def pcm(ms: int) -> bytes:
    """Silence of this length."""
    return bytes(RATE * 2 * ms // 1000)


@frozen
class Reply:
    """What the provider will answer: words spoken or written, calls, and how it ends."""

    words: int = 6
    spoken: bool = True
    calls: tuple[str, ...] = ()
    status: wire.ResponseStatus = "completed"
    recovery: str = "retry"
    chunk_ms: int = 200
    silent: bool = False
    """It never even begins."""


@define
class Provider:
    """One connection's far end."""

    bench: Bench
    epoch: int
    items: list[str] = field(factory=list)
    texts: dict[str, str] = field(factory=dict)
    audio_ms: dict[str, float] = field(factory=dict)
    active: str | None = None
    script: list[wire.WireEvent] = field(factory=list)
    appended_ms: float = 0.0
    config: say.SessionConfig | None = None
    gone: bool = False
    mute: bool = False
    """It keeps the connection and takes no notice of what is said on it."""

    def tell(self, event: wire.WireEvent) -> None:
        if not self.gone:
            self.bench.feed(inputs.Wire(self.epoch, event))

    def refuse(self, code: str, recovery: str, ref: str | None, response_id: str | None = None) -> None:
        self.bench.faults.append(code)
        self.tell(wire.ProviderFault(code, code, recovery, ref=ref, response_id=response_id))  # type: ignore[arg-type]

    def add_item(self, item_id: str, kind: wire.ItemKind, text: str = "", response_id: str | None = None) -> None:
        previous = self.items[-1] if self.items else None
        self.items.append(item_id)
        self.texts[item_id] = text
        self.tell(wire.ItemAdded(item_id, previous, kind, text, response_id))

    def receive(self, command: say.WireCommand) -> None:
        match command:
            case say.Configure(config=config):
                self.config = config
                self.tell(wire.SessionConfigured(self.bench.expires_at))
            case say.AppendAudio(pcm=data):
                self.appended_ms += len(data) * 500 / RATE
            case say.CommitInput(ref=ref):
                if self.appended_ms < 100:
                    self.refuse("input_audio_buffer_commit_empty", "benign", ref)
                else:
                    self.hear()
            case say.ClearInput():
                self.appended_ms = 0
                self.tell(wire.InputCleared())
            case say.AddMessage(item_id=item_id, role=role, text=text):
                if self.bench.confirm_items:
                    self.add_item(item_id, role, text)
            case say.AddToolCall(item_id=item_id, call_id=call_id, name=name):
                self.add_item(item_id, "tool_call", f"{name}:{call_id}")
            case say.AddToolResult(item_id=item_id, call_id=call_id, output=output):
                self.add_item(item_id, "tool_result", f"{call_id}:{output}")
            case say.CreateResponse(ref=ref):
                self.create(ref)
            case say.CancelResponse(response_id=response_id, ref=ref):
                self.cancel(response_id, ref)
            case say.TruncateItem(item_id=item_id, audio_end_ms=ms, ref=ref):
                if item_id not in self.audio_ms or ms > self.audio_ms[item_id] or ms <= 0:
                    self.refuse("truncate_refused", "benign", ref)
                else:
                    self.tell(wire.ItemTruncated(item_id, ms))
            case say.DeleteItem(item_id=item_id):
                if item_id in self.items:
                    self.items.remove(item_id)
                    self.tell(wire.ItemDeleted(item_id))

    def hear(self, item_id: str | None = None) -> str:
        """What was appended becomes a user item."""
        item_id = item_id or self.bench.ids.new("u")
        previous = self.items[-1] if self.items else None
        self.appended_ms = 0
        self.items.append(item_id)
        self.tell(wire.InputCommitted(item_id, previous))
        self.tell(wire.ItemAdded(item_id, previous, "user"))
        return item_id

    def create(self, ref: str | None) -> None:
        self.bench.creates += 1
        if self.active is not None:
            self.bench.overlaps += 1
            self.refuse("conversation_already_has_active_response", "defer", ref, self.active)
            return
        reply = self.bench.replies.pop(0) if self.bench.replies else Reply()
        self.begin(reply, ref if self.bench.echo_refs else None)

    def begin(self, reply: Reply, ref: str | None = None) -> None:
        if reply.silent:
            return
        response_id = self.bench.ids.new("r")
        self.active = response_id
        self.script = list(self._events(response_id, reply, ref))

    def _events(self, response_id: str, reply: Reply, ref: str | None) -> Iterator[wire.WireEvent]:
        yield wire.ResponseStarted(response_id, ref)
        if reply.words:
            yield from self._message(response_id, self.bench.ids.new("a"), reply)
        for name in reply.calls:
            item_id, call_id = self.bench.ids.new("c"), self.bench.ids.new("call")
            yield wire.OutputItemStarted(response_id, item_id, "tool_call")
            yield wire.ToolCallReady(response_id, item_id, call_id, name, "{}")
            yield wire.OutputItemEnded(response_id, item_id)
        fault = None
        if reply.status == "failed":
            fault = wire.ProviderFault("rate_limit_exceeded", "slow down", reply.recovery)  # type: ignore[arg-type]
        yield wire.ResponseEnded(response_id, reply.status, None, Usage(output_tokens=7, requests=1), fault)

    def _message(self, response_id: str, item_id: str, reply: Reply) -> Iterator[wire.WireEvent]:
        words = [WORDS[i % len(WORDS)] for i in range(reply.words)]
        text = " ".join(words)
        self.bench.full_texts[item_id] = text
        yield wire.OutputItemStarted(response_id, item_id, "assistant")
        if not reply.spoken:
            for i, word in enumerate(words):
                yield wire.AgentTextPart(response_id, item_id, word if i == 0 else f" {word}")
            yield wire.AgentTextFinal(response_id, item_id, text)
        else:
            total = int(len(text) * 1000 / CHARS_PER_S)
            self.bench.durations[item_id] = total
            sounded = 0
            for i, word in enumerate(words):
                yield wire.AgentTranscriptPart(response_id, item_id, word if i == 0 else f" {word}")
                upto = total * (i + 1) // (len(words) + 1)
                while upto - sounded >= reply.chunk_ms:
                    yield wire.AgentAudio(response_id, item_id, pcm(reply.chunk_ms))
                    sounded += reply.chunk_ms
            yield wire.AgentAudio(response_id, item_id, pcm(max(total - sounded, 1)))
            yield wire.AgentTranscriptFinal(response_id, item_id, text)
            yield wire.AgentAudioEnded(response_id, item_id)
        yield wire.OutputItemEnded(response_id, item_id)

    def emit(self, count: int = 1) -> None:
        """Say the next things of the response in progress."""
        for _ in range(count):
            if not self.script or self.gone:
                return
            event = self.script.pop(0)
            match event:
                case wire.OutputItemStarted(item_id=item_id, response_id=response_id, kind=kind):
                    self.tell(event)
                    self.add_item(item_id, kind, response_id=response_id)
                    continue
                case wire.AgentAudio(item_id=item_id, pcm=data):
                    self.audio_ms[item_id] = self.audio_ms.get(item_id, 0.0) + len(data) * 500 / RATE
                case wire.ResponseEnded():
                    self.active = None
            self.tell(event)

    def finish(self) -> None:
        """Say all of it."""
        while self.script and not self.gone:
            self.emit()

    def cancel(self, response_id: str | None, ref: str | None) -> None:
        if self.active is None or (response_id is not None and response_id != self.active):
            self.refuse("response_cancel_not_active", "benign", ref)
            return
        if self.script and isinstance(self.script[0], wire.ResponseStarted):
            return  # the vendor ignores a cancel of what does not exist yet
        active = self.active
        # What was on its way still comes, then the end.
        late = [event for event in self.script[: self.bench.late] if not isinstance(event, wire.ResponseEnded)]
        self.script = [*late, wire.ResponseEnded(active, "cancelled", "client_cancelled", None)]


@define
class Bench:
    """The machine and everything around it."""

    manual: bool = False
    output: str = "audio"
    limits: ChannelLimits = field(factory=ChannelLimits)
    ttl_s: float | None = None
    kept_tools: frozenset[str] = frozenset({"book"})
    ending_tools: frozenset[str] = frozenset({"hand_over"})
    own_tools: frozenset[str] = frozenset({"look", "book", "hand_over"})
    all_tools: tuple[str, ...] = ("look", "book", "hand_over", "ask_client")
    echo_refs: bool = False
    confirm_items: bool = True
    late: int = 3
    expires_at: float | None = None
    refuse_dial: int = 0
    commit_delay: float = 0.0
    budget: int = 1000
    auto_open: bool = True
    model: ModelCapabilities = MODEL
    audio_receipts: bool = True
    auto_respond: bool = True
    barge_in: bool = True
    options: dict[str, object] = field(factory=dict)
    """More of ChannelOptions."""
    params: dict[str, object] = field(factory=dict)

    ids: Ids = field(factory=lambda: Ids(7))
    now: float = 100.0
    sent: list[tuple[float, int, say.WireCommand]] = field(factory=list)
    published: list[events.LiveEvent] = field(factory=list)
    log: list[Turn] = field(factory=list)
    filled: dict[str, str] = field(factory=dict)
    dropped: dict[str, Exception] = field(factory=dict)
    faults: list[str] = field(factory=list)
    refused: list[LiveError] = field(factory=list)
    started_tools: list[str] = field(factory=list)
    open_tools: dict[str, effects.StartTool] = field(factory=dict)
    cancelled_tools: list[str] = field(factory=list)
    reserved: int = 0
    spent: int = 0
    creates: int = 0
    overlaps: int = 0
    replies: list[Reply] = field(factory=list)
    full_texts: dict[str, str] = field(factory=dict)
    durations: dict[str, int] = field(factory=dict)
    receipts: dict[str, int] = field(factory=dict)
    received_ms: dict[str, float] = field(factory=dict)
    providers: dict[int, Provider] = field(factory=dict)
    seeds: list[tuple[int, tuple[Item, ...]]] = field(factory=list)
    seed_bounds: list[int | None] = field(factory=list)
    admitted: str | None = None
    waiting: list[effects.Admit] = field(factory=list)
    committing: list[tuple[float, Turn]] = field(factory=list)
    finished: str | None = None
    dials: int = 0
    _inbox: list[inputs.Input] = field(factory=list)
    _busy: bool = False
    machine: ChannelMachine = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.machine = ChannelMachine(
            channel_id="live_test",
            ids=self.ids,
            model=self.model,
            tools=self,
            options=ChannelOptions(
                self.limits,
                ttl_s=self.ttl_s,
                audio_receipts=self.audio_receipts,
                auto_respond=self.auto_respond,
                barge_in=self.barge_in,
                **self.options,  # type: ignore[arg-type]
            ),
            wall_offset=1000.0,
        )
        self.perform(self.machine.start(self.now))
        self.drain()

    # The session's side.

    def runs_tool(self, name: str) -> bool:
        return name in self.own_tools

    def keeps_running(self, name: str) -> bool:
        return name in self.kept_tools

    def ends_turn(self, name: str) -> bool:
        return name in self.ending_tools

    def config(self) -> say.SessionConfig:
        return say.SessionConfig(
            instructions="be brief",
            output=self.output,  # type: ignore[arg-type]
            turn_detection=say.TurnDetection("manual" if self.manual else "server_vad"),
            tools=tuple(ToolSchema(name, name) for name in self.all_tools),
            params=self.params,
        )

    def projection(self) -> tuple[Item, ...]:
        return tuple(item for turn in self.log for item in turn.items)

    # In and out.

    @property
    def provider(self) -> Provider:
        return self.providers[max(self.providers)]

    @property
    def mute(self) -> bool:
        return self.provider.mute

    @mute.setter
    def mute(self, value: bool) -> None:
        """Of the connection that there is now: a new one finds a provider that listens."""
        self.provider.mute = value

    def feed(self, what: inputs.Input) -> None:
        self._inbox.append(what)
        self.drain()

    def drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                what = self._inbox.pop(0)
                self.perform(self.machine.handle(what, self.now))
        finally:
            self._busy = False
        self.check()

    def command(self, what: inputs.Input) -> bool:
        """A command of the client; False when it was refused."""
        try:
            self.feed(what)
        except LiveError as error:
            self.refused.append(error)
            return False
        return True

    def check(self) -> None:
        """What must hold after every input."""

    def perform(self, todo: list[effects.Effect]) -> None:
        for effect in todo:
            self._perform(effect)

    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Dial(epoch=epoch):
                self.dial(epoch)
            case effects.HangUp(epoch=epoch):
                if epoch in self.providers:
                    self.providers[epoch].gone = True
            case effects.NeedSeed(epoch=epoch, max_chars=max_chars):
                items = self.projection()
                self.seed_bounds.append(max_chars)
                self.seeds.append((epoch, items))
                self._inbox.append(
                    inputs.SeedReady(epoch, Seed(self.config(), items, "transcript_only" if items else "fresh"))
                )
            case effects.Send(epoch=epoch, command=command):
                self.send(epoch, command)
            case effects.RequestResponse(epoch=epoch, ref=ref, command=command):
                if self.reserved >= self.budget:
                    self._inbox.append(inputs.RequestRefused(ref, BudgetExceeded("no more money")))
                    return
                self.reserved += 1
                if command is not None:
                    self.send(epoch, command)
            case effects.Spent():
                self.spent += 1
            case effects.Publish(event=event):
                self.published.append(event)
            case effects.Admit():
                self.waiting.append(effect)
                self.admit()
            case effects.CommitTurn(turn=turn):
                self.committing.append((self.now + self.commit_delay, turn))
                self.settle_commits()
            case effects.DropTurn(turn_id=turn_id, error=error):
                self.dropped[turn_id] = error
                self.waiting = [admit for admit in self.waiting if admit.turn_id != turn_id]
            case effects.AbandonTurn(turn_id=turn_id):
                if self.admitted == turn_id:
                    self.admitted = None
                    self.admit()
            case effects.FillTranscript(item_id=item_id, text=text):
                self.filled[item_id] = text
            case effects.StartTool(call=call):
                self.started_tools.append(call.call_id)
                self.open_tools[call.call_id] = effect
            case effects.CancelTool(call_id=call_id):
                self.cancelled_tools.append(call_id)
                if self.open_tools.pop(call_id, None) is not None:
                    self._inbox.append(inputs.ToolOutcome(call_id, None))
            case effects.Finish(reason=reason):
                assert self.finished is None
                self.finished = reason
            case effects.DiscardAudio():
                pass

    def send(self, epoch: int, command: say.WireCommand) -> None:
        self.sent.append((self.now, epoch, command))
        provider = self.providers.get(epoch)
        if provider is not None and not provider.gone and not provider.mute:
            provider.receive(command)

    def dial(self, epoch: int) -> None:
        self.dials += 1
        if self.refuse_dial:
            self.refuse_dial -= 1
            self._inbox.append(inputs.ConnectionLost(epoch, ProviderUnreachable("nobody there", recovery="reopen")))
            return
        self.providers[epoch] = Provider(self, epoch)
        if self.auto_open:
            self._inbox.append(inputs.ConnectionOpened(epoch))
            self._inbox.append(inputs.Wire(epoch, wire.SessionOpened(f"sess_{epoch}", self.expires_at)))

    def admit(self) -> None:
        if self.admitted is None and self.waiting:
            self.admitted = self.waiting.pop(0).turn_id
            self._inbox.append(inputs.TurnAdmitted(self.admitted))

    def settle_commits(self) -> None:
        while self.committing and self.committing[0][0] <= self.now:
            _, turn = self.committing.pop(0)
            assert self.admitted == turn.id, "only the admitted turn is committed"
            self.admitted = None
            self.log.append(evolve(turn, seq=len(self.log) + 1))
            self.published.append(events.TurnCommitted(channel_id="live_test", epoch=0, t=self.now, turn=self.log[-1]))
            self._inbox.append(inputs.TurnDurable(turn.id))
            self.admit()

    # Time and people.

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick whenever one is due."""
        until = self.now + seconds
        for _ in range(10_000):
            due = min([self.machine.wake_at, *(moment for moment, _ in self.committing)])
            if due > until:
                break
            self.now = max(self.now, due)
            self.settle_commits()
            self.feed(inputs.Tick())
            assert self.machine.wake_at > self.now, "a tick must get past its moment"
        else:
            raise AssertionError("the machine spins")
        self.now = until

    def lose(self) -> None:
        """The connection in use breaks."""
        provider = self.providers[self.machine.context.epoch]
        provider.gone = True
        self.feed(inputs.ConnectionLost(provider.epoch, ProviderUnreachable("reset", recovery="reopen")))

    def speak(self, ms: int = 500) -> str:
        """The user says something, to the end of the turn. Gives the item (server VAD)."""
        self.append(ms)
        item_id = self.ids.new("u")
        self.provider.tell(wire.InputSpeechStarted(item_id))
        self.append(ms)
        self.provider.tell(wire.InputSpeechStopped(item_id))
        return self.provider.hear(item_id)

    def append(self, ms: int) -> bool:
        data = pcm(ms)
        try:
            now = self.machine.append_audio(data)
        except LiveError as error:
            self.refused.append(error)
            return False
        if now:
            self.send(self.machine.context.epoch, say.AppendAudio(data))
        return True

    def text(self, text: str = "hello there") -> bool:
        return self.command(inputs.SendText(text))

    def play(self, item_id: str, ms: int) -> None:
        self.feed(inputs.Played(item_id, ms))

    def play_all(self) -> None:
        """The client reports everything it was given as played."""
        ends: dict[str, int] = {}
        for event in self.published:
            if isinstance(event, events.AudioDelta):
                ends[event.item_id] = event.start_ms + len(event.pcm) * 500 // RATE + 1
        for item_id, ms in ends.items():
            self.play(item_id, ms)

    def end_tool(self, call_id: str, output: str = "done") -> None:
        effect = self.open_tools.pop(call_id)
        call: ToolCall = effect.call
        result = ToolResult(self.ids.new("res"), call.call_id, call.name, "done", output)
        self.feed(inputs.ToolOutcome(call_id, result))

    # Looking.

    def commands(self, kind: type, epoch: int | None = None) -> list[say.WireCommand]:
        return [command for _, at, command in self.sent if isinstance(command, kind) and (epoch is None or at == epoch)]

    def told(self, kind: type) -> list[events.LiveEvent]:
        return [event for event in self.published if isinstance(event, kind)]
