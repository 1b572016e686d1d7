"""Who may come in: the server's secret, and the origins and hosts of browsers.

On a loopback address no secret is needed, but a browser is always asked where its page comes from: any page in the
world can open a WebSocket to 127.0.0.1. Any other address demands a secret. Secrets are compared in constant time and
are in no repr, log, event or error.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from mob.errors import Unauthorized, UsageError

SECRET_VARIABLE = "MOB_SERVER_SECRET"
CLIENT_SECRET_PREFIX = "ek_"
_SHORTEST = 16
_KEY_PROTOCOL = "openai-insecure-api-key."


@frozen(slots=True)
class Gatekeeper:
    """The rules of one server. `secret` None: everybody who reaches the address may come in.

    `origins`: pages that may talk to us, besides those served from loopback ("*": all). `hosts`: names we answer to,
    besides loopback and plain addresses.
    """

    secret: str | None = field(default=None, repr=False)
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse who has not the secret. Unauthorized."""
        if self.secret is not None and not self.knows(bearer_of(headers)):
            raise Unauthorized(
                "this server wants its secret: send it as `Authorization: Bearer …` "
                f"(it was given with --secret-file or {SECRET_VARIABLE})"
            )

    def knows(self, shown: str | None) -> bool:
        """Whether this is the secret."""
        if self.secret is None:
            return True
        return shown is not None and hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self.secret.encode())

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse pages from elsewhere, and names that are not ours (a page can point its own at us). Unauthorized."""
        host = headers.get("host")
        if self.secret is None and host is not None and not self._is_ours(_hostname(f"//{host}")):
            raise Unauthorized(f"this server does not answer to the name {host!r}; allow it with --allow-host")
        origin = headers.get("origin")
        if origin is not None and not self.allows(origin):
            raise Unauthorized(f"pages of {origin!r} may not talk to this server; allow them with --allow-origin")

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may talk to us."""
        if "*" in self.origins or origin.casefold() in {allowed.casefold().rstrip("/") for allowed in self.origins}:
            return True
        return is_loopback(_hostname(origin))

    def _is_ours(self, name: str) -> bool:
        return is_loopback(name) or _is_address(name) or name in {host.casefold() for host in self.hosts}


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """What a client shows: in the Authorization header, or as browsers must, among the WebSocket subprotocols."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.casefold() == "bearer" and value.strip():
        return value.strip()
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(_KEY_PROTOCOL):
            return offered.strip().removeprefix(_KEY_PROTOCOL)
    return None


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine itself."""
    if host.casefold() == "localhost" or host.casefold().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_secret(file: Path | None, environ: Mapping[str, str]) -> str | None:
    """The server's secret: the file's first line, else the environment's. UsageError for one that protects nothing."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"the secret cannot be read from {file}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise UsageError(f"the secret cannot be read from {file}: the file is no UTF-8 text") from None
        where, secret = str(file), text.partition("\n")[0].strip()
    else:
        where, secret = SECRET_VARIABLE, environ.get(SECRET_VARIABLE, "").strip()
        if not secret:
            return None
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise UsageError(
            f"the secret in {where} must be {_SHORTEST} or more visible ASCII characters without spaces; "
            "`openssl rand -hex 24` makes one"
        )
    if secret.startswith(CLIENT_SECRET_PREFIX):
        raise UsageError(
            f"the secret in {where} begins with {CLIENT_SECRET_PREFIX!r}, as the client secrets do that the gateway "
            "makes, and would be taken for one; choose another"
        )
    return secret


def check_exposure(hosts: Sequence[str], secret: str | None, *, tls: bool) -> list[str]:
    """What is to be warned about these listening addresses. UsageError for an open address without a secret."""
    exposed = [host for host in hosts if not is_loopback(host)]
    if not exposed:
        return []
    if secret is None:
        raise UsageError(
            f"{exposed[0]} can be reached from other machines: give a secret with --secret-file FILE or "
            f"{SECRET_VARIABLE}, or listen on 127.0.0.1"
        )
    if tls:
        return []
    return [
        f"{exposed[0]} is served without TLS: the secret and everything said travels in clear (--tls-cert, --tls-key)"
    ]


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").casefold()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
