"""Where a member's model is dialled at its vendor, and with which key.

Keys come from the environment only, and go nowhere but into the Endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from mob.definition.catalogue import provider_of
from mob.definition.model import MobDefinition, ModelCapabilities, Profile, ProviderDefaults
from mob.errors import CredentialMissing, UsageError
from mob.live.network import Endpoint, Network


class VendorDialler:
    """Dials the vendors: `[providers.X]` first, then what the catalogue knows of the provider."""

    def __init__(self, definition: MobDefinition, *, environ: Mapping[str, str], network: Network) -> None:
        self._definition = definition
        self._environ = environ
        self.network = network

    async def endpoint(self, identity: str, profile: Profile, model: ModelCapabilities) -> Endpoint:
        """Where the member is dialled.

        CredentialMissing names the variable that is not set. A provider that needs no key, or whose `base_url` the
        team file sets itself, is dialled without one. UsageError: no address is known, or the key cannot be one.
        """
        provider = provider_of(profile.provider or model.provider, self._definition)
        if provider.base_url is None:
            raise UsageError(
                f"{identity} cannot be dialled: nothing says where {provider.name} is; "
                f"set base_url in [providers.{provider.name}], or give connect_realtime one"
            )
        key = self._key(identity, provider)
        return Endpoint(base_url=provider.base_url, api_key=key, headers=dict(provider.headers))

    def _key(self, identity: str, provider: ProviderDefaults) -> str | None:
        variable = provider.api_key_env
        key = self._environ.get(variable, "").strip() if variable is not None else ""
        if key:
            if not (key.isascii() and key.isprintable()):
                raise UsageError(f"{variable} holds characters that no key has; set it again, without line breaks")
            return key
        declared = self._definition.providers.get(provider.name)
        if not provider.key_required or (declared is not None and declared.base_url is not None):
            return None
        wanted = variable or f"{provider.name.upper()}_API_KEY"
        raise CredentialMissing(
            f"{identity} needs a key for {provider.name}: set {wanted} in the environment, "
            "or leave the vendor out of it and rehearse (`mob run --rehearse`)",
            variable=wanted,
        )
