"""A session of its own: the one member `agent` of a mob that nobody sees, made from a few words of a request.

A `SessionSpec` is all that such a session is made of. It is kept beside the log as JSON, so that a server that starts
again makes the same session of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, frozen

from mob.definition.catalogue import capabilities_for, catalogue, providers
from mob.definition.keys_models import REALTIME_WIRES
from mob.definition.model import Budget, Limits, Member, MobDefinition, ModelCapabilities, Profile
from mob.definition.names import nearest
from mob.errors import RequestInvalid
from mob.history import codec

AGENT = "agent"
"""The one member of a stand-alone session's hidden mob."""

_ID = "session"
_TOOL_TIMEOUT_S = 120.0
_TURN_TIMEOUT_S = 300.0


@frozen(slots=True)
class SessionSpec:
    """A stand-alone session's model and what it is told. `max_tokens` bounds an answer, `budget_tokens` them all.

    `name` is for people. `params` are the vendor's own fields, passed on as they are.
    """

    model: str
    provider: str | None = None
    instructions: str = ""
    voice: str | None = None
    max_tokens: int | None = None
    budget_tokens: int | None = None
    name: str | None = None
    params: dict[str, Any] = field(factory=dict, hash=False)

    @property
    def profile(self) -> Profile:
        """The member's profile."""
        return Profile(
            AGENT,
            self.model,
            provider=self.provider,
            instructions=self.instructions,
            voice=self.voice,
            params={**_bound(self.max_tokens, self._capabilities()), **self.params},
        )

    @property
    def definition(self) -> MobDefinition:
        """The mob of one."""
        limits = Limits(turn_timeout_s=_TURN_TIMEOUT_S, tool_timeout_s=_TOOL_TIMEOUT_S)
        budget = Budget(max_tokens=self.budget_tokens)
        return MobDefinition(_ID, {AGENT: self.profile}, {AGENT: Member(AGENT, AGENT)}, limits=limits, budget=budget)

    def _capabilities(self) -> ModelCapabilities:
        profile = Profile(AGENT, self.model, provider=self.provider)
        return capabilities_for(profile, MobDefinition(_ID, {AGENT: profile}, {}))

    def as_json(self) -> dict[str, Any]:
        """What is kept of it; fields that say nothing are left out."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "", {})}


def spec_of(document: Mapping[str, Any]) -> SessionSpec:
    """The session that was kept. RequestInvalid for one that is none."""
    try:
        spec: SessionSpec = codec.from_json(document, SessionSpec, where="document")
    except ValueError as error:
        raise RequestInvalid(f"this is not what a session is kept as: {error}", field="document") from None
    check_spec(spec)
    return spec


def check_spec(spec: SessionSpec) -> None:
    """RequestInvalid for a model or a provider that nobody knows."""
    if spec.provider is not None and spec.provider not in providers():
        raise RequestInvalid(
            f"{spec.provider!r:.220} is no provider that mob knows{_hint(spec.provider, providers())}; "
            f"it knows {', '.join(providers())}",
            field="provider",
        )
    if spec.provider is None and spec.model not in catalogue():
        raise RequestInvalid(
            f"{spec.model!r:.220} is not in the model catalogue{_hint(spec.model, catalogue())}; "
            "`models/catalog` lists it, and with `provider` any model of that provider can be named",
            field="model",
        )


def _bound(max_tokens: int | None, model: ModelCapabilities) -> dict[str, Any]:
    """The bound of an answer as the model's wire names it."""
    if max_tokens is None:
        return {}
    return {"max_output_tokens" if model.wire in REALTIME_WIRES else "max_completion_tokens": max_tokens}


def _hint(name: str, known: Mapping[str, object]) -> str:
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""
