"""One thing said to a member by a door's client, and the member's words as they come.

Theory. All events of a member stand on one stream, whoever talks with it. What belongs to one turn is found by its
message: each statement gets an id of its own, which stands in the turn's cause, and so in `turn_started`.

    before ──turn_started of this message──> ours ──the next turn_started, or the answer──> after

Only what comes while it is `ours` is given on. A turn's text is that of its messages, a line break between them, just
as `Turn.agent_text` has it: parts as they are written, and where a member does not write in parts, whole messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio
from attrs import define, field, frozen

from mob.errors import MobError
from mob.history.items import Note
from mob.ids import Ids
from mob.sessions.events import AgentTranscribed, AgentWriting, AgentWrote, RunEvent, TurnBegan
from mob.sessions.mailbox import Answer
from mob.team.bus import Subscription
from mob.team.handles import MemberHandle
from mob.team.running import Mob
from mob.values import Image


@frozen(slots=True)
class Statement:
    """What is said: a text, pictures, and notes that go before it (`context`, plain texts)."""

    text: str
    images: tuple[Image, ...] = ()
    context: tuple[str, ...] = ()


CONTEXT = "context"
"""The kind of the notes in which a client tells a member what stands behind its question."""


async def ask_aloud(
    mob: Mob,
    member: MemberHandle,
    said: Statement,
    *,
    message_id: str,
    ids: Ids,
    on_text: Callable[[str], None],
) -> Answer:
    """Ask the member and give its words to `on_text` as they come, in order; all of them before this returns.

    `on_text` is called from the loop and must not wait. Raises what `MemberHandle.ask` raises; when this is cancelled,
    the statement is taken back or its turn interrupted.
    """
    flow = _Flow(member.identity, message_id, on_text)
    events = mob.events(after=mob.statistics().events.published)
    notes: Sequence[Note] = [Note(ids.new("item"), text, CONTEXT) for text in said.context]
    outcome: Answer | MobError
    async with events, trio.open_nursery() as nursery:
        nursery.start_soon(_follow, events, flow)
        try:
            outcome = await member.ask(said.text, images=said.images, context=notes, message_id=message_id)
        except MobError as error:  # kept aside, so that it does not come out of the nursery as a group
            outcome = error
        nursery.cancel_scope.cancel()
    await _catch_up(events, flow, mob.statistics().events.published)
    if isinstance(outcome, MobError):
        raise outcome
    flow.end(outcome.text)
    return outcome


async def _follow(events: Subscription, flow: _Flow) -> None:
    async for event in events:
        flow.take(event)


async def _catch_up(events: Subscription, flow: _Flow, last: int) -> None:
    """What was told up to event `last` and was not read yet; it is all there, so nothing is waited for."""
    while events.last_seq < last:
        flow.take(await anext(events))


@define(slots=True)
class _Flow:
    """Finds a turn's words among a run's events."""

    member: str
    message_id: str
    on_text: Callable[[str], None]
    ours: bool = field(default=False, init=False)
    _whole: str = field(default="", init=False)
    _part: str = field(default="", init=False)

    def take(self, event: RunEvent) -> None:
        """One event of the run."""
        if event.member != self.member:
            return
        match event:
            case TurnBegan(message_id=message_id):
                self.ours = message_id == self.message_id
            case AgentWriting(delta=delta) if self.ours:
                self._more(delta)
            case AgentWrote(text=text) | AgentTranscribed(text=text) if self.ours:
                self._more(text[len(self._part) :] if text.startswith(self._part) else "")
                self._part = ""

    def end(self, text: str) -> None:
        """The turn's text as it is committed: what was missed of it is given on now."""
        if text.startswith(self._whole):
            self._give(text[len(self._whole) :])

    def _more(self, delta: str) -> None:
        if delta and self._whole and not self._part:
            self._give("\n")
        self._part += delta
        self._give(delta)

    def _give(self, text: str) -> None:
        if text:
            self._whole += text
            self.on_text(text)
