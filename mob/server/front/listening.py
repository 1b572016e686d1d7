"""Where a server listens: addresses read, certificates loaded, ports opened."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import trio
from attrs import frozen

from mob.errors import UsageError

_BACKLOG = 128
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


@frozen(slots=True)
class Address:
    """HOST:PORT; port 0 is any free one. An IPv6 host goes in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str, flag: str = "--listen") -> Address:
    """UsageError names the flag."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{flag} {text!r} is no address; write HOST:PORT, and port 0 for any free one")
    if ":" in host and not bracketed:
        raise UsageError(f"{flag} {text!r}: put an IPv6 address in brackets, [{host}]:{port}")
    return Address(host.strip("[]"), int(port))


async def listen(address: Address) -> tuple[list[trio.SocketListener], Address]:
    """Open the port; the listeners and the address that was had. UsageError when it cannot be had."""
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(f"cannot listen on {address}: {error}; choose another address, or port 0") from error
    host, port = listeners[0].socket.getsockname()[:2]
    return listeners, Address(host, port)


def keep_alive(stream: trio.abc.Stream) -> None:
    """Let the system find out when the peer of a connection that may be silent has vanished: in two minutes."""
    if not isinstance(stream, trio.SocketStream):
        return
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):  # not every system lets it be chosen
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS with this certificate chain, TLS 1.2 at least; None without one. UsageError for files that do not do."""
    if cert is None and key is None:
        return None
    if cert is None:
        raise UsageError("--tls-key goes with --tls-cert: give the certificate's file too")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password of our own, OpenSSL would ask the terminal for that of an encrypted key, and wait.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError) as error:
        what = error.strerror if error.errno is not None and not isinstance(error, ssl.SSLError) else error
        raise UsageError(
            f"the certificate in {cert} cannot be used ({what}); give PEM files, and a key that is not encrypted"
        ) from error
    return context
