"""When a crashed member comes back, and when it does not.

Theory. Crashes inside the last `window_s` seconds are counted. The n-th of them is answered with a restart after
`backoff_s * 2**(n-1)` seconds, never more than the window; one more than `max_restarts` of them, and the member has
failed for good. A member that ran longer than the window between two crashes starts from the first delay again.
Pure: the caller brings the time.
"""

from __future__ import annotations

from collections import deque

from mob.definition.model import Limits


class RestartPolicy:
    """Counts one member's crashes and answers each with a delay, or with the end."""

    def __init__(self, *, max_restarts: int, window_s: float, backoff_s: float) -> None:
        self._max_restarts = max_restarts
        self._window_s = window_s
        self._backoff_s = backoff_s
        self._crashes: deque[float] = deque()

    @classmethod
    def from_limits(cls, limits: Limits) -> RestartPolicy:
        """The policy that the team file's `[limits]` declares."""
        return cls(
            max_restarts=limits.max_restarts, window_s=limits.restart_window_s, backoff_s=limits.restart_backoff_s
        )

    def crashed(self, now: float) -> float | None:
        """The member crashed at `now` (seconds): how long to wait before its restart, or None to give up."""
        while self._crashes and now - self._crashes[0] >= self._window_s:
            self._crashes.popleft()
        self._crashes.append(now)
        if len(self._crashes) > self._max_restarts:
            return None
        return min(self._backoff_s * 2.0 ** (len(self._crashes) - 1), self._window_s)
