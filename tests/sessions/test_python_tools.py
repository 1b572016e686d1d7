"""Python functions as tools: loading, taking arguments, running, and whatever they may do wrong."""

from __future__ import annotations

import datetime as dt
import functools
import sys
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
import trio
from desks import call, open_bench, tool
from hypothesis import given, strategies as st

from mob.definition.model import Limits, Member, MobDefinition, Profile, Tool
from mob.errors import AskCycle, BudgetExceeded, MailboxFull, MemberFailed, TurnTimedOut, UsageError
from mob.history.items import Cause
from mob.sessions.running import attempt
from mob.sessions.tools import ToolBox, ToolContext, as_text, cut, load_tools, python_tool

CONTEXT = ToolContext("c1", "host", "turn_1")


async def run(made, arguments: str = "{}", *, max_output_bytes: int = 65536):
    async with trio.open_nursery() as nursery:
        outcome = await attempt(made, arguments, CONTEXT, nursery=nursery, max_output_bytes=max_output_bytes)
        nursery.cancel_scope.cancel()
    return outcome.status, outcome.output


def definition(tmp_path: Path, python: str, **options) -> MobDefinition:
    return MobDefinition(
        "m",
        {"p": Profile("p", "x")},
        {"host": Member("host", "p")},
        tools={"t": Tool("t", python, **options)},
        base_dir=tmp_path,
    )


async def test_tools_are_loaded_from_beside_the_team_file(tmp_path):
    """With the team file's own description, time and effect."""
    (tmp_path / "kitchen.py").write_text('def soup(size: int) -> str:\n    """Make soup."""\n    return "x" * size\n')
    (made,) = load_tools(definition(tmp_path, "kitchen:soup", effect="write", timeout_s=3.0), ["t"])
    assert (made.name, made.schema.description, made.effect, made.timeout_s) == ("t", "Make soup.", "write", 3.0)
    assert made.keeps_running
    assert await run(made, '{"size": 3}') == ("done", "xxx")
    (plain,) = load_tools(definition(tmp_path, "kitchen:soup", description="Cook."), ["t"])
    assert (plain.schema.description, plain.timeout_s) == ("Cook.", Limits().tool_timeout_s)
    assert not plain.keeps_running


@pytest.mark.parametrize(
    ("python", "complaint"),
    [
        ("nowhere_at_all:f", r"\[tools.t\]: 'nowhere_at_all' cannot be imported"),
        ("kitchen:gone", "has no 'gone'"),
        ("kitchen:FIRE", "is int, not a function"),
        ("broken:f", "ZeroDivisionError"),
        ("kitchen:bytes_only", "`x`: bytes has no counterpart in JSON"),
    ],
)
def test_a_tool_that_cannot_be_had_is_a_typed_error(tmp_path, python, complaint):
    """It names the tool and what is wrong."""
    (tmp_path / "kitchen.py").write_text("FIRE = 1\ndef bytes_only(x: bytes): ...\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match=complaint):
        load_tools(definition(tmp_path, python), ["t"])


def test_a_name_without_a_tool_is_a_typed_error(tmp_path):
    """Not a KeyError."""
    with pytest.raises(UsageError, match=r"no \[tools.other\]"):
        load_tools(definition(tmp_path, "a:b"), ["other"])


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("{", "add was not run: its arguments are not JSON at character 1"),
        ("[1]", "add was not run: its arguments must be a JSON object"),
        ("[" * 100_000, "add was not run: its arguments are not JSON"),
        ("{}", "add was not run: a is missing; it must be a whole number."),
        ('{"a": "1"}', 'add was not run: a must be a whole number, but "1" was given.'),
        ('{"a": 1, "c": 2}', "add was not run: c must be left out (known: a, b), but 2 was given."),
    ],
)
async def test_bad_arguments_come_back_as_a_lesson(arguments, complaint):
    """Failed, with a sentence that says how to call it; the function does not run."""
    status, output = await run(python_tool(add), arguments)
    assert status == "failed"
    assert output.startswith(complaint)


@given(st.text(max_size=60))
def test_law_26_no_arguments_whatever_break_a_tool(text):
    """Any text a model may write as arguments ends the call, typed, and the function is not run with rubbish."""

    async def main():
        return await run(python_tool(add), text)

    status, output = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert status in ("failed", "done")
    assert output


async def test_sync_functions_run_in_a_thread_and_async_ones_on_trio():
    """So a slow sync one never stops the loop."""
    here = threading.get_ident()

    def sync() -> bool:
        return threading.get_ident() == here

    async def on_trio() -> bool:
        await trio.lowlevel.checkpoint()
        return threading.get_ident() == here

    class Both:
        async def __call__(self) -> str:
            await trio.lowlevel.checkpoint()
            return "called"

    assert await run(python_tool(sync)) == ("done", "false")
    assert await run(python_tool(on_trio)) == ("done", "true")
    assert await run(python_tool(Both(), name="both")) == ("done", "called")
    assert await run(python_tool(lambda: on_trio(), name="wrapped")) == ("done", "true")  # noqa: PLW0108
    assert await run(python_tool(functools.partial(add, 1), name="partial")) == ("done", "2")


async def test_sync_functions_run_in_the_loop_under_a_virtual_clock(autojump_clock):
    """A thread would count as idle there, and time would jump past it."""
    here = threading.get_ident()
    assert await run(python_tool(lambda: threading.get_ident() == here, name="f")) == ("done", "true")
    assert trio.current_time() == 0


async def test_the_context_is_given_by_annotation():
    """And hidden from the model."""

    def who(ctx: ToolContext) -> str:
        return f"{ctx.call_id} {ctx.member} {ctx.turn} {ctx.cause.kind}"

    made = python_tool(who)
    assert made.schema.parameters["properties"] == {}
    assert await run(made) == ("done", "c1 host turn_1 text")


async def test_a_hanging_thread_is_left_behind():
    """A sync function that never ends costs its timeout, no more."""
    release = threading.Event()
    try:
        made = python_tool(release.wait, name="hang", timeout_s=0.05, effect="write")
        status, output = await run(made)
    finally:
        release.set()
    assert status == "timed_out"
    assert output == "hang did not end within 0.05 s and was given up; whether it took effect is not known."


async def test_a_tool_that_ignores_cancellation_delays_nobody(autojump_clock):
    """The caller goes on at the timeout; the function ends when it pleases."""
    ended = []

    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(50)
        ended.append(trio.current_time())
        return "late"

    async with trio.open_nursery() as nursery:
        made = python_tool(stubborn, timeout_s=2.0)
        outcome = await attempt(made, "{}", CONTEXT, nursery=nursery, max_output_bytes=100)
        assert (outcome.status, trio.current_time()) == ("timed_out", 2.0)
    assert ended == [50.0]


class _Odd(Exception):
    def __str__(self) -> str:
        return ""


async def _group() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_boom)
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("inner") from None


async def _boom() -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("inner")


def _raise(error: BaseException):
    raise error


@pytest.mark.parametrize(
    ("function", "status", "output"),
    [
        (lambda: 1 / 0, "failed", "f failed: ZeroDivisionError: division by zero"),
        (lambda: _raise(_Odd()), "failed", "f failed: _Odd"),
        (lambda: sys.exit(3), "failed", "f failed: SystemExit: 3"),
        (_group, "failed", "f failed: ValueError: inner; ValueError: inner"),
        (lambda: _raise(AskCycle("in a circle", cycle=("a", "b"))), "denied", "in a circle"),
        (lambda: _raise(MailboxFull("full")), "denied", "full"),
        (lambda: _raise(BudgetExceeded("spent")), "denied", "spent"),
        (lambda: _raise(TurnTimedOut("late")), "timed_out", "late"),
        (lambda: _raise(MemberFailed("no")), "failed", "no"),
        (lambda: b"\x00", "failed", "f failed: TypeError: it returned bytes, which cannot be written as JSON"),
    ],
)
async def test_what_a_tool_raises_is_a_sentence(function, status, output):
    """Class and message, no traceback; refusals of mob's own are denials."""
    got = await run(python_tool(function, name="f"))
    assert got[0] == status
    assert got[1].startswith(output)
    assert "Traceback" not in got[1]


async def test_an_interrupt_from_the_keyboard_is_no_tool_failure():
    """It ends the program."""
    with pytest.raises(BaseExceptionGroup) as caught:
        await run(tool(_interrupt, "f"))
    assert caught.group_contains(KeyboardInterrupt)


async def _interrupt(arguments, context):
    raise KeyboardInterrupt


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "Done."),
        (3, "3"),
        ({"a": [Point(1), Colour.RED, dt.date(2026, 8, 31), {2}]}, '{"a": [{"x": 1}, "red", "2026-08-31", [2]]}'),
        ("é", "é"),
    ],
)
def test_what_is_returned_becomes_text(value, text):
    """Text as it is, all else as JSON."""
    assert as_text(value) == text


@given(st.text(), st.integers(0, 300))
def test_long_output_is_cut_at_a_character(text, limit):
    """Never more bytes than allowed, and the text says that it was cut when there is room to."""
    short = cut(text, limit)
    assert len(short.encode()) <= limit
    if len(text.encode("utf-8", "replace")) <= limit:
        assert short == text.encode("utf-8", "replace").decode()
    elif limit >= 120:
        assert "[cut: the output was" in short


async def test_megabytes_are_cut():
    """A tool that returns megabytes fills no history."""
    status, output = await run(python_tool(lambda: "é" * 3_000_000, name="f"), max_output_bytes=1000)
    assert status == "done"
    assert len(output.encode()) <= 1000
    assert "6000000 bytes long" in output


async def test_an_unknown_tool_is_answered_with_what_there_is():
    """The nearest name, and all of them."""
    box = ToolBox([python_tool(add)])
    assert box.unknown("ad") == "There is no tool named 'ad'. Did you mean add? Your tools: add."
    box.remove("add")
    assert box.unknown("x") == "There is no tool named 'x'. Your tools: none."
    assert len(box) == 0


async def test_a_denied_or_unknown_call_is_a_result_not_an_exception():
    """The model hears of it, and the ledger has it."""
    async with open_bench() as bench:
        result = await bench.ledger.run(call(name="gone"), turn_id="t", response_id="r", cause=Cause("text"))
    assert (result.status, result.name) == ("denied", "gone")
    assert "no tool named 'gone'" in result.output
