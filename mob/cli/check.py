"""`mob check`: every finding at once, to stdout; exit 2 when one of them is an error."""

from __future__ import annotations

import argparse
import json

from attrs import asdict

from mob.definition.load import check


def command(arguments: argparse.Namespace) -> int:
    """Print the findings of `arguments.team` and say whether it can run."""
    findings = check(arguments.team)
    errors = sum(finding.severity == "error" for finding in findings)
    if arguments.json:
        document = {"file": str(arguments.team), "ok": not errors, "findings": [asdict(f) for f in findings]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{arguments.team}:{finding}")
        warnings = len(findings) - errors
        verdict = "cannot run" if errors else "can run"
        print(f"{arguments.team}: {verdict} ({errors} errors, {warnings} warnings)")
    return 2 if errors else 0
