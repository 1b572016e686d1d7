"""What the screen shows: lines that fit, and the words of an answer as far as they were heard."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings, strategies as st

from mob.cli.fold import fold, spans, visible
from mob.cli.style import Style
from mob.cli.toolbar import toolbar
from mob.cli.view import RunView
from mob.history.items import Timings
from mob.live.events import AgentTranscriptDelta, AudioDone, Interrupted, TextDelta
from mob.sessions.events import TurnEnded
from mob.values import Usage

WORDS = "We have a table at eight, or at half past nine."
ENDED = TurnEnded(member="host", turn="t", status="interrupted", user="", agent="", usage=Usage(), latency=Timings())
COLOURS = Style(on=True)
PLAIN = Style(on=False)


def speaking(words: str = WORDS) -> RunView:
    """A host who is saying these words at fifteen characters a second, all of which have arrived."""
    view = RunView(floor="host")
    base = {"channel_id": "c", "epoch": 1, "t": 0.0, "item_id": "i"}
    view.apply_live_event("host", AgentTranscriptDelta(**base, response_id="r", delta=words))
    view.sound("host", "i", len(words) * 1000 // 15)
    view.apply_live_event("host", AudioDone(**base, response_id="r", duration_ms=len(words) * 1000 // 15))
    return view


def interrupted(heard_ms: int) -> Interrupted:
    return Interrupted(
        channel_id="c",
        epoch=1,
        t=0.0,
        item_id="i",
        response_id="r",
        generated_ms=3133,
        heard_ms=heard_ms,
        fidelity="exact",
    )


def test_words_not_heard_yet_are_dim() -> None:
    view = speaking()
    view.played("host", "i", 1500)

    drawn = toolbar(view, COLOURS, 100)

    heard, _, rest = drawn.partition("\x1b[2m")
    assert visible(heard) == "host: We have a table at"
    assert rest.startswith(" eight, or at half past nine.\x1b[0m")


def test_words_of_a_cut_answer_that_were_not_heard_are_struck_until_its_turn_is_over() -> None:
    view = speaking()
    view.apply_live_event("host", interrupted(1500))

    assert "We have a table at\x1b[2;9m eight, or at half past nine.\x1b[0m" in toolbar(view, COLOURS, 100)

    ended = TurnEnded(
        member="host", turn="t", status="interrupted", user="", agent="", usage=Usage(), latency=Timings()
    )
    view.apply_run_event(ended, ["i"])
    assert WORDS[:7] not in toolbar(view, PLAIN, 100)


def test_the_next_answer_takes_the_place_of_a_cut_one() -> None:
    view = speaking()
    view.apply_live_event("host", interrupted(1500))
    base = {"channel_id": "c", "epoch": 1, "t": 0.0, "item_id": "j"}
    view.apply_live_event("host", AgentTranscriptDelta(**base, response_id="s", delta="Of course."))

    ended = TurnEnded(
        member="host", turn="t", status="interrupted", user="", agent="", usage=Usage(), latency=Timings()
    )
    view.apply_run_event(ended, ["i"])

    assert toolbar(view, PLAIN, 100).startswith("host: Of course.\n")


def test_written_words_are_read_at_once() -> None:
    view = RunView(floor="desk")
    delta = TextDelta(channel_id="c", epoch=1, t=0.0, item_id="", response_id="", delta="Good evening.")
    view.apply_live_event("desk", delta)

    assert "\x1b[2m" not in toolbar(view, COLOURS, 80)
    assert "desk: Good evening." in visible(toolbar(view, COLOURS, 80))


def test_a_long_answer_shows_the_place_where_the_voice_is() -> None:
    view = speaking(" ".join(f"word{number}" for number in range(200)))
    view.played("host", "i", 60_000)

    lines = toolbar(view, PLAIN, 40).splitlines()

    assert len(lines) == 4
    assert max(map(len, lines)) <= 40
    assert view.members["host"].words[0].split()[-1] in lines[0] + lines[1]


def test_a_narrow_window_has_the_whole_strip() -> None:
    view = RunView()
    for name in ("host", "manager", "menu", "bookings"):
        view.member(name).cost_usd = 0.25

    lines = toolbar(view, PLAIN, 30).splitlines()

    assert max(map(len, lines)) <= 30
    assert "bookings idle" in " ".join(lines)
    assert lines[-1].endswith("$1.0000")


@settings(deadline=None, max_examples=200)
@given(st.text("ab \x1b", max_size=80).map(lambda text: text.replace("\x1b", "\x1b[1m")), st.integers(1, 30))
def test_folded_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    folded = fold(text, width)

    assert visible(folded).replace("\n", "").replace(" ", "") == visible(text).replace(" ", "")
    if width > 8 and not visible(text).startswith(" "):
        assert all(len(visible(line)) <= width for line in folded.split("\n"))


@settings(deadline=None)
@given(st.text("ab ", max_size=80), st.integers(1, 30), st.integers(0, 10))
def test_lines_are_in_order_and_leave_out_single_spaces(text: str, width: int, first: int) -> None:
    lines = spans(text, width, first)

    assert lines[0][0] == 0
    assert lines[-1][1] == len(text)
    for (_, end), (start, _) in pairwise(lines):
        assert text[end:start] in {"", " "}


def test_colour_goes_on_in_the_next_line_and_not_in_its_margin() -> None:
    assert fold("  \x1b[2mone two three\x1b[0m", 10) == "  \x1b[2mone two\x1b[0m\n    \x1b[2mthree\x1b[0m"
