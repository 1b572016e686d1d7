"""Who there is: the fold of the rows by which members come and go (law 22).

A generation is given once and never again: the next one is always one more than the highest in the log, whatever
became of it, so handles of earlier generations can be told apart for ever, also across restarts of the program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from mob.errors import MemberUnknown
from mob.history.rows import MemberEnded, MemberSpawned, Stored


@define(slots=True)
class Seat:
    """One identity, as the log has it. `ended` is why its latest generation ended, None while it runs."""

    identity: str
    profile: str
    model: str
    generation: int
    ended: str | None = None
    overrides: Mapping[str, Any] = field(factory=dict)


class Roster:
    """The fold of MemberSpawned and MemberEnded rows, in the order of the log."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}

    def apply(self, stored: Stored) -> None:
        """Take one more row, of whatever kind."""
        match stored.row:
            case MemberSpawned(member=identity, generation=generation) as row:
                if generation > self.generation(identity):
                    self._seats[identity] = Seat(identity, row.profile, row.model, generation, overrides=row.overrides)
            case MemberEnded(member=identity, generation=generation, reason=reason):
                seat = self._seats.get(identity)
                if seat is not None and seat.generation == generation:
                    seat.ended = reason

    def generation(self, identity: str) -> int:
        """The highest generation that ever lived, 0 before the first."""
        seat = self._seats.get(identity)
        return seat.generation if seat is not None else 0

    def seat(self, identity: str) -> Seat:
        """MemberUnknown names those that there are."""
        seat = self._seats.get(identity)
        if seat is None:
            known = ", ".join(self._seats) or "nobody"
            raise MemberUnknown(f"there is no member {identity!r} in this mob; there is {known}")
        return seat

    @property
    def roles(self) -> Mapping[str, str]:
        """Each identity with its profile's name. A live view."""
        return _Roles(self._seats)

    def __iter__(self) -> Iterator[Seat]:
        return iter(tuple(self._seats.values()))


class _Roles(Mapping[str, str]):
    def __init__(self, seats: Mapping[str, Seat]) -> None:
        self._seats = seats

    def __getitem__(self, identity: str) -> str:
        return self._seats[identity].profile

    def __iter__(self) -> Iterator[str]:
        return iter(self._seats)

    def __len__(self) -> int:
        return len(self._seats)
