"""What a frame costs in task steps: a figure without noise, and the reason why the pump is as it is."""

from contextlib import contextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing
from transport_conformance import until
from transport_frames import frame
from transport_peers import conversation


class Steps(trio.abc.Instrument):
    """Counts the steps of the task that makes it, and of all others."""

    def __init__(self):
        self.task = trio.lowlevel.current_task()
        self.count = self.others = 0

    def before_task_step(self, task):
        if task is self.task:
            self.count += 1
        else:
            self.others += 1


@contextmanager
def counting():
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)


FRAMES = 1000
AUDIO = b"x" * 960


@pytest.mark.parametrize("link", ["socket", "tls"])
async def test_receiving_costs_one_step_a_read_not_a_frame(link):
    async with conversation(link=link) as (transport, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.stream.send_all, frame(2, AUDIO) * FRAMES)
        await trio.sleep(0.01)
        with counting() as steps:
            messages = []
            while len(messages) < FRAMES:
                messages += await transport.receive()
        assert messages == [AUDIO] * FRAMES
        assert steps.count <= 0.1 * FRAMES
        assert steps.count <= transport.statistics().reads + 2


@pytest.mark.parametrize("link", ["socket", "tls"])
async def test_sending_costs_no_step_while_the_socket_takes_it(link):
    async with conversation(link=link) as (transport, peer):
        await trio.testing.wait_all_tasks_blocked()
        with counting() as steps:
            for _ in range(50):
                transport.send_nowait(AUDIO, audio=True)
            await trio.lowlevel.checkpoint()
        assert (steps.count, steps.others) == (1, 0), "the checkpoint's own step"
        assert transport.statistics().writes >= 50
        assert [await peer.get() for _ in range(50)] == [AUDIO] * 50


async def test_sending_over_a_stream_costs_at_most_a_step_a_frame_and_joins_what_waits():
    async with conversation(link="memory") as (transport, peer):
        await trio.testing.wait_all_tasks_blocked()
        with counting() as steps:
            for _ in range(FRAMES):
                transport.send_nowait(AUDIO, audio=True)
            await until(lambda: transport.statistics().audio_bytes_waiting == 0)
        assert steps.others <= 0.1 * FRAMES
        assert transport.statistics().writes <= FRAMES * len(AUDIO) / 65536 + 3
        assert [await peer.get() for _ in range(FRAMES)] == [AUDIO] * FRAMES


async def test_a_frame_opens_no_cancel_scope_and_starts_no_task():
    """Counted over an echo: receive, send."""
    async with conversation(link="socket") as (transport, peer):
        tasks = trio.lowlevel.current_statistics().tasks_living
        made = []
        plain = trio.CancelScope.__enter__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.CancelScope, "__enter__", lambda scope: made.append(scope) or plain(scope))
            for number in range(20):
                await peer.stream.send_all(frame(1, f"{number}".encode()))
                for message in await transport.receive():
                    transport.send_nowait(message)
        assert made == []
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert [await peer.get() for _ in range(20)] == [f"{number}" for number in range(20)]


async def test_an_echo_costs_the_one_step_that_waiting_takes():
    async with conversation(link="socket") as (transport, peer):
        total = 0
        for number in range(100):
            await peer.stream.send_all(frame(1, f"{number}".encode()))
            await trio.lowlevel.checkpoint()
            with counting() as steps:
                for message in await transport.receive():
                    transport.send_nowait(message)
            total += steps.count
        assert total <= 200
        assert [await peer.get() for _ in range(100)] == [f"{number}" for number in range(100)]
