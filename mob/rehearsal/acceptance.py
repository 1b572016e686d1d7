"""Accepting a WebSocket as the vendor does, or refusing it: before the handshake by HTTP, the beta shape after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio_websocket
from wsproto.utilities import ProtocolError

from mob.providers.openai_realtime.beta import refuse_beta
from mob.rehearsal.pipe import CLOSE_S
from mob.web.http import HttpReply, HttpRequest, serve_http
from mob.web.streams import Head, ReplayedStream

_HANDSHAKE_S = 10.0
_QUEUE = 64
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_SUBPROTOCOL = "realtime"

Serve = Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]


async def accept_socket(head: Head, stream: ReplayedStream, serve: Serve) -> None:
    """Make the handshake on `stream`, hand the connection to `serve`, and close it after that.

    A peer that vanishes or breaks the protocol ends this quietly, at whatever point.
    """
    try:
        async with trio.open_nursery() as nursery:
            connection = await _handshake(nursery, stream)
            if connection is not None:
                await (_refuse_beta(connection) if _asks_for_beta(head) else serve(connection))
                with trio.move_on_after(CLOSE_S):
                    await connection.aclose()
            nursery.cancel_scope.cancel()
    except* (trio_websocket.ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError):
        pass


async def _handshake(nursery: trio.Nursery, stream: ReplayedStream) -> trio_websocket.WebSocketConnection | None:
    """The accepted connection; None when no handshake came in time (a broken one has been answered by then)."""
    with trio.move_on_after(_HANDSHAKE_S):
        request = await trio_websocket.wrap_server_stream(
            nursery, stream, message_queue_size=_QUEUE, max_message_size=MAX_MESSAGE_BYTES
        )
        chosen = _SUBPROTOCOL if _SUBPROTOCOL in request.proposed_subprotocols else None
        return await request.accept(subprotocol=chosen)
    return None


async def reject_socket(stream: trio.abc.Stream, status: int, body: dict[str, object]) -> None:
    """Answer the handshake with a plain HTTP refusal."""

    async def refuse(_: HttpRequest, reply: HttpReply) -> None:
        await reply.send_json(status, body, [("connection", "close")])

    await serve_http(stream, refuse)


def _asks_for_beta(head: Head) -> bool:
    return "realtime=v1" in head.headers.get("openai-beta", "")


async def _refuse_beta(connection: trio_websocket.WebSocketConnection) -> None:
    refusal = refuse_beta()
    await connection.send_message(refusal.frame)
    with trio.move_on_after(CLOSE_S):
        await connection.aclose(refusal.close_code, refusal.close_reason)
