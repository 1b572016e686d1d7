"""Identifiers: short, unique within a run, and the same again for the same seed."""

from __future__ import annotations

import functools
import random
import uuid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Ids:
    """Makes identifiers such as `turn_4k9x0p2m7q1z`: a prefix and 60 random bits, at most 32 characters.

    With a seed the same sequence comes again, which is what makes a rehearsed run repeatable; without one the
    operating system's randomness is used.
    """

    def __init__(self, seed: int | str | None = None) -> None:
        self._random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)

    def new(self, prefix: str) -> str:
        """A new identifier that starts with `prefix` and an underscore."""
        bits = self._random.getrandbits(60)
        return f"{prefix}_" + "".join(_ALPHABET[(bits >> shift) & 31] for shift in range(55, -1, -5))


_SESSIONS = uuid.UUID("5f0f6d0e-5a0b-4d0c-9d53-0d7f0c6f6f62")


@functools.lru_cache(maxsize=4096)
def session_id_of(run_id: str, identity: str) -> str:
    """The id of a member's session: a UUID that is the same for all its generations, processes and resumes."""
    return str(uuid.uuid5(_SESSIONS, f"{run_id}/{identity}"))
