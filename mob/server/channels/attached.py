"""The one client that a live channel has at a time: who it is, and how long a lost one is waited for.

    free ──attach──> taken ──leaves for good──> free, and the channel ends
                     taken ──lost, may return──> awaited ──attach──> taken
                                                 awaited ──its time is up──> free, and the channel ends

A channel to which no client has ever been attached waits for nobody. Whoever shows the right to resume takes the place
of a client that was not yet known to be lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import define

from mob.errors import AlreadyOpen


class Client(Protocol):
    """Whoever is attached."""

    def leave(self, reason: str) -> None:
        """Another has taken the place. Does not wait and does not raise."""
        ...


class AlreadyAttached(AlreadyOpen):
    """The channel has a client."""

    code = "already_attached"


class Place:
    """Who is attached to one channel. `resume_s`: how long a client that may return is waited for."""

    def __init__(self, resume_s: float) -> None:
        self._resume_s = resume_s
        self._deadline = float("inf")
        self._changed = trio.Event()
        self._why = ""
        self.client: Client | None = None

    def check_free(self) -> None:
        """AlreadyAttached."""
        if self.client is not None:
            raise AlreadyAttached("a client is attached to this channel; there is one at a time")

    def take(self, client: Client) -> None:
        """Attach; who was attached leaves."""
        before, self.client = self.client, client
        if before is not None:
            before.leave("replaced")
        self._wait_until(float("inf"))

    def give_up(self, client: Client, why: str, *, may_return: bool) -> float | None:
        """This client is gone. Gives until when it is waited for; None when its place was taken by another."""
        if self.client is not client:
            return None
        self.client, self._why = None, why
        self._wait_until(trio.current_time() + (self._resume_s if may_return else 0.0))
        return self._deadline

    async def watch(self, lost: Callable[[str], Awaitable[None]]) -> None:
        """Call `lost` with the reason when the client is gone for good, and return."""
        while trio.current_time() < self._deadline:
            self._changed = trio.Event()
            with trio.move_on_at(self._deadline):
                await self._changed.wait()
        await lost(self._why)

    def _wait_until(self, deadline: float) -> None:
        self._deadline = deadline
        self._changed.set()


@define(slots=True)
class SocketCounts:
    """Live sockets now open, ever attached, ever refused; what slow clients did not get; commands refused."""

    open: int = 0
    attached: int = 0
    refused: int = 0
    lost_audio_bytes: int = 0
    lost_events: int = 0
    commands_refused: int = 0
