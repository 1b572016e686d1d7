"""The `mob` command: flags in, one room's function called, an exit code out.

Nothing heavy is imported before a command needs it, so that `mob --help` answers at once. stdout is data, stderr is
log. Exit codes: 0 done, 2 bad team file or usage, 3 missing credential, 4 budget or limit, 5 a member failed,
130 interrupted after a clean drain.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mob.cli.doorflags import attach_flags, rpc_flags, serve_flags
from mob.cli.streams import give_up_stdout, prepare_streams
from mob.errors import DefinitionError, MobError

DEFAULT_STATE = Path(".mob")
STORE_FILE = "state.sqlite"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors that mob raises on purpose end here as one sentence."""
    prepare_streams()
    return _run(_parser().parse_args(argv))


def main_rpc(argv: Sequence[str] | None = None) -> int:
    """`mob-rpc`: the command `mob rpc` under a name of its own, as clients start their servers."""
    prepare_streams()
    parser = argparse.ArgumentParser(
        prog="mob-rpc", description="Serve JSON-RPC, one message a line.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version)
    parser.set_defaults(module="mob.cli.rpc")
    rpc_flags(parser)
    return _run(parser.parse_args(argv))


def _run(arguments: argparse.Namespace) -> int:
    try:
        command: Callable[[argparse.Namespace], int] = importlib.import_module(arguments.module).command
        code = command(arguments)
        sys.stdout.flush()
        return code
    except DefinitionError as error:
        from mob.cli.check import placed

        for finding in error.findings:
            print(placed(error.file or "the definition", finding), file=sys.stderr)
        if not error.findings:
            print(f"mob: {error}", file=sys.stderr)
        return error.exit_code
    except MobError as error:
        print(f"mob: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: end quietly.
        give_up_stdout()
        return 0
    except OSError as error:
        give_up_stdout()
        print(f"mob: the system refused what must be done to go on: {error}", file=sys.stderr)
        return MobError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mob",
        description="Write a team of talking agents in one TOML file, run it, and prove it.",
        epilog="Start with: mob new my-team && mob run my-team.toml",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        command.set_defaults(module=f"mob.cli.{name}")
        return command

    _run_flags(add("run", "Run a team and talk with it."))
    check = add("check", "Say everything that is wrong with a team file, without running it.")
    check.add_argument("team", metavar="TEAM.toml", type=Path)
    check.add_argument("--json", action="store_true", help="print the findings as one JSON document")
    models = add("models", "Print the model catalogue.")
    models.add_argument("--json", action="store_true", help="print it as one JSON document")
    _history_flags(add("history", "Print what was said: all runs, one run, or one member of it."))
    new = add("new", "Write a team file that runs.")
    new.add_argument("name", metavar="NAME", help="the team's id; the file is NAME.toml in this directory")
    _rehearse_flags(add("rehearse", "Serve a rehearsed provider for any client in any language."))
    serve_flags(add("serve", "Serve a team to other programs: OpenAI-compatible, REST, live sockets and JSON-RPC."))
    attach_flags(add("attach", "Watch and drive a served team from another terminal."))
    rpc_flags(add("rpc", "Serve JSON-RPC, one message a line, on the standard streams or a port."))
    return parser


def _run_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument("team", metavar="TEAM.toml", type=Path)
    run.add_argument("--say", metavar="TEXT", action="append", default=[], help="one turn; may be given again")
    run.add_argument("--wav", metavar="FILE", type=Path, help="send this sound (PCM16 WAV) as a turn, before any --say")
    run.add_argument("--member", metavar="NAME", help="talk with this member instead of the entry member")
    shape = run.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one event a line, as JSON")
    shape.add_argument("--plain", action="store_true", help="print plain lines, no colour and no screen")
    run.add_argument("--rehearse", action="store_true", help="rehearse every member, also those with a key")
    run.add_argument("--state", metavar="DIR", type=Path, default=DEFAULT_STATE, help="where runs are kept (.mob)")
    run.add_argument("--resume", metavar="RUN", help="go on with this run, or with the `last` one")
    run.add_argument("--seed", metavar="N", type=int, help="make a rehearsed run repeatable")
    run.add_argument(
        "--fault",
        metavar="KIND[@N]",
        action="append",
        default=[],
        help="rehearsed members suffer this; may be repeated",
    )


def _history_flags(history: argparse.ArgumentParser) -> None:
    history.add_argument("run", metavar="RUN", nargs="?", help="a run's id, or `last`")
    history.add_argument("member", metavar="MEMBER", nargs="?")
    history.add_argument("--json", action="store_true", help="print one JSON document")
    history.add_argument("--state", metavar="DIR", type=Path, default=DEFAULT_STATE, help="where runs are kept (.mob)")


def _rehearse_flags(rehearse: argparse.ArgumentParser) -> None:
    rehearse.add_argument("--wire", choices=["openai"], default="openai", help="the vendor whose wires are spoken")
    rehearse.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="port 0: any free one")
    rehearse.add_argument("--team", metavar="FILE", type=Path, help="play the members of this team file")
    rehearse.add_argument("--member", metavar="NAME", help="which of them answers at /v1")
    rehearse.add_argument("--seed", metavar="N", type=int, default=0)
    rehearse.add_argument("--fault", metavar="KIND[@N]", action="append", default=[], help="see docs/rehearsal.md")


class _Version(argparse.Action):
    """Prints the installed version; looked up only when asked for, because that reads metadata from disk."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"mob {version('mob')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
