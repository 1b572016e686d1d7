"""`mob.connect`: a mob that runs elsewhere, held as if it ran here.

    connect
    ├─ the way there       a WebSocket, a TCP stream, or a process of our own (mob.remote.dial)
    ├─ watchdog            gives up sockets that are silent (mob.live.watchdog)
    ├─ peer                reader and writer of the connection (mob.remote.peer)
    ├─ connection          fetches what was too large to be told (mob.remote.connection)
    └─ live channels       each in the block of its `open_live` (mob.remote.live_dial)

Leaving the block lets go of the mob and leaves nothing (law 24). The mob goes on, unless it was a process of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from mob.errors import ServerGone
from mob.live.network import Network, TcpNetwork
from mob.live.watchdog import Watchdog
from mob.remote.connection import Connection
from mob.remote.dial import Dialled, dial
from mob.remote.live_dial import LiveDialler
from mob.remote.mob import RemoteMob

_OPEN_S = 60.0
"""A process of our own must start, and load its team file."""


@asynccontextmanager
async def connect(
    server: str | Sequence[str], *, secret: str | None = None, mob: str | None = None, network: Network | None = None
) -> AsyncIterator[RemoteMob]:
    """A running team at a server, until the block is left.

    `server`: `http(s)://HOST:PORT` of a `mob serve`, `ws(s)://…/rpc`, `tcp://HOST:PORT` or `tls://` (JSON lines), or a
    command that speaks JSON lines on its standard streams, such as `mob rpc --team FILE`; it is ended with the block.
    `secret`: the server's. `mob`: which of its mobs; may be left out where there is one. `network` replaces TCP (tests
    do).

    ServerGone, Unauthorized, UsageError, MobUnknown, MemberNotRunning, SessionIdle. What the block raises comes out as
    it is.
    """
    network, watchdog = network or TcpNetwork(), Watchdog()
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(watchdog.run)
            async with dial(server, secret=secret, network=network, nursery=nursery, watchdog=watchdog) as dialled:
                connection = Connection(dialled.link, dialled.where)
                await nursery.start(_run, connection)
                await _open(connection, dialled, mob)
                nursery.start_soon(connection.keep_whole)
                live = LiveDialler(connection, network, base=dialled.live_base, secret=secret, watchdog=watchdog)
                yield RemoteMob(connection, live)
                await connection.peer.settle()
        except Exception as error:  # kept aside, so that it does not come out of the nursery as a group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _run(connection: Connection, task_status: trio.TaskStatus[None]) -> None:
    await connection.peer.run(task_status)
    if connection.peer.gone is not None:
        connection.lost(connection.peer.gone)


async def _open(connection: Connection, dialled: Dialled, mob: str | None) -> None:
    with trio.move_on_after(_OPEN_S) as patience:
        await connection.open(mob, dialled.secret)
    if patience.cancelled_caught:
        raise ServerGone(f"{dialled.where} did not say what it has within {_OPEN_S:g} s")
