"""What the checks of meaning look at: the built definition, the keys as they were written, and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from mob.definition.model import MobDefinition, Profile
from mob.definition.positions import Path
from mob.definition.report import Report


@frozen(slots=True)
class Role:
    """A profile as somebody has it: a profile itself, or a member's with the member's own keys over it.

    `path` is its table in the file and `own` the keys that are written there.
    """

    profile: Profile
    path: Path
    own: frozenset[str]

    def at(self, *keys: str) -> Path:
        """Where a finding about these keys belongs: the first of them that is written in this table, or the table."""
        return next(((*self.path, key) for key in keys if key in self.own), self.path)

    def says(self, *keys: str) -> bool:
        """Whether one of these keys is written in this table, so that a finding about them is this table's own."""
        return not self.own.isdisjoint(keys)


@frozen(slots=True)
class Subject:
    """One file under check. `tables` holds what is well-shaped of the file."""

    definition: MobDefinition
    tables: Mapping[str, Any]
    report: Report

    def roles(self) -> Iterator[Role]:
        """Every profile, and every member that has keys of its own."""
        definition = self.definition
        for name, profile in definition.profiles.items():
            yield Role(profile, ("profiles", name), frozenset(self.tables["profiles"][name]))
        for identity, member in definition.members.items():
            if member.overrides and member.profile in definition.profiles:
                yield Role(definition.profile_of(identity), ("members", identity), frozenset(member.overrides))

    def members_of(self, profile: str) -> list[str]:
        """The identities that are made from this profile."""
        return [name for name, member in self.definition.members.items() if member.profile == profile]
