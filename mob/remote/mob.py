"""A mob that runs in another process, as its user holds it: what a Mob is here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mob.definition.model import Route
from mob.errors import MemberUnknown
from mob.remote.connection import Connection
from mob.remote.events import MirrorStatistics, RemoteSubscription
from mob.remote.member import RemoteMember, answer_of, refused_words, said
from mob.remote.peer import PeerStatistics
from mob.remote.replica import MobState
from mob.sessions.mailbox import Answer
from mob.values import Image, Usage, Via

if TYPE_CHECKING:
    from mob.live.ports import ChannelOptions
    from mob.remote.live import RemoteLive
    from mob.remote.live_dial import LiveDialler

JSON = dict[str, Any]


@frozen(slots=True)
class RemoteStatistics:
    """What this side counts; `connected` is whether the server is there. For the mob's own: `mob_statistics()`."""

    state: MobState
    connected: bool
    members: dict[str, str]
    calls: PeerStatistics
    events: MirrorStatistics


class RemoteMob:
    """A running team at a server. Made by `mob.connect`; any task inside its block may call any public method.

    It has what a Mob has, under the same names, so that a program moves from one to the other by one line. What is
    looked at without `await` is what the server told last, and no older than the last answer: what a call did is seen
    when it returns. Every method that asks raises ServerGone when the server has gone.
    """

    def __init__(self, connection: Connection, live: LiveDialler) -> None:
        self._connection = connection
        self._replica = connection.replica
        self._live = live

    # What it is.

    @property
    def mob_id(self) -> str:
        """The mob's id at its server."""
        return self._replica.mob_id

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._replica.run_id

    @property
    def description(self) -> str:
        """What the team file says of the mob."""
        return self._replica.description

    @property
    def state(self) -> MobState:
        """running, draining, cancelling or stopped."""
        return self._replica.state

    @property
    def floor(self) -> str | None:
        """Whom the human talks with."""
        return self._replica.floor

    @property
    def members(self) -> Mapping[str, RemoteMember]:
        """Each member's generation of now, retired and failed ones included."""
        return {identity: self.member(identity) for identity in self._replica.members}

    @property
    def routes(self) -> tuple[Route, ...]:
        """Who may reach whom, and how."""
        return self._replica.routes

    @property
    def usage(self) -> Usage:
        """What all members used, over all generations."""
        return self._replica.usage

    def member(self, identity: str, generation: int | None = None) -> RemoteMember:
        """The member's generation of now, or this one, which may be over. MemberUnknown."""
        facts = self._replica.members.get(identity)
        if facts is None:
            known = ", ".join(self._replica.members)
            raise MemberUnknown(f"there is no member {identity!r} in this mob; there is {known}")
        return RemoteMember(
            identity,
            facts.generation if generation is None else generation,
            connection=self._connection,
            open_live=self._open_live,
        )

    def events(self, *, after: int = 0) -> RemoteSubscription:
        """The run's events behind number `after`, from the first that is kept; ends when the mob has stopped."""
        return RemoteSubscription(self._replica.events, after)

    def statistics(self) -> RemoteStatistics:
        """Counts of this side, as of now."""
        return RemoteStatistics(
            state=self.state,
            connected=self._connection.peer.gone is None,
            members={identity: facts.state for identity, facts in self._replica.members.items()},
            calls=self._connection.peer.statistics(),
            events=self._replica.events.statistics(),
        )

    async def mob_statistics(self) -> JSON:
        """The counts of the mob itself (`MobStatistics`, as JSON)."""
        return await self._connection.call("team/statistics")

    # Talking with it.

    async def ask(self, text: str, *, timeout: float | None = None, images: Sequence[Image] = ()) -> Answer:
        """Say something to whoever has the floor and wait for the answer. See Mob.ask."""
        self._connection.check_open()
        return answer_of(await self._connection.call("team/ask", said(text, images, timeout), named=True))

    def tell(self, text: str, *, images: Sequence[Image] = ()) -> None:
        """Say something to whoever has the floor and go on. See RemoteMember.tell."""
        self._connection.check_open()
        self._connection.peer.tell("team/tell", {"mob": self.mob_id, **said(text, images)}, refused_words)

    async def hand_off(self, to: str) -> None:
        """The human talks with `to` from now on. See Mob.hand_off."""
        await self._change("team/hand_off", {"to": to})

    @asynccontextmanager
    async def open_channels(self) -> AsyncIterator[Mapping[str, RemoteLive]]:
        """A live channel of each realtime member that runs, by identity, until the block is left. See open_live."""
        idle = ("starting", "restarting", "failed", "retired", "stopped")
        async with AsyncExitStack() as stack:
            yield {
                identity: await stack.enter_async_context(member.open_live())
                for identity, member in self.members.items()
                if member.model.realtime and member.state not in idle
            }

    def _open_live(
        self, member: RemoteMember, options: ChannelOptions | None
    ) -> AbstractAsyncContextManager[RemoteLive]:
        return self._live.open(member, options)

    # Changing it.

    async def spawn(self, identity: str, *, profile: str, overrides: Mapping[str, Any] | None = None) -> RemoteMember:
        """Bring in a member of this profile. See Mob.spawn."""
        params: JSON = {"member": identity, "profile": profile}
        if overrides:
            params["overrides"] = dict(overrides)
        await self._change("team/spawn", params)
        return self.member(identity)

    async def retire(self, identity: str) -> None:
        """Let a member finish what it does, and go; its history stays. See Mob.retire."""
        await self._change("team/retire", {"member": identity})

    async def respawn(self, identity: str) -> RemoteMember:
        """Begin a member's next generation, with its history. See Mob.respawn."""
        await self._change("team/respawn", {"member": identity})
        return self.member(identity)

    async def wire(self, origin: str, to: str, *via: Via) -> None:
        """Let `origin` reach `to` in these ways (ask, when none is named). See Mob.wire."""
        await self._change("team/wire", {"from": origin, "to": to, "via": list(via)})

    async def unwire(self, origin: str, to: str, *via: Via) -> None:
        """Take these ways from `origin` to `to` away, or all of them. See Mob.unwire."""
        await self._change("team/unwire", {"from": origin, "to": to, "via": list(via)})

    # Its life.

    async def wait_quiet(self) -> None:
        """Return when nobody has anything left to do. See Mob.wait_quiet."""
        await self._connection.call("team/wait_quiet", named=True)

    async def stop(self, reason: str = "done", *, drain: bool = True) -> None:
        """Stop the mob for everybody. Leaving the block of `mob.connect` does not: it only lets go of the mob."""
        if self.state != "stopped":
            await self._connection.call("team/stop", {"reason": reason, "drain": drain})

    # What its parts ask of it.

    async def _change(self, method: str, params: JSON) -> None:
        self._connection.check_open()
        await self._connection.call(method, params)
