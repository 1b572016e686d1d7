"""What a channel is opened with, and turns that wait until somebody asks for their answer, on the bench."""

from __future__ import annotations

import pytest
from attrs import evolve
from live_bench import MODEL, Bench, Reply, pcm

from mob.errors import LiveClosed, LiveRejected, UsageError
from mob.history.items import AgentMessage, Cause, Note, Turn, UserMessage
from mob.live import events, inputs
from mob.live.overrides import misfit
from mob.live.ports import ChannelOptions, Prompt
from mob.providers import commands as say, events as wire
from mob.values import Image, TurnDetection


def texts(turn):
    return [item.text for item in turn.items if isinstance(item, UserMessage)]


def held() -> Bench:
    return Bench(auto_respond=False)


# -- options -------------------------------------------------------------------------------------------------------

WISHES = {
    "turn_detection": TurnDetection("manual"),
    "output": "text",
    "voice": "cedar",
    "instructions": "Say it in one sentence.",
}


def test_options_are_laid_over_the_seed_at_the_opening_and_at_every_reopening():
    bench = Bench(options=WISHES)
    for _ in range(2):
        config = bench.provider.config
        assert config.instructions == "be brief\n\nSay it in one sentence."
        assert (config.output, config.voice, config.turn_detection.mode) == ("text", "cedar", "manual")
        bench.lose()
        bench.wait(1)
    assert bench.machine.context.epoch == 3


def test_a_refresh_lays_the_options_over_the_seed_once_and_not_twice():
    bench = Bench(options=WISHES)
    bench.command(inputs.Refresh(voice="marin"))
    bench.command(inputs.Refresh(instructions="be kind"))
    assert bench.provider.config.instructions == "be kind\n\nSay it in one sentence."
    assert bench.provider.config.voice == "marin"


def test_the_provider_does_not_do_what_the_channel_was_told_to_leave():
    detection = TurnDetection(create_response=True, interrupt_response=True)
    bench = Bench(auto_respond=False, barge_in=False, options={"turn_detection": detection})
    assert not bench.provider.config.turn_detection.create_response
    assert not bench.provider.config.turn_detection.interrupt_response
    willing = Bench(options={"turn_detection": detection})
    assert willing.provider.config.turn_detection == detection


def test_the_seed_is_asked_for_within_its_bound():
    assert Bench(options={"seed_max_chars": 77}).seed_bounds == [77]
    assert Bench().seed_bounds == [None]


@pytest.mark.parametrize("chars", [0, -1])
def test_a_bound_of_nothing_is_refused(chars):
    with pytest.raises(UsageError, match="seed_max_chars"):
        ChannelOptions(seed_max_chars=chars)


def test_what_the_model_cannot_do_is_said():
    model = evolve(MODEL, voices=("cedar",), output_modalities=("text",))
    nothing = {"voice": None, "output": None, "turn_detection": None}
    assert misfit(model, **nothing) is None
    assert "no voice 'ash'" in misfit(model, **{**nothing, "voice": "ash"})
    assert "audio" in misfit(model, **{**nothing, "output": "audio"})
    assert "semantic_vad" in misfit(model, **{**nothing, "turn_detection": TurnDetection("semantic_vad")})
    assert misfit(MODEL, **{**nothing, "voice": "whoever"}) is None, "what nobody has written down may be"


# -- auto_respond --------------------------------------------------------------------------------------------------


def test_what_is_typed_waits_for_respond_and_stands_at_the_provider_meanwhile():
    bench = held()
    bench.text("first")
    bench.text("second")
    bench.wait(100)
    assert bench.creates == 0
    assert [command.text for command in bench.commands(say.AddMessage)] == ["first", "second"]
    bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert texts(turn) == ["first", "second"]
    assert isinstance(turn.items[-1], AgentMessage)
    assert (turn.status, turn.cause.kind) == ("done", "text")
    assert len(bench.commands(say.AddMessage)) == 2, "nothing is put twice"


def test_speech_waits_for_respond_too():
    bench = held()
    item = bench.speak()
    bench.provider.tell(wire.UserTranscriptFinal(item, "a table please"))
    assert bench.creates == 0
    bench.command(inputs.Respond("text", "Be rude."))
    (create,) = bench.commands(say.CreateResponse)
    assert (create.output, create.instructions) == ("text", "Be rude.")
    bench.provider.finish()
    bench.play_all()
    assert texts(bench.log[0]) == ["a table please"]


def test_instructions_hold_for_their_turn_only():
    bench = held()
    for instructions in ("Be rude.", None):
        bench.text()
        bench.command(inputs.Respond(instructions=instructions))
        bench.provider.finish()
        bench.play_all()
    assert [command.instructions for command in bench.commands(say.CreateResponse)] == ["Be rude.", None]


def test_respond_with_nothing_to_answer_is_a_turn_of_its_own():
    bench = held()
    assert bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert [type(item) for item in turn.items] == [AgentMessage]
    assert turn.cause.kind == "text"


def test_respond_waits_in_line_while_an_answer_is_spoken():
    bench = held()
    bench.text("first")
    bench.command(inputs.Respond())
    bench.provider.emit(6)
    bench.text("second")
    bench.command(inputs.Respond())
    assert bench.creates == 1
    assert bench.told(events.Interrupted) == [], "typed text cuts nothing while nobody is to answer it"
    bench.provider.finish()
    bench.play_all()
    assert bench.creates == 2
    bench.provider.finish()
    bench.play_all()
    assert [texts(turn) for turn in bench.log] == [["first"], ["second"]]
    assert bench.overlaps == 0


def test_respond_right_after_a_commit_answers_what_was_committed():
    bench = Bench(manual=True, auto_respond=False)
    bench.mute = True
    bench.append(300)
    bench.command(inputs.CommitInputAudio())
    bench.command(inputs.Respond("text"))
    assert bench.creates == 0, "the provider has not made an item of it yet"
    bench.mute = False
    bench.provider.hear("u1")
    assert bench.creates == 1
    bench.provider.finish()
    bench.play_all()
    (turn,) = bench.log
    assert turn.items[0].id == "u1"


def test_respond_after_a_commit_that_is_refused_answers_all_the_same():
    bench = Bench(manual=True, auto_respond=False)
    bench.mute = True
    bench.append(300)
    bench.command(inputs.CommitInputAudio())
    bench.command(inputs.Respond())
    bench.mute = False
    bench.wait(bench.limits.response_timeout_s + 1)
    assert bench.creates == 1


def test_a_spoken_turn_that_is_held_still_cuts_a_spoken_answer():
    bench = held()
    bench.barge_in = False
    bench.text()
    bench.command(inputs.Respond())
    bench.provider.emit(9)
    bench.speak()
    assert len(bench.told(events.Interrupted)) == 1


def test_a_prompt_is_answered_while_the_users_turn_is_held():
    bench = held()
    bench.text("wait")
    prompt = Prompt((UserMessage("m1", "what is the soup?", author="host"),), Cause("ask", origin="host"), "text")
    bench.command(inputs.PutPrompt("turn_p", prompt))
    bench.provider.finish()
    bench.play_all()
    assert [turn.id for turn in bench.log] == ["turn_p"]
    bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    assert texts(bench.log[1]) == ["wait"]


def test_what_is_held_is_put_to_the_next_connection_behind_the_log():
    bench = held()
    bench.text("first")
    bench.lose()
    bench.wait(1)
    assert [command.text for command in bench.commands(say.AddMessage, 2)] == ["first"]
    assert bench.creates == 0
    bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    assert texts(bench.log[0]) == ["first"]


def test_speech_that_is_held_is_said_again_and_still_held():
    bench = held()
    bench.speak()
    bench.lose()
    bench.wait(1)
    assert bench.commands(say.AppendAudio, 2)
    bench.provider.hear("again")
    assert bench.creates == 0
    bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    assert bench.log[0].items[0].id == "again"


def test_closing_keeps_what_is_held():
    bench = held()
    bench.text("never answered")
    bench.command(inputs.Close())
    (turn,) = bench.log
    assert (texts(turn), turn.status) == (["never answered"], "interrupted")
    with pytest.raises(LiveClosed):
        bench.feed(inputs.Respond())


def test_an_item_that_the_provider_refuses_is_left_out_of_what_is_held():
    bench = held()
    bench.text("good")
    bench.command(inputs.SendImage(Image("image/png", b"x")))
    bench.text("with a picture")
    refs = {command.text: command.ref for command in bench.commands(say.AddMessage)}
    bench.provider.refuse("bad_image", "reconfigure", refs[""])
    bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    assert texts(bench.log[0]) == ["good", "with a picture"]
    assert bench.told(events.ChannelError)[0].code == "bad_image"


def test_a_refused_item_fails_its_own_turn_and_no_other():
    bench = Bench()
    bench.replies = [Reply(words=2), Reply(words=2)]
    bench.text("first")
    (first,) = bench.commands(say.AddMessage)
    bench.provider.refuse("bad_text", "reconfigure", first.ref)
    bench.provider.finish()
    bench.play_all()
    bench.text("second")
    bench.provider.finish()
    bench.play_all()
    bench.provider.finish()
    bench.play_all()
    assert [turn.status for turn in bench.log] == ["failed", "done"]


def test_before_the_channel_is_open_there_is_nothing_to_answer():
    bench = Bench(auto_open=False)
    with pytest.raises(LiveRejected) as refused:
        bench.feed(inputs.Respond())
    assert refused.value.reason == "not_ready"


# -- barge_in ------------------------------------------------------------------------------------------------------


def test_without_barge_in_a_sound_cuts_nothing_and_a_whole_turn_does():
    bench = Bench(barge_in=False)
    bench.text()
    bench.provider.emit(9)
    bench.provider.tell(wire.InputSpeechStarted("u9"))
    assert bench.told(events.SpeechStarted)
    assert bench.told(events.Interrupted) == []
    bench.append(300)
    bench.provider.hear("u9")
    (cut,) = bench.told(events.Interrupted)
    assert cut.item_id is not None
    assert bench.commands(say.CancelResponse)


def test_without_barge_in_interrupt_and_truncate_cut():
    for how in ("interrupt", "truncate"):
        bench = Bench(barge_in=False)
        bench.text()
        bench.provider.emit(9)
        item_id = bench.told(events.AudioDelta)[0].item_id
        bench.command(inputs.Interrupt() if how == "interrupt" else inputs.Truncate(item_id, 50))
        assert bench.told(events.Interrupted)


def test_images_go_with_what_is_held():
    bench = held()
    bench.text("look")
    bench.command(inputs.SendImage(Image("image/png", pcm(1))))
    bench.command(inputs.Respond())
    bench.provider.finish()
    bench.play_all()
    assert [bool(item.images) for item in bench.log[0].items if isinstance(item, UserMessage)] == [False, True]


# -- what a turn is answered with, and what its items are called -----------------------------------------------------


def test_a_commit_says_what_its_turn_is_answered_with():
    bench = Bench(manual=True)
    for output in ("text", None):
        bench.append(300)
        bench.command(inputs.CommitInputAudio(output))
        bench.provider.finish()
        bench.play_all()
    assert [command.output for command in bench.commands(say.CreateResponse)] == ["text", None]


def test_a_commit_that_is_lost_with_its_connection_keeps_what_it_wants():
    bench = Bench(manual=True)
    bench.mute = True
    bench.append(300)
    bench.command(inputs.CommitInputAudio("text"))
    bench.lose()
    bench.wait(1)
    assert bench.commands(say.CommitInput, 2)
    (create,) = bench.commands(say.CreateResponse)
    assert create.output == "text"


def test_typed_text_says_what_it_is_answered_with():
    bench = Bench()
    bench.command(inputs.SendText("in writing, please", "text"))
    assert [command.output for command in bench.commands(say.CreateResponse)] == ["text"]


def test_respond_stands_above_what_the_turn_was_to_be_answered_with():
    bench = held()
    bench.command(inputs.SendText("hm", "text"))
    bench.command(inputs.Respond("audio"))
    assert [command.output for command in bench.commands(say.CreateResponse)] == ["audio"]


def test_items_have_the_names_that_the_client_gives_them():
    bench = Bench()
    bench.command(inputs.SendImage(Image("image/png", b"x"), "picture_1"))
    bench.command(inputs.SendText("what is this?", item_id="question_1"))
    assert [command.item_id for command in bench.commands(say.AddMessage)] == ["picture_1", "question_1"]
    bench.provider.finish()
    bench.play_all()
    assert [item.id for item in bench.log[0].items][:2] == ["picture_1", "question_1"]


@pytest.mark.parametrize("bad", ["", "x" * 33, "zwölf", "a\nb"])
def test_a_name_that_the_wire_cannot_carry_is_refused(bad):
    bench = Bench()
    for what in (inputs.SendText("hi", item_id=bad), inputs.SendImage(Image("image/png", b"x"), bad)):
        with pytest.raises(LiveRejected) as refused:
            bench.feed(what)
        assert refused.value.reason == "bad_item_id"
    assert bench.sent == [] or not bench.commands(say.AddMessage)


def test_a_name_is_given_once():
    bench = Bench()
    bench.command(inputs.SendText("hi", item_id="one"))
    item = bench.speak()
    for taken in ("one", item):
        with pytest.raises(LiveRejected) as refused:
            bench.feed(inputs.SendText("hi", item_id=taken))
        assert refused.value.reason == "duplicate_item"


# -- refresh -------------------------------------------------------------------------------------------------------


def test_detection_modality_and_extra_words_change_on_the_open_channel():
    bench = Bench(options={"instructions": "Say it in one sentence."})
    manual = TurnDetection("manual")
    bench.command(inputs.Refresh(turn_detection=manual, output="text", extra_instructions="Say it in two."))
    config = bench.provider.config
    assert (config.turn_detection, config.output) == (manual, "text")
    assert config.instructions == "be brief\n\nSay it in two."
    bench.append(300)
    assert bench.command(inputs.CommitInputAudio()), "the channel knows that turns are manual now"
    bench.command(inputs.Refresh(extra_instructions=""))
    assert bench.provider.config.instructions == "be brief"
    bench.lose()
    bench.wait(1)
    assert bench.provider.config.output == "text"


def test_what_the_model_cannot_do_is_no_refresh():
    bench = Bench(model=evolve(MODEL, voices=("cedar",)))
    before = bench.provider.config
    with pytest.raises(LiveRejected) as refused:
        bench.feed(inputs.Refresh(voice="nobody", output="text"))
    assert refused.value.reason == "unsupported"
    assert bench.provider.config == before


def test_what_waits_when_answers_come_on_is_answered_with_the_next_words():
    bench = held()
    bench.text("first")
    bench.command(inputs.Refresh(auto_respond=True))
    assert bench.creates == 0
    bench.text("second")
    assert bench.creates == 1
    bench.provider.finish()
    bench.play_all()
    assert texts(bench.log[0]) == ["first", "second"]


def test_a_refresh_before_the_channel_is_open_is_taken_with_the_seed():
    bench = Bench(auto_open=False)
    bench.command(inputs.Refresh(output="text", tools=()))
    bench.feed(inputs.ConnectionOpened(1))
    bench.provider.tell(wire.SessionOpened("sess_1", None))
    assert bench.machine.state == "ready"
    assert (bench.provider.config.output, bench.provider.config.tools) == ("text", ())


# -- context -------------------------------------------------------------------------------------------------------

NOTE = Note("note_1", "the kitchen is closed", "context")


def told(bench, epoch):
    return [command.text for command in bench.commands(say.AddMessage, epoch)]


def test_context_is_told_at_once_and_nothing_is_asked():
    bench = Bench()
    bench.feed(inputs.AddContext(NOTE))
    (command,) = bench.commands(say.AddMessage)
    assert (command.role, command.text) == ("system", NOTE.text)
    assert bench.creates == 0


def test_context_that_the_seed_has_is_not_told_again():
    bench = Bench(auto_open=False)
    bench.log.append(Turn("t1", Cause("context"), (NOTE,), seq=1))
    bench.feed(inputs.ConnectionOpened(1))
    bench.provider.tell(wire.SessionOpened("sess_1", None))
    bench.feed(inputs.AddContext(NOTE))
    assert told(bench, 1) == [NOTE.text]


def test_context_for_a_connection_that_is_not_seeded_yet_comes_with_its_seed():
    bench = Bench(auto_open=False)
    bench.feed(inputs.AddContext(NOTE))
    bench.log.append(Turn("t1", Cause("context"), (NOTE,), seq=1))
    bench.feed(inputs.ConnectionOpened(1))
    bench.provider.tell(wire.SessionOpened("sess_1", None))
    assert told(bench, 1) == [NOTE.text]


def test_context_that_comes_while_a_seed_is_on_its_way_goes_behind_it():
    bench = Bench(confirm_items=False)
    bench.text("first")
    bench.provider.finish()
    bench.play_all()
    bench.lose()
    bench.wait(1)
    assert bench.machine.state == "seeding"
    bench.feed(inputs.AddContext(NOTE))
    assert told(bench, 2)[-1] == NOTE.text
    bench.wait(15)
    assert told(bench, 2).count(NOTE.text) == 1


def test_a_model_that_takes_no_past_is_not_told_and_that_is_owned_up_to():
    bench = Bench(model=evolve(MODEL, can_seed=False))
    bench.feed(inputs.AddContext(NOTE))
    assert told(bench, 1) == []
    assert bench.machine.links.continuity == "degraded"
