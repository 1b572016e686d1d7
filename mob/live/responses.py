"""The one owner of `response.create`: at most one response is in progress on the wire (law 9).

Theory. The vendor holds one response at a time per conversation and refuses a second, so asking is a state machine.
What is wanted meanwhile waits with its turn (`LiveTurn.want`) until the state is idle again.

    state       event               next         done
    idle        ask                 requested    the request is paid for and written
    idle        started             active       a response that the provider began by itself is adopted, and paid for
    requested   started             active
    requested   ask_refused         idle         the caller repeats it; a response that the refusal names is adopted
    requested   cancel              cancelling   nothing to name yet: the cancel is remembered
    requested   overdue             cancelling   no answer within response_timeout_s: disowned, and cancelled
    active      cancel              cancelling   cancelled by id
    active      ended               idle
    active      overdue             cancelling   silent for response_timeout_s: disowned, and cancelled by id
    cancelling  started             cancelling   now there is an id: cancelled by id
    cancelling  ended               idle
    cancelling  cancel_refused      idle         there was nothing to cancel
    cancelling  overdue             idle         the provider never says that it ended: the connection is given up
    any         connection lost     idle

A cancel sent before the response exists does nothing at the vendor, and the response then appears; an end may come
without a beginning; a refused request proves that a response is active (OpenAI Realtime reference and reports).
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from attrs import evolve

from mob.live.context import CANCEL_GRACE_S, Context
from mob.live.effects import RequestResponse, Spent
from mob.live.turns import LiveTurn, Want
from mob.providers.commands import CancelResponse, CreateResponse
from mob.values import Usage

ResponseState = Literal["idle", "requested", "active", "cancelling"]
ResponseMove = Literal["ask", "started", "ended", "cancel", "ask_refused", "cancel_refused"]

MOVES: Final[dict[tuple[ResponseState, ResponseMove], ResponseState]] = {
    ("idle", "ask"): "requested",
    ("idle", "started"): "active",
    ("requested", "started"): "active",
    ("requested", "ended"): "idle",
    ("requested", "ask_refused"): "idle",
    ("requested", "cancel"): "cancelling",
    ("active", "cancel"): "cancelling",
    ("active", "ended"): "idle",
    ("cancelling", "started"): "cancelling",
    ("cancelling", "ask_refused"): "idle",
    ("cancelling", "ended"): "idle",
    ("cancelling", "cancel_refused"): "idle",
}

_REMEMBERED = 256


class Responses:
    """The response in progress, whose turn it is, and what came before it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.state: ResponseState = "idle"
        self.turn: LiveTurn | None = None
        self.response_id: str | None = None
        self.ref: str | None = None
        self.wanted: Want | None = None
        self.adopted = False
        self.disowned = False
        self.last_event = 0.0
        self._entered = 0.0
        self._paid = False
        self._past: deque[str] = deque(maxlen=_REMEMBERED)
        self._past_ids: set[str] = set()

    def _move(self, move: ResponseMove) -> None:
        self.state = MOVES[self.state, move]
        self._entered = self._context.now
        if self.state == "idle":
            self._leave()

    def _leave(self) -> None:
        if self.response_id is not None:
            self._remember(self.response_id)
        self.turn = self.response_id = self.ref = self.wanted = None
        self.adopted = self.disowned = False

    def _remember(self, response_id: str) -> None:
        if response_id in self._past_ids:
            return
        if len(self._past) == _REMEMBERED:
            self._past_ids.discard(self._past[0])
        self._past.append(response_id)
        self._past_ids.add(response_id)

    # -- questions -------------------------------------------------------------------------------------------------

    def is_past(self, response_id: str) -> bool:
        """Whether this response has ended (or was given up) here."""
        return response_id in self._past_ids

    def serves(self, turn: LiveTurn) -> bool:
        """Whether the response in progress is this turn's."""
        return self.turn is turn and self.state != "idle"

    def text_only(self, turn: LiveTurn) -> bool:
        """Whether this turn's answers are written, not spoken: such an answer survives speech."""
        return (turn.output or self._context.config.output) == "text" and not turn.playback.item_ids

    @property
    def overdue_at(self) -> float:
        """When the present state will have lasted too long."""
        match self.state:
            case "idle":
                return float("inf")
            case "cancelling":
                return self._entered + CANCEL_GRACE_S
            case "requested":
                return self._entered + self._context.limits.response_timeout_s
            case _:
                return max(self._entered, self.last_event) + self._context.limits.response_timeout_s

    # -- moves -----------------------------------------------------------------------------------------------------

    def ask(self, turn: LiveTurn) -> None:
        """Ask for what `turn` wants. Only in idle."""
        context = self._context
        self._move("ask")
        self.turn = turn
        self.wanted, turn.want = turn.want, None
        self.ref = context.new_ref("create")
        self._paid = True
        context.emit(RequestResponse(context.epoch, self.ref, self._request(turn, self.ref)))

    def _request(self, turn: LiveTurn, ref: str) -> CreateResponse:
        return CreateResponse(ref=ref, output=turn.output, instructions=turn.instructions)

    def refused_by_session(self) -> LiveTurn | None:
        """The session does not pay: nothing was written. Gives the turn that asked."""
        turn = self.turn
        self._paid = False
        if self.state == "requested":
            self._move("ask_refused")
            return turn
        if self.state == "active":
            self.cancel()
        return turn

    def started(self, response_id: str, turn: LiveTurn) -> None:
        """`response_id` is in progress and belongs to `turn` (the one that asked, unless it is adopted)."""
        context = self._context
        if self.state == "active" or (self.state == "cancelling" and self.response_id is not None):
            context.count("lost_ends")
            self.ended(None)
        if self.state == "idle":
            self.adopted = True
            self._paid = True
            context.count("adopted_responses")
        self._move("started")
        self.turn, self.response_id = turn, response_id
        self.last_event = context.now
        if response_id not in turn.response_ids:
            turn.response_ids.append(response_id)
        if self.adopted:
            context.emit(RequestResponse(context.epoch, response_id, None))
        if self.state == "cancelling":
            context.send(CancelResponse(response_id, context.new_ref("cancel")))

    def ended(self, usage: Usage | None) -> None:
        """The response in progress is over."""
        self._settle(usage)
        self._move("ended")

    def cancel(self, *, vendor_does: bool = False) -> None:
        """Stop the response in progress. `vendor_does`: the provider stops it by itself, there is nothing to send."""
        context = self._context
        if self.state not in ("requested", "active"):
            return
        named = self.state == "active"
        self._move("cancel")
        if named and not vendor_does and context.ready:
            context.send(CancelResponse(self.response_id, context.new_ref("cancel")))

    def ask_refused(self) -> None:
        """The provider refused the request, which no response has answered yet."""
        if self.state in ("requested", "cancelling") and self.response_id is None:
            self._settle(None)
            self._move("ask_refused")

    def cancel_refused(self) -> None:
        """There was no response to cancel: it ended before, or never began."""
        if self.state == "cancelling" and (self.response_id is not None or self.disowned):
            self._settle(None)
            self._move("cancel_refused")

    def disown(self) -> None:
        """Nothing more of the response in progress counts; its turn goes on without it, once it has ended.

        A request that was not answered is cancelled, too: without a name, since it has none yet.
        """
        self.disowned = True
        nameless = self.state == "requested"
        self.cancel()
        if nameless and self._context.ready:
            self._context.send(CancelResponse(None, self._context.new_ref("cancel")))

    def lose(self) -> None:
        """The connection is gone, and the response with it."""
        if self.state == "idle":
            return
        self._settle(None)
        self.state = "idle"
        self._leave()

    def _settle(self, usage: Usage | None) -> None:
        if self._paid:
            self._paid = False
            self._context.emit(Spent(None if usage is None else evolve(usage, requests=max(usage.requests, 1))))
