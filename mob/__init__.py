"""mob: a team of talking agents from one TOML file.

This module names what is public and loads each name when it is first used, so that `import mob` costs next to
nothing and `mob --help` answers at once. It is no room of the house; the parts are put together in `mob._compose`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mob._compose import connect_realtime as connect_realtime
    from mob._compose import open_mob as open_mob
    from mob.definition.findings import Finding as Finding
    from mob.definition.load import check as check
    from mob.definition.load import load as load
    from mob.definition.model import MobDefinition as MobDefinition
    from mob.definition.model import ModelCapabilities as ModelCapabilities
    from mob.errors import (
        AlreadyOpen as AlreadyOpen,
    )
    from mob.errors import (
        AskCycle as AskCycle,
    )
    from mob.errors import (
        BudgetExceeded as BudgetExceeded,
    )
    from mob.errors import (
        CredentialMissing as CredentialMissing,
    )
    from mob.errors import (
        DefinitionError as DefinitionError,
    )
    from mob.errors import (
        HopLimitReached as HopLimitReached,
    )
    from mob.errors import (
        LimitReached as LimitReached,
    )
    from mob.errors import (
        LiveClosed as LiveClosed,
    )
    from mob.errors import (
        LiveError as LiveError,
    )
    from mob.errors import (
        LiveRejected as LiveRejected,
    )
    from mob.errors import (
        MailboxFull as MailboxFull,
    )
    from mob.errors import (
        MediaError as MediaError,
    )
    from mob.errors import (
        MemberError as MemberError,
    )
    from mob.errors import (
        MemberFailed as MemberFailed,
    )
    from mob.errors import (
        MemberNotRunning as MemberNotRunning,
    )
    from mob.errors import (
        MemberUnknown as MemberUnknown,
    )
    from mob.errors import (
        MobError as MobError,
    )
    from mob.errors import (
        NotRealtime as NotRealtime,
    )
    from mob.errors import (
        ProviderError as ProviderError,
    )
    from mob.errors import (
        ProviderRefused as ProviderRefused,
    )
    from mob.errors import (
        ProviderUnreachable as ProviderUnreachable,
    )
    from mob.errors import (
        ReopenRequired as ReopenRequired,
    )
    from mob.errors import (
        RouteRefused as RouteRefused,
    )
    from mob.errors import (
        RunUnknown as RunUnknown,
    )
    from mob.errors import (
        StaleGeneration as StaleGeneration,
    )
    from mob.errors import (
        StoreCorrupt as StoreCorrupt,
    )
    from mob.errors import (
        StoreError as StoreError,
    )
    from mob.errors import (
        StoreFull as StoreFull,
    )
    from mob.errors import (
        StoreLocked as StoreLocked,
    )
    from mob.errors import (
        TurnTimedOut as TurnTimedOut,
    )
    from mob.errors import (
        UsageError as UsageError,
    )
    from mob.errors import (
        WireError as WireError,
    )
    from mob.history.items import (
        AgentMessage as AgentMessage,
    )
    from mob.history.items import (
        Note as Note,
    )
    from mob.history.items import (
        ToolResult as ToolResult,
    )
    from mob.history.items import (
        Turn as Turn,
    )
    from mob.history.items import (
        UserMessage as UserMessage,
    )
    from mob.live.events import (
        AgentTranscript as AgentTranscript,
    )
    from mob.live.events import (
        AgentTranscriptDelta as AgentTranscriptDelta,
    )
    from mob.live.events import (
        AudioDelta as AudioDelta,
    )
    from mob.live.events import (
        AudioDone as AudioDone,
    )
    from mob.live.events import (
        ChannelError as ChannelError,
    )
    from mob.live.events import (
        Connected as Connected,
    )
    from mob.live.events import (
        Disconnected as Disconnected,
    )
    from mob.live.events import (
        Interrupted as Interrupted,
    )
    from mob.live.events import (
        LiveEvent as LiveEvent,
    )
    from mob.live.events import (
        ResponseDone as ResponseDone,
    )
    from mob.live.events import (
        SpeechStarted as SpeechStarted,
    )
    from mob.live.events import (
        SpeechStopped as SpeechStopped,
    )
    from mob.live.events import (
        Text as Text,
    )
    from mob.live.events import (
        TextDelta as TextDelta,
    )
    from mob.live.events import (
        ToolCall as ToolCall,
    )
    from mob.live.events import (
        ToolFinished as ToolFinished,
    )
    from mob.live.events import (
        TurnCommitted as TurnCommitted,
    )
    from mob.live.events import (
        UserTranscript as UserTranscript,
    )
    from mob.live.events import (
        UserTranscriptDelta as UserTranscriptDelta,
    )
    from mob.sessions.tools import ToolContext as ToolContext
    from mob.store.memory import MemoryStore as MemoryStore
    from mob.store.sqlite import SqliteStore as SqliteStore
    from mob.values import Image as Image
    from mob.values import ToolSchema as ToolSchema
    from mob.values import Usage as Usage

_HOMES = {
    "mob._compose": "connect_realtime open_mob",
    "mob.definition.findings": "Finding",
    "mob.definition.load": "check load",
    "mob.definition.model": "MobDefinition ModelCapabilities",
    "mob.errors": (
        "AlreadyOpen AskCycle BudgetExceeded CredentialMissing DefinitionError HopLimitReached LimitReached "
        "LiveClosed LiveError LiveRejected MailboxFull MediaError MemberError MemberFailed MemberNotRunning "
        "MemberUnknown MobError NotRealtime ProviderError ProviderRefused ProviderUnreachable ReopenRequired "
        "RouteRefused RunUnknown StaleGeneration StoreCorrupt StoreError StoreFull StoreLocked TurnTimedOut "
        "UsageError WireError"
    ),
    "mob.history.items": "AgentMessage Note ToolResult Turn UserMessage",
    "mob.live.events": (
        "AgentTranscript AgentTranscriptDelta AudioDelta AudioDone ChannelError Connected Disconnected Interrupted "
        "LiveEvent ResponseDone SpeechStarted SpeechStopped Text TextDelta ToolCall ToolFinished TurnCommitted "
        "UserTranscript UserTranscriptDelta"
    ),
    "mob.sessions.tools": "ToolContext",
    "mob.store.memory": "MemoryStore",
    "mob.store.sqlite": "SqliteStore",
    "mob.values": "Image ToolSchema Usage",
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
