"""Importing the Python functions that `[tools.X]` names, at the edge.

`python = "module:function"`: the module is looked for beside the team file first, then wherever Python looks. A module
beside the team file is loaded under a name of its own, so that two teams may each have a `tools.py`; it is loaded
once for each file, so that what the check imported is what the run calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ToolCallable = Callable[..., Any]


class ToolImportError(Exception):
    """The tool cannot be had; `code` is the finding's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def import_tool(python: str, base_dir: Path) -> ToolCallable:
    """The function that `python` names. Runs the module's code; whatever it raises becomes a ToolImportError."""
    module_name, _, attribute = python.partition(":")
    module = _module(module_name, base_dir)
    found: Any = module
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ToolImportError("tool_attribute_missing", f"{module_name!r} has no {attribute!r}.") from None
        except Exception as error:
            raise _failed(module_name, error) from error
    if not callable(found):
        raise ToolImportError("tool_not_callable", f"{python!r} is {type(found).__name__}, not a function.")
    return found  # type: ignore[no-any-return]


def signature_fault(function: ToolCallable) -> str | None:
    """Why a model cannot call this function, as a sentence; None when it can.

    A model gives arguments by name, so each parameter must have one.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "Its signature cannot be read; write a Python function around it."
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            return f"`{parameter.name}` cannot be given by name, which is how models give arguments."
    return None


def _module(name: str, base_dir: Path) -> ModuleType:
    file = _beside(name, base_dir)
    try:
        with _quiet_and_beside(base_dir):
            return importlib.import_module(name) if file is None else _load_file(name, file)
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _failed(name: str, error: BaseException) -> ToolImportError:
    try:
        told = f"{type(error).__name__}: {error}"
    except Exception:
        told = type(error).__name__
    return ToolImportError("tool_import_failed", f"{name!r} cannot be imported: {told[:300]}")


def _beside(name: str, base_dir: Path) -> Path | None:
    stem = base_dir.joinpath(*name.split("."))
    for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
        if file.is_file():
            return file.resolve()
    return None


def _load_file(name: str, file: Path) -> ModuleType:
    own_name = f"_mob_tools_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}_{name.replace('.', '_')}"
    if own_name in sys.modules:
        return sys.modules[own_name]
    is_package = file.name == "__init__.py"
    spec = importlib.util.spec_from_file_location(
        own_name, file, submodule_search_locations=[str(file.parent)] if is_package else None
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[own_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[own_name]
        raise
    return module


@contextlib.contextmanager
def _quiet_and_beside(base_dir: Path) -> Iterator[None]:
    """The team file's directory on the module path, and what the module prints on stderr: stdout is data."""
    entry = str(base_dir.resolve())
    sys.path.insert(0, entry)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
