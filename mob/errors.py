"""Every error mob raises on purpose, in one tree.

    MobError
    ├── DefinitionError        the team file is wrong (carries every finding)
    ├── UsageError             a flag, argument or input file is wrong
    │   └── MediaError         sound or an image that cannot be used
    ├── CredentialMissing      a provider must be dialled and there is no key for it
    ├── LimitReached           a declared limit or the budget stopped the work
    │   ├── BudgetExceeded
    │   ├── MailboxFull
    │   ├── HopLimitReached
    │   └── TurnTimedOut
    ├── RouteRefused           the wiring does not allow this message
    │   └── AskCycle           the ask would close a cycle of waiting members
    ├── MemberError            a member cannot do what was asked of it
    │   ├── MemberUnknown
    │   ├── MemberNotRunning
    │   ├── MemberFailed
    │   └── StaleGeneration
    ├── LiveError              a live channel
    │   ├── LiveRejected       one command was refused; the channel lives on
    │   ├── LiveClosed         the channel has ended, with its reason
    │   ├── AlreadyOpen        the session has an open channel
    │   ├── NotRealtime        the model cannot be reached over a live channel
    │   └── ReopenRequired     the change needs a new channel
    ├── ProviderError          the far end refused, failed or cannot be reached
    │   ├── ProviderUnreachable
    │   ├── ProviderRefused
    │   └── WireError          bytes that break the protocol
    ├── StoreError             the log cannot be read or written
    │   ├── StoreLocked
    │   ├── StoreCorrupt
    │   ├── StoreFull
    │   └── RunUnknown
    └── DoorError              what another program asked at a door was refused
        ├── RequestInvalid     the request itself is wrong (names the field)
        ├── Unauthorized       no secret, a wrong one, or an origin that is not allowed
        ├── TokenRefused       a single-use token that is unknown, spent, expired or somebody else's
        ├── MobUnknown
        ├── MobExists
        ├── ModelUnknown       no member has this name, by which a client called it as a model
        ├── SessionUnknown
        ├── SessionIdle        the session was never started
        ├── SessionBusy        it is in a turn, and this cannot wait
        ├── ChannelUnknown
        ├── ConfigConflict     the configuration was changed by somebody else meanwhile
        ├── CapabilityUnavailable  a known thing that this server does not do
        ├── StaleCursor        a place in a log that this log does not have
        ├── DuplicateRequest   the same key again, for something else
        ├── DoorFull           as many of something as a door allows
        └── ServerGone         the server cannot be reached, or the connection to it was lost

`code` is stable and meant for programs; the message says what happened, where, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mob.values import Recovery


class MobError(Exception):
    """The root. Never raised itself.

    `code`: stable snake_case word. `exit_code`: what the terminal exits with when this ends a program.
    """

    code: ClassVar[str] = "mob_error"
    exit_code: ClassVar[int] = 5

    def __init__(self, message: str) -> None:
        if type(self) is MobError:
            raise TypeError("MobError is the root of the tree; raise one of its subclasses")
        super().__init__(message)
        self.message = message


class DefinitionError(MobError):
    """The team file has at least one error. `findings` holds all of them, in the file's order.

    `file` is the file as it was named; empty when the definition came from elsewhere. Not raised for warnings alone.
    """

    code = "bad_definition"
    exit_code = 2

    def __init__(self, message: str, findings: Sequence[object] = (), *, file: str = "") -> None:
        super().__init__(message)
        self.findings = tuple(findings)
        self.file = file


class UsageError(MobError):
    """A flag, an argument or an input file cannot be used as given."""

    code = "bad_usage"
    exit_code = 2


class MediaError(UsageError):
    """Sound or an image that cannot be used. `offset` is the byte where it went wrong, when known."""

    code = "bad_media"

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class CredentialMissing(MobError):
    """A vendor must be dialled and its key is not in the environment. Not raised for rehearsed members."""

    code = "credential_missing"
    exit_code = 3

    def __init__(self, message: str, *, variable: str) -> None:
        super().__init__(message)
        self.variable = variable


class LimitReached(MobError):
    """A declared limit stopped the work. Nothing that was committed is lost."""

    code = "limit_reached"
    exit_code = 4


class BudgetExceeded(LimitReached):
    """The next request would pass the budget. Raised before the request, never after it."""

    code = "budget_exceeded"


class MailboxFull(LimitReached):
    """The member has as many waiting messages as its mailbox holds. The message was not taken."""

    code = "mailbox_full"


class HopLimitReached(LimitReached):
    """A message has already travelled `limits.max_hops` members."""

    code = "hop_limit"


class TurnTimedOut(LimitReached):
    """The turn did not end within `limits.turn_timeout_s`."""

    code = "turn_timeout"


class RouteRefused(MobError):
    """The wiring has no such route from this member to that one."""

    code = "no_route"


class AskCycle(RouteRefused):
    """Every member of `cycle` would wait for the next one, for ever."""

    code = "ask_cycle"

    def __init__(self, message: str, *, cycle: Sequence[str]) -> None:
        super().__init__(message)
        self.cycle = tuple(cycle)


class MemberError(MobError):
    """A member cannot do what was asked of it."""

    code = "member_error"


class MemberUnknown(MemberError):
    """No member of this identity exists in the mob."""

    code = "member_unknown"
    exit_code = 2


class MemberNotRunning(MemberError):
    """The member exists and is retired, failed or not started."""

    code = "member_not_running"


class MemberFailed(MemberError):
    """The member's turn failed, or the member itself did and will not be restarted."""

    code = "member_failed"


class StaleGeneration(MemberError):
    """The handle belongs to an earlier generation of the member; take a fresh one from the mob."""

    code = "stale_generation"

    def __init__(self, message: str, *, generation: int, current: int) -> None:
        super().__init__(message)
        self.generation = generation
        self.current = current


class LiveError(MobError):
    """Something about a live channel."""

    code = "live_error"


class LiveRejected(LiveError):
    """One command was refused, locally or by the provider. The channel is as it was before.

    `reason` is a stable word: `empty_commit`, `wrong_mode`, `wrong_format`, `not_ready`, `nothing_to_truncate`,
    `too_large`, `backpressure`, `unsupported`, …
    """

    code = "live_rejected"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class LiveClosed(LiveError):
    """The channel has ended. `reason` is why; a closed channel stays readable for a minute."""

    code = "live_closed"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class AlreadyOpen(LiveError):
    """The session has an open live channel; there is one at a time."""

    code = "already_open"


class NotRealtime(LiveError):
    """The catalogue says that this model is not reached over a live channel."""

    code = "not_realtime"


class ReopenRequired(LiveError):
    """The change cannot be made on an open channel: close it and open a new one. `fields` names the changes."""

    code = "reopen_required"

    def __init__(self, message: str, *, fields: Sequence[str]) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class ProviderError(MobError):
    """The far end of a wire. `recovery` says what can be done about it; `provider_code` is its own word."""

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        recovery: Recovery = "fatal",
        provider_code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.recovery: Recovery = recovery
        self.provider_code = provider_code
        self.status = status
        self.retry_after_s = retry_after_s


class ProviderUnreachable(ProviderError):
    """No connection, or it was lost, or nothing came within the deadline."""

    code = "provider_unreachable"


class ProviderRefused(ProviderError):
    """The provider answered with a refusal: credentials, quota, rate, an unknown model, a bad request."""

    code = "provider_refused"


class WireError(ProviderError):
    """Bytes that break the protocol. `offset` is where, in bytes from the start of the frame, when known.

    `field` is the path of the field that is wrong ("response.id"), when the frame could be read at all.
    """

    code = "wire_error"

    def __init__(
        self, message: str, *, recovery: Recovery = "reopen", offset: int | None = None, field: str | None = None
    ) -> None:
        super().__init__(message, recovery=recovery)
        self.offset = offset
        self.field = field


class StoreError(MobError):
    """The log cannot be read or written."""

    code = "store_error"


class StoreLocked(StoreError):
    """Another process writes this run, or holds the file."""

    code = "store_locked"


class StoreCorrupt(StoreError):
    """The file is not a mob log, or a row of it cannot be read. Nothing was changed."""

    code = "store_corrupt"
    exit_code = 2


class StoreFull(StoreError):
    """No room to write. The log is whole up to the last committed turn."""

    code = "store_full"


class RunUnknown(StoreError):
    """The store holds no run of this id."""

    code = "run_unknown"
    exit_code = 2


class DoorError(MobError):
    """What another program asked at a door was refused. The mob behind it is as it was."""

    code = "door_error"


class RequestInvalid(DoorError):
    """A request that cannot be understood, or asks for what cannot be. `field` is the path of what is wrong."""

    code = "bad_request"
    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unauthorized(DoorError):
    """The door wants a secret, and this one is missing or wrong; or a browser's origin is not allowed here."""

    code = "unauthorized"
    exit_code = 3


TokenFault = Literal["not_found", "expired", "other_channel", "already_consumed", "channel_not_bound"]


class TokenRefused(DoorError):
    """A token that does not let anybody in. `reason` says why."""

    code = "token_refused"

    def __init__(self, message: str, *, reason: TokenFault) -> None:
        super().__init__(message)
        self.reason: TokenFault = reason


class MobUnknown(DoorError):
    """This server has no mob of this id."""

    code = "mob_unknown"


class MobExists(DoorError):
    """This server has a mob of this id already."""

    code = "mob_exists"


class ModelUnknown(DoorError):
    """No member of this server has this name. The word is OpenAI's, whose clients know it."""

    code = "model_not_found"


class SessionUnknown(DoorError):
    """This server has no session of this id."""

    code = "session_unknown"


class SessionIdle(DoorError):
    """The session was created and never started: start a turn on it first."""

    code = "session_idle"


class SessionBusy(DoorError):
    """The session is in a turn, and what was asked cannot wait for its end."""

    code = "session_busy"


class ChannelUnknown(DoorError):
    """This server has no live channel of this id, or it ended more than a minute ago."""

    code = "channel_unknown"


class ConfigConflict(DoorError):
    """The configuration is of another generation than the caller expects; read it again."""

    code = "config_conflict"

    def __init__(self, message: str, *, generation: int) -> None:
        super().__init__(message)
        self.generation = generation


class CapabilityUnavailable(DoorError):
    """A field or a value that is understood, and that this server cannot honour: to pass over it would be a lie.

    `field` is the path of what was asked for.
    """

    code = "capability_unavailable"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class StaleCursor(DoorError):
    """The caller has read up to a row that this log does not have. `watermark` is the last row there is."""

    code = "stale_cursor"

    def __init__(self, message: str, *, requested: int, watermark: int) -> None:
        super().__init__(message)
        self.requested = requested
        self.watermark = watermark


class DuplicateRequest(DoorError):
    """This idempotency key was used already, for something else. Nothing was done."""

    code = "duplicate_request"


class DoorFull(DoorError):
    """There are as many of these as this door allows. Nothing was begun."""

    code = "door_full"
    exit_code = 4


class ServerGone(DoorError):
    """The server of `mob.connect` cannot be reached, or has gone. What was asked of it may or may not be done."""

    code = "server_gone"
