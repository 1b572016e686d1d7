"""What Meerkat's mobs have and ours do not: labels, kickoffs, claims, deliveries under a key. Kept beside each mob.

None of it changes what a mob does, so it is the door's own; labels and what was declared done outlive the server in the
realm's files. Everything is bounded: facts of members by the members there are, deliveries and destroyed mobs by a
number after which the oldest is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, Literal, TypeVar

from attrs import define, field, frozen

from mob.errors import MemberNotRunning, MobError
from mob.history import codec
from mob.sessions.mailbox import Letter

RuntimeMode = Literal["autonomous_host", "turn_driven"]

_DELIVERIES: Final = 256
_V = TypeVar("_V")


class Remembered(Generic[_V]):
    """The latest values by key, at most `most` of them: the oldest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[str, _V] = {}

    def get(self, key: str) -> _V | None:
        """The value of this key, while it is remembered."""
        return self._values.get(key)

    def put(self, key: str, value: _V) -> None:
        """Remember a value; it is now the youngest."""
        self._values.pop(key, None)
        self._values[key] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]

    def __len__(self) -> int:
        return len(self._values)


@define(eq=False, slots=True)
class Delivery:
    """Something that was sent under an idempotency key: the digest of what it was, and what its sender was told.

    The message itself is not kept: it may have pictures of many megabytes.
    """

    digest: bytes
    told: dict[str, Any]


@define(eq=False, slots=True)
class MemberFacts:
    """One member's. `kickoff` is its first message, on its way or ended; `kickoff_at` is unix seconds."""

    labels: Mapping[str, str] = field(factory=dict)
    runtime_mode: RuntimeMode = "autonomous_host"
    kickoff: Letter | None = None
    kickoff_at: float = 0.0
    deliveries: Remembered[Delivery] = field(factory=lambda: Remembered(_DELIVERIES))

    async def kickoff_phase(self) -> tuple[str, str | None] | None:
        """Meerkat's word for how far the first message has come, and why it failed; None when there was none."""
        if self.kickoff is None:
            return None
        if not self.kickoff.ended:
            return "starting", None
        try:
            await self.kickoff.wait()
        except MemberNotRunning as error:
            return "cancelled", error.message
        except MobError as error:
            return "failed", error.message
        return "started", None


@frozen(slots=True)
class _KeptMember:
    labels: Mapping[str, str] = field(factory=dict)
    runtime_mode: RuntimeMode = "autonomous_host"


@frozen(slots=True)
class _KeptMob:
    """What of a mob's facts outlives the server."""

    completed: bool = False
    members: Mapping[str, _KeptMember] = field(factory=dict)


@define(eq=False, slots=True)
class MobFacts:
    """One mob's. `completed`: it was declared done, and is not resumed."""

    completed: bool = False
    members: dict[str, MemberFacts] = field(factory=dict)

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> MobFacts:
        """Those that an earlier server kept (`as_json`). ValueError: no server of ours wrote this."""
        whole = codec.from_json(kept, _KeptMob, where="facts")
        members = {name: MemberFacts(each.labels, each.runtime_mode) for name, each in whole.members.items()}
        return cls(completed=whole.completed, members=members)

    def as_json(self) -> dict[str, Any]:
        """What is to outlive the server: not what is under way."""
        members = {name: _KeptMember(each.labels, each.runtime_mode) for name, each in self.members.items()}
        kept: dict[str, Any] = codec.as_json(_KeptMob(self.completed, members))
        return kept

    def member(self, identity: str) -> MemberFacts:
        """The facts of a member that is there; begun empty."""
        return self.members.setdefault(identity, MemberFacts())
