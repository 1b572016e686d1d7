"""`config/get`, `config/set`, `config/patch`: the realm's configuration, with compare-and-set by its generation.

A change holds for sessions that are made from then on; those that are there keep their model.
"""

from __future__ import annotations

from typing import Any

from mob.server.params import Params
from mob.server.realm.realm import Realm
from mob.server.rpc.client import RpcClient
from mob.server.rpc.dispatch import Serve

JSON = dict[str, Any]


def config_methods(realm: Realm) -> dict[str, Serve]:
    """The methods of the configuration."""

    async def get(client: RpcClient, params: Params) -> JSON:
        return _envelope(realm)

    async def replace(client: RpcClient, params: Params) -> JSON:
        expected = params.maybe_whole("expected_generation")
        await realm.config.replace(params.child("config").values, expected=expected)
        return _envelope(realm)

    async def patch(client: RpcClient, params: Params) -> JSON:
        expected = params.maybe_whole("expected_generation")
        await realm.config.patch(params.child("patch").values, expected=expected)
        return _envelope(realm)

    return {"config/get": get, "config/set": replace, "config/patch": patch}


def _envelope(realm: Realm) -> JSON:
    config, directory = realm.config, realm.files.directory
    paths = {layer.name: str(layer.path) for layer in config.layers if layer.path is not None}
    if directory is not None:
        paths["realm"] = str(directory)
    return {
        "config": config.composed,
        "generation": config.generation,
        "realm_id": realm.files.name,
        "instance_id": realm.settings.instance,
        "backend": realm.files.backend,
        "resolved_paths": paths or None,
    }
