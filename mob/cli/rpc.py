"""`mob rpc`, also installed as `mob-rpc`: JSON-RPC, one message a line, as Meerkat's clients speak it.

On the standard streams it serves whoever started it, and ends with them. With `--listen` it serves clients over TCP.
With `--server URL` (or MOB_SERVER in the environment) it is no server but the way to one: so a client that can only
start a process comes to a team that runs already.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path

from mob.carriers.links import StdioLink
from mob.cli.doors import gatekeeper_of, load_teams, realm_settings, run_server, serve_realm
from mob.definition.model import MobDefinition
from mob.remote.bridge import run_bridge
from mob.server.front.auth import read_secret
from mob.server.front.listening import parse_address, tls_context
from mob.server.limits import DoorLimits
from mob.server.realm.config import read_layers
from mob.server.realm.realm import open_realm
from mob.server.realm.records import RealmFiles, find_realm
from mob.server.serve import DoorSettings, Served

SERVER_VARIABLE = "MOB_SERVER"


def command(arguments: argparse.Namespace) -> int:
    """Serve until the client goes, or until interrupted."""
    server = arguments.server or os.environ.get(SERVER_VARIABLE)
    if server:
        return run_server(functools.partial(_bridge, server, read_secret(arguments.secret_file, os.environ)))
    definitions = load_teams(arguments.team)
    home: Path = arguments.user_config_root or Path.home()
    files = find_realm(
        arguments.realm,
        root=arguments.state_root or home / ".mob",
        backend=arguments.realm_backend,
        layers=read_layers(arguments.context_root or Path.cwd(), home),
    )
    settings = DoorSettings(
        rpc=None if arguments.listen is None else parse_address(arguments.listen),
        stdio=arguments.listen is None,
        live=None if arguments.live_ws is None else parse_address(arguments.live_ws, "--live-ws"),
        webrtc=arguments.live_webrtc,
        gatekeeper=gatekeeper_of(arguments),
        tls=tls_context(arguments.tls_cert, arguments.tls_key),
    )
    return run_server(functools.partial(_serve, arguments, files, definitions, settings))


async def _bridge(server: str, secret: str | None) -> None:
    async with StdioLink(max_bytes=DoorLimits().max_request_bytes) as link:
        await run_bridge(link, server, secret=secret)


async def _serve(
    arguments: argparse.Namespace, files: RealmFiles, definitions: list[MobDefinition], settings: DoorSettings
) -> None:
    async with open_realm(realm_settings(arguments, files.name, arguments.instance), files=files) as realm:
        for definition in definitions:
            await (await realm.add_team(definition)).start()
        await serve_realm(realm, settings, _say_ready)


def _say_ready(served: Served) -> None:
    """Where it is served goes to stdout, unless stdout is where it is served."""
    if served.rpc is not None:
        print(served.rpc, flush=True)
    if served.live is not None:
        print(f"live sockets: {served.live}", file=sys.stderr, flush=True)
