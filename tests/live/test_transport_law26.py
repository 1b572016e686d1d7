"""Law 26 for the WebSocket driver: whatever bytes come, there is a typed end or whole messages, and nothing is left.

And the laws of its outbox, checked against a model.
"""

from contextlib import suppress

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given, settings, strategies as st
from transport_peers import URL, SansIoPeer

from mob.errors import MobError, WireError
from mob.live.outbox import Message, Outbox
from mob.live.ports import ChannelLimits
from mob.live.transport import TransportClosed, accept_websocket, open_websocket

LIMITS = ChannelLimits(max_frame_bytes=2000, close_timeout_s=1.0)

header = st.tuples(st.integers(0, 255), st.integers(0, 255)).map(bytes)
frame = st.builds(
    lambda fin, opcode, payload: bytes([(0x80 if fin else 0) | opcode, len(payload)]) + payload,
    st.booleans(),
    st.sampled_from([0, 1, 2, 8, 9, 10]),
    st.binary(max_size=125),
)
"""Well formed frames of a server, in no sensible order."""
wild = st.lists(st.one_of(frame, header, st.binary(max_size=300)), max_size=12)
answer_head = st.sampled_from(
    [b"", b"HTTP/1.1 ", b"HTTP/1.1 101 x\r\n", b"HTTP/1.1 429 no\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
request_head = st.sampled_from(
    [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]
)


def run(*arguments):
    """On a virtual clock, so that what hangs would show as minutes."""
    return trio.run(*arguments, clock=trio.testing.MockClock(autojump_threshold=0))


async def check_law_26(chunks):
    """Send these bytes behind a good handshake and hang up."""
    began = trio.current_time()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        peer = SansIoPeer(nursery, theirs)
        nursery.start_soon(peer.accept)
        transport = await open_websocket(ours, URL, limits=LIMITS)
        nursery.start_soon(transport.run_writer)
        await peer.ready.wait()
        with suppress(trio.BrokenResourceError):
            for chunk in chunks:
                await theirs.send_all(chunk)
            await theirs.send_eof()
        with pytest.raises(TransportClosed) as closed:  # noqa: PT012 - at some point
            while True:
                for message in await transport.receive():
                    assert len(message) <= 2000
        assert closed.value.close_code in {1000, 1002, 1005, 1006, 1007, 1009} or 1001 <= closed.value.close_code < 5000
        await transport.aclose()
    assert trio.current_time() - began <= LIMITS.close_timeout_s


@given(wild)
@settings(deadline=None, max_examples=200)
def test_law_26_any_bytes_after_the_handshake(chunks):
    run(check_law_26, chunks)


async def any_answer(head, rest):
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def answer():
            await theirs.receive_some(65536)
            with suppress(trio.BrokenResourceError):
                await theirs.send_all(head + b"".join(rest))
                await theirs.send_eof()

        nursery.start_soon(answer)
        with pytest.raises(MobError) as error:
            await open_websocket(ours, URL, headers={"authorization": "Bearer sk-secret-key"}, limits=LIMITS)
        assert "sk-secret-key" not in str(error.value)
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some(1)


@given(answer_head, wild)
@settings(deadline=None, max_examples=100)
def test_law_26_any_answer_to_the_handshake(head, rest):
    run(any_answer, head, rest)


async def any_request(head, rest):
    ours, theirs = trio.testing.memory_stream_pair()
    with suppress(trio.BrokenResourceError):
        await ours.send_all(head + b"".join(rest))
        await ours.send_eof()
    with pytest.raises(WireError):
        await accept_websocket(theirs, limits=LIMITS)
    with pytest.raises(trio.ClosedResourceError):
        await theirs.receive_some(1)


@given(request_head, wild)
@settings(deadline=None, max_examples=100)
def test_law_26_any_request(head, rest):
    run(any_request, head, rest)


# The outbox


step = st.one_of(
    st.tuples(st.just("put"), st.booleans(), st.integers(0, 60)),
    st.tuples(st.just("take"), st.integers(1, 100), st.just(0)),
)


class Model:
    """What an outbox does, in the plainest way."""

    def __init__(self):
        self.waiting, self.dropped = [], 0

    def put(self, message):
        self.waiting.append(message)
        while sum(len(m.payload) for m in self.waiting if m.audio) > 100:
            self.waiting.remove(next(m for m in self.waiting if m.audio))
            self.dropped += 1

    def take(self, max_bytes):
        taken = []
        while self.waiting and sum(len(m.payload) for m in taken) < max_bytes:
            taken.append(self.waiting.pop(0))
        return taken


def check_outbox(outbox_class, steps):
    """The same as the model at every step, and an overflow exactly when too much control waits."""
    outbox, model = (
        outbox_class(ChannelLimits(max_audio_buffer_bytes=100, max_control_frames=5, max_frame_bytes=50)),
        Model(),
    )
    for number, (what, first, size) in enumerate(steps):
        if what == "put":
            message = Message(f"{number:03}".encode().ljust(size + 3, b"."), text=False, audio=first)
            outbox.put(message)
            model.put(message)
        else:
            assert outbox.take(first) == model.take(first)
        control = [len(m.payload) for m in model.waiting if not m.audio]
        assert outbox.audio_bytes == sum(len(m.payload) for m in model.waiting if m.audio)
        assert (outbox.control_frames, outbox.dropped, len(outbox)) == (len(control), model.dropped, len(model.waiting))
        assert (outbox.overflow is not None) == (len(control) > 5 or sum(control) > 200)
    outbox.drop_audio()
    assert outbox.take(10**6) == [m for m in model.waiting if not m.audio]
    assert not outbox


@given(st.lists(step, max_size=60))
@settings(deadline=None, max_examples=100)
def test_the_outbox_drops_old_audio_and_nothing_else(steps):
    check_outbox(Outbox, steps)


class DropsTheNewest(Outbox):
    """A mutant: the listener hears an old beginning."""

    def _drop_oldest_audio(self):
        self._audio.rotate(1)
        super()._drop_oldest_audio()


class DropsControl(Outbox):
    """A mutant: whatever is oldest makes room."""

    def put(self, message):
        super().put(evolve(message, audio=True))


class ForgetsToCount(Outbox):
    """A mutant: drops without saying so."""

    def _drop_oldest_audio(self):
        super()._drop_oldest_audio()
        self.dropped = 0


@pytest.mark.parametrize("mutant", [DropsTheNewest, DropsControl, ForgetsToCount])
def test_an_outbox_that_breaks_its_promise_is_caught(mutant):
    steps = [("put", True, 60), ("put", False, 3), ("put", True, 10), ("put", True, 60), ("take", 100, 0)]
    check_outbox(Outbox, steps)
    with pytest.raises(AssertionError):
        check_outbox(mutant, steps)
