"""The channel's own life on the bench: opening, refusing, losing, replacing, refreshing, closing."""

from __future__ import annotations

import pytest
from attrs import evolve
from live_bench import MODEL, Bench, Reply

from mob.errors import LiveClosed, LiveRejected, ProviderUnreachable, ReopenRequired
from mob.history.items import AgentMessage, ToolResult, Turn, UserMessage
from mob.history.projection import project
from mob.live import events, inputs
from mob.live.ports import ChannelLimits
from mob.providers import commands as say, events as wire


def reasons(bench: Bench) -> list[str]:
    return [error.reason for error in bench.refused if isinstance(error, LiveRejected)]


def test_opening_configures_seeds_and_is_ready():
    bench = Bench(auto_open=False)
    assert bench.machine.state == "connecting"
    assert not bench.text()
    bench.feed(inputs.ConnectionOpened(1))
    bench.feed(inputs.Wire(1, wire.SessionOpened("sess", 5000.0)))
    assert bench.machine.state == "ready"
    assert [type(command) for _, _, command in bench.sent] == [say.Configure]
    (connected,) = bench.told(events.Connected)
    assert (connected.continuity, connected.epoch, connected.expires_at) == ("fresh", 1, 5000.0)
    assert reasons(bench) == ["not_ready"]


def test_a_past_is_seeded_in_order_and_waited_for():
    bench = Bench(auto_open=False)
    bench.log = [Turn("t1", _cause(), (UserMessage("u", "hello"), AgentMessage("a", "hi")), "done")]
    bench.confirm_items = False
    bench.feed(inputs.Wire(1, wire.SessionOpened("sess")))
    assert bench.machine.state == "seeding"
    seeds = bench.commands(say.AddMessage)
    assert [(seed.role, seed.text) for seed in seeds] == [("user", "hello"), ("assistant", "hi")]
    for seed in seeds:
        bench.provider.add_item(seed.item_id, seed.role)
    assert bench.machine.state == "ready"
    assert bench.told(events.Connected)[0].continuity == "transcript_only"


def test_a_seed_that_is_not_confirmed_or_refused_leaves_the_channel_degraded():
    for refuse in (True, False):
        bench = Bench(auto_open=False)
        bench.log = [Turn("t1", _cause(), (UserMessage("u", "hello"),), "done")]
        bench.confirm_items = False
        bench.feed(inputs.Wire(1, wire.SessionOpened("sess")))
        (seed,) = bench.commands(say.AddMessage)
        if refuse:
            bench.provider.refuse("invalid_value", "benign", seed.ref)
        else:
            bench.wait(10.5)
        assert bench.machine.state == "ready"
        assert bench.told(events.Connected)[0].continuity == "degraded"


def _cause():
    from mob.history.items import Cause

    return Cause("text")


def test_a_provider_that_never_greets_is_dialled_again_once_and_then_given_up():
    bench = Bench(auto_open=False)
    bench.wait(25)
    assert bench.dials == 2
    assert bench.machine.state == "closed"
    (error,) = bench.told(events.ChannelError)
    assert error.recovery == "fatal"
    assert isinstance(bench.machine.links.failure, ProviderUnreachable)


def test_a_refused_configuration_is_sent_again_without_extras():
    bench = Bench(auto_open=False, params={"reasoning": {"effort": "high"}})
    provider = bench.providers[1]
    bench.mute = True
    bench.feed(inputs.Wire(1, wire.SessionOpened("sess")))
    (first,) = bench.commands(say.Configure)
    provider.refuse("unknown_parameter", "reconfigure", first.ref)
    _, second = bench.commands(say.Configure)
    assert second.config.params == {}
    provider.tell(wire.SessionConfigured())
    assert bench.machine.state == "ready"


def test_a_configuration_that_stays_refused_ends_the_channel():
    bench = Bench(auto_open=False)
    bench.mute = True
    bench.feed(inputs.Wire(1, wire.SessionOpened("sess")))
    (first,) = bench.commands(say.Configure)
    bench.provider.refuse("unknown_parameter", "reconfigure", first.ref)
    assert bench.finished == "unknown_parameter"


def test_manual_turns_commit_and_refuse_what_would_be_fatal():
    bench = Bench(manual=True)
    assert not bench.command(inputs.CommitInputAudio())
    bench.append(80)
    assert not bench.command(inputs.CommitInputAudio())
    bench.append(80)
    assert bench.command(inputs.CommitInputAudio())
    assert bench.faults == []
    assert reasons(bench) == ["empty_commit", "empty_commit"]
    bench.provider.finish()
    bench.play_all()
    assert bench.log[0].status == "done"


def test_clearing_forgets_what_was_appended():
    bench = Bench(manual=True)
    bench.append(300)
    bench.command(inputs.ClearInputAudio())
    assert not bench.command(inputs.CommitInputAudio())
    assert len(bench.commands(say.ClearInput)) == 1


@pytest.mark.parametrize(
    ("pcm", "reason"), [(b"odd", "wrong_format"), (bytes(12 * 1024 * 1024), "too_large")], ids=["odd", "huge"]
)
def test_audio_the_provider_could_not_read_is_refused(pcm, reason):
    bench = Bench()
    with pytest.raises(LiveRejected) as caught:
        bench.machine.append_audio(pcm)
    assert caught.value.reason == reason
    assert bench.machine.state == "ready"


def test_what_the_model_does_not_take_is_refused():
    from mob.values import Image

    bench = Bench(model=evolve(MODEL, input_modalities=("text",)))
    assert not bench.append(20)
    assert not bench.command(inputs.SendImage(Image("image/png", b"")))
    assert not bench.command(inputs.SendText("  "))
    assert not bench.command(inputs.CommitInputAudio())
    assert reasons(bench) == ["unsupported", "unsupported", "empty_text", "wrong_mode"]


def test_a_drop_in_mid_answer_settles_what_was_heard_and_reopens_with_it():
    bench = Bench()
    bench.text("a table?")
    bench.provider.emit(12)
    (item,) = {event.item_id for event in bench.told(events.AudioDelta)}
    bench.play(item, 600)
    bench.lose()
    (turn,) = bench.log
    assert turn.status == "interrupted"
    assert turn.items[1].heard_ms == 600
    assert bench.commands(say.TruncateItem) == [], "there is nobody to tell"
    bench.wait(0.1)
    assert bench.machine.state == "ready"
    assert bench.machine.context.epoch == 2
    assert bench.seeds[-1] == (2, turn.items)
    assert [e.continuity for e in bench.told(events.Connected)] == ["fresh", "transcript_only"]
    assert bench.reserved == bench.spent


def test_a_drop_before_the_answer_is_answered_after_it():
    bench = Bench()
    bench.text("a table?")
    bench.lose()
    bench.wait(0.1)
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert turn.status == "done"
    assert [c.text for c in bench.commands(say.AddMessage, 2)] == ["a table?"]
    assert len(bench.commands(say.CreateResponse, 2)) == 1


def test_speech_that_was_not_understood_yet_is_said_again():
    bench = Bench()
    bench.speak(ms=400)
    bench.lose()
    bench.wait(0.1)
    again = sum(len(c.pcm) for c in bench.commands(say.AppendAudio, 2)) * 500 // 24000
    assert again == 800
    assert bench.commands(say.CreateResponse, 2) == []
    item = bench.provider.hear()
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert [m.id for m in turn.items if isinstance(m, UserMessage)] == [item]
    assert turn.status == "done"


def test_a_manual_commit_that_was_lost_is_sent_again():
    bench = Bench(manual=True)
    bench.append(400)
    bench.provider.gone = True
    bench.command(inputs.CommitInputAudio())
    bench.lose()
    bench.wait(0.1)
    assert len(bench.commands(say.CommitInput, 2)) == 1
    bench.provider.finish()
    bench.play_all()
    assert bench.log[0].status == "done"


def test_speech_whose_words_are_known_is_told_as_text():
    bench = Bench()
    item = bench.speak()
    bench.provider.tell(wire.UserTranscriptFinal(item, "a table please"))
    bench.lose()
    bench.wait(0.1)
    assert [c.text for c in bench.commands(say.AddMessage, 2)] == ["a table please"]
    bench.provider.finish()
    bench.play_all()
    assert bench.log[0].user_text == "a table please"


def test_words_that_went_down_with_the_connection_leave_a_failed_slot():
    bench = Bench()
    item = bench.speak()
    bench.provider.finish()
    bench.play_all()
    bench.lose()
    assert bench.filled == {item: ""}


def test_what_is_said_while_reopening_is_kept():
    bench = Bench(refuse_dial=0)
    bench.refuse_dial = 1
    bench.lose()
    assert bench.machine.state == "reopening"
    bench.append(600)
    bench.text("still there?")
    bench.wait(1)
    assert bench.machine.state == "ready"
    assert sum(len(c.pcm) for c in bench.commands(say.AppendAudio, 3)) * 500 // 24000 == 600
    assert [c.text for c in bench.commands(say.AddMessage, 3)] == ["still there?"]


def test_an_answer_that_came_whole_is_played_on_while_the_channel_reopens():
    bench = Bench()
    bench.text()
    bench.provider.finish()
    bench.lose()
    bench.wait(0.1)
    assert bench.machine.state == "seeding", "the seed is the log's, and this turn is not in it yet"
    bench.play_all()
    assert bench.log[0].status == "done"
    assert bench.machine.state == "ready"
    assert bench.seeds[-1][1] == bench.log[0].items


def test_a_connection_that_keeps_breaking_ends_the_channel_with_a_reason():
    bench = Bench()
    bench.refuse_dial = 100
    bench.lose()
    bench.wait(60)
    assert bench.machine.state == "closed"
    assert bench.dials == 1 + 5
    assert bench.told(events.ChannelError)[-1].recovery == "fatal"
    assert bench.finished is not None


def test_a_result_that_came_while_reopening_is_told_with_its_call():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("look",)), Reply()]
    bench.text()
    bench.provider.finish()
    bench.refuse_dial = 1
    bench.lose()
    bench.end_tool(bench.started_tools[0], "soup")
    bench.wait(2)
    epoch = bench.machine.context.epoch
    assert len(bench.commands(say.AddToolCall, epoch)) == 1
    assert [c.output for c in bench.commands(say.AddToolResult, epoch)] == ["soup"]
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert [type(i).__name__ for i in turn.items] == ["UserMessage", "ToolCall", "ToolResult", "AgentMessage"]


def test_a_kept_result_after_reopening_comes_as_a_note():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("book",)), Reply()]
    bench.text()
    bench.provider.finish()
    bench.command(inputs.Interrupt())
    bench.lose()
    bench.wait(1)
    bench.end_tool(bench.started_tools[0], "table 4")
    notes = [c for c in bench.commands(say.AddMessage, 2) if c.role == "system"]
    assert len(notes) == 1
    assert "table 4" in notes[0].text
    assert bench.commands(say.AddToolResult, 2) == []


def test_the_standby_is_dialled_in_time_and_takes_over_when_it_is_quiet():
    bench = Bench(expires_at=1100.0 + 600.0)
    bench.wait(530)
    assert bench.dials == 1
    bench.text()
    bench.provider.emit(2)
    first = bench.providers[1]
    bench.wait(15)
    assert bench.dials == 2
    assert bench.machine.context.epoch == 1, "it waits for the answer to be heard"
    bench.expires_at = None
    first.finish()
    bench.play_all()
    assert bench.machine.context.epoch == 2
    assert bench.machine.state == "ready"
    assert bench.seeds[-1] == (2, bench.log[0].items)
    assert first.gone


def test_at_the_last_moment_the_standby_takes_over_whatever_is_going_on():
    bench = Bench(expires_at=1100.0 + 600.0, limits=ChannelLimits(reopen_margin_s=10.0))
    bench.wait(585)
    bench.expires_at = None
    bench.text()
    bench.provider.emit(12)
    bench.play_all()
    bench.wait(12)
    assert bench.dials == 2
    assert bench.machine.context.epoch == 1
    bench.wait(2)
    assert bench.machine.context.epoch == 2
    assert bench.log[0].status == "interrupted"


def test_a_short_session_is_replaced_half_way():
    bench = Bench(expires_at=1100.0 + 40.0)
    bench.expires_at = None
    bench.wait(19)
    assert bench.dials == 1
    bench.wait(2)
    assert bench.machine.context.epoch == 2


def test_a_warning_of_the_end_plans_the_standby():
    bench = Bench()
    bench.provider.tell(wire.SessionExpiring(30))
    bench.wait(16)
    assert bench.machine.context.epoch == 2


def test_refresh_changes_the_open_channel_and_what_comes_after_it():
    bench = Bench()
    bench.command(inputs.Refresh(instructions="be long"))
    _, changed = bench.commands(say.Configure)
    assert changed.config.instructions == "be long"
    assert changed.previous.instructions == "be brief"
    bench.lose()
    bench.wait(1)
    assert bench.commands(say.Configure, 2)[0].config.instructions == "be long"


def test_refresh_of_identity_names_what_needs_reopening():
    bench = Bench()
    with pytest.raises(ReopenRequired) as caught:
        bench.feed(inputs.Refresh(model="other", provider="elsewhere"))
    assert caught.value.fields == ("model", "provider")
    bench.machine.handle(inputs.Refresh(voice="sage"), bench.now)
    bench.text()
    bench.provider.finish()
    with pytest.raises(ReopenRequired) as caught:
        bench.machine.handle(inputs.Refresh(voice="ash"), bench.now)
    assert caught.value.fields == ("voice",)


def test_a_fatal_fault_fails_the_turn_and_ends_the_channel():
    bench = Bench()
    bench.text()
    bench.provider.refuse("insufficient_quota", "fatal", None)
    assert bench.machine.state == "closed"
    assert bench.log[0].status == "failed"
    assert [e.code for e in bench.told(events.ChannelError)] == ["insufficient_quota"]
    assert bench.finished == "insufficient_quota"


def test_scoped_faults_leave_the_channel_ready():
    bench = Bench()
    for code, recovery in (("item_not_found", "benign"), ("invalid_value", "reconfigure"), ("odd", "retry")):
        bench.provider.refuse(code, recovery, None)
        assert bench.machine.state == "ready"
    assert [e.code for e in bench.told(events.ChannelError)] == ["invalid_value", "odd"]


def test_a_session_that_expired_is_reopened():
    bench = Bench()
    bench.provider.refuse("session_expired", "reopen", None)
    bench.wait(0.1)
    assert bench.machine.state == "ready"
    assert bench.machine.context.epoch == 2


def test_closing_settles_the_answer_and_then_is_closed():
    bench = Bench()
    bench.text()
    bench.provider.emit(12)
    bench.play_all()
    bench.command(inputs.Close())
    assert bench.machine.state == "closed"
    assert bench.log[0].status == "interrupted"
    assert bench.finished == "client_closed"
    assert not bench.text()
    assert isinstance(bench.refused[-1], LiveClosed)


def test_closing_waits_for_cancelled_tools_and_slow_commits_but_not_for_ever():
    bench = Bench(commit_delay=1.0)
    bench.replies = [Reply(words=0, calls=("book",))]
    bench.text()
    bench.provider.finish()
    bench.command(inputs.Close())
    assert bench.cancelled_tools == bench.started_tools
    assert bench.machine.state == "closing"
    bench.wait(1.1)
    assert bench.machine.state == "closed"
    slow = Bench(commit_delay=100.0)
    slow.text()
    slow.command(inputs.Close())
    slow.wait(2.1)
    assert slow.machine.state == "closed"


def test_what_the_human_said_and_nobody_answered_is_kept_at_the_end():
    bench = Bench()
    bench.text("one")
    bench.text("two")
    bench.command(inputs.Close())
    assert [turn.user_text for turn in bench.log] == ["one", "two"]


def test_the_channel_lives_no_longer_than_its_ttl():
    bench = Bench(ttl_s=30.0)
    bench.wait(29)
    assert bench.machine.state == "ready"
    bench.wait(2)
    assert bench.finished == "ttl"
    assert bench.told(events.ChannelError) == []


def test_interrupted_history_is_what_the_new_connection_is_told():
    bench = Bench()
    bench.replies = [Reply(words=10, calls=("look",))]
    bench.text()
    while not bench.started_tools:
        bench.provider.emit()
    bench.play_all()
    bench.lose()
    bench.wait(1)
    (turn,) = bench.log
    assert any(isinstance(item, ToolResult) and item.status == "cancelled" for item in turn.items)
    assert project(bench.log, {}).items


def test_limits_are_the_bounds():
    bench = Bench(limits=ChannelLimits(connect_timeout_s=1.0), auto_open=False)
    bench.wait(1.6)
    assert bench.dials == 2
