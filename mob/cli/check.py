"""`mob check`: every finding at once, to stdout; exit 2 when one of them is an error."""

from __future__ import annotations

import argparse
from pathlib import Path

from mob.definition.findings import findings_as_json
from mob.definition.load import check


def command(arguments: argparse.Namespace) -> int:
    """Print the findings of `arguments.team` and say whether it can run."""
    findings = check(arguments.team)
    errors = sum(finding.severity == "error" for finding in findings)
    if arguments.json:
        print(findings_as_json(str(arguments.team), findings))
    else:
        for finding in findings:
            print(placed(arguments.team, finding))
        warnings = len(findings) - errors
        verdict = "cannot run" if errors else "can run"
        print(f"{arguments.team}: {verdict} ({_count(errors, 'error')}, {_count(warnings, 'warning')})")
    return 2 if errors else 0


def placed(team: Path | str, finding: object) -> str:
    """A finding behind the file's name, as compilers print it: `team.toml:3:1: error: …`."""
    text = str(finding)
    return f"{team}:{text}" if text[:1].isdigit() else f"{team}: {text}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)
