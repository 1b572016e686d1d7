"""The channel's connections, one after the other: dialling, seeding, losing, replacing, closing.

Theory. A connection is a *link* with an epoch of its own. The channel is in one of six states; at most two links exist,
the second only as the standby that is to replace the first before the provider ends it.

    state       event         next        what happens
    connecting  greeted       seeding     the provider said that a session is open: configure it, then seed it
    connecting  lost          connecting  once more after a wait, then closing
    seeding     confirmed     ready       the configuration is in force and the items are there (or the time is up)
    seeding     lost          reopening
    ready       lost          reopening   answers are settled as heard; dialled again, at growing intervals, so often
    ready       replaced      seeding     the standby takes over: at a quiet moment, or when the time is up
    reopening   greeted       seeding
    reopening   lost          reopening
    any         ended         closing     by the client, by ttl_s, or by a fault that nothing can be done about
    closing     settled       closed      the last turn is in the log (or the time is up)

A seed is the log's, so it waits until every turn that was answered is in the log. A configuration that the provider
refuses is sent once more without the vendor's extra parameters. Every state but `ready` has a deadline; `ready` has
that of the provider's session.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import define, evolve

from mob.errors import ProviderError, ProviderUnreachable
from mob.history.items import Item
from mob.live.context import Context, backoff_s
from mob.live.effects import Dial, Finish, HangUp, NeedSeed
from mob.live.events import Connected, Disconnected
from mob.live.ports import Seed
from mob.live.seeding import Seeding, item_commands
from mob.providers.commands import Configure, SessionConfig
from mob.providers.events import ItemAdded, ProviderFault, SessionConfigured, SessionExpiring, SessionOpened, WireEvent
from mob.values import Continuity

ChannelState = Literal["connecting", "seeding", "ready", "reopening", "closing", "closed"]
LinkMove = Literal["greeted", "confirmed", "lost", "replaced", "ended", "settled"]

MOVES: Final[dict[tuple[ChannelState, LinkMove], ChannelState]] = {
    ("connecting", "greeted"): "seeding",
    ("connecting", "lost"): "connecting",
    ("reopening", "greeted"): "seeding",
    ("reopening", "lost"): "reopening",
    ("seeding", "confirmed"): "ready",
    ("seeding", "lost"): "reopening",
    ("ready", "lost"): "reopening",
    ("ready", "replaced"): "seeding",
    ("connecting", "ended"): "closing",
    ("seeding", "ended"): "closing",
    ("ready", "ended"): "closing",
    ("reopening", "ended"): "closing",
    ("closing", "settled"): "closed",
}

_STABLE_S = 10.0
_LEAST_LIFE_S = 1.0
_LAST_MOMENT_S = 2.0
"""How long before the provider's end a standby takes over even if the moment is not quiet."""


@define(slots=True, eq=False)
class Link:
    """One connection. `config` is what it was told to be, `configured` whether it is. `seeded`: its seed's items."""

    epoch: int
    deadline: float
    greeted: bool = False
    expires_at: float | None = None
    config: SessionConfig | None = None
    configured: bool = False
    plain: bool = False
    seed_asked: bool = False
    seeded: frozenset[str] = frozenset()
    seeding: Seeding | None = None

    @property
    def standing_by(self) -> bool:
        """Whether it could take over now."""
        return self.greeted and self.configured


class Links:
    """The state of the channel and its links. What is said on them is the conversation's affair."""

    def __init__(self, context: Context, *, ttl_s: float | None) -> None:
        self._context = context
        self._ttl_s = ttl_s
        self.state: ChannelState = "connecting"
        self.link: Link | None = None
        self.standby: Link | None = None
        self._base: SessionConfig | None = None
        self.continuity: Continuity = "fresh"
        self.close_reason: str | None = None
        self.failure: ProviderError | None = None
        self.tries = 0
        self.entered = 0.0
        self._epochs = 0
        self._dial_at = float("inf")
        self._ends_at = float("inf")
        self._standby_at = float("inf")

    def _move(self, move: LinkMove) -> None:
        self.state = MOVES[self.state, move]
        self.entered = self._context.now

    @property
    def open(self) -> bool:
        """Whether the channel has neither ended nor begun to."""
        return self.state not in ("closing", "closed")

    @property
    def expires_at(self) -> float | None:
        """When the provider will end the connection in use, unix seconds; None when it names no limit."""
        return None if self.link is None else self.link.expires_at

    # -- dialling --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the channel."""
        context = self._context
        self.entered = context.now
        if self._ttl_s is not None:
            self._ends_at = context.now + self._ttl_s
        self._use(self._dial())

    def _use(self, link: Link) -> None:
        """From now on this link's events are the ones that count."""
        self.link = link
        self._context.epoch = link.epoch
        self._context.ready = self._context.seeded = False

    def _dial(self) -> Link:
        self._epochs += 1
        link = Link(self._epochs, self._context.now + self._context.limits.connect_timeout_s)
        self._dial_at = float("inf")
        self._context.emit(Dial(link.epoch))
        return link

    def knows(self, epoch: int) -> Link | None:
        """The link of this epoch, if it is in use or standing by."""
        for link in (self.link, self.standby):
            if link is not None and link.epoch == epoch:
                return link
        return None

    def opened(self, epoch: int) -> None:
        """The connection is there; the provider's greeting is waited for."""
        link = self.knows(epoch)
        if link is None:
            self._context.emit(HangUp(epoch, "not needed"))

    # -- greeting, configuring, seeding ----------------------------------------------------------------------------

    def hear(self, link: Link, event: WireEvent) -> bool:
        """An event about the link itself, or of one that is not ready. False when it is for the conversation."""
        match event:
            case SessionOpened(expires_at=expires_at):
                self._greeted(link, expires_at)
            case SessionConfigured(expires_at=expires_at):
                link.configured = True
                link.expires_at = expires_at or link.expires_at
            case SessionExpiring(in_s=in_s):
                link.expires_at = self._context.wall + in_s
                self._plan_standby(link)
            case ItemAdded(item_id=item_id) if link.seeding is not None and link.seeding.confirm(item_id):
                pass
            case ProviderFault() if self._concerns(link, event):
                self._refused(link, event)
            case _:
                return False
        return True

    def _greeted(self, link: Link, expires_at: float | None) -> None:
        if link.greeted:
            return
        context = self._context
        link.greeted = True
        limit = context.model.max_session_s
        link.expires_at = expires_at or (context.wall + limit if limit is not None else None)
        if link is self.link:
            self._move("greeted")
            link.deadline = context.now + context.limits.connect_timeout_s
        else:
            context.emit(NeedSeed(link.epoch, context.seed_max_chars))

    def ask_seed(self, *, settled: bool) -> None:
        """Ask for the seed of the link in use, once it is greeted and every answered turn is in the log."""
        link = self.link
        if self.state == "seeding" and link is not None and settled and not link.seed_asked:
            link.seed_asked = self._context.seeded = True
            self._context.emit(NeedSeed(link.epoch, self._context.seed_max_chars))

    def seed(self, epoch: int, seed: Seed) -> None:
        """What a link is to be told. A standby is configured only; it is seeded when it takes over."""
        link = self.knows(epoch)
        if link is None or not link.greeted:
            return
        self._base = seed.config
        config = self._wanted(link, seed.config)
        if link is self.link:
            self._context.config = config
        if link.config != config:
            link.configured = False
            self.configure(link, config)
        if link.seed_asked and link.seeding is None:
            self._seed_link(link, seed)

    def _wanted(self, link: Link, base: SessionConfig) -> SessionConfig:
        config = self._context.overrides.over(base)
        return evolve(config, params={}) if link.plain else config

    def reconfigure(self) -> None:
        """The overrides have changed. A link that was not told anything yet takes them with its seed."""
        link = self.link
        if link is not None and link.config is not None and self._base is not None and self.open:
            self.configure(link, self._wanted(link, self._base))

    def configure(self, link: Link, config: SessionConfig) -> None:
        """Tell a link what it is to be."""
        context = self._context
        previous, link.config = link.config, config
        if link is self.link:
            context.config = config
        context.send_to(link.epoch, Configure(config, previous, context.new_ref("configure")))

    def _seed_link(self, link: Link, seed: Seed) -> None:
        context = self._context
        link.seeding = Seeding(seed)
        link.seeded = frozenset(item.id for item in seed.items)
        link.deadline = context.now + context.limits.connect_timeout_s
        commands = link.seeding.commands(context.ids)
        if not context.model.can_seed and commands:
            link.seeding.unconfirmed.clear()
            link.seeding.refused = len(commands)
            return
        for command in commands:
            context.send_to(link.epoch, command)

    def tell(self, item: Item) -> None:
        """The log has this item more. A connection whose seed was not asked for yet will find it there."""
        context, link = self._context, self.link
        if not self.open or link is None or not link.seed_asked or item.id in link.seeded:
            return
        if not context.model.can_seed:
            self.continuity = "degraded"
            return
        for command in item_commands(item, item.id, context.new_ref("context")):
            context.send_to(link.epoch, command)

    def confirmed(self) -> bool:
        """Whether the link in use has just become ready."""
        link = self.link
        if self.state != "seeding" or link is None or link.seeding is None or not link.configured:
            return False
        if link.seeding.unconfirmed and link.deadline > self._context.now:
            return False
        self._move("confirmed")
        self.continuity = link.seeding.continuity
        link.seeding = None
        link.deadline = float("inf")
        self._context.count("opened")
        self._plan_standby(link)
        self._context.publish(Connected, continuity=self.continuity, expires_at=link.expires_at)
        return True

    def _concerns(self, link: Link, fault: ProviderFault) -> bool:
        purpose = self._context.purpose_of(fault.ref)
        if purpose == "configure":
            return True
        return link.seeding is not None and link.seeding.refuse(fault.ref)

    def _refused(self, link: Link, fault: ProviderFault) -> None:
        """A refused item of the seed is left out; a refused configuration is tried without the vendor's extras."""
        if self._context.purpose_of(fault.ref) != "configure" or link.config is None:
            self._context.count("seed_items_refused")
            return
        context = self._context
        context.report(fault.code, fault.message, fault.recovery)
        if link.configured:
            return
        if fault.recovery == "reconfigure" and not link.plain and link.config.params:
            link.plain = True
            self.configure(link, evolve(link.config, params={}))
            return
        self.end(fault.code, f"the provider refused the session's configuration: {fault.message}")

    # -- losing and replacing --------------------------------------------------------------------------------------

    def lost(self, epoch: int, error: ProviderError) -> bool:
        """A connection is gone. True when it was the one in use, so that the conversation is concerned."""
        context = self._context
        if self.standby is not None and self.standby.epoch == epoch:
            self.standby = None
            self._standby_at = context.now + backoff_s(3, error.retry_after_s)
            context.count("standbys_lost")
            return False
        if self.link is None or self.link.epoch != epoch or not self.open:
            return False
        was_ready = self.state == "ready"
        if was_ready and context.now - self.entered >= _STABLE_S:
            self.tries = 0
        tries_left = (context.limits.max_reopens if context.counts["opened"] else 1) - self.tries
        context.emit(HangUp(epoch, "lost"))
        self.link = None
        context.seeded = False
        if error.recovery == "fatal" or tries_left <= 0:
            self.end(error.provider_code or error.code, error.message, error)
        else:
            self._retry(error, was_ready=was_ready)
        return True

    def _retry(self, error: ProviderError, *, was_ready: bool) -> None:
        context = self._context
        self._move("lost")
        if was_ready:
            context.publish(Disconnected, reason=error.message, final=False)
        self.tries += 1
        standby, self.standby = self.standby, None
        if standby is not None:
            self._use(standby)
            if standby.greeted:
                self._move("greeted")
            return
        wait = 0.0 if was_ready and self.tries == 1 else backoff_s(self.tries - 1, error.retry_after_s)
        self._dial_at = context.now + wait

    def _plan_standby(self, link: Link) -> None:
        """Dial before the provider ends the connection: `reopen_margin_s` before, or half-way if that is later."""
        if link is not self.link or link.expires_at is None:
            return
        left = link.expires_at - self._context.wall
        margin = min(self._context.limits.reopen_margin_s, left / 2)
        self._standby_at = self._context.now + max(_LEAST_LIFE_S, left - margin)

    def replace_if(self, *, quiet: bool) -> bool:
        """Let the standby take over if it can and may. True when it has."""
        context, link, standby = self._context, self.link, self.standby
        if self.state != "ready" or link is None or standby is None or not standby.standing_by:
            return False
        if not quiet and self._last_moment > context.now:
            return False
        self._move("replaced")
        context.publish(Disconnected, reason="the provider's time limit is near", final=False)
        context.emit(HangUp(link.epoch, "replaced"))
        self.standby = None
        self._use(standby)
        context.count("replaced")
        return True

    @property
    def _last_moment(self) -> float:
        """When the standby must take over, whatever is going on."""
        expires_at = self.expires_at
        return float("inf") if expires_at is None else expires_at - self._context.wall_offset - _LAST_MOMENT_S

    # -- ending ----------------------------------------------------------------------------------------------------

    def end(self, code: str, message: str, error: ProviderError | None = None) -> None:
        """End the channel because of a fault: it reaches the client as an error first."""
        if self.open:
            self.failure = error or ProviderError(message, recovery="fatal", provider_code=code)
            self._context.report(code, message, "fatal")
            self.close(code)

    def close(self, code: str) -> None:
        """End the channel."""
        if not self.open:
            return
        context = self._context
        self._move("ended")
        self.close_reason = code
        self._dial_at = self._standby_at = self._ends_at = float("inf")
        if self.standby is not None:
            context.emit(HangUp(self.standby.epoch, code))
            self.standby = None

    def settle_if(self, *, settled: bool) -> None:
        """Finish closing when everything is settled, or the time is up."""
        context = self._context
        if self.state != "closing" or not (settled or self.closing_overdue):
            return
        self._move("settled")
        if self.link is not None:
            context.emit(HangUp(self.link.epoch, self.close_reason or ""))
            self.link = None
        context.emit(Finish(self.close_reason or ""))

    @property
    def closing_overdue(self) -> bool:
        """Whether closing has taken as long as it may."""
        return self.state == "closing" and self._context.now >= self.entered + self._context.limits.close_timeout_s

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self) -> ConnectionEnd | None:
        """Look at every deadline. Gives a link that has taken too long."""
        now = self._context.now
        if now >= self._ends_at:
            self.close("ttl")
        if now >= self._dial_at and self.link is None:
            self._use(self._dial())
        if now >= self._standby_at and self.state == "ready" and self.standby is None:
            self._standby_at = float("inf")
            self.standby = self._dial()
        for link in self._timed():
            if now >= link.deadline and not (link.configured and link.seeding is not None):
                return ConnectionEnd(link.epoch, self._too_slow(link))
        return None

    def _timed(self) -> list[Link]:
        """The links that wait for the provider, rather than for us."""
        links = []
        link, standby = self.link, self.standby
        if link is not None and self.state != "ready" and (link.seed_asked or not link.greeted):
            links.append(link)
        if standby is not None and not standby.standing_by:
            links.append(standby)
        return links if self.open else []

    def _too_slow(self, link: Link) -> ProviderError:
        what = "greet us" if not link.greeted else "confirm the session's configuration"
        limit = self._context.limits.connect_timeout_s
        return ProviderUnreachable(f"the provider did not {what} within {limit:g} s", recovery="reopen")

    def next_deadline(self) -> float:
        """When `tick` must be called next."""
        context = self._context
        moments = [self._dial_at, self._ends_at]
        if self.state == "ready" and self.standby is None:
            moments.append(self._standby_at)
        if self.state == "closing":
            moments.append(self.entered + context.limits.close_timeout_s)
        moments += [link.deadline for link in self._timed()]
        if self.state == "ready" and self.standby is not None and self.standby.standing_by:
            moments.append(self._last_moment)
        return min(moments)


@define(slots=True)
class ConnectionEnd:
    """A link that is to be treated as lost, and why."""

    epoch: int
    error: ProviderError
