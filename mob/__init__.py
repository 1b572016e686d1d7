"""mob: a team of talking agents from one TOML file.

This module names what is public and loads each name when it is first used, so that `import mob` costs next to
nothing and `mob --help` answers at once. It is no room of the house; the parts are put together in `mob._compose`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mob._compose import connect_realtime as connect_realtime, open_mob as open_mob
    from mob.definition.findings import Finding as Finding
    from mob.definition.load import check as check, load as load
    from mob.definition.model import MobDefinition as MobDefinition, ModelCapabilities as ModelCapabilities
    from mob.errors import (
        AlreadyOpen as AlreadyOpen,
        AskCycle as AskCycle,
        BudgetExceeded as BudgetExceeded,
        CredentialMissing as CredentialMissing,
        DefinitionError as DefinitionError,
        DoorError as DoorError,
        DoorFull as DoorFull,
        HopLimitReached as HopLimitReached,
        LimitReached as LimitReached,
        LiveClosed as LiveClosed,
        LiveError as LiveError,
        LiveRejected as LiveRejected,
        MailboxFull as MailboxFull,
        MediaError as MediaError,
        MemberError as MemberError,
        MemberFailed as MemberFailed,
        MemberNotRunning as MemberNotRunning,
        MemberUnknown as MemberUnknown,
        MobError as MobError,
        MobUnknown as MobUnknown,
        NotRealtime as NotRealtime,
        ProviderError as ProviderError,
        ProviderRefused as ProviderRefused,
        ProviderUnreachable as ProviderUnreachable,
        ReopenRequired as ReopenRequired,
        RequestInvalid as RequestInvalid,
        RouteRefused as RouteRefused,
        RunUnknown as RunUnknown,
        ServerGone as ServerGone,
        StaleGeneration as StaleGeneration,
        StoreCorrupt as StoreCorrupt,
        StoreError as StoreError,
        StoreFull as StoreFull,
        StoreLocked as StoreLocked,
        TurnTimedOut as TurnTimedOut,
        Unauthorized as Unauthorized,
        UsageError as UsageError,
        WireError as WireError,
    )
    from mob.history.items import (
        AgentMessage as AgentMessage,
        Note as Note,
        ToolResult as ToolResult,
        Turn as Turn,
        UserMessage as UserMessage,
    )
    from mob.live.channel import LiveChannel as LiveChannel
    from mob.live.events import (
        AgentTranscript as AgentTranscript,
        AgentTranscriptDelta as AgentTranscriptDelta,
        AudioDelta as AudioDelta,
        AudioDone as AudioDone,
        ChannelError as ChannelError,
        Connected as Connected,
        Disconnected as Disconnected,
        Interrupted as Interrupted,
        LiveEvent as LiveEvent,
        ResponseDone as ResponseDone,
        SpeechCommitted as SpeechCommitted,
        SpeechStarted as SpeechStarted,
        SpeechStopped as SpeechStopped,
        Text as Text,
        TextDelta as TextDelta,
        ToolCall as ToolCall,
        ToolFinished as ToolFinished,
        TurnBegan as TurnBegan,
        TurnCommitted as TurnCommitted,
        UserTranscript as UserTranscript,
        UserTranscriptDelta as UserTranscriptDelta,
    )
    from mob.live.ports import ChannelOptions as ChannelOptions
    from mob.remote.connect import connect as connect
    from mob.remote.live import RemoteLive as RemoteLive
    from mob.remote.member import RemoteMember as RemoteMember
    from mob.remote.mob import RemoteMob as RemoteMob
    from mob.sessions.mailbox import Answer as Answer
    from mob.sessions.tools import ToolContext as ToolContext
    from mob.store.memory import MemoryStore as MemoryStore
    from mob.store.sqlite import SqliteStore as SqliteStore
    from mob.team.handles import MemberHandle as MemberHandle
    from mob.team.running import Mob as Mob
    from mob.values import (
        Image as Image,
        ToolSchema as ToolSchema,
        TurnDetection as TurnDetection,
        Usage as Usage,
    )

_HOMES = {
    "mob._compose": "connect_realtime open_mob",
    "mob.definition.findings": "Finding",
    "mob.definition.load": "check load",
    "mob.definition.model": "MobDefinition ModelCapabilities",
    "mob.errors": (
        "AlreadyOpen AskCycle BudgetExceeded CredentialMissing DefinitionError DoorError DoorFull HopLimitReached "
        "LimitReached LiveClosed LiveError LiveRejected MailboxFull MediaError MemberError MemberFailed "
        "MemberNotRunning MemberUnknown MobError MobUnknown NotRealtime ProviderError ProviderRefused "
        "ProviderUnreachable ReopenRequired RequestInvalid RouteRefused RunUnknown ServerGone StaleGeneration "
        "StoreCorrupt StoreError StoreFull StoreLocked TurnTimedOut Unauthorized UsageError WireError"
    ),
    "mob.history.items": "AgentMessage Note ToolResult Turn UserMessage",
    "mob.live.channel": "LiveChannel",
    "mob.live.events": (
        "AgentTranscript AgentTranscriptDelta AudioDelta AudioDone ChannelError Connected Disconnected Interrupted "
        "LiveEvent ResponseDone SpeechCommitted SpeechStarted SpeechStopped Text TextDelta ToolCall ToolFinished "
        "TurnBegan TurnCommitted "
        "UserTranscript UserTranscriptDelta"
    ),
    "mob.live.ports": "ChannelOptions",
    "mob.remote.connect": "connect",
    "mob.remote.live": "RemoteLive",
    "mob.remote.member": "RemoteMember",
    "mob.remote.mob": "RemoteMob",
    "mob.sessions.mailbox": "Answer",
    "mob.sessions.tools": "ToolContext",
    "mob.store.memory": "MemoryStore",
    "mob.store.sqlite": "SqliteStore",
    "mob.team.handles": "MemberHandle",
    "mob.team.running": "Mob",
    "mob.values": "Image ToolSchema TurnDetection Usage",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - computed from the table above; a test compares it with the imports


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mob' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
