"""Cancel every public coroutine of the transport at its first, second, … step: nothing is left open, nothing hangs."""

from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from transport_peers import LINKS, TLS_URL, URL, SansIoPeer, contexts

from mob.errors import MobError
from mob.live.network import TcpNetwork
from mob.live.ports import ChannelLimits
from mob.live.transport import TransportClosed, accept_websocket, connect_websocket, open_websocket

LIMITS = ChannelLimits(close_timeout_s=0.02)


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its task is about to make its nth step."""

    def __init__(self, step):
        self.left = step
        self.scope = trio.CancelScope()
        self.task = None

    def before_task_step(self, task):
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()

    async def run(self, victim):
        """Run it in a task of its own; whether it was cancelled before it was done."""

        async def host():
            self.task = trio.lowlevel.current_task()
            self.before_task_step(self.task)
            with self.scope:
                await victim()

        trio.lowlevel.add_instrument(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host)
        finally:
            trio.lowlevel.remove_instrument(self)
        return self.scope.cancelled_caught


async def at_each_step(scenario):
    """Run the scenario with a cancellation at step 1, 2, … until it comes through. How many steps were tried."""
    for step in range(1, 200):
        with trio.fail_after(10):
            if not await scenario(CancelAtStep(step)):
                return step
    raise AssertionError("it takes ever more steps")


async def wait_end_of(stream):
    """Until the other end is gone."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(65536):
            pass
    await trio.aclose_forcefully(stream)


async def open_cancelled(link, at):
    ours, theirs, tls = await LINKS[link]()

    async def victim():
        transport = await open_websocket(ours, TLS_URL if tls else URL, limits=LIMITS, tls=tls)
        transport.abort("enough")
        with trio.CancelScope(shield=True):
            await transport.aclose()

    async with trio.open_nursery() as nursery:

        async def serve():
            peer = SansIoPeer(nursery, theirs)
            with suppress(trio.BrokenResourceError, EOFError, ValueError):
                await peer.accept()
            await wait_end_of(theirs)

        nursery.start_soon(serve)
        return await at.run(victim)


async def accept_cancelled(link, at):
    ours, theirs, tls = await LINKS[link]()
    raw = theirs.transport_stream if tls else theirs

    async def victim():
        transport, _ = await accept_websocket(raw, limits=LIMITS, tls=contexts()[0] if tls else None)
        transport.abort("enough")
        with trio.CancelScope(shield=True):
            await transport.aclose()

    async with trio.open_nursery() as nursery:

        async def ask():
            with suppress(MobError):
                transport = await open_websocket(ours, TLS_URL if tls else URL, limits=LIMITS, tls=tls)
                with suppress(TransportClosed):
                    await transport.receive()
                await transport.aclose()

        nursery.start_soon(ask)
        return await at.run(victim)


async def conversation_cancelled(link, at):
    """Everything that a channel does in one scope: read, write what a slow peer does not take, close."""
    ours, theirs, tls = await LINKS[link]()
    async with trio.open_nursery() as nursery:

        async def serve():
            peer = SansIoPeer(nursery, theirs)
            await peer.accept()
            with suppress(trio.BrokenResourceError, AssertionError, EOFError):
                for _ in range(3):
                    await peer.send(await peer.get())
            await wait_end_of(theirs)

        nursery.start_soon(serve)
        transport = await open_websocket(ours, TLS_URL if tls else URL, limits=LIMITS, tls=tls)

        async def victim():
            try:
                async with trio.open_nursery() as channel:
                    channel.start_soon(transport.run_writer)
                    for number in range(3):
                        transport.send_nowait(f"{number}" * 300_000)
                        assert await transport.receive() == [f"{number}" * 300_000]
                    await transport.aclose()
            finally:
                with trio.CancelScope(shield=True):
                    await transport.aclose()

        cancelled = await at.run(victim)
        with pytest.raises(TransportClosed):
            transport.send_nowait("too late")
        with pytest.raises(TransportClosed):
            await transport.receive()
        return cancelled


async def writer_cancelled(link, at):
    """The writer alone is cancelled: either nothing of a message was under way, or the connection ends."""
    ours, theirs, tls = await LINKS[link]()
    async with trio.open_nursery() as nursery:
        got = []

        async def serve():
            peer = SansIoPeer(nursery, theirs)
            await peer.accept()
            with suppress(trio.BrokenResourceError, AssertionError, EOFError):
                while len(got) < 2:
                    got.append(await peer.get())
            await wait_end_of(theirs)

        nursery.start_soon(serve)
        transport = await open_websocket(ours, TLS_URL if tls else URL, limits=LIMITS, tls=tls)
        transport.send_nowait("1" * 4_000_000)
        transport.send_nowait("2" * 100)
        cancelled = await at.run(partial(trio_until, lambda: len(got) == 2, transport))
        await transport.aclose()
    assert [set(message) for message in got] == [{"1"}, {"2"}][: len(got)]
    return cancelled


async def trio_until(done, transport):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run_writer)
        while not done():  # noqa: ASYNC110 - the far end of a socket gives no other sign
            await trio.sleep(0.0001)
        nursery.cancel_scope.cancel()


SCENARIOS = [open_cancelled, accept_cancelled, conversation_cancelled]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_is_left_wherever_it_is_cancelled(scenario, link):
    assert await at_each_step(partial(scenario, link)) > 2


async def test_nothing_is_left_of_a_dial_that_is_cancelled():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"

    async def serve(stream):
        with suppress(trio.BrokenResourceError, EOFError, ValueError):
            await SansIoPeer(None, stream).accept()
        await wait_end_of(stream)

    async def scenario(at):
        async def victim():
            transport = await connect_websocket(TcpNetwork(), url, limits=LIMITS)
            transport.abort("enough")
            with trio.CancelScope(shield=True):
                await transport.aclose()

        return await at.run(victim)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        assert await at_each_step(scenario) > 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("link", LINKS)
async def test_the_peer_gets_whole_messages_or_the_end_when_the_writer_is_cancelled(link):
    for step in range(1, 12):
        with trio.fail_after(10):
            await writer_cancelled(link, CancelAtStep(step))
