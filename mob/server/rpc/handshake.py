"""How a client gets to know a server: `initialize`, `capabilities/get`, `models/catalog`.

What is said here is what is there: the methods are the table's own, and a capability of Meerkat's that this server does
not have is named with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from mob.server.catalog import CONTRACT, catalog, contract_version
from mob.server.params import Params
from mob.server.realm.realm import Realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Methods, Serve

JSON = dict[str, Any]

_OFFERED: Final = {
    "sessions": "Sessions: turns, histories, events",
    "comms": "Messages between the members of a mob, over its routes",
}
_LACKING: Final = {
    "structured_output": "Answers that are checked against a schema",
    "hooks": "Hooks around turns and tools",
    "builtins": "Built-in tools",
    "shell": "A shell tool",
    "memory_store": "A memory that outlives a session",
    "skills": "Skills that a turn refers to",
}


def handshake_methods(realm: Realm, methods: Methods, *, live: bool) -> dict[str, Serve]:
    """`methods` is the whole table, as it is when somebody asks. `live`: whether there are live channels."""

    async def initialize(client: RpcClient, params: Params) -> JSON:
        params.maybe_text("secret")
        return {
            "server_info": {
                "name": "mob-rpc",
                "version": version("mob"),
                "realm": realm.settings.name,
                "instance": realm.settings.instance,
            },
            "contract_version": ".".join(map(str, CONTRACT)),
            "methods": list(methods.names),
        }

    async def capabilities_get(client: RpcClient, params: Params) -> JSON:
        return {"contract_version": contract_version(), "capabilities": _capabilities(live=live)}

    async def models_catalog(client: RpcClient, params: Params) -> JSON:
        return catalog(realm.config.default_model)

    return {
        "initialize": initialize,
        "capabilities/get": capabilities_get,
        "models/catalog": models_catalog,
    }


def _capabilities(*, live: bool) -> list[JSON]:
    offered: Mapping[str, str] = {**_OFFERED, **({"live": "Live channels over WebSockets"} if live else {})}
    return [
        *({"id": name, "description": what, "status": "Available"} for name, what in offered.items()),
        *(
            {"id": name, "description": what, "status": {"NotCompiled": {"feature": name}}}
            for name, what in _LACKING.items()
        ),
    ]
