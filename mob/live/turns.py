"""A turn in the making, and the line of turns in which at most one runs.

Theory. A turn begins when the user's speech is committed, a text is typed, a prompt is put, or the provider speaks of
its own accord. It waits in line; at its head it is *asked* for (the session admits one turn at a time), then it *runs*,
and it is committed when there is nothing more to come:

    held ──respond──> waiting ──at the head──> asked ──admitted──> running ──finished──> committed
                                                 └──refused──> dropped

Only where the channel does not respond by itself is a turn of the user held first; what the user says until then is
one turn, and stands in the provider's conversation already.

It is finished when no response of it is in progress, none is wanted, its calls have ended, and its speech was heard to
the end or cut. A call that outlives the cut of its turn (`kept`) is not waited for.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from attrs import define, field

from mob.errors import LiveClosed
from mob.history.items import Cause, Item, Timings, Turn, TurnStatus
from mob.live.context import Context
from mob.live.playback import Heard, Playback
from mob.live.reducer import TurnReducer
from mob.values import NO_USAGE, Modality, Usage

TurnState = Literal["waiting", "asked", "running"]
Want = Literal["answer", "follow_up"]


@define(slots=True, eq=False)
class LiveTurn:
    """One turn as it comes about. Times are seconds on the machine's clock.

    `want` is the answer that is still to be asked for, not before `not_before`. `cut` names why the turn was cut,
    `failure` why it failed. `placed` says in which epoch each given item stands in the provider's conversation.
    `revoicing`: the user's words were lost with a connection and are being said again to the next. `prompted`: the
    session put it, not the channel's client. `instructions` stand in the place of the session's. `input_refs` gives the
    item that each command for it was to place.
    """

    turn_id: str
    cause: Cause
    reducer: TurnReducer
    playback: Playback
    began: float
    began_wall: float
    output: Modality | None = None
    instructions: str | None = None
    state: TurnState = "waiting"
    deadline: float = float("inf")
    want: Want | None = None
    not_before: float = 0.0
    failures: int = 0
    silences: int = 0
    lost_answers: int = 0
    cut: str | None = None
    failure: str | None = None
    remark: str | None = None
    revoicing: bool = False
    prompted: bool = False
    ends: bool = False
    unanswered_results: bool = False
    response_ids: list[str] = field(factory=list)
    open_calls: set[str] = field(factory=set)
    placed: dict[str, int] = field(factory=dict)
    input_refs: dict[str, str] = field(factory=dict)
    settled_items: set[str] = field(factory=set)
    late_bytes: dict[str, int] = field(factory=dict)
    usage: Usage = NO_USAGE
    first_token: float | None = None
    first_audio: float | None = None
    first_played: float | None = None
    ended: float | None = None

    @property
    def by_human(self) -> bool:
        """Whether the human began it, rather than another member."""
        return self.cause.kind in ("speech", "text", "idle")

    @property
    def begun(self) -> bool:
        """Whether anything of an answer has come: words, sound or a call."""
        return any(self.reducer.said_something(response_id) for response_id in self.response_ids)

    @property
    def audible(self) -> bool:
        """Whether the human has been given anything to hear or read."""
        return self.reducer.has_message

    def heard(self, item_id: str) -> Heard:
        """How much of an item was heard, as of the last look at the clock."""
        return self.playback.heard(item_id)

    def items(self) -> tuple[Item, ...]:
        """The items as they would be committed now."""
        return self.reducer.items(self.heard)

    def wants(self, want: Want, not_before: float = 0.0) -> None:
        """An answer is to be asked for. Wants coalesce: one response will answer all of them."""
        self.want = want
        self.not_before = not_before

    def fail(self, error: str) -> None:
        """The turn will be committed as failed; the first reason counts."""
        self.failure = self.failure or error
        self.want = None

    def build(self) -> Turn:
        """The turn as it is committed."""
        return Turn(
            id=self.turn_id,
            cause=self.cause,
            items=self.items(),
            status=self.status,
            usage=self.usage,
            timings=self._timings(),
            error=self.failure or self.remark,
        )

    @property
    def status(self) -> TurnStatus:
        """As it would be committed now."""
        if self.failure is not None:
            return "failed"
        return "done" if self.cut is None else "interrupted"

    def _timings(self) -> Timings:
        def since(moment: float | None) -> int | None:
            return None if moment is None else max(0, round((moment - self.began) * 1000))

        return Timings(
            started_at=self.began_wall,
            first_token_ms=since(self.first_token),
            first_audio_ms=since(self.first_audio),
            first_played_ms=since(self.first_played),
            total_ms=since(self.ended),
        )


class TurnLine:
    """The turns of a channel that are not committed yet: the current one and those behind it.

    `held` is what the user has said and nobody was asked to answer: it stands beside the line until it is released.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.current: LiveTurn | None = None
        self.waiting: deque[LiveTurn] = deque()
        self.held: LiveTurn | None = None
        self.closing = False

    def new(
        self, cause: Cause, *, turn_id: str | None = None, output: Modality | None = None, held: bool = False
    ) -> LiveTurn:
        """A turn at the end of the line, or beside it. LiveClosed once the channel is closing."""
        if self.closing:
            raise LiveClosed("the channel is closing; nothing more can be said on it", reason="closing")
        context = self._context
        turn = LiveTurn(
            turn_id=turn_id or context.ids.new("turn"),
            cause=cause,
            reducer=TurnReducer(context.config.output_rate, context.voice),
            playback=Playback(context.config.output_rate, context.receipts, clock_at=context.now),
            began=context.now,
            began_wall=context.wall,
            output=output,
        )
        if held:
            self.held = turn
        else:
            self.waiting.append(turn)
        return turn

    def release(self, turn: LiveTurn) -> None:
        """Let a turn that is held into the line. It begins now. Nothing happens to any other turn."""
        if turn is self.held:
            self.held = None
            turn.began, turn.began_wall = self._context.now, self._context.wall
            self.waiting.append(turn)

    def all(self) -> tuple[LiveTurn, ...]:
        """Every turn, the current one first, the one that is held last."""
        first, last = (() if turn is None else (turn,) for turn in (self.current, self.held))
        return (*first, *self.waiting, *last)

    def find(self, turn_id: str) -> LiveTurn | None:
        """The turn of this id."""
        return next((turn for turn in self.all() if turn.turn_id == turn_id), None)

    def with_item(self, item_id: str) -> LiveTurn | None:
        """The turn to which this item was given, or whose audio it is."""
        return next((turn for turn in self.all() if turn.reducer.has(item_id)), None)

    def remove(self, turn: LiveTurn) -> None:
        """Take the turn out of the line."""
        if self.current is turn:
            self.current = None
        elif self.held is turn:
            self.held = None
        elif turn in self.waiting:
            self.waiting.remove(turn)
