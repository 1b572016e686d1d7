"""The edge: a team file on disk to a MobDefinition, or to findings. Everything else of this room is pure."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from mob.definition.files import FileRefused, read_bytes, reader, text_of
from mob.definition.findings import Finding
from mob.definition.model import MobDefinition
from mob.definition.parse import parse_definition
from mob.definition.toolmodules import import_tool
from mob.errors import DefinitionError


def load(path: str | os.PathLike[str]) -> MobDefinition:
    """The team of this file. DefinitionError carries every finding when one of them is an error.

    Imports the modules of the team's tools, as running the team would.
    """
    definition, findings = _read(path)
    if definition is None:
        errors = [finding for finding in findings if finding.severity == "error"]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise DefinitionError(f"{os.fspath(path)}: {errors[0]}{more}", findings, file=os.fspath(path))
    return definition


def check(path: str | os.PathLike[str]) -> tuple[Finding, ...]:
    """Everything there is to say about this file, in the file's order. Raises nothing for a bad file."""
    return _read(path)[1]


def _read(path: str | os.PathLike[str]) -> tuple[MobDefinition | None, tuple[Finding, ...]]:
    file = Path(path)
    try:
        text = text_of(read_bytes(file), "The file")
    except FileRefused as error:
        return None, (Finding("error", error.code, error.message),)
    base_dir = file.absolute().parent
    return parse_definition(
        text, base_dir=base_dir, read_file=reader(base_dir), import_tool=partial(import_tool, base_dir=base_dir)
    )
