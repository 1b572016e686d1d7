"""Makes a MobDefinition out of structured tables: values into classes, file references into text.

Runs over files that have errors as well, so that the checks of meaning can find theirs in the same reading; what is
missing is then empty, and `parse_definition` gives no definition out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from mob.definition import model
from mob.definition.catalogue import capabilities_from, catalogue, providers_with
from mob.definition.files import FileRefused
from mob.definition.positions import Path as KeyPath
from mob.definition.report import Report
from mob.definition.routes import DEFAULT_VIA, Wiring, merged
from mob.values import TurnDetection

ReadFile = Callable[[Path], str]
MAX_MEMBERS = 256


@frozen(slots=True)
class Builder:
    """Builds from one file's structured tables. `tables` is what `Structurer.table` made of the whole file."""

    tables: Mapping[str, Any]
    report: Report
    base_dir: Path
    read_file: ReadFile

    def definition(self, digest: str) -> model.MobDefinition:
        """The definition, with what is wrong reported."""
        mob = self.tables.get("mob", {})
        orchestrator = mob.get("orchestrator")
        if isinstance(orchestrator, dict):
            orchestrator = orchestrator.get("profile")
        profiles = {name: self._profile(name, keys) for name, keys in self._section("profiles").items()}
        members = self._members(profiles)
        wiring = self.wiring(orchestrator)
        providers = {name: model.ProviderSpec(name, **keys) for name, keys in self._section("providers").items()}
        known = [route for route, _ in wiring.sources(members) if route.origin in members and route.to in members]
        return model.MobDefinition(
            id=mob.get("id", ""),
            description=mob.get("description", ""),
            entry=mob.get("entry"),
            orchestrator=orchestrator,
            profiles=profiles,
            members=members,
            routes=merged(route for route in known if route.origin != route.to),
            auto_wire_orchestrator=wiring.auto_wire_orchestrator,
            role_wiring=wiring.role_wiring,
            topology=self._topology(),
            tools={name: model.Tool(name, **{"python": "", **keys}) for name, keys in self._section("tools").items()},
            skills={name: self._skill(name, keys) for name, keys in self._section("skills").items()},
            limits=model.Limits(**self._section("limits")),
            budget=self._budget(),
            providers=providers,
            rehearsal={name: self._rules(rules) for name, rules in self._section("rehearsal").items()},
            models=self._models(providers),
            flows=self._section("flows"),
            base_dir=self.base_dir,
            digest=digest,
        )

    def wiring(self, orchestrator: str | None) -> Wiring:
        """`[wiring]` as written, without the entries that lack a name."""
        keys = self._section("wiring")
        return Wiring(
            orchestrator,
            keys.get("auto_wire_orchestrator", False),
            tuple(model.RoleWiring(pair.get("a", ""), pair.get("b", "")) for pair in keys.get("role_wiring", ())),
            tuple(
                model.Route(
                    route.get("from", ""), route.get("to", ""), tuple(filter(None, route.get("via", DEFAULT_VIA)))
                )
                for route in keys.get("routes", ())
            ),
        )

    def _section(self, name: str) -> dict[str, Any]:
        return dict(self.tables.get(name, {}))

    def _profile(self, name: str, keys: Mapping[str, Any]) -> model.Profile:
        return model.Profile(name, **{"model": "", **self.profile_keys(keys, ("profiles", name))})

    def profile_keys(self, keys: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        """Profile keys as the Profile class takes them."""
        out = dict(keys)
        if isinstance(out.get("instructions"), dict):
            out["instructions"] = self._text(out["instructions"].get("file"), (*path, "instructions", "file"))
        if isinstance(out.get("tools"), dict):
            del out["tools"]  # Meerkat's switches: each has been reported
        mode = out.get("turn_detection")
        if isinstance(mode, str):
            out["turn_detection"] = TurnDetection(mode=mode)  # type: ignore[arg-type]
        elif mode is not None:
            out["turn_detection"] = TurnDetection(**mode)
        return out

    def _members(self, profiles: Mapping[str, model.Profile]) -> dict[str, model.Member]:
        if "members" not in self.tables:
            members = {name: model.Member(name, name) for name in profiles}
        else:
            members = {}
            for name, keys in self._section("members").items():
                overrides = self.profile_keys(keys, ("members", name))
                members[name] = model.Member(name, overrides.pop("profile", ""), overrides)
        if len(members) > MAX_MEMBERS:
            section = "members" if "members" in self.tables else "profiles"
            self.report.error("too_many_members", f"A team has at most {MAX_MEMBERS} members.", (section,))
            return dict(list(members.items())[:MAX_MEMBERS])
        return members

    def _models(self, declared: Mapping[str, model.ProviderSpec]) -> dict[str, model.ModelCapabilities]:
        section = self._section("models")
        if not section:
            return {}
        among = providers_with(declared)
        return {name: capabilities_from(name, keys, catalogue().get(name), among) for name, keys in section.items()}

    def _skill(self, name: str, keys: Mapping[str, Any]) -> str:
        path: KeyPath = ("skills", name)
        given = {"inline": "content", "path": "path"}
        present = [key for key in given.values() if key in keys]
        wanted = given[keys["source"]] if "source" in keys else None
        if len(present) == 2:
            self.report.error("conflicting_keys", "A skill has either `content` or `path`.", path)
        elif not present:
            if not self.report.failed(path):
                self.report.error("missing_key", f"[skills.{name}] needs `{wanted or 'content` or `path'}`.", path)
        elif wanted not in (None, present[0]):
            message = f'`source = "{keys["source"]}"` needs `{wanted}`, not `{present[0]}`.'
            self.report.error("conflicting_keys", message, (*path, "source"))
        elif present == ["path"]:
            return self._text(keys["path"], (*path, "path"))
        return str(keys.get("content", ""))

    def _text(self, name: str | None, path: KeyPath) -> str:
        """The text of a file that is named in the team file."""
        if name is None:
            return ""
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts:
            message = "A file reference stays inside the team file's directory: no leading / and no .. in it."
            self.report.error("file_outside", message, path)
            return ""
        try:
            return self.read_file(self.base_dir / relative)
        except FileRefused as error:
            self.report.error(error.code, error.message, path)
        except FileNotFoundError:
            self.report.error("file_missing", f"There is no file {name!r} beside the team file.", path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self.report.error("file_unreadable", f"{name!r} cannot be read: {reason}.", path)
        return ""

    def _topology(self) -> model.Topology | None:
        if "topology" not in self.tables:
            return None
        keys = self._section("topology")
        rules = (
            model.TopologyRule(rule.get("from_role", ""), rule.get("to_role", ""), rule.get("allowed", True))
            for rule in keys.get("rules", ())
        )
        return model.Topology(keys.get("mode", "advisory"), tuple(rules))

    def _budget(self) -> model.Budget:
        keys = self._section("budget")
        singles = {name: model.Budget(**bounds) for name, bounds in keys.pop("members", {}).items()}
        return evolve(model.Budget(**keys), members=singles)

    def _rules(self, rules: tuple[dict[str, Any], ...]) -> tuple[model.RehearsalRule, ...]:
        return tuple(model.RehearsalRule(**rule) for rule in rules)
