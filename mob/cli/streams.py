"""The three standard streams, as they may be found: closed, full, or in an encoding that cannot say everything."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

_CONTROLS = re.compile(r"(?!\x1b\[[0-9;]*m)[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def prepare_streams() -> None:
    """Make the standard streams usable, whatever the shell has done with them.

    A closed one (`<&-`, a daemon) is the null device from now on: nothing is read, nothing is shown, and no file that
    is opened later gets its number. Input that is not in the encoding is read with replacement characters, output that
    the encoding cannot say is written with escapes.
    """
    for name, mode, errors in (
        ("stdin", "r", "replace"),
        ("stdout", "w", "backslashreplace"),
        ("stderr", "w", "backslashreplace"),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def give_up_stdout() -> None:
    """Nothing can be written any more. Give the interpreter's last flush somewhere to go."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def harmless(text: str) -> str:
    """The text without control characters, other than line ends, tabs and colours.

    What a model, a tool or a provider says must not move the cursor, set a title or write the clipboard.
    """
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
