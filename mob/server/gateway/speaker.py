"""What a connection asks of the member behind it, however that member is reached."""

from __future__ import annotations

from typing import Protocol

import trio
from attrs import frozen

from mob.definition.model import ModelCapabilities
from mob.errors import MobError
from mob.history.items import Cause
from mob.providers.commands import SessionConfig
from mob.providers.openai_realtime import ConversationItem, InputCommitted, ResponseParams
from mob.server.lending import Call
from mob.sessions.events import RunEvent
from mob.team.handles import MemberHandle


class SpeakerGone(MobError):
    """The member cannot be talked with any more. `word` is the error's code for the client: what ended it, if known."""

    code = "member_gone"

    def __init__(self, message: str, *, word: str) -> None:
        super().__init__(message)
        self.word = word


@frozen(slots=True)
class Ability:
    """What a member can do. `live`: it has a realtime model; `speaks`: it can answer in sound."""

    identity: str
    model: ModelCapabilities
    live: bool
    speaks: bool


class Speaker(Protocol):
    """A member as the other end of one client's conversation. `run` is its life; everything else is called within it.

    The protocol engine has acknowledged what is passed on here, and has written what the vendor would have written.
    What a speaker refuses all the same it raises as a MobError, and the client is told.
    """

    @property
    def ability(self) -> Ability:
        """Who it is, and what it can do."""
        ...

    @property
    def member(self) -> MemberHandle:
        """The member's handle of now. MemberError."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Answer until cancelled; started when it can. SpeakerGone: the member is no more."""
        ...

    async def configure(self, config: SessionConfig) -> None:
        """The client has changed its session (its tools are lent by others)."""
        ...

    async def hear(self, pcm: bytes) -> None:
        """The client's sound: PCM16 at 24 kHz, in any pieces."""
        ...

    async def commit(self, committed: InputCommitted) -> None:
        """The client says that what it sent is a turn."""
        ...

    async def clear(self) -> None:
        """The client takes back what it sent since the last turn."""
        ...

    async def take(self, item: ConversationItem) -> None:
        """The client puts an item into the conversation; nothing is answered yet."""
        ...

    async def respond(self, params: ResponseParams) -> None:
        """The client asks for an answer."""
        ...

    async def cancel(self) -> None:
        """The client does not want the rest of the answer; the response has ended for it."""
        ...

    async def truncate(self, item_id: str, ms: int) -> None:
        """The client has played so much of this item, and plays no more of it."""
        ...

    def called(self, call: Call, cause: Cause) -> bool:
        """The member calls a function of the client's, in a turn that began for this cause. False: not the client's."""
        ...

    # The floor moves.

    def overhear(self, event: RunEvent) -> None:
        """Something happened to the member, as the run has it; of the current speaker alone."""
        ...

    async def fall_silent(self) -> bytes:
        """Somebody else talks with the client from now on. Gives the words that were begun to this one, as sound."""
        ...

    async def take_over(self, begun: bytes) -> None:
        """This one talks with the client from now on, who is in the middle of saying `begun` (PCM16 at 24 kHz)."""
        ...
