"""From a team file's text to a MobDefinition and findings: pure, whatever the text.

The steps: read TOML (an error ends it, with one finding); structure it by the table of keys; build the values; check
what they mean. All but the first go on past errors, so that one reading finds everything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli

from mob.definition.build import Builder, ReadFile
from mob.definition.check_models import check_models
from mob.definition.check_rehearsal import check_rehearsal
from mob.definition.check_team import check_team
from mob.definition.check_tools import ImportTool, check_tools
from mob.definition.files import MAX_FILE_BYTES
from mob.definition.findings import Finding
from mob.definition.keys import ROOT
from mob.definition.model import MobDefinition
from mob.definition.report import Report, syntax_finding
from mob.definition.structure import Structurer
from mob.definition.subject import Subject

_BOM = "\ufeff"


def parse_definition(
    text: str, *, base_dir: Path, read_file: ReadFile, import_tool: ImportTool | None = None
) -> tuple[MobDefinition | None, tuple[Finding, ...]]:
    """The definition, or None when there is an error, and every finding in the file's order. Raises nothing.

    `read_file` reads what the text refers to, and may raise OSError, ValueError or FileRefused. `import_tool` takes
    the "module:function" of a tool and gives the function or raises ToolImportError; without it the tools are not
    looked at.
    """
    report = Report()
    if text.startswith(_BOM):
        report.warn("byte_order_mark", "The file begins with a byte order mark. Save it as UTF-8 without one.", ())
        text = text[1:]
    tables, fault = _read(text)
    if tables is None:
        return None, (fault,) if fault is not None else ()
    digest = hashlib.sha256(text.encode()).hexdigest()
    definition = definition_from_tables(
        tables, report, digest=digest, base_dir=base_dir, read_file=read_file, import_tool=import_tool
    )
    return None if report.failed() else definition, report.findings(text)


def definition_from_tables(
    tables: Mapping[str, Any],
    report: Report,
    *,
    digest: str,
    base_dir: Path,
    read_file: ReadFile,
    import_tool: ImportTool | None = None,
) -> MobDefinition:
    """All steps behind the reading. What comes out is a definition only if the report has no error. Raises nothing."""
    structured = Structurer(report).table(tables, ROOT, ())
    builder = Builder(structured, report, base_dir, read_file)
    definition = builder.definition(digest)
    subject = Subject(definition, structured, report)
    check_team(subject, builder.wiring(definition.orchestrator))
    check_models(subject)
    check_tools(subject, import_tool)
    check_rehearsal(subject)
    return definition


def _read(text: str) -> tuple[dict[str, Any] | None, Finding | None]:
    """The TOML as Python values, or the one finding that says why not."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line, column = _place(text, error.start)
        return None, Finding("error", "not_utf8", "This is half of a character; it cannot be UTF-8.", "", line, column)
    if size > MAX_FILE_BYTES:
        message = f"A team file has at most {MAX_FILE_BYTES // 1024} KiB; put long texts into files of their own."
        return None, Finding("error", "file_too_large", message)
    try:
        return tomli.loads(text), None
    except tomli.TOMLDecodeError as error:
        return None, syntax_finding(error)
    except RecursionError:
        return None, Finding("error", "too_deep", "Tables or lists are nested too deep to be read.")
    except ValueError as error:  # Python refuses integers of more than 4300 digits with a plain one
        digits = re.search(r"[0-9_]{4000,}", text)
        line, column = _place(text, digits.start()) if digits else (0, 0)
        return None, Finding("error", "toml_syntax", f"This is not TOML that mob reads: {error}.", "", line, column)


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
