"""Where each member's model is dialled: at its vendor, or, for want of a credential, at a rehearsed provider."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import trio

from mob.definition.model import ModelCapabilities, Profile
from mob.errors import CredentialMissing
from mob.live.network import Dialler, Endpoint, Network

_PORTS = {"https": 443, "http": 80}


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
