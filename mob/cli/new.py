"""`mob new NAME`: a team file of twenty lines that runs as it is."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from mob.errors import UsageError

_TEMPLATE = """\
[mob]
id = "{name}"
entry = "host"

[profiles.host]
model = "gpt-realtime-2"
voice = "marin"
instructions = "You are the host. Greet people and be brief. For facts about our work, ask the expert."

[profiles.expert]
model = "gpt-5.5"
peer_description = "Knows what we make, what it costs and when we are open."
instructions = "We make wooden toys. A train costs 30 euros and a boat costs 20 euros. We are open from nine to six."

[wiring]
routes = [{{ from = "host", to = "expert", via = ["ask"] }}]

# What the rehearsed host says to a greeting. Without a key every member is rehearsed; see docs/rehearsal.md.
[[rehearsal.host]]
when = "hello"
say = "Hello! Ask me what a train costs, or when we are open."
"""


def command(arguments: argparse.Namespace) -> int:
    """Write the file; refuse to replace one."""
    name: str = arguments.name
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name):
        raise UsageError(
            f"{name!r} cannot be a team's id: begin with a letter or _, go on with letters, digits, _ or -"
        )
    path = Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_TEMPLATE.format(name=name))
    except FileExistsError:
        raise UsageError(f"{path} is there already; choose another name or remove it") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    print(f"{path} written. Run it: mob run {path}")
    return 0
