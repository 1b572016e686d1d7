"""Which model a session speaks with: its profile's own, and those to go on with when it cannot be reached."""

from __future__ import annotations

import trio
from attrs import evolve, frozen

from mob.definition.catalogue import capabilities_for, catalogue
from mob.definition.model import MobDefinition, ModelCapabilities, Profile

DOWN_S = 30.0
"""For so long a model that could not be reached is passed over, as long as there is another to go on with."""


@frozen(slots=True)
class Binding:
    """A profile, and what the catalogue knows of its model."""

    profile: Profile
    model: ModelCapabilities


class Bindings:
    """The models of one session, the wanted one first."""

    def __init__(self, profile: Profile, model: ModelCapabilities, definition: MobDefinition) -> None:
        self._definition = definition
        self._down_until: dict[str, float] = {}
        self._all: tuple[Binding, ...] = ()
        self.rebind(profile, model)

    @property
    def first(self) -> Binding:
        """The wanted one."""
        return self._all[0]

    def rebind(self, profile: Profile, model: ModelCapabilities) -> None:
        """From the next turn on, speak with this model, and with this profile's fallbacks."""
        self._all = (Binding(profile, model), *(self._spare(profile, name) for name in profile.fallback))

    def usable(self) -> tuple[Binding, ...]:
        """Those worth trying now, in order; all of them when none is known to be reachable."""
        now = trio.current_time()
        up = tuple(each for each in self._all if self._down_until.get(each.model.id, now) <= now)
        return up or self._all

    def mark_down(self, binding: Binding) -> None:
        """This one could not be reached."""
        self._down_until[binding.model.id] = trio.current_time() + DOWN_S

    def _spare(self, profile: Profile, name: str) -> Binding:
        """A fallback is dialled at its own provider; a model nobody knows, at the profile's."""
        known = name in self._definition.models or name in catalogue()
        spare = evolve(profile, model=name, provider=None if known else profile.provider)
        return Binding(spare, capabilities_for(spare, self._definition))
