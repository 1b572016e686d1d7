"""A provider that keeps the connection, and even answers pings, but says nothing any more."""

from live_bench import Bench, Reply

from mob.live import events


def test_a_connection_on_which_nothing_is_answered_is_replaced():
    bench = Bench()
    bench.text("hello")
    bench.provider.finish()
    bench.play_all()
    bench.wait(30)
    bench.mute = True
    bench.text("are you there?")
    bench.wait(39)
    bench.mute = False
    bench.wait(5)
    assert bench.dials == 2
    assert bench.told(events.Disconnected)
    bench.text("and now?")
    bench.provider.finish()
    bench.play_all()
    bench.wait(30)
    assert [turn.status for turn in bench.log] == ["done", "failed", "done"]


def test_the_turn_after_one_that_stopped_in_mid_answer_is_answered_on_a_new_connection():
    bench = Bench()
    bench.text("hello")
    bench.provider.emit(9)
    bench.provider.script = []
    bench.mute = True
    bench.play_all()
    bench.wait(30)
    bench.text("are you there?")
    bench.wait(19)
    bench.mute = False
    bench.wait(2)
    assert bench.dials == 2
    bench.provider.finish()
    bench.play_all()
    bench.wait(30)
    assert [turn.status for turn in bench.log] == ["failed", "done"]
    assert bench.log[-1].user_text == "are you there?"


def test_one_lost_request_replaces_no_connection():
    bench = Bench()
    for _ in range(3):
        bench.replies = [Reply(silent=True), Reply()]
        bench.text("hello")
        bench.wait(20.5)
        bench.provider.finish()
        bench.play_all()
        bench.wait(30)
    assert [turn.status for turn in bench.log] == ["done"] * 3
    assert bench.dials == 1
