"""Which client role speaks which realtime wire. The catalogue names wires by these words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from mob.providers.openai_realtime.client import RealtimeClient

REALTIME_CLIENTS: Final[Mapping[str, type[RealtimeClient]]] = MappingProxyType({"openai-realtime": RealtimeClient})
"""Realtime wires that are built: name to client role, one new instance for each connection."""
