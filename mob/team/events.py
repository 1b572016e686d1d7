"""Run events that only the stream itself can tell of; the rest of the vocabulary is in mob.sessions.events."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from mob.sessions.events import RunEvent


@frozen(slots=True, kw_only=True)
class StreamLagged(RunEvent):
    """This subscriber was too slow: `missed` events before `seq` (included) are gone from its stream.

    Only the slow subscriber sees it. What must survive is in the log, which loses nothing.
    """

    type: ClassVar[str] = "lagged"
    missed: int
