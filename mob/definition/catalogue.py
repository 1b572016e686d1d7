"""The model catalogue: which models there are, what each can do, and how providers are reached.

The facts stand in `catalogue.toml`, written with the same keys as a team file's `[models]`. Ids are exact; nothing is
ever concluded from how a name begins. The file is read when it is first asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

import tomli
from attrs import evolve, frozen

from mob.definition.keys_models import REALTIME_WIRES, SHIPPED
from mob.definition.model import MobDefinition, ModelCapabilities, Price, Profile, ProviderDefaults, ProviderSpec
from mob.definition.names import nearest
from mob.definition.report import Report
from mob.definition.structure import Structurer
from mob.errors import UsageError

FALLBACK_WIRE = "openai-chat"
"""How a provider is spoken to that says nothing else: the wire that self-hosted servers share."""


@frozen(slots=True)
class _Shipped:
    models: Mapping[str, ModelCapabilities]
    providers: Mapping[str, ProviderDefaults]


@functools.cache
def _shipped() -> _Shipped:
    text = resources.files("mob.definition").joinpath("catalogue.toml").read_text("utf-8")
    report = Report()
    tables = Structurer(report).table(tomli.loads(text), SHIPPED, ())
    if report.failed():
        raise AssertionError("\n".join(str(finding) for finding in report.findings(text)))
    providers = {name: ProviderDefaults(name, **keys) for name, keys in tables["providers"].items()}
    models = {name: capabilities_from(name, keys, None, providers) for name, keys in tables["models"].items()}
    return _Shipped(MappingProxyType(models), MappingProxyType(providers))


def catalogue() -> Mapping[str, ModelCapabilities]:
    """The shipped models by id."""
    return _shipped().models


def providers() -> Mapping[str, ProviderDefaults]:
    """The shipped providers by name."""
    return _shipped().providers


def capabilities_from(
    model_id: str,
    keys: Mapping[str, Any],
    known: ModelCapabilities | None,
    among: Mapping[str, ProviderDefaults],
) -> ModelCapabilities:
    """What structured `[models.X]` keys say, laid over what is known of the model.

    A model that says neither `wire` nor `realtime` takes its provider's first wire, and is live when that wire is.
    """
    values = dict(keys)
    if "price" in values:
        values["price"] = Price(**{"as_of": "", **values["price"]})
    if values.pop("vision", False):
        base = values.get("input_modalities", known.input_modalities if known else ("text",))
        values["input_modalities"] = tuple(dict.fromkeys((*base, "image")))
    if known is not None:
        return evolve(known, **values)
    provider = values.pop("provider", "")
    wire = values.pop("wire", among[provider].wires[0] if provider in among else FALLBACK_WIRE)
    values.setdefault("realtime", wire in REALTIME_WIRES)
    return ModelCapabilities(model_id, provider, wire, **values)


def providers_with(declared: Mapping[str, ProviderSpec]) -> dict[str, ProviderDefaults]:
    """The shipped providers with a team file's own laid over them."""
    return {**providers(), **{name: _laid_over(spec, providers().get(name)) for name, spec in declared.items()}}


def _laid_over(spec: ProviderSpec, shipped: ProviderDefaults | None) -> ProviderDefaults:
    if shipped is None:
        return ProviderDefaults(
            spec.name,
            (spec.wire or FALLBACK_WIRE,),
            display_name=spec.name,
            base_url=spec.base_url,
            api_key_env=spec.api_key_env,
            key_required=spec.api_key_env is not None,
            headers=spec.headers,
        )
    return evolve(
        shipped,
        wires=shipped.wires if spec.wire is None else tuple(dict.fromkeys((spec.wire, *shipped.wires))),
        base_url=spec.base_url or shipped.base_url,
        api_key_env=spec.api_key_env or shipped.api_key_env,
        headers=spec.headers,
    )


def provider_of(name: str, definition: MobDefinition) -> ProviderDefaults:
    """How this provider is reached in this team. UsageError for one that nobody declared."""
    known = providers_with(definition.providers)
    if name not in known:
        raise UsageError(
            f"{name!r} is no provider that mob knows{_hint(name, known)}; declare it in [providers.{name}]"
        )
    return known[name]


def lookup(model_id: str, definition: MobDefinition | None = None) -> ModelCapabilities:
    """The model of exactly this id: the team's own first, then the shipped one. UsageError when there is none."""
    own = definition.models if definition is not None else {}
    found = own.get(model_id) or catalogue().get(model_id)
    if found is None:
        hint = _hint(model_id, (*own, *catalogue()))
        raise UsageError(f"{model_id!r} is not in the model catalogue{hint}; `mob models` lists it")
    return found


def _hint(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    near = nearest(name, known)
    return f" (did you mean {near!r}?)" if near else ""


def capabilities_for(profile: Profile, definition: MobDefinition) -> ModelCapabilities:
    """What the profile's model can do where the profile has it served.

    A model that nobody knows, or that another provider serves over another wire, is taken for the least: a
    request/response text model on the provider's first wire. The price is the catalogue's provider's own.
    """
    row = definition.models.get(profile.model) or catalogue().get(profile.model)
    if row is not None and profile.provider in (None, row.provider):
        return row
    name = profile.provider or ""
    provider = providers_with(definition.providers).get(name)
    if row is not None and provider is not None and row.wire in provider.wires:
        return evolve(row, provider=name, price=None)
    return ModelCapabilities(profile.model, name, provider.wires[0] if provider else FALLBACK_WIRE)
