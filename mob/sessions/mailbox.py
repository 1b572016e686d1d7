"""What waits for a member: a bounded line of letters, each with exactly one ending.

Theory. The states of a letter, and what moves it:

    queued ──taken──> served ──close──> ended (an Answer, or the error that kept it from one)
    queued ──withdrawn by its sender──> gone, it will never run
    served ──given up by its sender──> the turn that serves it is interrupted; it ends as that turn does

A full mailbox refuses at the door; what was taken in is never dropped by anybody but its sender, or the member's end.
"""

from __future__ import annotations

from collections import deque

import trio
from attrs import define, field, frozen

from mob.errors import MailboxFull, MemberNotRunning, MobError
from mob.history.items import Cause, Item, Turn


@frozen(slots=True)
class Answer:
    """What a member said to what it was asked, and the turn in which it did."""

    text: str
    turn: Turn


@define(eq=False, slots=True)
class Letter:
    """Something said to a member, on its way. `items` become the turn's first items; `scope` holds its turn."""

    items: tuple[Item, ...]
    cause: Cause
    _ended: trio.Event = field(factory=trio.Event, init=False)
    _answer: Answer | None = field(default=None, init=False)
    _error: MobError | None = field(default=None, init=False)
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    interrupted: bool = field(default=False, init=False)

    @property
    def ended(self) -> bool:
        """Whether it has its ending."""
        return self._ended.is_set()

    def interrupt(self) -> None:
        """Cut the turn that serves it, now or as soon as there is one."""
        self.interrupted = True
        self.scope.cancel()

    def close(self, outcome: Answer | MobError) -> None:
        """Give it its ending; only the first counts."""
        if self.ended:
            return
        if isinstance(outcome, Answer):
            self._answer = outcome
        else:
            self._error = outcome
        self._ended.set()

    async def wait(self) -> Answer:
        """The answer, or the error that took its place."""
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer


@frozen(slots=True)
class MailboxStatistics:
    """Counts: letters waiting, taken in, refused and withdrawn."""

    waiting: int
    taken: int
    refused: int
    withdrawn: int


class Mailbox:
    """The letters of one member. `capacity` is `limits.max_mailbox`."""

    def __init__(self, member: str, capacity: int) -> None:
        self._member = member
        self._capacity = capacity
        self._letters: deque[Letter] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._closed = False
        self._taken = 0
        self._refused = 0
        self._withdrawn = 0

    def check_room(self) -> None:
        """MailboxFull when it could not take a letter now; MemberNotRunning once it is closed."""
        if self._closed:
            raise MemberNotRunning(f"{self._member} is stopping and takes no more messages")
        if len(self._letters) >= self._capacity:
            raise MailboxFull(
                f"{self._member} has {self._capacity} messages waiting, which is all its mailbox holds; "
                "wait for an answer first, or raise max_mailbox in [limits]"
            )

    def put(self, letter: Letter) -> None:
        """Take a letter in. MailboxFull, MemberNotRunning."""
        try:
            self.check_room()
        except MailboxFull:
            self._refused += 1
            raise
        self._taken += 1
        self._letters.append(letter)
        self._news.unpark_all()

    async def next(self) -> Letter | None:
        """The oldest letter; None when the mailbox is closed and empty."""
        while not self._letters:
            if self._closed:
                return None
            await self._news.park()
        return self._letters.popleft()

    def withdraw(self, letter: Letter) -> bool:
        """Take a letter back that still waits. False when it does not wait any more."""
        if letter not in self._letters:
            return False
        self._letters.remove(letter)
        self._withdrawn += 1
        return True

    def close(self) -> None:
        """Take no more; what waits is still handed out."""
        self._closed = True
        self._news.unpark_all()

    def refuse_all(self, error: MobError) -> None:
        """Close, and end everything that waits with this error."""
        self.close()
        while self._letters:
            self._letters.popleft().close(error)

    def statistics(self) -> MailboxStatistics:
        """Counts, as of now."""
        return MailboxStatistics(len(self._letters), self._taken, self._refused, self._withdrawn)
