"""The loudspeaker that nobody hears: what it says was played is what the clock allows, and no more."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from mob.cli.speaker import Receipt, Speaker

pieces = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 400), st.floats(0, 1)), max_size=20)


def test_instant_speaker_has_played_what_arrives() -> None:
    speaker = Speaker(instant=True)

    assert speaker.play("item", 40, 20, now=1.0) == [Receipt("item", 60)]
    assert not speaker.playing


def test_audio_plays_at_the_speed_of_sound() -> None:
    speaker = Speaker(instant=False)
    speaker.play("item", 0, 1000, now=10.0)

    assert speaker.advance(10.25) == [Receipt("item", 250)]
    assert speaker.advance(11.0) == [Receipt("item", 1000)]
    assert not speaker.playing


def test_a_pause_is_not_counted_as_played() -> None:
    speaker = Speaker(instant=False)
    speaker.play("item", 0, 100, now=0.0)
    speaker.advance(5.0)
    speaker.play("item", 100, 100, now=5.0)

    assert speaker.advance(5.0505) == [Receipt("item", 150)]


def test_stopping_settles_what_was_heard() -> None:
    speaker = Speaker(instant=False)
    speaker.play("item", 0, 1000, now=0.0)

    assert speaker.stop(0.3) == [Receipt("item", 300)]
    assert speaker.advance(9.0) == []


@settings(deadline=None)
@given(pieces)
def test_receipts_grow_and_never_pass_the_clock_or_the_audio(drawn: list[tuple[str, int, float]]) -> None:
    speaker = Speaker(instant=False)
    now = 0.0
    given_ms: dict[str, int] = {}
    played_ms: dict[str, int] = {}
    for item_id, duration_ms, wait in drawn:
        receipts = speaker.play(item_id, given_ms.get(item_id, 0), duration_ms, now)
        given_ms[item_id] = given_ms.get(item_id, 0) + duration_ms
        now += wait
        for receipt in [*receipts, *speaker.advance(now)]:
            assert played_ms.get(receipt.item_id, 0) <= receipt.ms <= given_ms[receipt.item_id]
            played_ms[receipt.item_id] = receipt.ms

    assert sum(played_ms.values()) <= now * 1000 + 1
