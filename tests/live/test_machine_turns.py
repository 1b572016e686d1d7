"""One turn at a time on the bench: what the machine does in each situation of the guide, by name."""

from __future__ import annotations

import pytest
from live_bench import Bench, Reply

from mob.history.items import AgentMessage, Cause, ToolCall, ToolResult, UserMessage
from mob.live import events, inputs
from mob.live.ports import Prompt
from mob.providers import commands as say, events as wire


def test_a_typed_turn_is_put_answered_played_and_committed():
    bench = Bench()
    assert bench.machine.state == "ready"
    bench.text("a table?")
    bench.provider.finish()
    assert bench.log == [], "what is not played is not committed"
    bench.play_all()
    (turn,) = bench.log
    assert [type(item) for item in turn.items] == [UserMessage, AgentMessage]
    assert turn.status == "done"
    assert turn.items[1].text == "the table by the window is"
    assert turn.items[1].fidelity == "exact"
    assert turn.usage.output_tokens == 7
    assert bench.spent == bench.reserved == 1


def test_without_receipts_the_clock_settles_the_turn():
    bench = Bench()
    bench.text()
    bench.provider.finish()
    bench.wait(1.0)
    assert bench.log == []
    bench.wait(2.0)
    (turn,) = bench.log
    assert turn.status == "done"
    assert turn.items[1].fidelity == "estimated"


def test_a_spoken_turn_is_answered_and_its_late_words_fill_the_slot():
    bench = Bench()
    item = bench.speak()
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert turn.items[0] == UserMessage(item, "", spoken=True, transcript="pending")
    bench.provider.tell(wire.UserTranscriptFinal(item, "a table please"))
    assert bench.filled == {item: "a table please"}
    bench.provider.tell(wire.UserTranscriptFinal(item, "again"))
    assert bench.filled == {item: "a table please"}


def test_barge_in_cuts_at_what_was_heard():
    bench = Bench()
    bench.text()
    bench.provider.emit(9)
    (audio,) = {event.item_id for event in bench.told(events.AudioDelta)}
    bench.play(audio, 300)
    bench.provider.tell(wire.InputSpeechStarted("u9"))
    assert [c.audio_end_ms for c in bench.commands(say.TruncateItem)] == [300]
    assert len(bench.commands(say.CancelResponse)) == 1
    (cut,) = bench.told(events.Interrupted)
    assert (cut.heard_ms, cut.fidelity) == (300, "exact")
    bench.provider.finish()
    (turn,) = bench.log
    assert turn.status == "interrupted"
    assert turn.items[1].text == "the"
    assert turn.items[1].interrupted


def test_unheard_speech_is_deleted_at_the_provider_and_kept_marked():
    bench = Bench()
    bench.text("first")
    bench.provider.finish()
    bench.play_all()
    bench.text("second")
    bench.provider.emit(9)
    bench.command(inputs.Interrupt())
    assert len(bench.commands(say.DeleteItem)) == 1
    assert bench.commands(say.TruncateItem) == []
    bench.provider.finish()
    message = bench.log[1].items[1]
    assert (message.text, message.heard_ms, message.interrupted) == ("", 0, True)
    assert message.generated_text


def test_nothing_generated_means_no_frame():
    bench = Bench(late=0)
    bench.text()
    bench.command(inputs.Interrupt())
    bench.provider.finish()
    assert bench.commands(say.DeleteItem) == bench.commands(say.TruncateItem) == []
    assert bench.log[0].status == "interrupted"


def test_speech_that_was_on_its_way_at_the_cut_is_taken_back_too():
    bench = Bench(late=8)
    bench.text()
    bench.provider.emit(2)
    bench.command(inputs.Interrupt())
    assert bench.commands(say.DeleteItem) == []
    bench.provider.finish()
    assert len(bench.commands(say.DeleteItem)) == 1, "it turned out that something had been generated"
    assert bench.told(events.AudioDelta) == []


def test_a_cancel_before_the_response_exists_is_remembered():
    bench = Bench()
    bench.text()
    bench.command(inputs.Interrupt())
    assert bench.commands(say.CancelResponse) == []
    bench.provider.emit(1)
    (cancel,) = bench.commands(say.CancelResponse)
    assert cancel.response_id == bench.machine.conversation.responses.response_id
    bench.provider.finish()
    assert bench.machine.conversation.responses.state == "idle"


def test_a_written_answer_survives_speech_but_not_an_interruption():
    bench = Bench(output="text")
    bench.replies = [Reply(spoken=False), Reply(spoken=False)]
    bench.text()
    bench.provider.emit(4)
    bench.provider.tell(wire.InputSpeechStarted("u9"))
    assert bench.told(events.Interrupted) == []
    bench.command(inputs.Interrupt())
    bench.provider.finish()
    (turn,) = bench.log
    assert turn.status == "interrupted"
    assert turn.items[1].display_text == "the table"


def test_a_tool_is_run_told_and_followed_up_once():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("look", "look")), Reply()]
    bench.text()
    bench.provider.finish()
    first, second = bench.started_tools
    bench.end_tool(first, "one")
    assert bench.creates == 1, "the follow-up waits for the last output"
    bench.end_tool(second, "two")
    assert bench.creates == 2
    assert [c.output for c in bench.commands(say.AddToolResult)] == ["one", "two"]
    bench.provider.finish()
    bench.play_all()
    kinds = [type(item) for item in bench.log[0].items]
    assert kinds == [UserMessage, ToolCall, ToolResult, ToolCall, ToolResult, AgentMessage]


def test_a_tool_may_end_before_its_response_does():
    bench = Bench()
    bench.replies = [Reply(words=4, calls=("look",)), Reply()]
    bench.text()
    while not bench.started_tools:
        bench.provider.emit()
    bench.end_tool(bench.started_tools[0])
    assert bench.creates == 1
    bench.provider.finish()
    assert bench.creates == 2


def test_a_call_that_ends_the_turn_is_not_followed_up():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("hand_over",))]
    bench.text()
    bench.provider.finish()
    bench.end_tool(bench.started_tools[0])
    assert bench.creates == 1
    assert bench.log[0].status == "done"


def test_a_duplicate_call_is_started_once():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("look",))]
    bench.text()
    bench.provider.emit(2)
    ready = bench.provider.script[0]
    assert isinstance(ready, wire.ToolCallReady)
    bench.provider.tell(ready)
    bench.provider.finish()
    assert len(bench.started_tools) == 1
    assert bench.machine.statistics().counts["duplicate_calls"] == 1


def test_an_unknown_tool_fails_at_once_and_names_the_known_ones():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("fly",)), Reply()]
    bench.text()
    bench.provider.finish()
    (result,) = bench.commands(say.AddToolResult)
    assert "fly" in result.output
    assert "look" in result.output
    assert bench.started_tools == []


def test_the_client_answers_its_own_tools_in_time_or_the_model_is_told():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("ask_client", "ask_client")), Reply()]
    bench.text()
    bench.provider.finish()
    first, second = (event.call_id for event in bench.told(events.ToolCall))
    assert bench.command(inputs.GiveToolResult(first, "yes"))
    assert not bench.command(inputs.GiveToolResult(first, "twice"))
    bench.wait(31)
    results = {c.call_id: c.output for c in bench.commands(say.AddToolResult)}
    assert results[first] == "yes"
    assert "30 s" in results[second]
    statuses = {event.call_id: event.status for event in bench.told(events.ToolFinished)}
    assert statuses == {first: "done", second: "timed_out"}


@pytest.mark.parametrize(("name", "kept"), [("look", False), ("book", True)])
def test_interruption_cancels_reads_and_keeps_writes(name, kept):
    bench = Bench()
    bench.replies = [Reply(words=0, calls=(name,)), Reply()]
    bench.text()
    bench.provider.finish()
    (call_id,) = bench.started_tools
    bench.command(inputs.Interrupt())
    (turn,) = bench.log
    assert turn.status == "interrupted"
    assert (call_id in bench.cancelled_tools) is not kept
    assert any(isinstance(item, ToolResult) for item in turn.items) is not kept
    if kept:
        bench.end_tool(call_id, "booked")
        (result,) = bench.commands(say.AddToolResult)
        assert result.output == "booked"
        assert bench.creates == 2, "nobody speaks, so the human is told"


def test_a_kept_call_says_nothing_while_others_speak():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("book",)), Reply()]
    bench.text()
    bench.provider.finish()
    bench.text("and something else")
    assert bench.creates == 2
    bench.end_tool(bench.started_tools[0], "booked")
    bench.provider.finish()
    assert bench.creates == 2
    assert len(bench.commands(say.AddToolResult)) == 1


def test_a_call_announced_after_the_cut_never_starts():
    bench = Bench(late=10)
    bench.replies = [Reply(words=3, calls=("book",))]
    bench.text()
    bench.provider.emit(6)
    bench.command(inputs.Interrupt())
    bench.provider.finish()
    assert bench.started_tools == []
    assert bench.machine.statistics().counts["calls_not_started"] == 1


def test_an_empty_answer_is_asked_for_again_and_then_the_turn_fails():
    bench = Bench()
    bench.replies = [Reply(words=0), Reply(words=0)]
    bench.text()
    bench.provider.finish()
    bench.provider.finish()
    (turn,) = bench.log
    assert turn.status == "failed"
    assert "said nothing" in turn.error


def test_a_failed_answer_is_tried_again_after_a_wait_and_then_fails():
    bench = Bench()
    bench.replies = [Reply(words=0, status="failed")] * 3
    bench.text()
    for wait in (0.6, 1.1):
        bench.provider.finish()
        assert bench.machine.conversation.responses.state == "idle"
        bench.wait(wait)
    bench.provider.finish()
    (turn,) = bench.log
    assert turn.status == "failed"
    assert bench.creates == 3


def test_an_incomplete_answer_is_kept_and_marked():
    bench = Bench()
    bench.replies = [Reply(status="incomplete")]
    bench.text()
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert turn.status == "done"
    assert turn.items[1].text
    assert "not complete" in turn.error


def test_a_provider_that_does_not_answer_is_asked_once_more_then_the_turn_fails():
    bench = Bench()
    bench.replies = [Reply(silent=True), Reply(silent=True)]
    bench.text()
    bench.wait(20.5)
    assert bench.creates == 2
    bench.wait(20.5)
    (turn,) = bench.log
    assert turn.status == "failed"
    assert bench.machine.state == "ready"
    assert bench.machine.context.epoch == 1, "it said each time that there was nothing to cancel"
    assert bench.reserved == bench.spent == 2


def test_a_request_that_may_still_be_answered_is_not_repeated_on_the_same_connection():
    bench = Bench()
    bench.text()
    bench.wait(21)
    assert bench.creates == 1, "the vendor ignores a cancel of what it has not begun"
    bench.wait(3)
    assert bench.machine.context.epoch == 2
    assert bench.overlaps == 0
    late, now = bench.providers[1], bench.providers[2]
    late.gone = False
    late.finish()
    assert bench.told(events.AudioDelta) == []
    now.finish()
    bench.play_all()
    assert [type(item) for item in bench.log[0].items] == [UserMessage, AgentMessage]


def test_a_request_that_is_answered_after_its_cancel_is_cancelled_and_repeated():
    bench = Bench()
    bench.text()
    bench.wait(21)
    bench.provider.finish()
    assert bench.creates == 2
    bench.provider.finish()
    bench.play_all()
    assert bench.machine.context.epoch == 1
    assert [type(item) for item in bench.log[0].items] == [UserMessage, AgentMessage]


def test_a_cancel_that_nobody_answers_costs_the_connection():
    bench = Bench()
    bench.text()
    bench.provider.emit(9)
    provider = bench.provider
    bench.mute = True
    bench.command(inputs.Interrupt())
    bench.wait(3.5)
    assert provider.gone
    assert bench.machine.state == "ready"
    assert bench.machine.context.epoch == 2
    assert bench.log[0].status == "interrupted"


def test_a_provider_that_falls_silent_in_mid_answer_fails_the_turn_with_what_was_heard():
    bench = Bench()
    bench.text()
    bench.provider.emit(9)
    bench.provider.script = []
    bench.play_all()
    bench.wait(21)
    bench.wait(5)
    (turn,) = bench.log
    assert turn.status == "failed"
    assert turn.items[1].interrupted
    assert turn.items[1].heard_ms > 0


def test_a_turn_that_never_ends_times_out():
    bench = Bench()
    bench.replies = [Reply(words=0, calls=("look",))]
    bench.text()
    bench.provider.finish()
    bench.wait(61)
    (turn,) = bench.log
    assert turn.status == "failed"
    assert "60 s" in turn.error
    assert bench.cancelled_tools == bench.started_tools


def test_a_prompt_waits_for_the_human_and_is_answered_in_text():
    bench = Bench()
    bench.text("human")
    cause = Cause("ask", origin="host", message_id="m1")
    bench.replies = [Reply(spoken=False)]
    bench.command(inputs.PutPrompt("turn_p", Prompt((UserMessage("m1", "what is the soup?"),), cause, output="text")))
    assert bench.creates == 1
    bench.provider.finish()
    bench.play_all()
    bench.provider.finish()
    assert [turn.id for turn in bench.log][1:] == ["turn_p"]
    assert bench.log[1].cause == cause
    create = bench.commands(say.CreateResponse)
    assert [c.output for c in create] == [None, "text"]


def test_a_withdrawn_prompt_is_dropped_or_cut():
    bench = Bench()
    bench.text("human")
    cause = Cause("ask", origin="host")
    bench.command(inputs.PutPrompt("p1", Prompt((UserMessage("m1", "x"),), cause, output="text")))
    bench.command(inputs.Withdraw("p1"))
    bench.provider.finish()
    bench.play_all()
    assert [turn.cause.kind for turn in bench.log] == ["text"]
    bench.replies = [Reply(spoken=False)]
    bench.command(inputs.PutPrompt("p2", Prompt((UserMessage("m2", "x"),), cause, output="text")))
    bench.provider.emit(3)
    bench.command(inputs.Withdraw("p2"))
    bench.provider.finish()
    assert bench.log[1].status == "interrupted"


def test_a_response_of_the_providers_own_accord_is_adopted():
    bench = Bench()
    bench.append(300)
    provider = bench.provider
    provider.tell(wire.InputSpeechStarted("u1"))
    provider.begin(Reply())
    provider.tell(wire.InputCommitted("u1", None))
    assert bench.overlaps == 1, "the request crossed the provider's own response"
    provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert turn.status == "done"
    assert isinstance(turn.items[-1], AgentMessage)
    assert bench.creates == 1
    assert bench.reserved == bench.spent


def test_an_end_without_a_beginning_is_an_answer_all_the_same():
    bench = Bench()
    bench.text()
    bench.provider.script = bench.provider.script[1:]
    bench.provider.finish()
    bench.play_all()
    assert bench.log[0].status == "done"
    assert bench.machine.conversation.responses.state == "idle"


def test_speech_that_goes_on_joins_the_turn_that_has_not_begun():
    bench = Bench()
    bench.admitted = "somebody else's"
    bench.speak()
    bench.speak()
    bench.admitted = None
    bench.admit()
    bench.drain()
    assert bench.creates == 1
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert len([item for item in turn.items if isinstance(item, UserMessage)]) == 2


def test_images_go_with_the_next_turn():
    from mob.values import Image

    bench = Bench()
    bench.command(inputs.SendImage(Image("image/png", b"x")))
    assert bench.commands(say.AddMessage) == []
    bench.text("what is this?")
    image, words = bench.commands(say.AddMessage)
    assert image.images
    assert words.text == "what is this?"


def test_a_budget_that_is_spent_fails_the_turn_in_words():
    bench = Bench(budget=0)
    bench.text()
    (turn,) = bench.log
    assert turn.status == "failed"
    assert "money" in turn.error
    assert bench.commands(say.CreateResponse) == []
    assert [event.code for event in bench.told(events.ChannelError)] == ["budget_exceeded"]


def test_receipts_that_stop_coming_settle_the_turn_at_the_last_one():
    bench = Bench()
    bench.text()
    bench.provider.finish()
    (item,) = {event.item_id for event in bench.told(events.AudioDelta)}
    bench.play(item, 500)
    bench.wait(30)
    (turn,) = bench.log
    assert turn.status == "interrupted"
    assert turn.items[1].heard_ms == 500
    assert [c.audio_end_ms for c in bench.commands(say.TruncateItem)] == [500]


def test_truncate_settles_where_the_client_says():
    bench = Bench()
    bench.text()
    bench.provider.finish()
    (item,) = {event.item_id for event in bench.told(events.AudioDelta)}
    assert not bench.command(inputs.Truncate(item, 60_000))
    assert not bench.command(inputs.Truncate("nothing", 5))
    assert bench.command(inputs.Truncate(item, 700))
    assert bench.log[0].items[1].heard_ms == 700
    assert not bench.command(inputs.Truncate(item, 800)), "its turn is settled"
