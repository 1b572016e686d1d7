"""What mob raises, as JSON-RPC errors: Meerkat's numbers and names where it has one for the case.

`data` is what programs read:

    {"code": "SESSION_NOT_FOUND", "message": …, "details": {…}, "error": {…}}

`code` and `details` are Meerkat's own: its clients make their exceptions from them, some only when `details` has
exactly the keys that they know. `error` is the whole error in our vocabulary (`mob.protocol.shapes.error_json`), from
which our own client makes the class that was raised here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from attrs import frozen

from mob.errors import (
    BudgetExceeded,
    CapabilityUnavailable,
    CredentialMissing,
    DoorError,
    DoorFull,
    DuplicateRequest,
    HopLimitReached,
    LimitReached,
    MailboxFull,
    MemberError,
    MemberNotRunning,
    MemberUnknown,
    MobError,
    ProviderError,
    ServerGone,
    SessionBusy,
    SessionIdle,
    SessionUnknown,
    StaleCursor,
    StaleGeneration,
    StoreError,
    TokenRefused,
    Unauthorized,
)
from mob.protocol.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from mob.protocol.shapes import error_json


@frozen(slots=True)
class Refusal:
    """A number and a name of Meerkat's."""

    number: int
    name: str


INVALID: Final = Refusal(INVALID_PARAMS, "INVALID_PARAMS")
INTERNAL: Final = Refusal(INTERNAL_ERROR, "INTERNAL_ERROR")
SESSION_NOT_FOUND: Final = Refusal(-32001, "SESSION_NOT_FOUND")
SESSION_BUSY: Final = Refusal(-32002, "SESSION_BUSY")
SESSION_NOT_RUNNING: Final = Refusal(-32003, "SESSION_NOT_RUNNING")
DUPLICATE_INPUT: Final = Refusal(-32004, "DUPLICATE_INPUT")
REQUEST_CANCELLED: Final = Refusal(-32005, "REQUEST_CANCELLED")
PROVIDER_FAILED: Final = Refusal(-32010, "PROVIDER_ERROR")
BUDGET_EXHAUSTED: Final = Refusal(-32011, "BUDGET_EXHAUSTED")
AGENT_FAILED: Final = Refusal(-32013, "AGENT_ERROR")
CAPABILITY_UNAVAILABLE: Final = Refusal(-32020, "CAPABILITY_UNAVAILABLE")
SCOPE_DENIED: Final = Refusal(-32025, "SCOPE_DENIED")
STALE_CURSOR: Final = Refusal(-32027, "STALE_CURSOR")
STALE_FENCE: Final = Refusal(-32028, "STALE_FENCE")

_REFUSALS: tuple[tuple[type[MobError], Refusal], ...] = (
    (SessionUnknown, SESSION_NOT_FOUND),
    (SessionBusy, SESSION_BUSY),
    (MailboxFull, SESSION_BUSY),
    (DoorFull, SESSION_BUSY),
    (SessionIdle, INVALID),
    (MemberUnknown, INVALID),
    (MemberNotRunning, SESSION_NOT_RUNNING),
    (StaleGeneration, STALE_FENCE),
    (MemberError, AGENT_FAILED),
    (BudgetExceeded, BUDGET_EXHAUSTED),
    (HopLimitReached, AGENT_FAILED),
    (LimitReached, AGENT_FAILED),
    (ProviderError, PROVIDER_FAILED),
    (CredentialMissing, PROVIDER_FAILED),
    (Unauthorized, SCOPE_DENIED),
    (TokenRefused, SCOPE_DENIED),
    (CapabilityUnavailable, CAPABILITY_UNAVAILABLE),
    (StaleCursor, STALE_CURSOR),
    (DuplicateRequest, DUPLICATE_INPUT),
    (StoreError, INTERNAL),
    (ServerGone, INTERNAL),
)


class Refused(DoorError):
    """A refusal of this door alone, with a name that Meerkat's clients know.

    `extra` stands beside the name in `data`, in the place of details: what those clients read there. `of` is what went
    wrong in our own words, when it has another name there than elsewhere.
    """

    refusal: ClassVar[Refusal] = INVALID

    def __init__(self, message: str, *, extra: Mapping[str, Any] | None = None, of: MobError | None = None) -> None:
        super().__init__(message)
        self.extra = extra or {}
        self.of = of


class Cancelled(Refused):
    """What was under way was cut off by somebody."""

    code = "request_cancelled"
    refusal = REQUEST_CANCELLED


def error_of(error: MobError) -> RpcError:
    """The error of a response."""
    refusal = _refusal(error)
    own = error_json(error.of if isinstance(error, Refused) and error.of is not None else error)
    data: dict[str, Any] = {"code": refusal.name, "message": error.message}
    if details := _details(error, own):
        data["details"] = details
    if isinstance(error, Refused):
        data.update(error.extra)
    data["error"] = own
    return RpcError(refusal.number, error.message, data)


def _details(error: MobError, own: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What Meerkat's clients look into; of some errors they take these keys and no others."""
    match error:
        case StaleGeneration(generation=expected, current=actual):
            return {"expected": expected, "actual": actual}
        case Unauthorized() | TokenRefused() | Refused():
            return None
    return own.get("details")


def _refusal(error: MobError) -> Refusal:
    if isinstance(error, Refused):
        return error.refusal
    return next((refusal for kind, refusal in _REFUSALS if isinstance(error, kind)), INVALID)
