"""Checks of meaning: the tools, and the functions behind them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from mob.definition.model import Tool
from mob.definition.names import ROUTE_PREFIXES, route_tool
from mob.definition.positions import Path
from mob.definition.subject import Subject
from mob.definition.toolmodules import ToolCallable, ToolImportError, signature_fault

ImportTool = Callable[[str], ToolCallable]


def check_tools(subject: Subject, import_tool: ImportTool | None) -> None:
    """Say what is wrong with `[tools]` and with who names them."""
    _references(subject)
    _names(subject)
    if import_tool is not None:
        for tool in subject.definition.tools.values():
            if tool.python:
                _function(subject, tool, import_tool)


def _references(subject: Subject) -> None:
    known = subject.definition.tools
    for role in subject.roles():
        if not role.says("tools"):
            continue
        for index, name in enumerate(role.profile.tools):
            if name and name not in known:
                message = f"The tool {name!r} is not defined; write [tools.{name}]."
                subject.report.error("unknown_tool", message, (*role.path, "tools", index), word=name, known=known)


def _names(subject: Subject) -> None:
    taken = {route_tool(via, member): member for via in ROUTE_PREFIXES for member in subject.definition.members}
    for name in subject.definition.tools:
        if name in taken:
            message = f"{name!r} is the name of the tool by which {taken[name]!r} is reached; choose another."
            subject.report.error("tool_name_taken", message, ("tools", name))


def _function(subject: Subject, tool: Tool, import_tool: ImportTool) -> None:
    path: Path = ("tools", tool.name, "python")
    try:
        function = import_tool(tool.python)
    except ToolImportError as error:
        subject.report.error(error.code, error.message, path)
        return
    fault = signature_fault(function)
    if fault is not None:
        subject.report.error("tool_signature", f"{tool.python!r} cannot be a tool. {fault}", path)
    if tool.description is None and not inspect.getdoc(function):
        message = (
            f"{tool.python!r} has no docstring, so the model is not told what it does; write one, or `description`."
        )
        subject.report.warn("tool_undocumented", message, path)
