"""Doors for testers. The network in memory is the channel's own (`mob.live.memory`); it has its public name here."""

from mob.live.memory import (
    Connection as Connection,
    MemoryNetwork as MemoryNetwork,
    NetworkStatistics as NetworkStatistics,
)
