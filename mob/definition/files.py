"""Reading what a team file names, at the edge: regular files only, of bounded size, inside its directory, UTF-8.

A path in a team file is as untrusted as the rest of it: `/dev/zero` never ends, a FIFO never begins, and a link may
lead anywhere. Everything that goes wrong is a FileRefused with a code of `mob.definition.findings`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

MAX_FILE_BYTES = 2**20
"""One MiB: a team file of that size has ten thousand sentences in it."""


class FileRefused(Exception):
    """A file that will not be read; `code` is the finding's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def read_bytes(path: Path) -> bytes:
    """The whole of a regular file. FileRefused, never an OSError."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise FileRefused("file_missing", f"There is no file {str(path)!r}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileRefused("file_unreadable", f"{str(path)!r} cannot be read: {reason}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileRefused("file_unreadable", f"{str(path)!r} is no regular file.")
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise FileRefused("file_unreadable", f"{str(path)!r} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise FileRefused("file_too_large", f"{str(path)!r} is larger than {MAX_FILE_BYTES // 1024} KiB.")
    return data


def text_of(data: bytes, name: str) -> str:
    """The text of UTF-8 bytes; FileRefused says where it stops being UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileRefused("not_utf8", f"{name} is UTF-16. Save it as UTF-8.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileRefused("not_utf8", f"{name} is not UTF-8: line {line}, byte offset {error.start}.") from None


def reader(base_dir: Path) -> Callable[[Path], str]:
    """A `read_file` for `parse_definition` that never leaves `base_dir`, not by a link either."""
    root = base_dir.resolve()

    def read_file(path: Path) -> str:
        try:
            real = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise FileRefused("file_unreadable", f"{str(path)!r} cannot be read: {error}.") from None
        if not real.is_relative_to(root):
            raise FileRefused("file_outside", f"{str(path)!r} leads out of the team file's directory.")
        return text_of(read_bytes(real), f"{str(path)!r}")

    return read_file
