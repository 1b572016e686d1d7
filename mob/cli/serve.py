"""`mob serve`: a team, or several, for other programs. One port has everything; see docs/doors.md.

The directory of `--state` is its realm: what clients make is found again by the next server there, and so is the
realm's configuration. The team itself begins a new run each time, as with `mob run`, unless `--resume` says which.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from mob.cli.conversation import rehearsed_of
from mob.cli.doors import gatekeeper_of, load_teams, realm_settings, run_server, serve_realm
from mob.cli.output import how_rehearsed
from mob.cli.run import last_run, state_file
from mob.definition.model import MobDefinition
from mob.errors import UsageError
from mob.server.front.listening import parse_address, tls_context
from mob.server.realm.config import read_layers
from mob.server.realm.realm import open_realm
from mob.server.realm.records import RealmFiles
from mob.server.serve import DoorSettings, Served

_REALM = "serve"


def command(arguments: argparse.Namespace) -> int:
    """Serve the teams until interrupted. The base URL goes to stdout as one line, so that a script can read it."""
    if arguments.resume is not None and len(arguments.team) > 1:
        raise UsageError("--resume goes on with one run of one team; serve that team alone")
    definitions = load_teams(arguments.team)
    settings = DoorSettings(
        front=parse_address(arguments.listen),
        rpc=None if arguments.rpc is None else parse_address(arguments.rpc, "--rpc"),
        gatekeeper=gatekeeper_of(arguments),
        tls=tls_context(arguments.tls_cert, arguments.tls_key),
    )
    return run_server(functools.partial(_serve, arguments, definitions, settings))


async def _serve(arguments: argparse.Namespace, definitions: list[MobDefinition], settings: DoorSettings) -> None:
    state: Path = state_file(arguments.state)
    run_id = await last_run(state, definitions[0].id) if arguments.resume == "last" else arguments.resume
    files = RealmFiles(_REALM, "sqlite", state.parent, read_layers(Path.cwd(), Path.home()))
    async with open_realm(realm_settings(arguments, _REALM), files=files) as realm:
        rehearsed: list[str] = []
        for definition in definitions:
            hosted = await realm.add_team(definition, run_id=run_id, anew=run_id is None)
            await hosted.start()
            rehearsed += await rehearsed_of(hosted.mob)
        await serve_realm(realm, settings, functools.partial(_say_ready, definitions, rehearsed))


def _say_ready(definitions: list[MobDefinition], rehearsed: list[str], served: Served) -> None:
    print(served.http, flush=True)
    teams = ", ".join(definition.id for definition in definitions)
    lines = [f"{teams}: talk with it by `mob attach {served.http}`, or point any OpenAI client at {served.http}/v1"]
    if served.rpc is not None:
        lines.append(f"JSON-RPC lines: {served.rpc}")
    if rehearsed:
        lines.append(how_rehearsed(rehearsed))
    print(*lines, "Stop with Ctrl-C.", sep="\n", file=sys.stderr, flush=True)
