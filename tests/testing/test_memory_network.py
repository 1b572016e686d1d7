"""The network in memory, and every way in which it can be broken."""

import pytest
import trio

from mob.errors import ProviderUnreachable
from mob.live.transport import TransportClosed, accept_websocket, connect_websocket
from mob.testing import MemoryNetwork


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


@pytest.fixture
def network(nursery):
    network = MemoryNetwork(nursery)
    network.listen("model", 80, echo)
    return network


async def dial(network):
    stream = await network.connect("model", 80)
    return stream, network.connections[-1]


async def test_who_listens_gets_the_other_end(network):
    stream, _ = await dial(network)
    await stream.send_all(b"hello")
    assert await stream.receive_some(100) == b"hello"
    assert network.statistics().open_now == 1
    await stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    counts = network.statistics()
    assert (counts.opened, counts.refused, counts.open_now) == (1, 0, 0)


async def test_nobody_listens_elsewhere_until_there_is_a_default(network):
    with pytest.raises(ProviderUnreachable, match="other:1"):
        await network.connect("other", 1)
    network.listen_default(echo)
    await (await network.connect("other", 1)).aclose()


async def test_there_is_no_tls(network):
    with pytest.raises(ProviderUnreachable, match="no TLS"):
        network.tls_context()


async def test_refusing_and_hanging(network, autojump_clock):
    network.refuse()
    with pytest.raises(ProviderUnreachable, match="refused"):
        await dial(network)
    network.refuse(refusing=False)
    network.hang()
    with trio.move_on_after(10) as patience:
        await dial(network)
    assert patience.cancelled_caught
    network.hang(hanging=False)
    await (await dial(network))[0].aclose()
    assert network.statistics().refused == 1


async def test_a_reset_breaks_both_ends(network):
    stream, connection = await dial(network)
    connection.reset()
    with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
        await stream.send_all(b"x")
    with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
        await stream.receive_some(1)
    await trio.testing.wait_all_tasks_blocked()
    assert network.statistics().open_now == 0


async def test_hanging_up_is_an_end_of_the_stream(network):
    stream, connection = await dial(network)
    connection.hang_up()
    assert await stream.receive_some(1) == b""
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    await stream.aclose()


async def test_silence_tells_nobody(network, autojump_clock):
    stream, connection = await dial(network)
    connection.silence()
    await stream.send_all(b"anybody?")
    with trio.move_on_after(3600) as patience:
        await stream.receive_some(1)
    assert patience.cancelled_caught
    await stream.aclose()
    assert network.statistics().open_now == 1
    connection.reset()


async def test_a_stalled_listener_takes_nothing(network, autojump_clock):
    stream, connection = await dial(network)
    connection.stall()
    with trio.move_on_after(3600) as patience:
        await stream.send_all(b"x")
    assert patience.cancelled_caught
    await stream.aclose()


async def test_a_slow_drip(network, autojump_clock):
    stream, connection = await dial(network)
    connection.drip(max_bytes=2, every_s=1.0)
    await stream.send_all(b"hello")
    began = trio.current_time()
    pieces = [await stream.receive_some(100) for _ in range(3)]
    assert pieces == [b"he", b"ll", b"o"]
    assert trio.current_time() - began == pytest.approx(2.0)
    await stream.aclose()


async def test_a_websocket_over_it_knows_a_reset_as_a_lost_connection(nursery):
    network = MemoryNetwork(nursery)
    accepted = []

    async def serve(stream):
        transport, asked = await accept_websocket(stream)
        accepted.append(asked)
        with pytest.raises(TransportClosed):
            await transport.receive()
        await transport.aclose()

    network.listen_default(serve)
    transport = await connect_websocket(network, "ws://model/v1/realtime?model=m")
    assert accepted[0].path == "/v1/realtime?model=m"
    network.connections[0].reset()
    with pytest.raises(TransportClosed) as closed:
        await transport.receive()
    assert (closed.value.close_code, closed.value.by) == (1006, "network")
    await transport.aclose()
