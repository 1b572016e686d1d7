"""What a mob keeps and tells, as JSON and back: turns, usage, run events, errors.

Theory. Each shape has a function that makes it and one that reads it, and reading what was made gives an equal value.
Turns and usage stand on a door as they stand in the log (`mob.history.codec`): fields that have their default are left
out. Run events are what `mob run --json` prints. An error is its stable `code`, its message and the fields of its
class; beside them stand the codes of the classes above it, so that a reader that does not know the class knows at least
its kind. What a live channel tells is in `mob.protocol.observations`.

Reading is strict about what is there and lenient about what is new, as the log is: unknown fields are passed over, and
an event of a type that this version does not know is None. Everything else that does not fit is a WireError that names
the field (law 26).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType, NoneType
from typing import Any, TypeVar, cast, get_args, get_type_hints

from attrs import fields

from mob import errors
from mob.definition.findings import Finding
from mob.errors import DoorError, MobError, WireError
from mob.history import codec
from mob.history.items import Turn
from mob.sessions import events as run_events
from mob.sessions.events import RunEvent
from mob.team.events import StreamLagged
from mob.values import Recovery, Usage

JSON = dict[str, Any]
_T = TypeVar("_T")

# -- what is kept ------------------------------------------------------------------------------------------------------


def turn_json(turn: Turn) -> JSON:
    """A committed turn with its items, each with its `type`: user, agent, tool_call, tool_result, note."""
    return codec.as_json(turn)


def turn_of(value: object) -> Turn:
    """The turn. WireError."""
    return _read(value, Turn, "turn")


def usage_json(usage: Usage) -> JSON:
    """Usage; what is zero is left out."""
    return codec.as_json(usage)


def usage_of(value: object) -> Usage:
    """The usage. WireError."""
    return _read(value, Usage, "usage")


# -- what happens ------------------------------------------------------------------------------------------------------


def event_json(event: RunEvent) -> JSON:
    """An event of the run, exactly as `mob run --json` prints it: `t` is in seconds with four places."""
    return event.as_json()


def event_of(value: object) -> RunEvent | None:
    """The event of the run; None when this version does not know its type. WireError."""
    body = _object(value, "event")
    cls = _RUN_EVENTS.get(_type_of(body, "event"))
    if cls is None:
        return None
    names, nullable = _RUN_EVENT_FIELDS[cls.type]
    known = dict.fromkeys(nullable) | {name: body[shown] for shown, name in names.items() if shown in body}
    return _read(known, cls, cls.type)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def error_json(error: MobError) -> JSON:
    """`code`, `message`, and where there are any, `details` (the error's fields) and `kinds` (the classes above it)."""
    body: JSON = {"code": error.code, "message": error.message}
    kinds = [kind.code for kind in type(error).__mro__[1:] if issubclass(kind, MobError) and kind is not MobError]
    if kinds:
        body["kinds"] = kinds
    details = {name: _plain(getattr(error, name)) for name in _details(type(error))}
    if details := {name: value for name, value in details.items() if value is not None}:
        body["details"] = details
    return body


def error_of(value: object) -> MobError:
    """The error, of the class that raised it, or of the nearest kind that this version knows. WireError."""
    body = _object(value, "error")
    code, message = body.get("code"), body.get("message")
    if not isinstance(code, str) or not isinstance(message, str):
        raise WireError("an error has a `code` and a `message`, both strings", field="error")
    above = body.get("kinds")
    for kind in (code, *(above if isinstance(above, list) else ())):
        cls = _ERRORS.get(kind) if isinstance(kind, str) else None
        if cls is not None:
            return _build_error(cls, message, body.get("details"))
    return DoorError(message)


def _build_error(cls: type[MobError], message: str, details: object) -> MobError:
    given = details if isinstance(details, dict) else {}
    taken = {name: given[name] for name in _details(cls) if name in given}
    hints = _DETAIL_TYPES[cls]
    try:
        return cls(
            message, **{name: _read(value, hints[name], f"error.details.{name}") for name, value in taken.items()}
        )
    except TypeError:
        raise WireError(f"the error {cls.code} came without all of its details", field="error.details") from None


def _details(cls: type[MobError]) -> tuple[str, ...]:
    """The fields of an error: what its class is made from, beside the message.

    Of a class that is not in the tree of `mob.errors`, those of the nearest kind that is: what else it has (a refused
    handshake has the headers) is for this process only.
    """
    known = next((kind for kind in cls.__mro__ if _ERRORS.get(getattr(kind, "code", "")) is kind), None)
    return () if known is None else tuple(inspect.signature(known).parameters)[1:]


def _detail_types(cls: type[MobError]) -> Mapping[str, Any]:
    """The types of an error's fields, as they are read: sequences are tuples, of findings where they are of anything.

    Words that a newer server may have more of (`reason`, `recovery`) are strict too: a class is not made of what it
    does not know.
    """
    hints = get_type_hints(cls.__init__, {**vars(errors), "Sequence": tuple, "Recovery": Recovery})
    many = {tuple[object]: tuple[Finding, ...], tuple[str]: tuple[str, ...]}
    return {name: many.get(hint, hint) for name, hint in hints.items()}


def _plain(value: object) -> object:
    """A field of an error: a word, a number, a list of words, or findings."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return codec.as_json(value) if isinstance(value, Finding) else value


# -- tables ------------------------------------------------------------------------------------------------------------


def _named_in(module: ModuleType, base: type[_T]) -> list[type[_T]]:
    """The classes below `base` that this module names: `__subclasses__` also has the ghosts that slots leave behind."""
    return [cls for cls in vars(module).values() if isinstance(cls, type) and issubclass(cls, base) and cls is not base]


_EVENTS: list[type[RunEvent]] = [StreamLagged, *_named_in(run_events, RunEvent)]
_RUN_EVENTS = {cls.type: cls for cls in _EVENTS}
_ERRORS = {cls.code: cls for cls in _named_in(errors, MobError)}
_DETAIL_TYPES = {cls: _detail_types(cls) for cls in _ERRORS.values()}


def _run_event_fields(cls: type[RunEvent]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The event's fields by the name they are printed under, and those that are not printed when they are None."""
    names = {attribute.metadata.get("json", attribute.name): attribute.name for attribute in fields(cls)}
    nullable = tuple(name for name, hint in get_type_hints(cls).items() if NoneType in get_args(hint))
    return names, tuple(name for name in nullable if name in names.values())


_RUN_EVENT_FIELDS = {name: _run_event_fields(cls) for name, cls in _RUN_EVENTS.items()}


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(value: object, cls: type[_T], where: str) -> _T:
    try:
        return cast("_T", codec.from_json(value, cls, where=where))
    except ValueError as error:
        message = str(error)
        _, _, path = message.partition("; ")[0].rpartition(" @ ")
        raise WireError(f"what came cannot be read: {message}", field=path or where) from None


def _object(value: object, where: str) -> JSON:
    if not isinstance(value, dict):
        raise WireError(f"{where}: a JSON object is expected, not {value!r:.60}", field=where)
    return value


def _type_of(body: JSON, where: str) -> str:
    name = body.get("type")
    if not isinstance(name, str):
        raise WireError(f"{where}.type: a string is expected, not {name!r:.60}", field=f"{where}.type")
    return name
