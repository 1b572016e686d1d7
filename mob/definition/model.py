"""What the author wrote, as values: a MobDefinition and its parts, frozen, already checked for shape.

Section and key names are the team file's own (docs/team-files.md). `Profile` is a role template; a `Member` is one
participant made from a profile, and `MobDefinition.profile_of(identity)` gives its profile with the member's own
overrides laid over it. Every key has its default here, once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen

from mob.definition.patterns import matcher
from mob.values import Modality, TurnDetection, TurnMode, Via

Effect = Literal["read", "write"]


@frozen(slots=True)
class Profile:
    """A role: which model, what it is told, how it sounds, what it may use.

    `instructions` is text (a `{file=}` reference has been read). `tools` names `[tools.X]` entries. `params` go to
    the provider as they are. `fallback` names models to go on with when this one cannot be reached.
    """

    name: str
    model: str
    provider: str | None = None
    instructions: str = ""
    voice: str | None = None
    turn_detection: TurnDetection | None = None
    output: Modality | None = None
    peer_description: str = ""
    skills: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    mcp: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    params: dict[str, Any] = field(factory=dict, hash=False)
    output_schema: dict[str, Any] | None = field(default=None, hash=False)


@frozen(slots=True)
class Member:
    """One participant: an identity, the profile it is made from, and the profile keys it overrides."""

    identity: str
    profile: str
    overrides: dict[str, Any] = field(factory=dict, hash=False)


@frozen(slots=True)
class Route:
    """`origin` may reach `to` in these ways. In the file the keys are `from`, `to`, `via`."""

    origin: str
    to: str
    via: tuple[Via, ...]


@frozen(slots=True)
class RoleWiring:
    """Every member of profile `a` with every member of profile `b`, both ways; a == b: a mesh inside the role."""

    a: str
    b: str


@frozen(slots=True)
class TopologyRule:
    """`[topology]`: the last rule that matches decides; "*" matches any role."""

    from_role: str
    to_role: str
    allowed: bool


@frozen(slots=True)
class Topology:
    """Which roles may reach which. strict: a route against it is an error; advisory: a warning."""

    mode: Literal["advisory", "strict"]
    rules: tuple[TopologyRule, ...] = ()

    def allows(self, from_role: str, to_role: str) -> bool:
        """What the last matching rule says; True when none matches."""
        for rule in reversed(self.rules):
            if rule.from_role in (from_role, "*") and rule.to_role in (to_role, "*"):
                return rule.allowed
        return True


@frozen(slots=True)
class Tool:
    """`[tools.X]`: a Python function. `on_interrupt` says what becomes of a running call when its turn is cut."""

    name: str
    python: str
    description: str | None = None
    timeout_s: float | None = None
    effect: Effect = "read"
    on_interrupt: Literal["keep", "cancel"] | None = None

    @property
    def keeps_running(self) -> bool:
        """Writes run to their end unless told otherwise; reads are given up."""
        return self.on_interrupt == "keep" or (self.on_interrupt is None and self.effect == "write")


@frozen(slots=True)
class Limits:
    """`[limits]`: what bounds a run. Seconds, counts, bytes."""

    max_hops: int = 8
    turn_timeout_s: float = 60.0
    tool_timeout_s: float = 30.0
    connect_timeout_s: float = 10.0
    response_timeout_s: float = 20.0
    shutdown_timeout_s: float = 5.0
    hand_off_timeout_s: float = 10.0
    max_mailbox: int = 32
    max_tool_rounds: int = 8
    max_tool_output_bytes: int = 65536
    max_restarts: int = 3
    restart_window_s: float = 60.0
    restart_backoff_s: float = 0.5


@frozen(slots=True)
class Budget:
    """`[budget]`: when to stop. None: no bound. `members` bounds single members (the key is the identity)."""

    max_usd: float | None = None
    max_tokens: int | None = None
    max_turns: int | None = None
    members: dict[str, Budget] = field(factory=dict, hash=False)


@frozen(slots=True)
class ProviderSpec:
    """`[providers.X]`: where a wire is dialled. `wire` is needed for a provider the catalogue does not know."""

    name: str
    base_url: str | None = None
    api_key_env: str | None = None
    headers: dict[str, str] = field(factory=dict, hash=False)
    wire: str | None = None


@frozen(slots=True)
class RehearsalRule:
    """`[[rehearsal.X]]`: what the rehearsed model does when the user's words match `when`.

    `when`: words that must all occur (any case), or a pattern between slashes; empty matches always. Of `say`,
    `call` (a tool name, with `arguments`) and `hand_off` (a member), at least one is given. `after_ms` is how long
    it thinks first. `matches(text)` decides, in time linear in the text whatever the pattern.
    """

    when: str = ""
    say: str | None = None
    call: str | None = None
    arguments: dict[str, Any] = field(factory=dict, hash=False)
    hand_off: str | None = None
    after_ms: int = 0

    def matches(self, text: str) -> bool:
        """Whether the rule is about this text."""
        return matcher(self.when)(text)


@frozen(slots=True)
class MobDefinition:
    """A team file, whole and well-shaped. Get one with `mob.load`.

    `routes` is the wiring worked out: auto-wiring, role wiring and single routes together, between identities, no
    duplicates. `auto_wire_orchestrator`, `role_wiring` and `topology` are kept for members that are spawned later.
    `skills` maps a name to its text. `flows` is read and not run. `digest` is the file's SHA-256 in hex.
    """

    id: str
    profiles: dict[str, Profile] = field(hash=False)
    members: dict[str, Member] = field(hash=False)
    description: str = ""
    entry: str | None = None
    orchestrator: str | None = None
    routes: tuple[Route, ...] = ()
    auto_wire_orchestrator: bool = False
    role_wiring: tuple[RoleWiring, ...] = ()
    topology: Topology | None = None
    tools: dict[str, Tool] = field(factory=dict, hash=False)
    skills: dict[str, str] = field(factory=dict, hash=False)
    limits: Limits = field(factory=Limits)
    budget: Budget = field(factory=Budget)
    providers: dict[str, ProviderSpec] = field(factory=dict, hash=False)
    rehearsal: dict[str, tuple[RehearsalRule, ...]] = field(factory=dict, hash=False)
    models: dict[str, ModelCapabilities] = field(factory=dict, hash=False)
    flows: dict[str, Any] = field(factory=dict, hash=False)
    base_dir: Path = field(factory=Path)
    digest: str = ""

    @property
    def entry_member(self) -> str:
        """Who gets the human first: `entry`, else the orchestrator's member, else the first member, else "": nobody."""
        if self.entry is not None:
            return self.entry
        for identity, member in self.members.items():
            if member.profile == self.orchestrator:
                return identity
        return next(iter(self.members), "")

    def profile_of(self, identity: str) -> Profile:
        """The member's profile with the member's own keys laid over it. KeyError for an unknown identity."""
        member = self.members[identity]
        return evolve(self.profiles[member.profile], **member.overrides)

    def routes_from(self, identity: str) -> tuple[Route, ...]:
        """The routes that start at this member."""
        return tuple(route for route in self.routes if route.origin == identity)


@frozen(slots=True)
class Price:
    """US dollars per million tokens, and the day it was read (ISO date)."""

    as_of: str
    input_text: float | None = None
    output_text: float | None = None
    cached_text: float | None = None
    input_audio: float | None = None
    output_audio: float | None = None
    cached_audio: float | None = None
    input_image: float | None = None


@frozen(slots=True)
class ModelCapabilities:
    """One row of the model catalogue. Capability is data: what is not said here is not assumed.

    `wire` names the protocol ("openai-realtime", "openai-chat", or one that is known and not built yet).
    Rates are Hz; `max_session_s` is the provider's limit for one connection. `tools`: it can call tools over this
    wire; `tool_params` are the `params` without which the vendor refuses tools for it.
    """

    id: str
    provider: str
    wire: str
    realtime: bool = False
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    input_rate: int | None = None
    output_rate: int | None = None
    turn_modes: tuple[TurnMode, ...] = ()
    can_interrupt: bool = False
    can_truncate: bool = False
    can_seed: bool = False
    tools: bool = True
    tool_params: dict[str, Any] = field(factory=dict, hash=False)
    context_window: int | None = None
    max_output_tokens: int | None = None
    max_session_s: int | None = None
    voices: tuple[str, ...] = ()
    transcription_model: str | None = None
    price: Price | None = None
    display_name: str | None = None


@frozen(slots=True)
class ProviderDefaults:
    """How a provider is reached: the shipped facts with the team file's `[providers.X]` laid over them.

    `wires`: those it speaks; the first is taken for a model that says nothing else. `api_key_env` names the variable
    that holds the key; `key_required` False: it answers without one. `base_url` None: the team file must say.
    """

    name: str
    wires: tuple[str, ...]
    display_name: str = ""
    base_url: str | None = None
    api_key_env: str | None = None
    key_required: bool = True
    headers: dict[str, str] = field(factory=dict, hash=False)
