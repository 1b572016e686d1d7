"""The watchdog: quiet connections live, dead ones end, and it costs nothing in between."""

import pytest
import trio
import trio.testing
from transport_conformance import the_end
from transport_peers import conversation

from mob.live.watchdog import Watchdog


async def test_a_quiet_peer_that_answers_lives_for_ever(autojump_clock):
    async with conversation() as (transport, peer), trio.open_nursery() as nursery:
        watchdog = Watchdog(ping_after_s=20, dead_after_s=40)
        nursery.start_soon(watchdog.run)
        nursery.start_soon(the_end, transport)
        nursery.start_soon(peer.wait_closed)
        with watchdog.watch(transport):
            await trio.sleep(3600)
            assert not transport.statistics().closed
            counts = watchdog.statistics()
            assert (counts.watched, counts.aborted) == (1, 0)
            assert 3600 / 20 - 2 <= counts.pings <= 3600 / 20
        assert watchdog.statistics().watched == 0
        nursery.cancel_scope.cancel()


async def test_a_half_open_connection_ends_when_it_is_due(autojump_clock):
    async with conversation() as (transport, peer), trio.open_nursery() as nursery:
        peer.stream.send_stream.send_all_hook = None
        watchdog = Watchdog(ping_after_s=20, dead_after_s=40)
        nursery.start_soon(watchdog.run)
        nursery.start_soon(peer.wait_closed)
        with watchdog.watch(transport):
            began = trio.current_time()
            _, closed = await the_end(transport)
            assert trio.current_time() - began == pytest.approx(40)
            assert (closed.close_code, closed.by) == (1006, "local")
            assert "not even a pong" in closed.reason
        assert watchdog.statistics().aborted == 1
        nursery.cancel_scope.cancel()


async def test_it_wakes_for_who_comes_later_and_sleeps_otherwise(autojump_clock):
    async with trio.open_nursery() as nursery:
        watchdog = Watchdog(ping_after_s=20, dead_after_s=40)
        nursery.start_soon(watchdog.run)
        await trio.sleep(1000)
        async with conversation() as (transport, peer):
            peer.stream.send_stream.send_all_hook = None
            with watchdog.watch(transport):
                began = trio.current_time()
                await the_end(transport)
                assert trio.current_time() - began == pytest.approx(40)
        nursery.cancel_scope.cancel()


async def test_it_looks_only_when_one_could_be_due(autojump_clock):
    class Counted(Watchdog):
        looks = 0

        def _look_at(self, watched, now):
            self.looks += 1
            return super()._look_at(watched, now)

    async with conversation() as (transport, peer), trio.open_nursery() as nursery:
        watchdog = Counted(ping_after_s=20, dead_after_s=40)
        nursery.start_soon(watchdog.run)
        nursery.start_soon(the_end, transport)
        with watchdog.watch(transport):
            for _ in range(10_000):
                await peer.send("frame")
                await trio.sleep(0.02)
        assert watchdog.looks <= 200 / 20 + 3
        assert watchdog.statistics().pings == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("times", [(0, 40), (20, 20), (40, 20)])
def test_times_that_make_no_sense_are_refused(times):
    with pytest.raises(ValueError, match="ping_after_s"):
        Watchdog(ping_after_s=times[0], dead_after_s=times[1])
