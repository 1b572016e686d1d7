"""A member of a mob that runs in another process, as the outside holds it: what a MemberHandle is here."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mob.definition.model import ModelCapabilities
from mob.errors import MobError, StaleGeneration
from mob.history.codec import as_json
from mob.history.items import Turn
from mob.protocol.shapes import turn_of
from mob.remote.connection import Connection
from mob.remote.replica import MemberFacts
from mob.sessions.mailbox import Answer
from mob.sessions.tools import ToolFunction
from mob.values import Image, Usage

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mob.live.ports import ChannelOptions
    from mob.remote.live import RemoteLive

_log = logging.getLogger("mob.remote")

JSON = dict[str, Any]


class RemoteMember:
    """One generation of a member. Get one with `mob.member(identity)`; every use of a stale one is StaleGeneration.

    What it knows without asking (state, usage, history, …) is what the server told last: no older than the last answer.
    All methods that ask raise ServerGone when the server has gone, besides what a MemberHandle raises.
    """

    def __init__(
        self,
        identity: str,
        generation: int,
        *,
        connection: Connection,
        open_live: Callable[[RemoteMember, ChannelOptions | None], AbstractAsyncContextManager[RemoteLive]],
    ) -> None:
        self.identity = identity
        self.generation = generation
        self._connection = connection
        self._open_live = open_live

    # What it is.

    @property
    def state(self) -> str:
        """What it does, in the words of MemberHandle.state."""
        return self._facts().state

    @property
    def session_id(self) -> str:
        """The id of its session: the same for all its generations."""
        return self._facts().session_id

    @property
    def profile_name(self) -> str:
        """The profile that it is made from."""
        return self._facts().profile

    @property
    def model(self) -> ModelCapabilities:
        """What its model can do."""
        return self._facts().model

    @property
    def usage(self) -> Usage:
        """What the member used, over all its generations."""
        return self._facts().usage

    def history(self) -> tuple[Turn, ...]:
        """The committed turns, oldest first, as far as the server has told of them."""
        self._facts()
        return self._connection.replica.history(self.identity)

    # Talking with it.

    async def ask(self, text: str, *, timeout: float | None = None, images: Sequence[Image] = ()) -> Answer:
        """Say something to the member and wait for its answer. See MemberHandle.ask."""
        params = {**self._named(), **said(text, images, timeout)}
        return answer_of(await self._connection.call("team/ask", params, named=True))

    def tell(self, text: str, *, images: Sequence[Image] = ()) -> None:
        """Say something to the member and go on; its answer is in its history.

        Refused at once for what is known here. What the server refuses is logged and counted in `statistics()`.
        """
        params = {"mob": self._connection.replica.mob_id, **self._named(), **said(text, images)}
        self._connection.peer.tell("team/tell", params, refused_words)

    async def interrupt(self) -> bool:
        """Cut what it says now. False when it says nothing."""
        answer = await self._connection.call("team/interrupt", self._named())
        return answer.get("interrupted") is True

    async def inject(self, text: str, *, kind: str = "context") -> Turn:
        """Let the member know something, without an answer. See MemberHandle.inject."""
        params = {**self._named(), "text": text, "kind": kind}
        return turn_of((await self._connection.call("team/inject", params, named=True)).get("turn"))

    def open_live(self, options: ChannelOptions | None = None) -> AbstractAsyncContextManager[RemoteLive]:
        """The member's live channel, ready, until the block is left. See MemberHandle.open_live for what it raises.

        `options.limits` are the server's own: those that are given here are not sent.
        """
        self._connection.check_open()
        return self._open_live(self, options)

    @asynccontextmanager
    async def lend_tools(self, tools: Iterable[ToolFunction]) -> AsyncIterator[None]:
        """Offer the member these tools, which run here, until the block is left. See MemberHandle.lend_tools."""
        whose = {"mob": self._connection.replica.mob_id, **self._named()}
        async with self._connection.tools.lend(whose, tools):
            yield

    # What its parts ask of it.

    def _named(self) -> JSON:
        self._connection.check_open()
        self._facts()
        return {"member": self.identity, "generation": self.generation}

    def _facts(self) -> MemberFacts:
        facts = self._connection.replica.members[self.identity]
        if facts.generation != self.generation:
            raise StaleGeneration(
                f"this handle is of generation {self.generation} of {self.identity}, which is over; generation "
                f"{facts.generation} runs now: take a new handle with member({self.identity!r})",
                generation=self.generation,
                current=facts.generation,
            )
        return facts


def said(text: str, images: Sequence[Image] = (), timeout: float | None = None) -> JSON:
    """What is said to a member, as parameters."""
    params: JSON = {"text": text}
    if images:
        params["images"] = [as_json(image) for image in images]
    if timeout is not None:
        params["timeout"] = timeout
    return params


def answer_of(body: JSON) -> Answer:
    """An answer, from what `team/ask` gives. WireError."""
    turn = turn_of(body.get("turn"))
    return Answer(str(body.get("text", turn.agent_text)), turn)


def refused_words(error: MobError) -> None:
    """Nobody waits to hear that what was told is refused: it stands in the log."""
    _log.warning("the server did not take what it was told: %s", error.message)
