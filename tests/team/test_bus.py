"""The event stream: numbering, late subscribers, and slow ones that are told what they missed."""

import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from mob.sessions.events import AgentWrote
from mob.team.bus import EventBus
from mob.team.events import StreamLagged


def wrote(text):
    return AgentWrote(member="host", text=text)


async def collect(subscription):
    return [event async for event in subscription]


async def test_events_are_numbered_stamped_and_read_from_the_start_by_late_subscribers():
    times = iter([0.5, 1.5])
    bus = EventBus(lambda: next(times))
    bus.publish(wrote("one"))
    bus.publish(wrote("two"))
    bus.close()
    events = await collect(bus.subscribe())
    assert [(event.seq, event.t, event.text) for event in events] == [(1, 0.5, "one"), (2, 1.5, "two")]
    assert [event.text for event in await collect(bus.subscribe(after=1))] == ["two"]


async def test_a_waiting_subscriber_wakes_and_ends_with_the_stream():
    bus = EventBus(trio.current_time)
    seen = []

    async def follow():
        async with bus.subscribe() as events:
            assert bus.statistics().subscribers == 1
            seen.extend([event.text async for event in events])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        bus.publish(wrote("now"))
        await trio.testing.wait_all_tasks_blocked()
        assert bus.statistics().published == 1
        bus.close()
    assert seen == ["now"]
    assert bus.statistics().subscribers == 0


@settings(deadline=None, max_examples=100)
@given(script=st.lists(st.one_of(st.just("publish"), st.integers(0, 2)), max_size=120), kept=st.integers(1, 8))
def test_each_subscriber_reads_every_event_or_is_told_how_many_it_missed(script, kept):
    """Three readers at different speeds; each reader's events and lag markers account for each number once."""

    async def main():
        bus = EventBus(trio.current_time, kept=kept)
        readers = [bus.subscribe() for _ in range(3)]
        positions = [0, 0, 0]
        published = 0

        async def read(number):
            event = await readers[number].__anext__()
            if isinstance(event, StreamLagged):
                assert event.seq == positions[number] + event.missed
                assert published - event.seq == kept, "a lag skips no more than it has to"
            else:
                assert event.seq == positions[number] + 1
                assert event.text == f"event {event.seq}"
            positions[number] = event.seq

        for step in script:
            if step == "publish":
                published += 1
                bus.publish(wrote(f"event {published}"))
            elif positions[step] < published:
                await read(step)
        for number in range(3):
            while positions[number] < published:
                await read(number)

    trio.run(main)
