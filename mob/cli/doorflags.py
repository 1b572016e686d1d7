"""The flags of `mob serve`, `mob rpc` and `mob attach`."""

from __future__ import annotations

import argparse
from pathlib import Path


def serve_flags(serve: argparse.ArgumentParser) -> None:
    """`mob serve TEAM.toml`."""
    serve.add_argument("team", metavar="TEAM.toml", type=Path, nargs="+", help="the team; or several, each a mob")
    serve.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:8787", help="one port for everything (127.0.0.1:8787)"
    )
    serve.add_argument("--rpc", metavar="HOST:PORT", help="JSON-RPC lines over TCP as well")
    _run_flags(serve)
    serve.add_argument("--state", metavar="DIR", type=Path, default=Path(".mob"), help="where runs are kept (.mob)")
    serve.add_argument("--resume", metavar="RUN", help="go on with this run of the (single) team, or with the `last`")
    _safety_flags(serve)


def rpc_flags(rpc: argparse.ArgumentParser) -> None:
    """`mob rpc`: those of Meerkat's server, and our own."""
    rpc.add_argument("--listen", metavar="HOST:PORT", help="serve clients over TCP instead of the standard streams")
    rpc.add_argument(
        "--server",
        metavar="URL",
        help="serve nothing: bridge the standard streams to the server that runs there (or in MOB_SERVER)",
    )
    rpc.add_argument("--team", metavar="FILE", type=Path, action="append", default=[], help="run this team at start")
    rpc.add_argument("--live-ws", metavar="HOST:PORT", help="offer live channels over WebSockets on this address")
    rpc.add_argument("--live-webrtc", action="store_true", help="taken, and refused when a channel asks for it")
    where = rpc.add_mutually_exclusive_group()
    where.add_argument("--realm", metavar="NAME", help="keep state under this name, and find it again")
    where.add_argument("--isolated", action="store_true", help="a fresh realm, kept in memory (the default)")
    rpc.add_argument("--instance", metavar="NAME", help="a name for this process, in its logs and capabilities")
    rpc.add_argument(
        "--realm-backend", choices=["sqlite", "memory"], help="how the realm is kept (sqlite, with --realm)"
    )
    rpc.add_argument("--state-root", metavar="DIR", type=Path, help="where realms are kept (~/.mob)")
    rpc.add_argument("--context-root", metavar="DIR", type=Path, help="the project, whose .mob/config.toml counts (.)")
    rpc.add_argument("--user-config-root", metavar="DIR", type=Path, help="whose .mob/config.toml counts first (~)")
    _run_flags(rpc)
    _safety_flags(rpc)


def attach_flags(attach: argparse.ArgumentParser) -> None:
    """`mob attach SERVER`."""
    attach.add_argument(
        "server", metavar="SERVER", help="http://HOST:PORT of `mob serve` (or https, tcp, tls), or a command in quotes"
    )
    attach.add_argument("--say", metavar="TEXT", action="append", default=[], help="one turn; may be given again")
    attach.add_argument("--member", metavar="NAME", help="talk with this member, whoever has the floor")
    attach.add_argument("--mob", metavar="ID", help="which of the server's mobs, where there is more than one")
    shape = attach.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one event a line, as JSON")
    shape.add_argument("--plain", action="store_true", help="print plain lines, no colour and no screen")
    attach.add_argument(
        "--secret-file", metavar="FILE", type=Path, help="the server's secret (or in MOB_SERVER_SECRET)"
    )


def _run_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rehearse", action="store_true", help="rehearse every member, also those with a key")
    command.add_argument("--seed", metavar="N", type=int, help="make rehearsed runs repeatable")
    command.add_argument(
        "--fault",
        metavar="KIND[@N]",
        action="append",
        default=[],
        help="rehearsed members suffer this; may be repeated",
    )


def _safety_flags(command: argparse.ArgumentParser) -> None:
    safety = command.add_argument_group("safety")
    safety.add_argument(
        "--secret-file",
        metavar="FILE",
        type=Path,
        help="clients must show the secret in it (or in MOB_SERVER_SECRET); demanded for any address but loopback",
    )
    safety.add_argument(
        "--allow-origin", metavar="ORIGIN", action="append", default=[], help="pages that may talk to it"
    )
    safety.add_argument("--allow-host", metavar="NAME", action="append", default=[], help="a name it answers to")
    safety.add_argument("--tls-cert", metavar="FILE", type=Path, help="serve TLS with this certificate chain (PEM)")
    safety.add_argument("--tls-key", metavar="FILE", type=Path, help="its key, when it is not in the same file")
