"""Each error of ours has its own line in every door's table, or is said here to be right with its family's.

A new error fails this test until somebody has thought about what it is at each door.
"""

from __future__ import annotations

import pytest

from mob import errors
from mob.errors import MobError
from mob.server.front.port import _STATUSES, status_of
from mob.server.rpc.errors import _REFUSALS, INVALID, error_of
from mob.server.rpc.mobs.shapes import _CAUSES, cause_of

ERRORS = [
    cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, MobError) and cls is not MobError
]
"""All but the root, which is never raised."""

AS_FAMILY = {
    "HTTP": """
        MediaError HopLimitReached AskCycle MemberNotRunning MemberFailed StaleGeneration
        ProviderUnreachable ProviderRefused WireError StoreLocked StoreCorrupt StoreFull
    """,
    "JSON-RPC": """
        LiveError DoorError DefinitionError UsageError MediaError RequestInvalid RouteRefused AskCycle LiveRejected
        LiveClosed AlreadyOpen NotRealtime ReopenRequired MobUnknown MobExists ModelUnknown ChannelUnknown
        ConfigConflict TurnTimedOut MemberFailed ProviderUnreachable ProviderRefused WireError StoreLocked StoreCorrupt
        StoreFull RunUnknown
    """,
    "a cause of a mob": """
        DoorError Unauthorized TokenRefused MobUnknown MobExists ModelUnknown SessionUnknown SessionIdle
        SessionBusy ChannelUnknown ConfigConflict DuplicateRequest ServerGone MediaError MailboxFull HopLimitReached
        TurnTimedOut AskCycle MemberFailed ProviderUnreachable ProviderRefused WireError StoreLocked StoreCorrupt
        StoreFull RunUnknown LiveRejected LiveClosed AlreadyOpen NotRealtime ReopenRequired
    """,
}
"""What a door answers as the class above it, or as whatever it has no line for."""
TABLES = {"HTTP": _STATUSES, "JSON-RPC": _REFUSALS, "a cause of a mob": _CAUSES}


def made(cls):
    """An error of this class, without what its details are."""
    error = cls.__new__(cls)
    error.message = "what happened"
    return error


@pytest.mark.parametrize("door", TABLES)
@pytest.mark.parametrize("cls", ERRORS)
def test_every_error_has_a_line_of_its_own_or_is_said_to_need_none(door, cls):
    named = cls in {kind for kind, _ in TABLES[door]}
    assert named != (cls.__name__ in AS_FAMILY[door].split())


@pytest.mark.parametrize("door", TABLES)
def test_no_line_of_a_table_is_behind_one_that_takes_all_of_its_errors(door):
    kinds = [kind for kind, _ in TABLES[door]]
    for place, kind in enumerate(kinds):
        assert not [before for before in kinds[:place] if issubclass(kind, before)]


@pytest.mark.parametrize("door", AS_FAMILY)
def test_nothing_is_excused_that_is_no_error(door):
    assert set(AS_FAMILY[door].split()) <= {cls.__name__ for cls in ERRORS}


def test_the_server_itself_is_to_blame_for_its_store_alone():
    assert {cls for cls in ERRORS if status_of(made(cls)) == 500} == {
        errors.StoreError,
        errors.StoreLocked,
        errors.StoreCorrupt,
        errors.StoreFull,
    }


@pytest.mark.parametrize(
    ("error", "status", "refusal", "cause"),
    [
        (errors.DoorFull("x"), 503, "SESSION_BUSY", "session_error"),
        (errors.ServerGone("x"), 502, "INTERNAL_ERROR", "internal"),
        (errors.TokenRefused("x", reason="expired"), 401, "SCOPE_DENIED", "internal"),
        (errors.RouteRefused("x"), 409, INVALID.name, "topology_violation"),
        (errors.AskCycle("x", cycle=("a", "b")), 409, INVALID.name, "topology_violation"),
        (errors.ReopenRequired("x", fields=("model",)), 409, INVALID.name, "session_error"),
        (errors.RunUnknown("x"), 404, "INTERNAL_ERROR", "storage_error"),
        (errors.DefinitionError("x"), 400, INVALID.name, "definition_error"),
        (errors.CredentialMissing("x", variable="KEY"), 503, "PROVIDER_ERROR", "session_error"),
    ],
)
def test_what_fell_through_the_tables_is_answered_as_what_it_is(error, status, refusal, cause):
    assert (status_of(error), error_of(error).data["code"], cause_of(error)) == (status, refusal, cause)
