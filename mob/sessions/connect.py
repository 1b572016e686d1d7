"""A live channel with no team: one member, one session, a history in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio
from attrs import evolve

from mob.clock import wall_clock
from mob.definition.catalogue import capabilities_for, lookup, providers
from mob.definition.model import (
    Member,
    MobDefinition,
    ModelCapabilities,
    Profile,
    ProviderSpec,
)
from mob.history.fold import History
from mob.ids import Ids
from mob.live.channel import LiveChannel
from mob.live.network import Network, TcpNetwork
from mob.live.ports import ChannelOptions
from mob.live.watchdog import Watchdog
from mob.sessions.budget import BudgetMeter
from mob.sessions.channels import channel_limits
from mob.sessions.dialling import VendorDialler
from mob.sessions.events import RunEvent
from mob.sessions.session import Session
from mob.sessions.tools import ToolBox, python_tool
from mob.store.memory import MemoryStore
from mob.values import Modality, ToolSchema, TurnDetection, TurnMode

_NAME = "agent"


@asynccontextmanager
async def connect_realtime(
    *,
    model: str | ModelCapabilities,
    provider: str | None = None,
    voice: str | None = None,
    instructions: str = "",
    tools: Sequence[Callable[..., Any] | ToolSchema] = (),
    turn_detection: TurnMode | TurnDetection | None = None,
    output: Modality | None = None,
    params: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    ttl_s: float | None = None,
    network: Network | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[LiveChannel]:
    """A live channel to a realtime model, ready, for as long as the block lasts.

    `model`: an id of the catalogue, or the capabilities of a model that it does not know. `tools`: a callable is
    offered by its signature and docstring and run here; of a ToolSchema the calls come as `ToolCall` events with
    `external` True, to be answered with `send_tool_result`. `base_url` (http or https, ending in the API's root)
    dials somewhere else than the provider; no key is then required. `ttl_s` bounds the channel's life in seconds.
    Keys come from the environment (`environ`) only: the provider's own variable, else <PROVIDER>_API_KEY.

    NotRealtime, CredentialMissing, UsageError, ProviderUnreachable, ProviderRefused.
    """
    profile = Profile(
        _NAME,
        model if isinstance(model, str) else model.id,
        provider=provider,
        instructions=instructions,
        voice=voice,
        turn_detection=TurnDetection(turn_detection) if isinstance(turn_detection, str) else turn_detection,
        output=output,
        params=dict(params or {}),
    )
    definition = _definition(profile, model, base_url)
    profile = definition.profiles[_NAME]
    capabilities = capabilities_for(profile, definition)
    dialler = VendorDialler(
        definition, environ=os.environ if environ is None else environ, network=network or TcpNetwork()
    )
    ids, watchdog = Ids(), Watchdog()
    box = ToolBox(
        [
            python_tool(tool, timeout_s=definition.limits.tool_timeout_s)
            for tool in tools
            if not isinstance(tool, ToolSchema)
        ],
        external=[tool for tool in tools if isinstance(tool, ToolSchema)],
    )
    options = ChannelOptions(channel_limits(definition.limits), ttl_s=ttl_s)
    with _one_error():
        async with MemoryStore().open_run(ids.new("run"), create=True) as log, trio.open_nursery() as nursery:
            session = Session(
                _NAME,
                1,
                profile,
                capabilities,
                definition=definition,
                log=log,
                history=History(_NAME),
                tools=box,
                dialler=dialler,
                ids=ids,
                budget=BudgetMeter(_NAME),
                publish=_unheard,
                wall=wall_clock(),
                watchdog=watchdog,
            )
            nursery.start_soon(watchdog.run)
            await nursery.start(session.run)
            try:
                async with session.open_live(options) as live:
                    yield live
            finally:
                with trio.CancelScope(shield=True):
                    await session.stop()
                nursery.cancel_scope.cancel()


def _definition(profile: Profile, model: str | ModelCapabilities, base_url: str | None) -> MobDefinition:
    """A team of one, dialled at `base_url` when there is one."""
    models = {profile.model: lookup(model) if isinstance(model, str) else model}
    definition = MobDefinition("realtime", {_NAME: profile}, {_NAME: Member(_NAME, _NAME)}, models=models)
    if base_url is None:
        return definition
    name = profile.provider or capabilities_for(profile, definition).provider
    variable = None if name in providers() else f"{name.upper()}_API_KEY"
    return evolve(
        definition,
        profiles={_NAME: evolve(profile, provider=name)},
        providers={name: ProviderSpec(name, base_url=base_url, api_key_env=variable)},
    )


def _unheard(event: RunEvent) -> None:
    """A lone channel has no run to tell."""


@contextmanager
def _one_error() -> Iterator[None]:
    """What one error raised comes out as that error, not as a group of one: the nursery inside is our own affair."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group or isinstance(error, BaseExceptionGroup):
            raise
        raise error from error.__cause__
