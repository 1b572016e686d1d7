"""The JSON twin of a team file, as it comes over a door: the same keys, the same checks, and nothing that is code.

What differs from the file: `id`, `description`, `entry` and `orchestrator` stand at the top level, as Meerkat's clients
write them (a `[mob]` table is taken, too), and `null` is the same as leaving a key out. Findings have a path and no
line.

Who sends a definition is not who runs the server. So it makes us read no file, import no module, and dial no address of
its choosing with a key of ours: files, `python` and `[providers]` are refused, each by a finding.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from mob.definition.files import MAX_FILE_BYTES, FileRefused
from mob.definition.findings import Finding
from mob.definition.model import MobDefinition
from mob.definition.parse import definition_from_tables
from mob.definition.positions import MAX_DEPTH, Path as KeyPath
from mob.definition.report import Report
from mob.definition.shapes import toml_type

_HEAD: Final = ("id", "description", "entry", "orchestrator")
_REFUSED: Final = "door_refused"


def definition_from_json(document: object) -> tuple[MobDefinition | None, tuple[Finding, ...]]:
    """The definition, or None when there is an error, and every finding. Raises nothing, whatever the document."""
    report = Report()
    tables = _plain(document, (), report)
    if not isinstance(document, Mapping):
        report.error("wrong_type", f"A definition is a JSON object, not {toml_type(document)}.", ())
    if not isinstance(tables, dict) or report.failed():
        return None, report.findings(None)
    text = json.dumps(tables, sort_keys=True)
    if len(text) > MAX_FILE_BYTES:
        report.error("file_too_large", f"A definition has at most {MAX_FILE_BYTES // 1024} KiB of JSON.", ())
        return None, report.findings(None)
    flat = "mob" not in tables
    if flat:
        tables["mob"] = {key: tables.pop(key) for key in _HEAD if key in tables}
    _refuse_code(tables, report)
    digest = hashlib.sha256(text.encode()).hexdigest()
    definition = definition_from_tables(tables, report, digest=digest, base_dir=Path(), read_file=_no_file)
    findings = report.findings(None)
    if flat:
        findings = tuple(evolve(each, path=_lifted(each.path)) for each in findings)
    return None if report.failed() else definition, findings


def _lifted(path: str) -> str:
    """A path as it is where the keys of `[mob]` stand at the top."""
    return "" if path == "mob" else path.removeprefix("mob.")


def _plain(value: Any, path: KeyPath, report: Report) -> Any:
    """The value without nulls; what TOML could not say either is reported."""
    if len(path) > MAX_DEPTH:
        report.error("too_deep", "Objects or lists are nested too deep to be read.", ())
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            report.error("not_utf8", "This has half of a character in it; it cannot be UTF-8.", path)
        return value
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                report.error("wrong_type", f"The name of a key is text, not {toml_type(name)}.", path)
                return None
            _plain(name, path, report)
        return {name: _plain(each, (*path, name), report) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each, (*path, index), report) for index, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        report.error("wrong_type", "This number is not finite; JSON has no such number.", path)
        return None
    if value is not None and not isinstance(value, bool | int | float):
        report.error("wrong_type", f"A {type(value).__name__} is nothing that JSON has.", path)
        return None
    return value


def _refuse_code(tables: dict[str, Any], report: Report) -> None:
    providers = tables.pop("providers", None)
    if providers:
        message = "Where a provider is dialled is the server's to say, not a definition's that came over a door."
        report.error(_REFUSED, message, ("providers",))
    tools = tables.get("tools")
    for name, keys in tools.items() if isinstance(tools, dict) else ():
        if isinstance(keys, dict) and "python" in keys:
            message = (
                "A definition that came over a door runs no code of this server; register the tool as the client's own."
            )
            report.error(_REFUSED, message, ("tools", name, "python"))


def _no_file(path: Path) -> str:
    raise FileRefused(_REFUSED, f"A definition that came over a door reads no file; write the text here ({path.name}).")
