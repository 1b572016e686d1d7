"""What others say cannot steer the user's terminal."""

import pytest

from mob.cli.output import PlainOutput
from mob.cli.streams import harmless
from mob.cli.style import Style
from mob.sessions.events import ErrorOccurred

TITLE = "\x1b]0;owned\x07"


@pytest.mark.parametrize("text", ["a\nb\tc", "\x1b[31mred\x1b[0m", "é — ✗ 日本"])
def test_words_lines_and_colours_stay(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize("text", [TITLE, "\x1b[2J", "\rover", "\x9b2J", "\b\b", "\x1b]52;c;eA==\x1b\\"])
def test_controls_go(text: str) -> None:
    assert not set(harmless(f"a{text}b")) & set("\x1b\x07\r\x9b\b")


def test_an_error_of_a_provider_is_printed_without_its_controls(capsys: pytest.CaptureFixture[str]) -> None:
    PlainOutput(Style(on=False)).event(ErrorOccurred(error_class="x", message=TITLE, recovery="fatal"), None)
    printed = capsys.readouterr().err
    assert "owned" in printed
    assert "\x1b" not in printed
