"""Messages between members: admitted, delivered at most once, and ended in the log (laws 19 and 20).

The life of a message:

    refused     no such member, not running, no route, too many hops, a circle of waiting, a full mailbox: the sender
                is told why, and nothing is written
    admitted    its MessageAdmitted row is durable. Whether the route exists is looked up in the same step in which the
                row is given to the log, and Wired rows change the routes when they are given: so the row stands in the
                log at a place where the route exists
    delivered   put to the recipient's session, once
    ended       its MessageEnded row: done, failed, timed_out, or cancelled. The answer of an ask goes to the call that
                asked, and nowhere else

An ask has a deadline, and what is asked on its behalf must end earlier: each further ask gets a share of what is left,
so that whoever asked still has time to use the answer or to do without it. A tell is answered to nobody: its sender
goes on at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import trio
from attrs import frozen

from mob.definition.model import Limits
from mob.errors import HopLimitReached, MobError, TurnTimedOut
from mob.history.items import Cause
from mob.history.rows import MessageAdmitted, MessageEnded, Wired
from mob.ids import Ids
from mob.sessions.events import ErrorOccurred, MessageSent, RunEvent
from mob.store.port import RunLog
from mob.team.routing import RouteTable
from mob.team.waits import WaitGraph
from mob.values import ToolStatus, Via

SHARE = 0.9
"""How much of the time that is left an ask made on behalf of another ask gets."""

_CLOSING_SHARE = 0.1
"""Of the time to stop in: for so long the end of a message that is cancelled may take to be written."""


class Recipient(Protocol):
    """A member, as messages see it."""

    def check_room(self) -> None:
        """MailboxFull when it could not take a message now."""
        ...

    async def answer(self, text: str, *, cause: Cause, timeout_s: float) -> str:
        """Run one turn on this text and return what was said. Raises a MobError when there is no answer."""
        ...


@frozen(slots=True)
class PostStatistics:
    """Counts: messages admitted, refused, and under way now; `waiting`: asks among these."""

    admitted: int
    refused: int
    under_way: int
    waiting: int


class Post:
    """Carries messages. `reach(identity)` gives the running member or raises MemberUnknown or MemberNotRunning.

    `nursery` is where tells are delivered, so that their senders need not wait.
    """

    def __init__(
        self,
        log: RunLog,
        routes: RouteTable,
        *,
        limits: Limits,
        ids: Ids,
        reach: Callable[[str], Recipient],
        publish: Callable[[RunEvent], object],
        nursery: trio.Nursery,
    ) -> None:
        self._log = log
        self._routes = routes
        self._limits = limits
        self._ids = ids
        self._reach = reach
        self._publish = publish
        self._nursery = nursery
        self._waits = WaitGraph()
        self._deadlines: dict[str, float] = {}
        self._admitted = self._refused = 0

    @property
    def waits(self) -> Mapping[str, tuple[str, str]]:
        """Each ask that waits for its answer: message id to (who waits, for whom)."""
        return self._waits.edges

    @property
    def under_way(self) -> int:
        """Messages that were admitted and have not ended."""
        return len(self._deadlines)

    async def ask(self, sender: str, to: str, question: str, *, cause: Cause) -> str:
        """Ask another member and wait; `cause` is why the sender's own turn began.

        RouteRefused, AskCycle, MemberUnknown, MemberNotRunning, HopLimitReached, MailboxFull: nothing was sent.
        TurnTimedOut, MemberFailed and other MobErrors: there was no answer.
        """
        message_id = self._ids.new("msg")
        deadline = self._deadline(cause)
        try:
            recipient, own_cause = self._check(message_id, sender, to, "ask", cause)
            self._waits.begin(message_id, sender, to)
        except MobError:
            self._refused += 1
            raise
        try:
            await self._admit(message_id, sender, to, "ask", question, own_cause.hops, deadline)
            return await self._carry(recipient, message_id, to, question, own_cause)
        finally:
            self._waits.end(message_id)

    async def tell(self, sender: str, to: str, message: str, *, cause: Cause) -> None:
        """Tell another member something; returns when the message is admitted. Refusals as for `ask`."""
        message_id = self._ids.new("msg")
        deadline = trio.current_time() + self._limits.turn_timeout_s
        try:
            recipient, own_cause = self._check(message_id, sender, to, "tell", cause)
        except MobError:
            self._refused += 1
            raise
        await self._admit(message_id, sender, to, "tell", message, own_cause.hops, deadline)
        self._nursery.start_soon(self._deliver, recipient, message_id, to, message, own_cause)

    def check_route(self, sender: str, to: str, via: Via) -> Recipient:
        """The member that the route leads to. MemberUnknown, MemberNotRunning, RouteRefused.

        A message against advisory topology is let through, and told of.
        """
        recipient = self._reach(to)
        advice = self._routes.check(sender, to, via)
        if advice is not None:
            self._publish(
                ErrorOccurred(member=sender, error_class="topology_advice", message=advice, recovery="benign")
            )
        return recipient

    async def rewire(self, row: Wired) -> None:
        """Add ways to a route, or take them away; in force for every message that is not admitted yet. StoreError."""
        before = self._routes.ways(row.origin, row.to)
        self._routes.apply(row)
        try:
            await self._log.append(row)
        except BaseException:
            self._routes.restore(row.origin, row.to, before)
            raise

    def statistics(self) -> PostStatistics:
        """Counts, as of now."""
        return PostStatistics(self._admitted, self._refused, self.under_way, len(self.waits))

    def _deadline(self, cause: Cause) -> float:
        now = trio.current_time()
        own = now + self._limits.tool_timeout_s
        outer = self._deadlines.get(cause.message_id or "")
        return own if outer is None else min(own, now + (outer - now) * SHARE)

    def _check(self, message_id: str, sender: str, to: str, via: Via, cause: Cause) -> tuple[Recipient, Cause]:
        recipient = self.check_route(sender, to, via)
        hops = cause.hops + 1
        if hops > self._limits.max_hops:
            raise HopLimitReached(
                f"this request has travelled {cause.hops} members, the limit is {self._limits.max_hops}; "
                f"{sender} must answer with what it knows"
            )
        recipient.check_room()
        return recipient, Cause(via, origin=sender, message_id=message_id, hops=hops)

    async def _admit(
        self, message_id: str, sender: str, to: str, via: Via, text: str, hops: int, deadline: float
    ) -> None:
        """The sender passed `_check` in this same step: from there to the call of `append` nothing may wait."""
        self._deadlines[message_id] = deadline
        try:
            await self._log.append(MessageAdmitted(to, message_id, sender, via, text, hops))
        except BaseException:
            del self._deadlines[message_id]
            raise
        self._admitted += 1
        self._publish(MessageSent(member=sender, origin=sender, to=to, via=via, text=text))

    async def _deliver(self, recipient: Recipient, message_id: str, to: str, message: str, cause: Cause) -> None:
        try:
            await self._carry(recipient, message_id, to, message, cause)
        except MobError as error:
            words = f"what {cause.origin} told it came to nothing: {error.message}"
            self._publish(ErrorOccurred(member=to, error_class=error.code, message=words, recovery="benign"))

    async def _carry(self, recipient: Recipient, message_id: str, to: str, text: str, cause: Cause) -> str:
        """Put an admitted message to its recipient and write how it ended."""
        status: ToolStatus = "cancelled"
        answer = ""
        timeout_s = max(self._deadlines[message_id] - trio.current_time(), 0.0)
        try:
            with trio.move_on_after(timeout_s) as patience:
                answer = await recipient.answer(text, cause=cause, timeout_s=timeout_s)
                status = "done"
            if patience.cancelled_caught:
                raise TurnTimedOut(f"{to} did not answer within {timeout_s:.3g} s; go on without the answer")
        except TurnTimedOut:
            status = "timed_out"
            raise
        except Exception:
            status = "failed"
            raise
        finally:
            del self._deadlines[message_id]
            closing_s = self._limits.shutdown_timeout_s * _CLOSING_SHARE
            with trio.CancelScope(shield=True, deadline=trio.current_time() + closing_s):
                kept = answer if cause.kind == "ask" else ""
                await self._log.append(MessageEnded(to, message_id, status, kept))
        return answer
