"""Saying goodbye to a peer that has left before us."""

from __future__ import annotations

import pytest
import trio
from transport_frames import frame

from mob.live.transport import TransportClosed, accept_websocket
from mob.web.streams import reset

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.real_socket
async def test_a_peer_that_says_goodbye_and_cuts_the_line_is_no_error_of_ours():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery, listeners[0] as listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        server = await listener.accept()
        await client.send_all(HANDSHAKE)
        transport, _ = await accept_websocket(server)
        nursery.start_soon(transport.run_writer)
        await client.receive_some()
        await client.send_all(frame(8, (1000).to_bytes(2, "big")))
        with pytest.raises(TransportClosed):
            await transport.receive()
        await reset(client)
        with trio.fail_after(5):
            await transport.aclose()
        assert transport.statistics().closed
