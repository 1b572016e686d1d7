"""The port to the network: a byte stream to an endpoint, and which endpoint a member is reached at.

WebSocket and HTTP clients alike get their bytes here, so that a test (or a virtual clock) can put memory streams in
the place of sockets, and so that rehearsal is a matter of *where one dials* and of nothing else.
"""

from __future__ import annotations

import os
import ssl
from typing import Protocol

import trio
from attrs import field, frozen

from mob.definition.model import ModelCapabilities, Profile
from mob.errors import ProviderUnreachable


@frozen(slots=True)
class Endpoint:
    """Where a member's model is dialled. `base_url` is http(s) and ends in the API's root, `…/v1`.

    `api_key` and `headers` are never shown: not in a repr, a log, an event or an error.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(factory=dict, repr=False, hash=False)
    rehearsed: bool = False


class Network(Protocol):
    """Opens byte streams. Who dials puts TLS on them: a WebSocket in memory, HTTP by its client."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """A connected stream of plain bytes; ProviderUnreachable when there is none. The caller bounds the time."""
        ...

    def tls_context(self) -> ssl.SSLContext:
        """How certificates are judged by who puts TLS over a stream of this network."""
        ...


class Dialler(Protocol):
    """Knows where each member's model is, and how to get bytes there."""

    @property
    def network(self) -> Network:
        """The network to dial on."""
        ...

    async def endpoint(self, identity: str, profile: Profile, model: ModelCapabilities) -> Endpoint:
        """Where this member is dialled. CredentialMissing when a vendor needs a key that is not there."""
        ...


class TcpNetwork:
    """The real one: TCP with happy eyeballs, TLS by the system's trust store."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context

    def tls_context(self) -> ssl.SSLContext:
        """The system's trust store, unless another context was given; made once, since that reads many files."""
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """See Network.connect. trio sets TCP_NODELAY: a 20 ms audio frame does not wait for the next."""
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise ProviderUnreachable(
                f"cannot connect to {host}:{port}: {_why(error)}; check the address and that it is up",
                recovery="reopen",
            ) from error


def _why(error: OSError) -> str:
    """The system's words for it. trio's own say no more than that all attempts failed; the first of them says why."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup) and isinstance(cause.exceptions[0], OSError):
        error = cause.exceptions[0]
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)  # the resolver's numbers are its own
