"""What doors keep beside something that lives here (a mob, a client), each door its own, and gone when that is gone.

A `Room` is a typed key: only who has it finds what is behind it, and knows of what type that is. Of a mob there may be
one thing for each member as well (`of`): such rooms are left when the member is retired, all when the mob begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from attrs import frozen

_V = TypeVar("_V")


@frozen(eq=False)
class Room(Generic[_V]):
    """The key to one kind of thing; `name` is for people. Two rooms of one name are two."""

    name: str


class Rooms:
    """All that doors keep beside one mob, or one client. Nothing of it outlives the server."""

    def __init__(self) -> None:
        self._things: dict[tuple[Room[Any], str], Any] = {}

    def enter(self, room: Room[_V], make: Callable[[], _V], *, of: str = "") -> _V:
        """What is in this room, made when somebody enters it for the first time."""
        key = (room, of)
        if key not in self._things:
            self._things[key] = make()
        return cast("_V", self._things[key])

    def leave(self, of: str) -> None:
        """Have nothing of this member any more."""
        for key in [key for key in self._things if key[1] == of]:
            del self._things[key]

    def clear(self) -> None:
        """Have nothing any more."""
        self._things.clear()
