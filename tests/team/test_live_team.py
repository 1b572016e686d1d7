"""Teams with live members, rehearsed on the real realtime wire over memory streams, on a virtual clock."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from mob._compose import open_mob
from mob.definition.parse import parse_definition
from mob.errors import NotRealtime
from mob.history.items import AgentMessage, Note, UserMessage
from mob.history.rows import FloorMoved, RunStopped, ToolEnded, ToolStarted, TurnRow
from mob.live.events import AudioDelta, TurnCommitted
from mob.rehearsal.voice import hear, speak
from mob.sessions.events import ErrorOccurred, FloorChanged, MobStopped
from mob.store.memory import MemoryStore

TEAM = """
[mob]
id = "desk"
entry = "host"

[profiles.host]
model = "gpt-realtime-2"
instructions = "You greet people at the hotel. The hotel has eighty rooms and a garden with old trees behind the house."
peer_description = "Greets people."

[profiles.porter]
model = "gpt-realtime-2"
instructions = "You carry luggage. The luggage room is open all night."
peer_description = "Carries luggage."

[profiles.cook]
model = "gpt-5.4-mini"
instructions = "You cook. Breakfast is served from seven to ten."
peer_description = "Knows breakfast and dinner."

[wiring]
routes = [
  { from = "host", to = "porter", via = ["hand_off"] },
  { from = "host", to = "cook", via = ["ask", "hand_off"] },
  { from = "porter", to = "host", via = ["hand_off"] },
  { from = "cook", to = "host", via = ["hand_off"] },
]

[limits]
shutdown_timeout_s = 4.0
hand_off_timeout_s = 5.0
restart_backoff_s = 0.2

[[rehearsal.host]]
when = "porter"
say = "The porter will help you with that, one moment please."
hand_off = "porter"

[[rehearsal.host]]
when = "kitchen"
say = "The cook knows all about that, one moment please."
hand_off = "cook"

[[rehearsal.host]]
when = "story"
say = "Once upon a time there was a hotel with eighty rooms, and in each of them lived a very quiet guest."

[[rehearsal.cook]]
when = "host"
hand_off = "host"
"""


def definition():
    found, findings = parse_definition(TEAM, base_dir=Path(), read_file=Path.read_text)
    assert found is not None, findings
    return found


class Ear:
    """Listens to the line as a loudspeaker does: `speed` 1 plays at the speed of sound, None at once."""

    def __init__(self, line, *, speed=None):
        self.line, self.speed = line, speed
        self.events, self.pcm = [], {}

    async def listen(self):
        async for member, event in self.line:
            self.events.append((member, event))
            if isinstance(event, AudioDelta):
                self.pcm.setdefault(member, bytearray()).extend(event.pcm)
                length = len(event.pcm) / 48
                if self.speed is not None:
                    await trio.sleep(length / 1000 / self.speed)
                self.line.played(member, event.item_id, round(event.start_ms + length))

    def members(self, kind):
        return [member for member, event in self.events if isinstance(event, kind)]


async def say_aloud(line, text):
    """Speech and then silence, at the speed of sound, in pieces of 100 ms."""
    sound = speak(text) + bytes(48_000 * 2)
    for start in range(0, len(sound), 4800):
        await line.send_audio(sound[start : start + 4800])
        await trio.sleep(0.1)


async def converse(body, *, speed=None, store=None, **options):
    """A running team with a line that is listened to; the ear is returned."""
    async with open_mob(definition(), rehearse=True, store=store, seed=3, **options) as team:
        async with team.open_line() as line, trio.open_nursery() as nursery:
            ear = Ear(line, speed=speed)
            nursery.start_soon(ear.listen)
            await body(team, line)
            await team.wait_quiet()
            nursery.cancel_scope.cancel()
        ear.histories = {name: handle.history() for name, handle in team.members.items()}
        ear.floor = team.floor
    return ear


def texts(turns):
    return [turn.user_text for turn in turns]


async def test_a_spoken_turn_is_heard_and_answered_aloud(autojump_clock):
    async def body(team, line):
        assert line.input_rate == line.output_rate == 24000
        await say_aloud(line, "How many rooms has the hotel?")

    ear = await converse(body)
    (turn,) = ear.histories["host"]
    assert turn.cause.kind == "speech"
    assert turn.user_text == "How many rooms has the hotel?"
    assert "eighty rooms" in turn.agent_text
    assert hear(bytes(ear.pcm["host"])) == turn.agent_text, "what was heard is what is in the history"


async def test_hand_overs_between_live_members_and_a_text_member(autojump_clock):
    store = MemoryStore()

    async def body(team, line):
        for text in ("I need the porter", "please give me the host again", "and now the kitchen", "back to the host"):
            await line.send_text(text)
            await team.wait_quiet()

    ear = await converse(body, store=store)
    moves = [event.to for _member, event in ear.events if isinstance(event, FloorChanged)]
    assert moves == ["porter", "host", "cook", "host"]
    (run,) = await store.runs()
    rows = [stored.row async for stored in store.read_run(run.run_id)]
    for before, row in itertools.pairwise(rows):
        if isinstance(row, FloorMoved) and row.origin is not None:
            assert isinstance(before, TurnRow), "the floor moves in the transaction of the turn that hands it over"
            assert before.member == row.origin
            assert before.turn.id in row.turns
    for member, words in (("porter", "I need the porter"), ("cook", "and now the kitchen")):
        first = ear.histories[member][0]
        assert words in next(item.text for item in first.items if isinstance(item, Note))
        assert first.agent_text
    assert "cook" in ear.members(TurnCommitted)


async def test_only_the_holder_is_heard(autojump_clock):
    async def body(team, line):
        await line.send_text("I need the porter")
        await team.wait_quiet()
        line.say_to("host", "tell me about the garden")

    ear = await converse(body)
    porter_from = next(i for i, (_m, event) in enumerate(ear.events) if isinstance(event, FloorChanged))
    heard = {member for member, event in ear.events[porter_from:] if isinstance(event, AudioDelta)}
    assert heard == {"porter"}
    assert "tell me about the garden" in texts(ear.histories["host"])


async def test_typing_while_a_live_member_speaks_cuts_it_where_it_was_heard(autojump_clock):
    async def body(team, line):
        await line.send_text("tell me a story")
        await trio.sleep(3)
        await line.send_text("How many rooms has the hotel?")

    ear = await converse(body, speed=1)
    cut, answer = ear.histories["host"]
    (message,) = [item for item in cut.items if isinstance(item, AgentMessage)]
    assert cut.status == "interrupted"
    assert 0 < message.heard_ms < message.generated_ms
    assert message.generated_text.startswith(message.spoken_text)
    assert len(message.spoken_text) < len(message.generated_text)
    assert "eighty rooms" in answer.agent_text


async def test_what_is_spoken_while_the_floor_moves_is_heard_whole_by_the_new_holder(autojump_clock):
    """The user cuts in on "one moment please": the words begin at the old holder and end at the new one."""

    async def body(team, line):
        await line.send_text("I need the porter")
        await team._changes.until(lambda: team._machine.pending is not None)
        assert line.holder == "host"
        await say_aloud(line, "My bag is very heavy")
        assert line.holder == "porter"

    ear = await converse(body, speed=1)
    assert "My bag is very heavy" in texts(ear.histories["porter"])
    assert texts(ear.histories["host"]) == ["I need the porter"]
    assert ear.histories["host"][0].status == "interrupted"


async def test_what_is_spoken_to_the_old_holder_while_a_text_member_takes_over_is_told_to_it(autojump_clock):
    async def body(team, line):
        await line.send_text("I need the kitchen porridge story")
        await team._changes.until(lambda: team._machine.pending is not None)
        live = line._wires["host"].live
        sound = speak("with honey please") + bytes(48_000)
        for start in range(0, len(sound), 4800):
            await live.send_audio(sound[start : start + 4800])
            await trio.sleep(0.05)

    ear = await converse(body, speed=1)
    assert ear.floor == "cook"
    notes = [item.text for turn in ear.histories["cook"] for item in turn.items if isinstance(item, Note)]
    assert any("with honey please" in text for text in notes)


async def test_wiring_reaches_an_open_channel(autojump_clock):
    async def body(team, line):
        await team.unwire("host", "cook")
        await team.wait_quiet()
        await line.send_text("and now the kitchen")
        await team.wait_quiet()
        assert team.floor == "host"
        await team.wire("host", "cook", "hand_off")
        await team.wait_quiet()
        await line.send_text("and now the kitchen")

    ear = await converse(body)
    assert ear.floor == "cook"


async def test_a_mob_that_stops_with_its_channels_open_tells_of_no_error(autojump_clock):
    """Who there is changes with each member that stops, and there is no channel left that could be told so."""
    async with open_mob(definition(), rehearse=True, seed=1) as team:
        async with team.open_line() as line, team.events() as events:
            await line.send_text("tell me the story")
            await team.wait_quiet()
            await team.stop()
            told = [event async for event in events]
    assert isinstance(told[-1], MobStopped)
    assert [event for event in told if isinstance(event, ErrorOccurred)] == []


async def test_a_live_member_that_crashes_is_back_on_the_line(autojump_clock):
    async def body(team, line):
        await line.send_text("How many rooms has the hotel?")
        await team.wait_quiet()

        async def fault():
            await trio.lowlevel.checkpoint()
            raise RuntimeError("a bug")

        team.member("host").session._parts.nursery.start_soon(fault)
        await trio.sleep(1)
        await team.wait_quiet()
        assert team.member("host").generation == 2
        assert line.holder == "host"
        await line.send_text("and the garden?")

    ear = await converse(body)
    assert texts(ear.histories["host"]) == ["How many rooms has the hotel?", "and the garden?"]
    assert ear.histories["host"][-1].agent_text


async def test_channels_open_together_and_close_with_their_block(autojump_clock):
    async with open_mob(definition(), rehearse=True) as team:
        async with team.open_channels() as channels:
            assert set(channels) == {"host", "porter"}
            assert all(channel.connected for channel in channels.values())
            assert team.statistics().watchdog.watched == 2
        assert team.statistics().watchdog.watched == 0
        assert not any(channel.connected for channel in channels.values())
        with pytest.raises(NotRealtime):
            await team.member("cook").open_live().__aenter__()


async def test_a_line_may_open_its_channels_when_they_are_needed(autojump_clock):
    async with open_mob(definition(), rehearse=True) as team:
        async with team.open_line(open_channels=False) as line, trio.open_nursery() as nursery:
            nursery.start_soon(Ear(line).listen)
            assert line.statistics().live == ()
            await line.send_text("I need the porter")
            await team.wait_quiet()
            assert set(line.statistics().live) == {"host", "porter"}
            nursery.cancel_scope.cancel()


user_acts = st.lists(
    st.one_of(
        st.tuples(
            st.just("type"),
            st.sampled_from(["hello", "I need the porter", "tell me a story", "and now the kitchen", "to the host"]),
        ),
        st.tuples(st.just("speak"), st.sampled_from(["hello", "I need the porter"])),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 1.5, 6.0])),
        st.tuples(st.just("pick"), st.sampled_from(["host", "porter", "cook"])),
        st.tuples(st.just("interrupt"), st.none()),
    ),
    min_size=1,
    max_size=5,
)


async def one_act(team, line, kind, value):
    match kind:
        case "type":
            await line.send_text(value)
        case "speak" if team.definition.profile_of(line.holder).model == "gpt-realtime-2":
            for start in range(0, len(sound := speak(value) + bytes(48_000)), 9600):
                await line.send_audio(sound[start : start + 9600])
        case "wait":
            await trio.sleep(value)
        case "pick":
            await line.hand_off(value)
        case "interrupt":
            await line.interrupt()


def check_laws_21_and_24_live(acts, speed, stop_after):
    """Whatever the user does: one floor, no user turn lost, and the mob stops in time and leaves nothing."""
    store = MemoryStore()

    async def main():
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_mob(definition(), rehearse=True, store=store, seed=3) as team:
            async with team.open_line() as line, trio.open_nursery() as nursery:
                nursery.start_soon(Ear(line, speed=speed).listen)
                for kind, value in acts:
                    await one_act(team, line, kind, value)
                if stop_after is None:
                    with trio.fail_after(200):
                        await team.wait_quiet()
                else:
                    await trio.sleep(stop_after)
                began = trio.current_time()
                await team.stop()
                assert trio.current_time() - began <= 4.0
        assert trio.lowlevel.current_statistics().tasks_living == before

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    rows = trio.run(read, store)
    if stop_after is None:
        said = Counter(item.text for row in rows if isinstance(row, TurnRow) for item in row.turn.items
                       if isinstance(item, UserMessage) and item.author is None and not item.spoken)  # fmt: skip
        assert said == Counter(value for kind, value in acts if kind == "type"), "a typed turn was lost, or came twice"


async def read(store):
    (run,) = await store.runs()
    rows = [stored.row async for stored in store.read_run(run.run_id)]
    assert isinstance(rows[-1], RunStopped)
    holder, turns = None, {}
    for row in rows:
        match row:
            case TurnRow(turn=turn):
                turns[turn.id] = turn
            case FloorMoved():
                assert row.origin == holder
                assert set(row.turns) <= set(turns)
                holder = row.to
    started = {row.call_id for row in rows if isinstance(row, ToolStarted)}
    assert started <= {row.call_id for row in rows if isinstance(row, ToolEnded)}
    return rows


@settings(deadline=None, max_examples=25)
@given(user_acts, st.sampled_from([None, 1.0]), st.sampled_from([None, 0.0, 0.2, 1.0]))
def test_laws_21_and_24_hold_for_live_teams_whatever_the_user_does(acts, speed, stop_after):
    check_laws_21_and_24_live(acts, speed, stop_after)


async def test_a_handle_has_the_open_channel_and_a_spawned_member_its_own_voice(autojump_clock):
    async with open_mob(definition(), rehearse=True, seed=1) as mob:
        await mob.spawn("maid", profile="porter", overrides={"voice": "cedar"})
        maid = mob.member("maid")
        assert (maid.channel, maid.model.realtime, maid.profile.voice) == (None, True, "cedar")
        async with maid.open_live() as live:
            assert maid.channel is live
            assert live.session_id == maid.session_id
            assert live._machine.context.config.voice == "cedar"
        assert maid.channel is None
