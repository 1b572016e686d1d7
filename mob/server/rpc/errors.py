"""What mob raises, as JSON-RPC errors. The codes are Meerkat's, where it has one for the case.

`data` is `{"code": …, "details": {…}}`: our own stable word, and the error's fields for programs.
"""

from __future__ import annotations

from typing import Any, Final

from mob.errors import (
    BudgetExceeded,
    MemberNotRunning,
    MobError,
    ProviderError,
    SessionBusy,
    SessionUnknown,
    StaleGeneration,
    StoreError,
)
from mob.protocol.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, RpcError

SESSION_NOT_FOUND: Final = -32001
SESSION_BUSY: Final = -32002
SESSION_NOT_RUNNING: Final = -32003
PROVIDER_FAILED: Final = -32010
BUDGET_EXHAUSTED: Final = -32011
AGENT_FAILED: Final = -32013
STALE_FENCE: Final = -32028

_CODES: tuple[tuple[type[MobError], int], ...] = (
    (SessionUnknown, SESSION_NOT_FOUND),
    (SessionBusy, SESSION_BUSY),
    (MemberNotRunning, SESSION_NOT_RUNNING),
    (StaleGeneration, STALE_FENCE),
    (BudgetExceeded, BUDGET_EXHAUSTED),
    (ProviderError, PROVIDER_FAILED),
    (StoreError, INTERNAL_ERROR),
)
_DETAILS = ("field", "reason", "fields", "cycle", "generation", "current", "recovery", "provider_code", "variable")


def error_of(error: MobError) -> RpcError:
    """The error of a response."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), INVALID_PARAMS)
    details = {name: _plain(getattr(error, name)) for name in _DETAILS if getattr(error, name, None) is not None}
    data: dict[str, Any] = {"code": error.code, "message": error.message}
    if details:
        data["details"] = details
    return RpcError(code, error.message, data)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
