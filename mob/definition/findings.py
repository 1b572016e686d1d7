"""What `mob check` says: findings, each with a place, a stable code and a sentence that says what to do."""

from __future__ import annotations

from typing import Literal

from attrs import frozen


@frozen(slots=True)
class Finding:
    """One thing to know about a team file.

    `line` and `column` count from 1 (0: the file as a whole). `path` is the key path, `profiles.host.model`.
    `nearest` is the known name the author probably meant.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    nearest: str | None = None

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: " if self.line else ""
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        at = f" [{self.path}]" if self.path else ""
        return f"{where}{self.severity}: {self.message}{hint}{at} ({self.code})"
