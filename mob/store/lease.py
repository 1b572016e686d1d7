"""One writer per run: a lock that the kernel takes back when its holder is gone, however it went.

The lease of run n of `state.sqlite` is an exclusive flock(2) on `state.sqlite.run-n.lock`. It belongs to the open file,
so two stores of one process exclude each other like two processes do, and `kill -9` frees it. The file names the
process for the sake of whoever is refused, and goes when the run is closed in order; one that stayed behind means
nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mob.errors import StoreLocked


class Lease:
    """Held from construction to `release`. StoreLocked when somebody else holds it; OSError."""

    def __init__(self, database: Path, run_number: int, run_id: str) -> None:
        self._database = database
        self._path = database.with_name(f"{database.name}.run-{run_number}.lock")
        self._file = self._acquire(run_id)

    def release(self) -> None:
        """Let the next writer in."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _acquire(self, run_id: str) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(file):
                    os.ftruncate(file, 0)
                    os.write(file, str(os.getpid()).encode())
                    return file
            except BlockingIOError:
                holder = os.pread(file, 20, 0).decode("ascii", "replace") or "unknown"
                os.close(file)
                raise StoreLocked(
                    f"run {run_id!r} of {self._database} is being written by process {holder}; "
                    "end it there first, or start a run of its own"
                ) from None
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _is_current(self, file: int) -> bool:
        """Whether the file we locked is still the one with the name: its last holder may just have removed it."""
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False
