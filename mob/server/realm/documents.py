"""Mobs that are made of a document: the JSON that somebody sent over a door, and that is kept beside the log.

A definition that names `members` has exactly these. One that names none begins with nobody, as Meerkat's do: whoever
created the mob spawns them. (A team *file* without members has one of each profile; no such mob is made here.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

from mob.definition.from_json import definition_from_json
from mob.definition.model import MobDefinition, Route
from mob.errors import DefinitionError

_SHOWN = 3


def definition_of(document: Mapping[str, Any]) -> MobDefinition:
    """The definition that this document is. DefinitionError with every finding."""
    definition, findings = definition_from_json(document)
    if definition is None:
        errors = [finding for finding in findings if finding.severity == "error"]
        more = f" (and {len(errors) - _SHOWN} more)" if len(errors) > _SHOWN else ""
        said = "; ".join(str(finding) for finding in errors[:_SHOWN])
        raise DefinitionError(f"this is no definition of a mob: {said}{more}", findings)
    if "members" in document:
        return definition
    return evolve(definition, members={}, routes=tuple(_written_routes(definition, document)))


def _written_routes(definition: MobDefinition, document: Mapping[str, Any]) -> Iterator[Route]:
    """The routes that are written out one by one; those by role come with the members."""
    written = (document.get("wiring") or {}).get("routes") or ()
    pairs = {(route["from"], route["to"]) for route in written}
    return (route for route in definition.routes if (route.origin, route.to) in pairs)
