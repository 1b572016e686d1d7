"""Checks of meaning: who is in the team, who reaches whom, and whether the floor can come back."""

from __future__ import annotations

from collections.abc import Callable

from mob.definition.model import Route
from mob.definition.names import alike
from mob.definition.positions import Path
from mob.definition.routes import Wiring, graph_of, path_between, reached_from
from mob.definition.subject import Subject

MANY_ROUTES = 20_000
"""Above this many routes the floor is not looked into; no team that people write comes near."""


def check_team(subject: Subject, wiring: Wiring) -> None:
    """Say what is wrong with members, routes and topology."""
    _members(subject)
    _orchestrator(subject, wiring)
    _wiring(subject, wiring)
    check_skills(subject)
    _topology(subject, wiring)
    if subject.report.failed(("mob",), ("members",), ("wiring",), ("profiles",)) or not subject.definition.members:
        return  # what can be reached is not known while these are wrong
    source = {
        (route.origin, route.to): path for route, path in reversed(list(wiring.sources(subject.definition.members)))
    }
    _unreachable(subject)
    _ask_cycle(subject, lambda origin, to: source[origin, to])
    _floor(subject, lambda origin, to: source[origin, to])


def _members(subject: Subject) -> None:
    definition, report = subject.definition, subject.report
    if not definition.profiles and subject.tables.get("profiles") == {}:
        report.error("empty_profiles", "There is no profile; write [profiles.NAME] with a model.", ("profiles",))
    seen: dict[str, str] = {}
    for identity, member in definition.members.items():
        path: Path = ("members", identity) if "members" in subject.tables else ("profiles", identity)
        if member.profile and member.profile not in definition.profiles:
            message = f"{identity!r} is made from a profile {member.profile!r} that is not defined."
            report.error("unknown_profile", message, (*path, "profile"), word=member.profile, known=definition.profiles)
        other = seen.setdefault(alike(identity), identity)
        if other != identity:
            message = f"{other!r} and {identity!r} are too alike: a model calling one would reach the other."
            report.error("member_names_collide", message, path)
    entry = definition.entry
    if entry is not None and entry not in definition.members:
        message = f"The entry {entry!r} is no member."
        report.error("unknown_entry", message, ("mob", "entry"), word=entry, known=definition.members)


def _orchestrator(subject: Subject, wiring: Wiring) -> None:
    name, report = subject.definition.orchestrator, subject.report
    path: Path = ("mob", "orchestrator")
    if name is None:
        if wiring.auto_wire_orchestrator and not report.failed(path):
            message = "There is no orchestrator to wire everybody to; name one in [mob] orchestrator."
            report.warn("auto_wire_without_orchestrator", message, ("wiring", "auto_wire_orchestrator"))
    elif name not in subject.definition.profiles:
        message = f"The orchestrator {name!r} is no profile."
        report.error("missing_orchestrator_profile", message, path, word=name, known=subject.definition.profiles)
    elif not subject.members_of(name):
        report.warn("orchestrator_without_member", f"No member is made from the orchestrator's profile {name!r}.", path)


def _wiring(subject: Subject, wiring: Wiring) -> None:
    report, members = subject.report, subject.definition.members
    for index, pair in enumerate(wiring.role_wiring):
        for key, name in (("a", pair.a), ("b", pair.b)):
            if name and name not in subject.definition.profiles:
                message = f"Role wiring names {name!r}, which is no profile."
                path: Path = ("wiring", "role_wiring", index, key)
                report.error("invalid_wiring_profile", message, path, word=name, known=subject.definition.profiles)
    for index, route in enumerate(wiring.routes):
        for key, name in (("from", route.origin), ("to", route.to)):
            if name and name not in members:
                message = f"A route {'starts at' if key == 'from' else 'leads to'} {name!r}, who is no member."
                path = ("wiring", "routes", index, key)
                report.error("route_to_nobody", message, path, word=name, known=members)
        if route.origin and route.origin == route.to:
            message = f"A route leads from {route.origin!r} to itself; leave it out."
            report.error("route_to_self", message, ("wiring", "routes", index))


def check_skills(subject: Subject) -> None:
    """Say which skills are named and not there."""
    known = subject.tables.get("skills", {})
    for role in subject.roles():
        if not role.says("skills"):
            continue
        for index, name in enumerate(role.profile.skills):
            if name and name not in known:
                message = f"The skill {name!r} is not defined; write [skills.{name}]."
                path = (*role.path, "skills", index)
                subject.report.error("missing_skill_ref", message, path, word=name, known=known)


def _topology(subject: Subject, wiring: Wiring) -> None:
    definition, report, topology = subject.definition, subject.report, subject.definition.topology
    if topology is None:
        return
    if definition.orchestrator is None and not report.failed(("mob",)):
        message = "There is a topology and no [mob] orchestrator; Meerkat refuses to run flows then."
        report.warn("topology_without_orchestrator", message, ("topology",))
    for index, rule in enumerate(topology.rules):
        for key, name in (("from_role", rule.from_role), ("to_role", rule.to_role)):
            if name and name != "*" and name not in definition.profiles:
                message = f"The rule names {name!r}, which is no profile."
                path: Path = ("topology", "rules", index, key)
                report.error("topology_unknown_role", message, path, word=name, known=definition.profiles)
    say = report.error if topology.mode == "strict" else report.warn
    told: set[tuple[Path, str, str]] = set()
    for route, path in wiring.sources(definition.members):
        ends = definition.members.get(route.origin), definition.members.get(route.to)
        if ends[0] is None or ends[1] is None or topology.allows(ends[0].profile, ends[1].profile):
            continue
        case = (path, ends[0].profile, ends[1].profile)
        if case not in told:
            told.add(case)
            message = f"The topology does not allow {ends[0].profile!r} to reach {ends[1].profile!r}."
            say("topology_violation", message, path)


def _unreachable(subject: Subject) -> None:
    definition = subject.definition
    reached = {route.to for route in definition.routes} | {definition.entry_member}
    section = "members" if "members" in subject.tables else "profiles"
    for identity in definition.members:
        if identity not in reached:
            message = f"No route leads to {identity!r}, who is not the entry; add one in [wiring] routes."
            subject.report.warn("member_unreachable", message, (section, identity))


def _ask_cycle(subject: Subject, source: Callable[[str, str], Path]) -> None:
    definition = subject.definition
    if "max_hops" in subject.tables.get("limits", {}):
        return
    graph = graph_of(definition.routes, "ask")
    for route in definition.routes:
        if "ask" not in route.via:
            continue
        back = path_between(graph, route.to, route.origin)
        if back is not None:
            circle = " -> ".join((route.origin, *back))
            message = (
                f"Members can ask one another in a circle ({circle}); only the default of "
                f"{definition.limits.max_hops} hops bounds it. State [limits] max_hops to show that it is meant."
            )
            subject.report.warn("ask_cycle", message, source(route.origin, route.to))
            return


def _floor(subject: Subject, source: Callable[[str, str], Path]) -> None:
    """Hand-offs after which whoever had the floor never gets it back."""
    definition = subject.definition
    if len(definition.routes) > MANY_ROUTES:
        return
    graph = graph_of(definition.routes, "hand_off")
    held = reached_from(graph, definition.entry_member)
    back_from = {member: reached_from(graph, member) for member in held}
    told: set[str] = set()
    for route in definition.routes:
        if _is_one_way(route, held, back_from) and route.to not in told:
            told.add(route.to)
            message = (
                f"Once {route.origin!r} has handed the floor to {route.to!r}, no hand_off leads back: the human "
                f'stays with {route.to!r} for good. Add a route from {route.to!r} with via = ["hand_off"].'
            )
            subject.report.warn("floor_never_returns", message, source(route.origin, route.to))


def _is_one_way(route: Route, held: set[str], back_from: dict[str, set[str]]) -> bool:
    return "hand_off" in route.via and route.origin in held and route.origin not in back_from[route.to]
