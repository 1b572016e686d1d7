"""Profile keys for one member that is spawned while the mob runs: checked as those of `[members.X]` in a team file.

Two forms of the same keys. As they were given (what JSON can say), for the log, from which a resumed run reads and
checks them again; and as values, laid over the profile. They come from whoever may spawn members, perhaps over a door,
so they refer to no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from mob.definition.build import Builder
from mob.definition.check_models import check_models
from mob.definition.check_team import check_skills
from mob.definition.check_tools import check_tools
from mob.definition.files import FileRefused
from mob.definition.findings import Finding
from mob.definition.keys import MEMBER
from mob.definition.model import Member, MobDefinition
from mob.definition.report import Report, dotted
from mob.definition.shapes import Table
from mob.definition.structure import MAX_DEPTH, Structurer
from mob.definition.subject import Subject
from mob.errors import UsageError

_KEYS = Table(tuple(key for key in MEMBER.keys if key.name != "profile"))


def plain_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The keys as JSON can say them, without those that are None. UsageError for what JSON cannot say."""
    plain = _plain(overrides, "overrides", 0)
    assert isinstance(plain, dict)
    return plain


def checked_overrides(
    definition: MobDefinition, identity: str, profile: str, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Plain overrides as values, for `Member.overrides`. UsageError names the first key that is wrong, and why.

    `profile` is the name of one that the definition has.
    """
    report, path = Report(), ("members", identity)
    keys = Structurer(report).table(overrides, _KEYS, path)
    values = Builder({}, report, definition.base_dir, _no_file).profile_keys(keys, path)
    tables = {"profiles": {name: {} for name in definition.profiles}, "skills": definition.skills}
    alone = evolve(definition, members={identity: Member(identity, profile, values)})
    subject = Subject(alone, tables, report)
    check_models(subject)
    check_skills(subject)
    check_tools(subject, None)
    wrong = [each for each in report.findings(None) if each.severity == "error" and _concerns(each, identity)]
    if wrong:
        key = wrong[0].path.removeprefix(dotted(path)).lstrip(".")
        hint = f" Did you mean {wrong[0].nearest!r}?" if wrong[0].nearest else ""
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UsageError(f"{identity} cannot be spawned with these overrides, at {key}: {wrong[0].message}{hint}{more}")
    return values


def _concerns(finding: Finding, identity: str) -> bool:
    """Whether it is about the member: what is about the rest of the team was there before it."""
    return finding.path.startswith((f"{dotted(('members', identity))}.", "profiles."))


def _plain(value: Any, name: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise UsageError(f"{name} is nested more than {MAX_DEPTH} levels deep")
    match value:
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise UsageError(f"the keys of {name} are texts, all of them")
            return {key: _plain(each, key, depth + 1) for key, each in value.items() if each is not None}
        case list() | tuple():
            return [_plain(each, name, depth + 1) for each in value]
        case str() | bool() | int() | None:
            return value
        case float() if math.isfinite(value):
            return value
    raise UsageError(f"{name} takes what JSON can say, not {value!r:.40}")


def _no_file(path: Path) -> str:
    raise FileRefused("file_outside", f"A member that is spawned reads no file; give the text here ({path.name}).")
