"""The reference part of docs/team-files.md, rendered from the table of keys and the list of codes.

`python -m mob.definition.reference` prints it; a test holds the page to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from attrs import NOTHING, Factory, fields

from mob.definition.findings import CODES
from mob.definition.keys import MEMBER, ROOT
from mob.definition.shapes import Either, Key, ListOf, MapOf, Shape, Table, in_words


def render_reference() -> str:
    """Markdown: one table for each section of a team file, then the findings' codes."""
    parts = [_section(title, table) for title, table in _tables(ROOT, "")]
    parts.append(_unbuilt_sections())
    parts.append(_codes())
    return "\n".join(parts)


def _tables(shape: Shape, at: str, brackets: int = 1) -> Iterator[tuple[str, Table]]:
    match shape:
        case Table(keys=keys):
            if at:
                yield f"{'[' * brackets}{at}{']' * brackets}", shape
            if shape is MEMBER:
                return  # its tables are the profile's
            for key in keys:
                yield from _tables(key.shape, f"{at}.{key.name}" if at else key.name)
        case MapOf(item=item, noun=noun):
            yield from _tables(item, f"{at}.{noun}")
        case ListOf(item=item):
            yield from _tables(item, at, 2)
        case Either(options=options):
            for option in options:
                yield from _tables(option, at, brackets)
        case _:
            return


def _section(title: str, table: Table) -> str:
    rows = [f"### `{title}`", "", "| key | takes | default | meaning |", "|---|---|---|---|"]
    built = [key for key in table.keys if key.not_built is None]
    rows.extend(_row(key, table.model) for key in built)
    if not built:
        del rows[1:]
    unbuilt = [key for key in table.keys if key.not_built is not None]
    if unbuilt:
        rows += ["", "Recognised, with a warning and no effect:", ""]
        rows += [f"- `{key.name}`: {key.not_built}" for key in unbuilt]
    return "\n".join([*rows, ""])


def _row(key: Key, model: type | None) -> str:
    cells = (f"`{key.name}`", in_words(key.shape), _default(key, model), key.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(key: Key, model: type | None) -> str:
    if key.required:
        return "required"
    if key.default is not None:
        return f"`{key.default}`" if key.default[:1] in '["' or key.default in ("true", "false") else key.default
    field = next((a for a in fields(model) if a.name == key.name), None) if model is not None else None
    return "none" if field is None else _shown(field.default)


def _shown(default: Any) -> str:
    if isinstance(default, Factory):  # type: ignore[arg-type]
        default = default.factory()
    match default:
        case None:
            return "none"
        case bool():
            return f"`{str(default).lower()}`"
        case str() if default:
            return f'`"{default}"`'
        case int() | float():
            return f"`{default}`"
        case tuple() if default:
            return "`[" + ", ".join(f'"{item}"' for item in default) + "]`"
    return "none" if default is NOTHING else "empty"


def _unbuilt_sections() -> str:
    rows = ["### Sections that are recognised and not built", "", "| section | what to do |", "|---|---|"]
    rows.extend(f"| `{key.name}` | {key.not_built} |" for key in ROOT.keys if key.not_built is not None)
    return "\n".join([*rows, ""])


def _codes() -> str:
    rows = ["### Codes", "", "| code | what it says |", "|---|---|"]
    rows.extend(f"| `{code}` | {meaning} |" for code, meaning in CODES.items())
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    sys.stdout.write(render_reference())
