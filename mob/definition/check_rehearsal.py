"""Checks of meaning: the rules for rehearsed models."""

from __future__ import annotations

from mob.definition.model import RehearsalRule
from mob.definition.names import route_tool
from mob.definition.patterns import PatternError, matcher
from mob.definition.positions import Path
from mob.definition.subject import Subject

MAX_RULES = 256
"""Of all profiles together: each has a pattern to be compiled, and is tried at every turn."""


def check_rehearsal(subject: Subject) -> None:
    """Say which rules can never do what they say."""
    definition = subject.definition
    if sum(map(len, definition.rehearsal.values())) > MAX_RULES:
        message = f"A team has at most {MAX_RULES} rules for rehearsed models."
        subject.report.error("too_many_rules", message, ("rehearsal",))
        return
    for name, rules in definition.rehearsal.items():
        path: Path = ("rehearsal", name)
        if name not in definition.profiles:
            message = f"Rules for {name!r}, which is no profile."
            subject.report.error("rehearsal_unknown_profile", message, path, word=name, known=definition.profiles)
            continue
        tools, hand_offs = _tools_of(subject, name), _hand_offs_of(subject, name)
        for index, rule in enumerate(rules):
            if not subject.report.failed((*path, index)):
                _rule(subject, rule, (*path, index), tools, hand_offs)


def _tools_of(subject: Subject, profile: str) -> set[str]:
    """The names of the tools that the models of this profile's members see."""
    definition = subject.definition
    tools: set[str] = set(definition.profiles[profile].tools)
    for identity in subject.members_of(profile):
        tools.update(definition.profile_of(identity).tools)
        tools.update(route_tool(via, route.to) for route in definition.routes_from(identity) for via in route.via)
    return tools


def _hand_offs_of(subject: Subject, profile: str) -> set[str]:
    return {
        route.to
        for identity in subject.members_of(profile)
        for route in subject.definition.routes_from(identity)
        if "hand_off" in route.via
    }


def _rule(subject: Subject, rule: RehearsalRule, path: Path, tools: set[str], hand_offs: set[str]) -> None:
    report = subject.report
    try:
        matcher(rule.when)
    except PatternError as error:
        report.error("bad_pattern", f"{error} (character {error.offset} of the pattern)", (*path, "when"))
    if rule.say is None and rule.call is None and rule.hand_off is None:
        report.error("rehearsal_empty_rule", "A rule has at least one of `say`, `call` and `hand_off`.", path)
    if rule.arguments and rule.call is None:
        report.error("conflicting_keys", "`arguments` are for `call`, which is not there.", (*path, "arguments"))
    if report.failed(("wiring",), ("members",), ("profiles",)):
        return  # who has which tools and routes is not known while these are wrong
    if rule.call is not None and rule.call not in tools:
        message = f"The profile has no tool {rule.call!r}."
        report.error("rehearsal_unknown_tool", message, (*path, "call"), word=rule.call, known=sorted(tools))
    if rule.hand_off is not None and rule.hand_off not in hand_offs:
        known = subject.definition.members
        message = f'No route lets this profile hand over to {rule.hand_off!r}; add one with via = ["hand_off"].'
        report.error("rehearsal_unknown_member", message, (*path, "hand_off"), word=rule.hand_off, known=known)
