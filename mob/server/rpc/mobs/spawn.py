"""What a spawn asks for: Meerkat's spec of a member, field by field.

    taken       profile, agent_identity, initial_message, labels, runtime_mode, additional_instructions, model_override,
                override_profile (keys of a profile), launch_mode fresh, tool_access_policy inherit, backend session
    passed over context: the application's own, nothing of it is shown to a model
    refused     with CAPABILITY_UNAVAILABLE, since to pass over them would be a lie: backend external, placement,
                binding, shell_env, auth_binding, inherited_tool_filter, other tool policies, launch modes resume and
                fork, auto_wire_parent true (who spawns over a door is no member)

`runtime_mode` is kept and shown. Our members wake when another member reaches them in either mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from attrs import field, frozen

from mob.errors import CapabilityUnavailable
from mob.server.hosted import HostedMob
from mob.server.limits import DoorLimits
from mob.server.params import Params
from mob.server.rpc.content import Content, maybe_content
from mob.server.rpc.mobs.facts import RuntimeMode
from mob.server.rpc.mobs.shapes import ProfileUnknown

RUNTIME_MODES: Final = ("autonomous_host", "turn_driven")
_REFUSED: Final = ("placement", "binding", "shell_env", "auth_binding", "inherited_tool_filter")


@frozen(slots=True)
class SpawnSpec:
    """A member that is to come. `overrides` are profile keys laid over the profile."""

    identity: str
    profile: str
    labels: Mapping[str, str]
    runtime_mode: RuntimeMode
    overrides: Mapping[str, Any] = field(factory=dict)
    first: Content | None = None


def spawn_spec(params: Params, hosted: HostedMob, limits: DoorLimits) -> SpawnSpec:
    """Read one. RequestInvalid, CapabilityUnavailable, ProfileUnknown."""
    _refuse(params)
    profile = params.text("profile", most=200)
    if profile not in hosted.definition.profiles:
        known = ", ".join(hosted.definition.profiles)
        raise ProfileUnknown(f"the mob {hosted.mob_id} has no profile {profile!r}; it has {known}")
    return SpawnSpec(
        identity=params.text("agent_identity", most=200),
        profile=profile,
        labels=params.labels("labels"),
        runtime_mode=cast("RuntimeMode", params.choice("runtime_mode", RUNTIME_MODES, RUNTIME_MODES[0])),
        overrides=_overrides(params, hosted.definition.profiles[profile].instructions),
        first=maybe_content(params, "initial_message", limits) or None,
    )


def _overrides(params: Params, instructions: str) -> dict[str, Any]:
    overridden = params.maybe_child("override_profile") or Params({})
    overrides = dict(overridden.values)
    model = params.maybe_text("model_override", most=200)
    if model:
        overrides["model"] = model
    added = params.texts("additional_instructions", most=100)
    if added:
        own = overridden.maybe_text("instructions")
        overrides["instructions"] = "\n\n".join(part for part in (instructions if own is None else own, *added) if part)
    return overrides


def _refuse(params: Params) -> None:
    """CapabilityUnavailable for what we cannot honour."""
    for name in _REFUSED:
        if params.values.get(name):
            raise _unavailable(params, name, "is not offered here: members run in this process, as their profile says")
    if params.choice("backend", ("session", "external")) == "external":
        raise _unavailable(params, "backend", "external is not offered here: members run in this process")
    if params.flag("auto_wire_parent"):
        raise _unavailable(params, "auto_wire_parent", "has no meaning at a door: who spawns is no member; wire them")
    for name, offered in (("launch_mode", "fresh"), ("tool_access_policy", "inherit")):
        value = params.values.get(name)
        word = value.get("mode", value.get("type")) if isinstance(value, Mapping) else value
        if word not in (None, offered):
            raise _unavailable(params, name, f"can only be {offered} here")


def _unavailable(params: Params, name: str, what: str) -> CapabilityUnavailable:
    wrong = params.wrong(name, what)
    return CapabilityUnavailable(wrong.message, field=wrong.field)
