"""`mob rehearse`: the rehearsed provider on a port of its own, for any client in any language."""

from __future__ import annotations

import argparse
import sys

import trio

from mob.cli.loop import run_loop
from mob.cli.signals import INTERRUPTED, cancel_on_signal
from mob.definition.load import load
from mob.errors import UsageError
from mob.rehearsal.faults import parse_fault
from mob.rehearsal.serve import serve_forever


def command(arguments: argparse.Namespace) -> int:
    """Serve until interrupted. The base URL goes to stdout as one line, so that a script can read it."""
    if arguments.member and not arguments.team:
        raise UsageError("--member names a member of a team file: give --team FILE as well")
    definition = load(arguments.team) if arguments.team else None
    faults = tuple(parse_fault(text) for text in arguments.fault)

    async def serve() -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
            await serve_forever(
                arguments.listen,
                definition=definition,
                member=arguments.member,
                seed=arguments.seed,
                faults=faults,
                on_ready=_say_ready,
            )
        return INTERRUPTED

    return run_loop(serve)


def _say_ready(base_url: str) -> None:
    print(base_url, flush=True)
    print("Rehearsed models answer here; stop with Ctrl-C.", file=sys.stderr)
