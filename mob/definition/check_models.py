"""Checks of meaning: models, providers, what a model can do, and whether a budget can be kept."""

from __future__ import annotations

from collections.abc import Iterator

from mob.definition.catalogue import capabilities_for, catalogue, providers, providers_with
from mob.definition.keys_models import BUILT_WIRES, REALTIME_WIRES, WIRES
from mob.definition.model import ModelCapabilities, Profile, ProviderDefaults
from mob.definition.positions import Path
from mob.definition.subject import Role, Subject
from mob.values import TurnDetection

_LIVE_ONLY = ("turn_detection", "output")
_READERS = ("tone", "espeak")
"""The voices by which a realtime door reads out what a member of another model writes."""
_VAD_KEYS = {
    "server_vad": ("threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"),
    "semantic_vad": ("eagerness",),
    "manual": (),
}


def check_models(subject: Subject) -> None:
    """Say what is wrong with models and providers, and with what profiles ask of them."""
    among = providers_with(subject.definition.providers)
    _providers(subject)
    _custom_models(subject, among)
    for role in subject.roles():
        if role.profile.model and _known(subject, role, among):
            model = capabilities_for(role.profile, subject.definition)
            _wire(subject, role, model, among)
            _abilities(subject, role, model)
        _turn_detection(subject, role)
    _tool_use(subject, among)
    _budget(subject)


def _providers(subject: Subject) -> None:
    for name, spec in subject.definition.providers.items():
        path: Path = ("providers", name)
        if spec.wire is not None and spec.wire not in WIRES:
            message = f"No wire is called {spec.wire!r}; the wires are {', '.join(WIRES)}."
            subject.report.error("unknown_wire", message, (*path, "wire"), word=spec.wire, known=WIRES)
        if spec.wire is None and name not in providers() and not subject.report.failed((*path, "wire")):
            message = f"mob does not know the provider {name!r}: say which `wire` it speaks, one of {', '.join(WIRES)}."
            subject.report.error("provider_needs_wire", message, path, word=name, known=providers())


def _custom_models(subject: Subject, among: dict[str, ProviderDefaults]) -> None:
    report = subject.report
    for name, model in subject.definition.models.items():
        path: Path = ("models", name)
        if report.failed(path):
            continue
        if not model.provider:
            message = f"The catalogue does not know {name!r}: say which `provider` serves it."
            report.error("invalid_custom_model", message, path, word=name, known=catalogue())
        elif model.provider not in among:
            _say_unknown_provider(subject, model.provider, (*path, "provider"), among)
        elif model.wire not in WIRES:
            message = f"No wire is called {model.wire!r}; the wires are {', '.join(WIRES)}."
            report.error("unknown_wire", message, (*path, "wire"), word=model.wire, known=WIRES)
        elif model.realtime != (model.wire in REALTIME_WIRES):
            message = (
                f"The wire {model.wire!r} is {'not ' if model.realtime else ''}for live channels; mend `realtime`."
            )
            report.error("invalid_custom_model", message, path)
        elif model.realtime and (model.input_rate is None or model.output_rate is None):
            message = f"{name!r} is realtime: say its `input_rate` and `output_rate` in Hz."
            report.error("invalid_custom_model", message, path)


def _say_unknown_provider(subject: Subject, name: str, path: Path, among: dict[str, ProviderDefaults]) -> None:
    message = f"mob does not know the provider {name!r}; declare it in [providers.{name}] with its wire and base_url."
    subject.report.error("unknown_provider", message, path, word=name, known=among)


def _known(subject: Subject, role: Role, among: dict[str, ProviderDefaults]) -> bool:
    """Whether there is enough to know how the role's model is reached; says so when there is not."""
    profile, own = role.profile, subject.definition.models
    if profile.provider is not None and profile.provider not in among:
        if role.says("provider"):
            _say_unknown_provider(subject, profile.provider, role.at("provider"), among)
        return False
    fine = True
    for name, path in _models_of(role):
        if not name or name in own or name in catalogue():
            continue
        provider = among.get(profile.provider or "")
        if provider is not None and provider.wires[0] not in REALTIME_WIRES:
            continue
        fine = False
        if provider is None:
            message = f"The catalogue does not know {name!r}: say which `provider` serves it, or see `mob models`."
        else:
            message = f"The catalogue does not know {name!r}, and {provider.name!r} is live: declare it in [models]."
        if role.says("model", "provider", "fallback"):
            subject.report.error("unknown_model", message, path, word=name, known=(*own, *catalogue()))
    return fine


def _models_of(role: Role) -> Iterator[tuple[str, Path]]:
    yield role.profile.model, role.at("model", "provider")
    if role.says("fallback"):
        for index, name in enumerate(role.profile.fallback):
            yield name, (*role.path, "fallback", index)


def _wire(subject: Subject, role: Role, model: ModelCapabilities, among: dict[str, ProviderDefaults]) -> None:
    report, path = subject.report, role.at("model", "provider")
    if not role.says("model", "provider") or model.wire not in WIRES or model.provider not in among:
        return
    listed = subject.definition.models.get(model.id) or catalogue().get(model.id)
    if listed is not None and listed.wire not in among[model.provider].wires:
        message = f"{model.provider!r} does not speak {listed.wire!r}, by which {model.id!r} is reached."
        report.warn("provider_mismatch", f"{message} It is taken for a text model on {model.wire!r}.", path)
    if model.wire not in BUILT_WIRES:
        message = f"{model.id!r} is reached by {model.wire!r}, which mob cannot dial yet; choose a model on "
        report.warn("wire_not_built", message + " or ".join(sorted(BUILT_WIRES)) + ".", path)
    elif among[model.provider].base_url is None:
        message = f"Nothing says where {model.provider!r} is dialled; write [providers.{model.provider}] base_url."
        report.warn("provider_needs_url", message, path)


def _abilities(subject: Subject, role: Role, model: ModelCapabilities) -> None:
    report, profile = subject.report, role.profile
    if not model.realtime:
        for key in _LIVE_ONLY:
            asked = profile.output == "audio" if key == "output" else getattr(profile, key) is not None
            if asked and role.says(key, "model", "provider"):
                message = f"`{key}` is for live channels, and {model.id!r} is not realtime. Leave it out."
                report.error("live_only_field", message, role.at(key, "model", "provider"))
        if profile.voice not in (None, *_READERS) and role.says("voice", "model", "provider"):
            message = f"{model.id!r} has no voice {profile.voice!r}; what it writes is read out by {_listed(_READERS)}."
            at = role.at("voice", "model", "provider")
            report.error("unsupported_voice", message, at, word=profile.voice, known=_READERS)
        return
    mode = profile.turn_detection
    if mode is not None and mode.mode not in model.turn_modes and role.says("turn_detection", "model"):
        message = f"{model.id!r} has no turn mode {mode.mode!r}; it has {_listed(model.turn_modes)}."
        report.error("unsupported_turn_mode", message, role.at("turn_detection", "model"))
    voice = profile.voice
    if voice is not None and model.voices and voice not in model.voices and role.says("voice", "model"):
        message = f"{model.id!r} has no voice {voice!r}; it has {_listed(model.voices)}."
        report.error("unsupported_voice", message, role.at("voice", "model"), word=voice, known=model.voices)
    if profile.output is not None and profile.output not in model.output_modalities and role.says("output", "model"):
        message = (
            f"{model.id!r} does not answer with {profile.output}; it answers with {_listed(model.output_modalities)}."
        )
        report.error("unsupported_output", message, role.at("output", "model"))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "none"


def _turn_detection(subject: Subject, role: Role) -> None:
    spec = role.profile.turn_detection
    if spec is None or not role.says("turn_detection"):
        return
    for mode, keys in _VAD_KEYS.items():
        for key in keys:
            if mode != spec.mode and _given(spec, key):
                message = f"`{key}` is for {mode}, and the mode is {spec.mode}."
                subject.report.error("conflicting_keys", message, (*role.path, "turn_detection", key))


def _given(spec: TurnDetection, key: str) -> bool:
    return getattr(spec, key) is not None


def _tool_use(subject: Subject, among: dict[str, ProviderDefaults]) -> None:
    """Members with tools of their own or made by routes, on models that cannot take them as they stand."""
    definition = subject.definition
    told: set[Path] = set()
    for identity, member in definition.members.items():
        profile = definition.profiles.get(member.profile)
        if profile is None or not profile.model:
            continue
        profile = definition.profile_of(identity)
        if not (profile.tools or definition.routes_from(identity)) or not _is_listed(subject, profile, among):
            continue
        path: Path = (
            ("members", identity, "model") if "model" in member.overrides else ("profiles", profile.name, "model")
        )
        if path in told:
            continue
        model = capabilities_for(profile, definition)
        missing = {key: value for key, value in model.tool_params.items() if profile.params.get(key) != value}
        if not model.tools:
            told.add(path)
            message = f"{model.id!r} cannot call tools over {model.wire!r}, and {identity!r} has some; choose another."
            subject.report.error("tools_unsupported", message, path)
        elif missing:
            told.add(path)
            wanted = ", ".join(f'{key} = "{value}"' for key, value in missing.items())
            message = f"The vendor takes tools for {model.id!r} only with `params = {{ {wanted} }}`."
            subject.report.warn("tools_need_params", message, path)


def _is_listed(subject: Subject, profile: Profile, among: dict[str, ProviderDefaults]) -> bool:
    """Whether the facts about this model where this profile has it served are written down anywhere."""
    model = subject.definition.models.get(profile.model) or catalogue().get(profile.model)
    return model is not None and (profile.provider or model.provider) in among


def _budget(subject: Subject) -> None:
    definition, report = subject.definition, subject.report
    bounded: dict[str, Path] = {}
    if definition.budget.max_usd is not None:
        bounded.update(dict.fromkeys(definition.members, ("budget", "max_usd")))
    for identity, bounds in definition.budget.members.items():
        path: Path = ("budget", "members", identity)
        if identity not in definition.members:
            message = f"There is no member {identity!r} to bound."
            report.error("budget_unknown_member", message, path, word=identity, known=definition.members)
        elif bounds.max_usd is not None:
            bounded[identity] = (*path, "max_usd")
    told: set[tuple[Path, str]] = set()
    for identity, path in bounded.items():
        member = definition.members[identity]
        if member.profile not in definition.profiles or report.failed(("profiles", member.profile)):
            continue
        model = capabilities_for(definition.profile_of(identity), definition)
        if model.id and model.price is None and (path, model.id) not in told:
            told.add((path, model.id))
            message = (
                f"The budget in dollars cannot be kept: {model.id!r} of {identity!r} has no price. "
                f'Give it one in [models."{model.id}".price], or bound `max_tokens`.'
            )
            report.error("budget_unpriced", message, path)
