"""The configuration of a realm: what a request gets that does not say otherwise.

Layers, each laid over the one before it, table by table:

    built in  ──>  ~/.mob/config.toml  ──>  .mob/config.toml of the project  ──>  the realm's own  ──>  the request

Only the realm's own layer is ever written. It is one JSON document with a *generation* that rises by one with each
change; who changes it may say which generation it has read, and is refused when somebody was faster. Files are read
when the realm is opened. A file that is not there says nothing; one that cannot be read is a UsageError.

What the server itself reads is `default_model` (or Meerkat's `agent.model`), `agent.provider`, `agent.system_prompt`
and `agent.max_tokens`. All else is kept and given back, for clients that keep theirs here.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import tomli
from attrs import frozen

from mob.errors import ConfigConflict, RequestInvalid, UsageError

JSON = dict[str, Any]

BUILT_IN_MODEL: Final = "gpt-5.6-sol"
CONFIG_FILE: Final = Path(".mob") / "config.toml"
_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 32
_SETTINGS: Final = {"model": str, "provider": str, "system_prompt": str, "max_tokens": int}
_KINDS: Final = {str: "a string", int: "a whole number", dict: "a table"}


@frozen(slots=True)
class Layer:
    """One layer as it was read. `path` is where from, None for what is built in or in memory."""

    name: str
    values: Mapping[str, Any]
    path: Path | None = None


class Overtaken(Exception):
    """Another server of the realm has changed its layer meanwhile, and to what. Never leaves this floor."""

    def __init__(self, head: JSON, generation: int) -> None:
        super().__init__(generation)
        self.head = head
        self.generation = generation


class RealmConfig:
    """The layers of one realm. `head` is its own, `generation` how often that was changed.

    `save` makes a change durable before it is in force; it is given the head as it was, the new one and its
    generation. It raises Overtaken when what was is not what is kept.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...] = (),
        *,
        head: Mapping[str, Any] | None = None,
        generation: int = 0,
        save: Callable[[JSON, JSON, int], Awaitable[None]] | None = None,
    ) -> None:
        self.layers = (Layer("built-in", {"agent": {"model": BUILT_IN_MODEL}}), *layers)
        self.generation = generation
        self._head: JSON = dict(head or {})
        self._save = save

    @property
    def head(self) -> JSON:
        """The realm's own layer."""
        return self._head

    @property
    def composed(self) -> JSON:
        """All layers together. `agent.model` is the default model in force, wherever and however it was written."""
        return copy.deepcopy(merged(_composed(self.layers), _one_spelling(self._head)))

    def setting(self, name: str, kind: type) -> Any:
        """`agent.NAME` in force; None when nobody says it, or says something else than this kind of value."""
        value = self.composed["agent"].get(name)
        return value if type(value) is kind else None

    @property
    def default_model(self) -> str:
        """The model of a session that names none."""
        return str(self.setting("model", str) or BUILT_IN_MODEL)

    async def replace(self, head: Mapping[str, Any], *, expected: int | None) -> None:
        """Let the whole be this: of it, what the layers below do not say is written. ConfigConflict, RequestInvalid.

        So who reads the whole, changes something and writes it back does not nail down what was inherited.
        """
        check_head(head)
        await self._write(_beyond(_composed(self.layers), _one_spelling(head)), expected)

    async def patch(self, patch: Mapping[str, Any], *, expected: int | None) -> None:
        """Change the realm's own layer by a merge patch (RFC 7396): null takes away. ConfigConflict, RequestInvalid."""
        check_head(patch, nulls=True)
        await self._write(patched(self._head, patch), expected)

    async def _write(self, head: JSON, expected: int | None) -> None:
        if expected is not None and expected != self.generation:
            raise self._conflict(f"not {expected}")
        check_head(head)
        generation = self.generation + 1
        # In force at once, so that of two writers who read the same generation only the first is taken.
        before, self._head, self.generation = self._head, head, generation
        if self._save is not None:
            try:
                await self._save(before, head, generation)
            except Overtaken as other:
                self._head, self.generation = other.head, other.generation
                raise self._conflict("by another server of this realm") from None
            except BaseException:
                if self.generation == generation:
                    self._head, self.generation = before, generation - 1
                raise

    def _conflict(self, what: str) -> ConfigConflict:
        return ConfigConflict(
            f"the configuration is of generation {self.generation}, {what}: somebody has changed it; "
            "read it again, and change that",
            generation=self.generation,
        )


def read_layers(project: Path, home: Path) -> tuple[Layer, ...]:
    """The layers of these files: the user's, then the project's. UsageError names the file and what is wrong."""
    files = {"user": home / CONFIG_FILE, "project": project / CONFIG_FILE}
    if files["user"].absolute() == files["project"].absolute():
        del files["project"]
    return tuple(Layer(name, values, path) for name, path in files.items() if (values := _read(path)) is not None)


def _read(path: Path) -> JSON | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is longer than {_MAX_BYTES // 1024} KiB, which no configuration is")
    try:
        values: JSON = json.loads(json.dumps(tomli.loads(data.decode()), default=str, allow_nan=False))
        check_head(values)
    except RequestInvalid as error:
        raise UsageError(f"{path}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML that mob reads: {error}") from error
    return values


def check_head(values: Mapping[str, Any], *, nulls: bool = False) -> None:
    """RequestInvalid for what cannot be a configuration: too long, too deep, or with a setting of the wrong kind.

    `nulls`: it is a patch, in which null is of any kind.
    """
    if _depth(values) > _MAX_DEPTH:
        raise RequestInvalid(f"the configuration is nested deeper than {_MAX_DEPTH} levels", field="config")
    if len(json.dumps(values)) > _MAX_BYTES:
        raise RequestInvalid(f"the configuration is longer than {_MAX_BYTES // 1024} KiB", field="config")
    _check_kind(values, "agent", dict, "", nulls=nulls)
    _check_kind(values, "default_model", str, "", nulls=nulls)
    for name, kind in _SETTINGS.items():
        _check_kind(values.get("agent") or {}, name, kind, "agent.", nulls=nulls)


def _check_kind(table: Mapping[str, Any], name: str, kind: type, where: str, *, nulls: bool) -> None:
    value = table.get(name)
    if name in table and type(value) is not kind and not (nulls and value is None):
        field = f"{where}{name}"
        raise RequestInvalid(f"`{field}` must be {_KINDS[kind]}", field=f"config.{field}")


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> JSON:
    """The one laid over the other, table by table."""
    whole = dict(under)
    for key, value in over.items():
        below = whole.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        whole[key] = merged(below or {}, value) if both else value
    return whole


def patched(target: Any, patch: Mapping[str, Any]) -> JSON:
    """The target after this merge patch (RFC 7396)."""
    whole: JSON = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = patched(whole.get(key), value) if isinstance(value, Mapping) else value
    return whole


def _composed(layers: Iterable[Layer]) -> JSON:
    whole: JSON = {}
    for layer in layers:
        whole = merged(whole, _one_spelling(layer.values))
    return whole


def _beyond(under: Mapping[str, Any], whole: Mapping[str, Any]) -> JSON:
    """What `whole` says that `under` does not, table by table."""
    beyond: JSON = {}
    for key, value in whole.items():
        below = under.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            if rest := _beyond(below, value):
                beyond[key] = rest
        elif key not in under or below != value:
            beyond[key] = value
    return beyond


def _one_spelling(values: Mapping[str, Any]) -> JSON:
    """`default_model` as `agent.model`, unless the same layer has that too."""
    if "default_model" not in values:
        return dict(values)
    rest = {key: value for key, value in values.items() if key != "default_model"}
    return merged({"agent": {"model": values["default_model"]}}, rest)


def _depth(value: object) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _MAX_DEPTH:
            return depth
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, Mapping) else each if isinstance(each, list) else ())
        ]
    return depth
