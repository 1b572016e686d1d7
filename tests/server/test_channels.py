"""Live channels that doors hold: one for each session, kept until it ends, read by whoever follows."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import HealthCheck, given, settings, strategies as st
from live_sockets import REHEARSED, attached, definition, open_channel, open_door, started

from mob.errors import (
    AlreadyOpen,
    ChannelUnknown,
    LiveClosed,
    LiveRejected,
    NotRealtime,
    ProviderError,
    SessionIdle,
    TokenRefused,
)
from mob.live.events import AudioDelta, Connected, Disconnected, Interrupted, TurnCommitted
from mob.live.ports import ChannelOptions
from mob.protocol.frames import Commit
from mob.protocol.observations import ContentCommitted
from mob.rehearsal.faults import Fault
from mob.rehearsal.voice import hear, speak
from mob.server.channels.held import HeldChannel
from mob.server.channels.inputs import InputRefused
from mob.server.channels.ring import Gap, Numbered, SlowReader
from mob.server.limits import DoorLimits
from mob.server.realm.realm import open_realm
from mob.values import Image, TurnDetection

PNG = Image("image/png", b"\x89PNG\r\n\x1a\npicture")


async def until(follower, cls):
    """Every event up to the first of this class."""
    events = []
    with trio.fail_after(120):
        async for found in follower:
            assert isinstance(found, Numbered)
            events.append(found.event)
            if isinstance(found.event, cls):
                return events
    raise AssertionError(f"it ended without a {cls.__name__}")


async def say(held, text):
    await held.send_audio(speak(text), 24000)
    await held.live.commit()


async def test_a_commit_ends_by_silence_where_turns_end_by_voice_and_its_opener_said_neither(autojump_clock):
    async with open_door() as door:
        held = await door.realm.channels.open(await started(door.realm, turns="server_vad"), ends_by_silence_ms=700)
        follower = held.follow()
        await held.send_audio(speak("What time is it?"), 24000)
        await held.commit()
        assert (await until(follower, TurnCommitted))[-1].turn.user_text == "What time is it?"
        with pytest.raises(LiveRejected):
            await held.commit("text")  # silence ends a turn, and says nothing of how it is answered

        await held.refresh(turn_detection=TurnDetection(mode="manual"))
        await held.send_audio(speak("When is lunch?"), 24000)
        await held.commit()
        assert (await until(follower, TurnCommitted))[-1].turn.user_text == "When is lunch?"


async def test_a_commit_over_the_socket_ends_the_turn_as_one_by_request_does(autojump_clock):
    async with open_door() as door:
        held = await door.realm.channels.open(await started(door.realm, turns="server_vad"), ends_by_silence_ms=700)
        async with attached(door, held) as client:
            await held.send_audio(speak("What time is it?"), 24000)
            client.say(Commit(), 1)
            answer = await client.until(lambda frame: frame.get("id") == 1)
            assert answer["observation"] == "command_accepted"
            await client.until("turn_committed")


# -- its life ----------------------------------------------------------------------------------------------------------


async def test_a_channel_is_opened_held_spoken_on_and_closed(autojump_clock):
    async with open_channel() as (door, held):
        follower = held.follow(after=0)
        assert held.status == "ready"
        assert door.realm.channels.get(held.channel_id) is held
        assert door.realm.channels.of_session(held.session_id) is held
        assert list(door.realm.channels) == [held]

        await say(held, "What time is it?")
        seen = await until(follower, TurnCommitted)
        assert isinstance(seen[0], Connected)
        assert hear(b"".join(event.pcm for event in seen if isinstance(event, AudioDelta))) == seen[-1].turn.agent_text

        await held.close("client_requested")
        assert (held.status, held.reason) == ("closed", "client_requested")
        assert door.realm.channels.of_session(held.session_id) is None
        end = [found.event async for found in follower]
        assert isinstance(end[-1], Disconnected)
        assert end[-1].reason == "client_requested"
        assert [turn.user_text for turn in held.ref.member.history()] == ["What time is it?"]


async def test_without_a_client_a_turn_is_settled_by_the_clock(autojump_clock):
    async with open_channel() as (_, held):
        began = trio.current_time()
        await say(held, "What time is it?")
        turn = (await until(held.follow(after=0), TurnCommitted))[-1].turn

        assert turn.items[-1].fidelity == "estimated"
        assert turn.items[-1].heard_ms == turn.items[-1].generated_ms
        assert trio.current_time() - began < 10


async def test_a_session_that_was_never_started_hosts_no_channel(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        ref = realm.add_session(definition())
        with pytest.raises(SessionIdle, match="start a turn"):
            await realm.channels.open(ref)
        assert list(realm.channels) == []
        await ref.hosted.start()
        await realm.channels.open(ref)


async def test_a_model_that_is_not_realtime_hosts_no_channel(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        ref = await started(realm, model="gpt-4.1-mini")
        with pytest.raises(NotRealtime):
            await realm.channels.open(ref)
        assert list(realm.channels) == []


async def test_a_channel_that_has_ended_is_known_for_a_minute(autojump_clock):
    async with open_channel() as (door, held):
        channels = door.realm.channels
        token = held.mint_token()
        await held.close("enough")
        await held.close("again")
        await held.wait_closed()
        assert channels.get(held.channel_id).reason == "enough"
        with pytest.raises(LiveClosed, match="enough"):
            held.mint_token()
        with pytest.raises(LiveClosed):
            await held.send_text("Hello")
        with pytest.raises(LiveClosed):
            await held.send_image("key", PNG)
        with pytest.raises(TokenRefused) as refused:
            door.realm.tokens.admit(token, held.channel_id, "live", now=trio.current_time())
        assert refused.value.reason == "channel_not_bound"

        await trio.sleep(59)
        assert channels.get(held.channel_id) is held
        await trio.sleep(2)
        with pytest.raises(ChannelUnknown):
            channels.get(held.channel_id)


async def test_the_reason_of_a_channel_that_ends_by_itself_is_told(autojump_clock):
    settings_ = evolve(REHEARSED, faults=(Fault("drop-socket", at=None),))
    async with open_realm(settings_) as realm:
        ref = await started(realm)
        with pytest.raises(ProviderError):
            await realm.channels.open(ref)
        assert list(realm.channels) == []
    async with open_channel() as (door, held):
        follower = held.follow()
        await held.ref.hosted.stop("stopped")
        assert held.status == "closed"
        assert held.reason
        assert isinstance((await until(follower, Disconnected))[-1], Disconnected)
        assert list(door.realm.channels) == []


async def test_the_end_of_the_server_ends_its_channels_first(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        held = await realm.channels.open(await started(realm))
        await say(held, "What time is it?")
    assert (held.status, held.reason) == ("closed", "server_stopped")


async def test_two_seeded_runs_that_draw_the_same_ids_have_channels_of_their_own(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        first, second = [await realm.channels.open(await started(realm)) for _ in range(2)]
        assert first.live.channel_id == second.live.channel_id
        assert first.channel_id != second.channel_id
        assert realm.channels.get(second.channel_id) is second


async def test_there_is_room_for_so_many_channels_and_names(autojump_clock):
    limits = DoorLimits(max_channels=1)
    async with open_realm(REHEARSED, limits=limits) as realm:
        refs = [await started(realm) for _ in range(2)]
        held = await realm.channels.open(refs[0])
        with pytest.raises(Exception, match="1 live channels"):
            await realm.channels.open(refs[1])
        for _ in range(5):
            await held.close()
            held = await realm.channels.open(refs[0])
        realm.channels.get(held.channel_id)
        assert len(realm.channels._ended) <= 1
        assert len(realm.channels._channels) <= 2


# -- law 8 -------------------------------------------------------------------------------------------------------------


async def check_law_08(openers, delays):
    """Many open the same session at once; each holds it a while. At every instant one channel at most is open."""
    async with open_realm(REHEARSED) as realm:
        ref = await started(realm)
        open_now, most, refused = 0, 0, 0

        async def one(delay):
            nonlocal open_now, most, refused
            await trio.sleep(delay)
            try:
                held = await realm.channels.open(ref)
            except AlreadyOpen:
                refused += 1
                return
            open_now += 1
            most = max(most, open_now)
            await trio.sleep(delay)
            open_now -= 1
            await held.close()

        async with trio.open_nursery() as nursery:
            for _, delay in zip(range(openers), delays, strict=False):
                nursery.start_soon(one, delay)
        assert most == 1
        assert list(realm.channels) == []
        await realm.channels.open(ref)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 6), st.lists(st.sampled_from([0, 0.001, 0.05, 1]), min_size=6, max_size=6))
def test_law_08_one_channel_for_a_session_at_every_instant(openers, delays):
    trio.run(check_law_08, openers, delays, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.integers(0, 40), st.floats(0, 0.2)), st.booleans())
def test_law_24_a_channel_can_be_closed_while_it_opens(after, fails):
    """After so many checkpoints or seconds: it ends soon, whoever opens it is told, and nothing is left."""

    async def main():
        faults = (Fault("drop-socket", at=None),) if fails else ()
        async with open_realm(evolve(REHEARSED, faults=faults)) as realm:
            ref = await started(realm)
            await trio.testing.wait_all_tasks_blocked()
            tasks = len(realm._nursery.child_tasks)
            seen = []

            async def opens():
                try:
                    held = await realm.channels.open(ref)
                    seen.append(held)
                except (LiveClosed, ProviderError) as error:
                    seen.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(opens)
                if isinstance(after, int):
                    for _ in range(after):
                        await trio.lowlevel.checkpoint()
                else:
                    await trio.sleep(after)
                with trio.fail_after(30):
                    await realm.channels.close_all("server_stopped")
            match seen:
                case [HeldChannel() as held]:
                    await held.close()
                    assert held.status == "closed"
                    assert held.reason in ("server_stopped", "client_closed")
                case [LiveClosed(reason=reason)]:
                    assert reason == "server_stopped"
                case _:
                    assert fails
            await trio.testing.wait_all_tasks_blocked()
            assert list(realm.channels) == []
            assert len(realm.tokens) == 0
            assert ref.member.session.channel is None
            assert len(realm._nursery.child_tasks) == tasks
            if not fails:
                await realm.channels.open(ref)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.2), st.booleans())
def test_law_08_an_open_that_fails_or_is_cancelled_leaves_nothing(after, fails):
    """Cancelled at any moment, or refused by the provider: no slot, no token, no task, no socket is left."""

    async def main():
        faults = (Fault("drop-socket", at=None),) if fails else ()
        async with open_realm(evolve(REHEARSED, faults=faults)) as realm:
            ref = await started(realm)
            await trio.testing.wait_all_tasks_blocked()
            tasks = len(realm._nursery.child_tasks)
            opened = None
            with trio.move_on_after(after):
                try:
                    opened = await realm.channels.open(ref)
                except ProviderError:
                    assert fails
            if opened is not None:
                await opened.close()
            await trio.testing.wait_all_tasks_blocked()
            assert list(realm.channels) == []
            assert len(realm.tokens) == 0
            assert ref.member.session.channel is None
            assert len(realm._nursery.child_tasks) == tasks

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_law_24_closing_leaves_nothing(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        ref = await started(realm)
        before = len(realm._nursery.child_tasks)
        held = await realm.channels.open(ref)
        followers = [held.follow() for _ in range(3)]
        await say(held, "What time is it?")
        await held.close()
        for follower in followers:
            assert [found async for found in follower]
        await trio.testing.wait_all_tasks_blocked()
        assert held.statistics().followers == 0
        assert len(realm._nursery.child_tasks) == before
        gc.collect()


# -- what is said ------------------------------------------------------------------------------------------------------


async def test_sound_of_another_format_is_refused_and_the_channel_lives(autojump_clock):
    async with open_channel() as (_, held):
        for rate, channels in [(16000, 1), (24000, 2), (0, 0)]:
            with pytest.raises(InputRefused) as refused:
                await held.send_audio(bytes(480), rate, channels)
            assert refused.value.reason == "audio_input_format_mismatch"
            assert refused.value.details["actual_sample_rate_hz"] == rate
        with pytest.raises(LiveRejected):
            await held.send_audio(b"odd", 24000)
        await say(held, "What time is it?")
        await until(held.follow(after=0), TurnCommitted)


async def test_a_picture_is_shown_once_for_each_key_and_told_when_it_is_kept(autojump_clock):
    async with open_channel() as (door, held):
        follower = held.follow()
        await held.send_image("one", PNG)
        await held.send_image("one", PNG)
        with pytest.raises(InputRefused) as refused:
            await held.send_image("one", evolve(PNG, data=PNG.data + b"!"))
        assert refused.value.reason == "image_input_idempotency_conflict"
        await held.send_text("What is this?")
        told = (await until(follower, ContentCommitted))[-1]
        assert (told.idempotency_key, told.media_type) == ("one", "image/png")
        (turn,) = held.ref.member.history()
        assert [len(item.images) for item in turn.items if item.id == told.item_id] == [1]

        await held.close()
        again = await door.realm.channels.open(held.ref)
        await again.send_image("one", PNG)
        assert sum(len(item.images) for turn in held.ref.member.history() for item in turn.items[:2]) == 1


@pytest.mark.parametrize(
    ("key", "image", "reason"),
    [
        ("", PNG, "image_input_idempotency_key_invalid"),
        ("é" * 65, PNG, "image_input_idempotency_key_invalid"),
        ("k", Image("image/gif", b"GIF89a"), "image_input_unsupported_mime"),
        ("k", Image("image/jpeg", PNG.data), "image_input_content_mismatch"),
        ("k", Image("image/png", PNG.data + bytes(100)), "image_input_too_large"),
    ],
)
async def test_pictures_that_may_not_be_shown_are_refused_by_name(autojump_clock, key, image, reason):
    async with open_channel(DoorLimits(max_image_bytes=50)) as (_, held):
        with pytest.raises(InputRefused) as refused:
            await held.send_image(key, image)
        assert refused.value.reason == reason
        await held.send_image("good", PNG)


async def test_pictures_of_a_session_are_bounded_together(autojump_clock):
    async with open_channel(DoorLimits(max_images_bytes=40)) as (_, held):
        await held.send_image("a", PNG)
        await held.send_image("b", PNG)
        with pytest.raises(InputRefused) as refused:
            await held.send_image("c", PNG)
        assert refused.value.reason == "image_input_history_budget_exceeded"
        assert refused.value.details == {"max_decoded_bytes": 40}
        await held.send_image("a", PNG)


async def test_text_is_bounded_and_so_are_the_turns_that_wait(autojump_clock):
    async with open_channel(DoorLimits(max_text_bytes=10, max_turns_waiting=2)) as (_, held):
        with pytest.raises(InputRefused) as refused:
            await held.send_text("é" * 6)
        assert refused.value.reason == "input_too_large"
        refusals = []
        for _ in range(6):
            try:
                await held.send_text("Hello")
            except InputRefused as error:
                refusals.append(error.reason)
        assert refusals
        assert set(refusals) == {"input_backpressured"}


async def test_playback_can_be_reported_item_by_item(autojump_clock):
    async with open_channel() as (_, held):
        held.live.expect_receipts(expected=True)
        follower = held.follow()
        await say(held, "What time is it?")
        delta = (await until(follower, AudioDelta))[-1]
        with trio.move_on_after(3):
            await until(follower, TurnCommitted)
            raise AssertionError("nobody said that it was played")
        assert held.playback_complete(delta.item_id)
        turn = (await until(held.follow(after=0), TurnCommitted))[-1].turn
        assert turn.items[-1].fidelity == "exact"
        assert not held.playback_complete("item_unknown")


async def test_refresh_puts_the_sessions_settings_in_force(autojump_clock):
    async with open_channel() as (_, held):
        await held.refresh()
        assert held.status == "ready"
        await held.close()
        with pytest.raises(LiveClosed):
            await held.refresh()


async def test_options_are_kept_and_receipts_are_agreed_with_clients_only(autojump_clock):
    async with open_realm(REHEARSED) as realm:
        ref = await started(realm)
        held = await realm.channels.open(ref, ChannelOptions(output="text", seed_max_chars=1000))
        follower = held.follow()
        await held.send_text("What time is it?")
        turn = (await until(follower, TurnCommitted))[-1].turn
        assert turn.items[-1].display_text
        assert (held.continuity, held.capabilities.id) == ("fresh", "gpt-realtime-2")


# -- those who follow --------------------------------------------------------------------------------------------------


async def test_who_follows_slowly_is_ended_and_nobody_else(autojump_clock):
    async with open_channel(DoorLimits(max_kept_events=10)) as (_, held):
        slow, quick = held.follow(), held.follow()
        await held.send_text("What time is it?")
        assert isinstance(await anext(slow), Numbered)
        await until(quick, TurnCommitted)
        with pytest.raises(SlowReader):
            async for _ in slow:
                pass
        late = held.follow(after=0)
        assert isinstance(await anext(late), Gap)


async def test_sound_of_a_cut_answer_is_not_told_to_who_is_behind(autojump_clock):
    async with open_channel() as (_, held):
        follower = held.follow()
        await say(held, "What time is it?")
        await until(follower, AudioDelta)
        await trio.sleep(0.05)
        await held.live.interrupt()
        await trio.testing.wait_all_tasks_blocked()
        rest = await until(follower, Interrupted)
        assert not any(isinstance(event, AudioDelta) for event in rest)
