"""What waits for a channel's client, and speech that need not wait."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from mob.live.buffer import ClientBuffer
from mob.live.events import AudioDelta, SpeechStarted


def control(number: int) -> SpeechStarted:
    return SpeechStarted(channel_id="c", epoch=1, t=0.0, item_id=str(number))


def audio(number: int) -> AudioDelta:
    return AudioDelta(channel_id="c", epoch=1, t=0.0, item_id=str(number), response_id="r", pcm=b"xx", start_ms=0)


class Careless(ClientBuffer):
    """The mutant: asks the sink also while the reader is behind."""

    def put_audio(self, delta: AudioDelta) -> tuple[str, ...]:
        if self.sink is not None and self.sink(delta):
            return ()
        return super().put_audio(delta)


STEPS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=30)


def order_of(make: type[ClientBuffer], steps: list[tuple[bool, bool, bool]]) -> list[str]:
    """The items in the order in which the client had them. A step: is it speech, is it taken, may the reader run."""
    had: list[str] = []

    async def main() -> None:
        buffer = make(max_control=1000, max_audio_bytes=10_000)
        taking = True

        def sink(delta: AudioDelta) -> bool:
            if taking:
                had.append(delta.item_id)
            return taking

        async def read() -> None:
            while (event := await buffer.get()) is not None:
                had.append(str(event.item_id))  # type: ignore[attr-defined]
                await trio.lowlevel.checkpoint()

        buffer.sink = sink
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number, (speech, taken, run) in enumerate(steps):
                taking = taken
                if speech:
                    buffer.put_audio(audio(number))
                else:
                    buffer.put(control(number))
                if run:
                    await trio.testing.wait_all_tasks_blocked()
            buffer.close()

    trio.run(main)
    return had


@settings(deadline=None)
@given(STEPS)
def test_nothing_overtakes_anything_on_its_way_to_the_client(steps):
    assert order_of(ClientBuffer, steps) == [str(number) for number in range(len(steps))]


def test_the_order_is_lost_by_who_asks_the_sink_too_early():
    steps = [(False, True, False), (True, True, False)]
    assert order_of(Careless, steps) == ["1", "0"]
    assert order_of(ClientBuffer, steps) == ["0", "1"]


def test_speech_is_taken_where_it_comes_when_the_reader_waits():
    taken: list[str] = []

    async def main() -> None:
        buffer = ClientBuffer(max_control=10, max_audio_bytes=100)
        buffer.sink = lambda delta: taken.append(delta.item_id) is None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(buffer.get)
            await trio.testing.wait_all_tasks_blocked()
            buffer.put_audio(audio(7))
            assert taken == ["7"]
            assert buffer.statistics().audio_events == 0
            nursery.cancel_scope.cancel()

    trio.run(main)
