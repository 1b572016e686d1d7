"""What `mob serve` and `mob rpc` have in common: who may come in, and a server that runs until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio

from mob.cli.loop import run_loop
from mob.cli.signals import INTERRUPTED, cancel_on_signal
from mob.definition.load import load
from mob.definition.model import MobDefinition
from mob.errors import UsageError
from mob.rehearsal.faults import parse_fault
from mob.server.front.auth import Gatekeeper, read_secret
from mob.server.realm.realm import Realm, RealmSettings
from mob.server.serve import DoorSettings, Served, serve_doors


def gatekeeper_of(arguments: argparse.Namespace) -> Gatekeeper:
    """Who may come in, by the flags and the environment. UsageError."""
    return Gatekeeper(
        secret=read_secret(arguments.secret_file, os.environ),
        origins=tuple(arguments.allow_origin),
        hosts=tuple(arguments.allow_host),
    )


def realm_settings(arguments: argparse.Namespace, name: str, instance: str | None = None) -> RealmSettings:
    """How the realm runs its mobs, by the flags. UsageError."""
    return RealmSettings(
        name,
        rehearse=True if arguments.rehearse else None,
        seed=arguments.seed,
        faults=tuple(parse_fault(text) for text in arguments.fault),
        instance=instance,
    )


def load_teams(paths: Sequence[Path]) -> list[MobDefinition]:
    """The teams of these files. DefinitionError; UsageError for two of the same id."""
    loaded: dict[str, tuple[Path, MobDefinition]] = {}
    for path in paths:
        definition = load(path)
        if definition.id in loaded:
            first = loaded[definition.id][0]
            raise UsageError(f"{first} and {path} are both the team {definition.id!r}; serve one, or change an id")
        loaded[definition.id] = path, definition
    return [definition for _, definition in loaded.values()]


async def serve_realm(realm: Realm, settings: DoorSettings, on_ready: Callable[[Served], None]) -> None:
    """Serve the doors, and say on stderr what whoever started the server should know."""

    def ready(served: Served) -> None:
        # What is there now lives as long as the process: no collection need look through it, while sound is relayed.
        gc.collect()
        gc.freeze()
        for warning in served.warnings:
            print(f"mob: warning: {warning}", file=sys.stderr)
        on_ready(served)

    await serve_doors(realm, settings, on_ready=ready)


def run_server(serve: Callable[[], Awaitable[None]]) -> int:
    """Run until the server ends by itself (0) or by SIGINT or SIGTERM (130), its mobs drained either way."""

    async def run() -> int:
        serving = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            await nursery.start(cancel_on_signal, serving)
            with serving:
                await serve()
            nursery.cancel_scope.cancel()
        return INTERRUPTED if serving.cancelled_caught else 0

    return run_loop(run)
