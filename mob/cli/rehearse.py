"""`mob rehearse`: the rehearsed provider on a port of its own, for any client in any language."""

from __future__ import annotations

import argparse
import sys

import trio

from mob.definition.load import load
from mob.errors import UsageError
from mob.rehearsal.faults import parse_fault
from mob.rehearsal.serve import Rehearsal, serve_forever


def command(arguments: argparse.Namespace) -> int:
    """Serve until interrupted. The address goes to stdout as one line, so that a script can read it."""
    if arguments.member and not arguments.team:
        raise UsageError("--member names a member of a team file: give --team FILE as well")
    definition = load(arguments.team) if arguments.team else None
    if definition and arguments.member and arguments.member not in definition.members:
        known = ", ".join(definition.members)
        raise UsageError(f"{arguments.team} has no member {arguments.member!r}; it has {known}")
    host, port = _address(arguments.listen)
    faults = tuple(parse_fault(text) for text in arguments.fault)

    def ready(rehearsal: Rehearsal) -> None:
        print(rehearsal.base_url(None), flush=True)
        print("Rehearsed models answer here; stop with Ctrl-C.", file=sys.stderr)

    async def serve() -> None:
        await serve_forever(
            (host, port),
            definition=definition,
            member=arguments.member,
            seed=arguments.seed,
            faults=faults,
            on_ready=ready,
        )

    try:
        trio.run(serve)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        raise UsageError(f"cannot listen on {arguments.listen}: {error.strerror or error}") from error
    return 0


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen wants HOST:PORT such as 127.0.0.1:8080, not {listen!r}")
    return host.strip("[]") or "127.0.0.1", int(port)
