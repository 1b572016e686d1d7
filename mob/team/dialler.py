"""Where each member's model is dialled: at its vendor, or, for want of a credential, at a rehearsed provider.

Keys come from the environment only, and go nowhere but into the Endpoint.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import trio

from mob.definition.catalogue import provider_of
from mob.definition.model import MobDefinition, ModelCapabilities, Profile, ProviderDefaults
from mob.errors import CredentialMissing, UsageError
from mob.live.network import Dialler, Endpoint, Network

_PORTS = {"https": 443, "http": 80}


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
                f"set base_url in [providers.{provider.name}]"
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
            "or leave the vendor out of it with --rehearse",
            variable=wanted,
        )


class FallbackDialler:
    """Dials the vendor where it can, and the rehearsed provider for members whose credential is missing."""

    def __init__(self, vendor: Dialler, rehearsed: Dialler) -> None:
        self._vendor = vendor
        self._rehearsed = rehearsed
        self._reasons: dict[str, str] = {}
        self._network = _TwoNetworks(vendor.network, rehearsed.network)

    @property
    def network(self) -> Network:
        """Goes to the rehearsed provider's own network for its addresses, and out for all others."""
        return self._network

    @property
    def rehearsed(self) -> Mapping[str, str]:
        """The members that were sent to the rehearsed provider so far, each with the reason, a sentence."""
        return MappingProxyType(self._reasons)

    async def endpoint(self, identity: str, profile: Profile, model: ModelCapabilities) -> Endpoint:
        """The vendor's endpoint; the rehearsed one when there is no credential for the vendor."""
        try:
            endpoint = await self._vendor.endpoint(identity, profile, model)
        except CredentialMissing as error:
            self._reasons[identity] = f"{error.variable} is not set"
            endpoint = await self._rehearsed.endpoint(identity, profile, model)
            self._network.inside.add(_address(endpoint.base_url))
        else:
            self._reasons.pop(identity, None)
        return endpoint


class _TwoNetworks:
    """Connects addresses in `inside` by one network and everything else by another."""

    def __init__(self, outer: Network, inner: Network) -> None:
        self._outer = outer
        self._inner = inner
        self.inside: set[tuple[str, int]] = set()

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        network = self._inner if (host, port) in self.inside else self._outer
        return await network.connect(host, port)

    def tls_context(self) -> ssl.SSLContext:
        return self._outer.tls_context()


def _address(base_url: str) -> tuple[str, int]:
    parts = urlsplit(base_url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]
