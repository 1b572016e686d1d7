"""The tools of a session: what the model is told of them, and how each is called.

A `ToolFunction` is a tool whatever stands behind it: a Python function of the team file, a route to another member, a
callable given to `connect_realtime`. A `ToolBox` holds those of one session; it may change between turns.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import cattrs
import trio
from attrs import field, frozen

from mob.clock import is_virtual_time
from mob.definition.model import Effect, MobDefinition, Tool
from mob.definition.names import nearest
from mob.definition.toolmodules import ToolImportError, import_tool
from mob.errors import UsageError
from mob.history.items import Cause
from mob.jsontext import MAX_INNER_DEPTH, read_json
from mob.sessions.schema import FunctionShape, UnsupportedType, read_function
from mob.sessions.shapes import Misfit, Record
from mob.values import ToolSchema

_TEXT = Cause("text")


@frozen(slots=True)
class ToolContext:
    """What a tool may know of its call. A Python tool gets it by a parameter annotated `mob.ToolContext`.

    `call_id` is the same when the same call comes again: use it as the key of whatever must happen once. `member` is
    the identity of the member that calls, `turn` the id of its turn, `cause` why that turn began.
    """

    call_id: str
    member: str
    turn: str
    cause: Cause = _TEXT


ToolCallable = Callable[[dict[str, Any], ToolContext], Awaitable[object]]


@frozen(slots=True)
class ToolFunction:
    """One tool. `call` gets the arguments as the model's JSON object has them; `as_text` of what it returns is told.

    What `call` raises ends the call: BadArguments and any other exception as failed, a refusal of mob's own
    (RouteRefused, LimitReached) as denied. `timeout_s` None: bounded by its turn alone. `keeps_running`: an
    interruption of its turn does not end it. `ends_turn`: when it is done, the model is not asked for more.
    """

    schema: ToolSchema
    call: ToolCallable
    effect: Effect = "read"
    timeout_s: float | None = None
    keeps_running: bool = False
    ends_turn: bool = False

    @property
    def name(self) -> str:
        """The name the model calls it by."""
        return self.schema.name


class BadArguments(Exception):
    """The model's arguments do not fit; the message tells the model what to write instead."""


class CallWithdrawn(Exception):
    """Whoever was to answer the call has gone: it ends as cancelled, and the message tells the model."""


class ToolBox:
    """The tools of one session, by name. Later tools of the same name replace earlier ones.

    Tools that are lent stand beside the others and go again; one of the others that comes later under the same name
    waits until the lent one has gone. `external` tools are offered to the model and run by nobody here: the client of
    the live channel answers them.
    """

    def __init__(self, tools: Iterable[ToolFunction] = (), *, external: Iterable[ToolSchema] = ()) -> None:
        self._tools: dict[str, ToolFunction] = {}
        self._lent: dict[str, ToolFunction] = {}
        self._external = tuple(external)
        for tool in tools:
            self.add(tool)

    def add(self, tool: ToolFunction) -> None:
        """Put a tool in."""
        self._tools[tool.name] = tool

    def remove(self, name: str) -> None:
        """Take a tool out; a call of it that runs goes on. Nothing happens when it is not there."""
        self._tools.pop(name, None)

    def lend(self, tools: Sequence[ToolFunction]) -> None:
        """Put these beside the others. UsageError, and none is there, when a name is taken."""
        taken = {*self._tools, *self._lent, *(tool.name for tool in self._external)}
        for tool in tools:
            if tool.name in taken:
                raise UsageError(f"there is a tool {tool.name!r} already; lend yours under another name")
        self._lent.update((tool.name, tool) for tool in tools)

    def take_back(self, names: Iterable[str]) -> None:
        """The lent tools of these names go."""
        for name in names:
            self._lent.pop(name, None)

    def get(self, name: str) -> ToolFunction | None:
        """The tool of this name."""
        return self._all.get(name)

    @property
    def standing(self) -> tuple[ToolFunction, ...]:
        """Those that are not lent."""
        return tuple(self._tools.values())

    @property
    def schemas(self) -> tuple[ToolSchema, ...]:
        """What the model is told, in the order in which the tools were put in."""
        return (*(tool.schema for tool in self._all.values()), *self._external)

    @property
    def _all(self) -> dict[str, ToolFunction]:
        return {**self._tools, **self._lent}

    def __contains__(self, name: object) -> bool:
        return name in self._tools or name in self._lent

    def __iter__(self) -> Iterator[ToolFunction]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def unknown(self, name: str) -> str:
        """What to tell a model that called a tool which is not there."""
        near = nearest(name, self._all)
        known = ", ".join(self._all) or "none"
        hint = f" Did you mean {near}?" if near else ""
        return f"There is no tool named {name!r}.{hint} Your tools: {known}."


def load_tools(
    definition: MobDefinition, names: Iterable[str], *, threads: trio.CapacityLimiter | None = None
) -> tuple[ToolFunction, ...]:
    """The `[tools.X]` entries of these names, imported. UsageError names the tool and what is wrong with it.

    `threads` bounds how many sync functions run at once.
    """
    loaded = []
    for name in names:
        tool = definition.tools.get(name)
        if tool is None:
            raise UsageError(f"there is no [tools.{name}] in the team file")
        timeout_s = definition.limits.tool_timeout_s if tool.timeout_s is None else tool.timeout_s
        loaded.append(_load(tool, definition.base_dir, timeout_s, threads))
    return tuple(loaded)


def _load(tool: Tool, base_dir: Path, timeout_s: float, threads: trio.CapacityLimiter | None) -> ToolFunction:
    try:
        function = import_tool(tool.python, base_dir)
    except ToolImportError as error:
        raise UsageError(f"[tools.{tool.name}]: {error.message}") from error
    return python_tool(
        function,
        name=tool.name,
        description=tool.description,
        effect=tool.effect,
        timeout_s=timeout_s,
        keeps_running=tool.keeps_running,
        threads=threads,
    )


def python_tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "read",
    timeout_s: float | None = None,
    keeps_running: bool = False,
    threads: trio.CapacityLimiter | None = None,
) -> ToolFunction:
    """A Python function as a tool: its schema from signature and docstring, its name its own unless given.

    An async function runs on trio. A sync one runs in a thread, or in the loop under a virtual clock, where a thread
    would count as idle; when its call is given up the thread is left to end by itself. UsageError when a parameter's
    type has no counterpart in JSON.
    """
    called = name if name is not None else str(getattr(function, "__name__", type(function).__name__))
    try:
        shape = read_function(function, name=called, context=ToolContext, description=description)
    except UnsupportedType as error:
        raise UsageError(f"the tool {called} cannot be offered to a model: {error}") from error
    call = _PythonCall(function, shape, threads)
    return ToolFunction(shape.schema, call, effect, timeout_s, keeps_running)


@frozen(slots=True)
class _PythonCall:
    """Takes the arguments as the function wants them, and calls it."""

    function: Callable[..., Any] = field()
    shape: FunctionShape
    threads: trio.CapacityLimiter | None = None

    async def __call__(self, arguments: dict[str, Any], context: ToolContext) -> object:
        taken = _take(self.shape.schema.name, self.shape.arguments, arguments)
        if self.shape.context_parameter is not None:
            taken[self.shape.context_parameter] = context
        if _is_async(self.function):
            return await self.function(**taken)
        if is_virtual_time():
            await trio.lowlevel.checkpoint()
            value = self.function(**taken)
        else:
            call = functools.partial(self.function, **taken)
            (value,) = await trio.to_thread.run_sync(_boxed, call, abandon_on_cancel=True, limiter=self.threads)
        return await value if inspect.isawaitable(value) else value


def _boxed(function: Callable[[], object]) -> tuple[object]:
    """The value where trio does not look at it: it takes a coroutine that comes from a thread for a mistake."""
    return (function(),)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _take(name: str, shape: Record, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return shape.take_keys(arguments, "")
    except Misfit as misfit:
        raise BadArguments(f"{name} was not run: {misfit}. Call it again with that put right.") from None


def parse_arguments(name: str, text: str) -> dict[str, Any]:
    """The JSON object a model wrote as a call's arguments; nothing at all is an empty one. BadArguments."""
    try:
        value = read_json(text, max_depth=MAX_INNER_DEPTH) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise BadArguments(
            f"{name} was not run: its arguments are not JSON at character {error.pos}. "
            "Call it again with a JSON object."
        ) from None
    except ValueError as error:
        raise BadArguments(
            f"{name} was not run: its arguments are not JSON that is taken, for the text {error}. "
            "Call it again without that."
        ) from None
    if not isinstance(value, dict):
        raise BadArguments(f"{name} was not run: its arguments must be a JSON object. Call it again with one.")
    return value


def as_text(value: object) -> str:
    """What a function returned, as the model is told it: text as it is, nothing as "Done.", all else as JSON.

    TypeError when JSON has no word for it.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "Done."
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case datetime() | date() | time():
            return value.isoformat()
        case set() | frozenset():
            return sorted(value, key=repr)
        case _ if attrs.has(type(value)) or hasattr(type(value), "__dataclass_fields__"):
            return cattrs.unstructure(value)
    raise TypeError(f"it returned {type(value).__name__}, which cannot be written as JSON; return text")


def cut(text: str, max_bytes: int) -> str:
    """At most `max_bytes` of UTF-8, cut at a character, with a sentence that says so when something was cut."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return data.decode("utf-8")
    sentence = f"\n[cut: the output was {len(data)} bytes long, more than the {max_bytes} that are kept]"
    room = max_bytes - len(sentence)
    if room <= 0:
        return data[:max_bytes].decode("utf-8", "ignore")
    return data[:room].decode("utf-8", "ignore") + sentence
