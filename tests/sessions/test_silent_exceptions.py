"""A tool whose exception cannot even say what it is fails like any other: the member is none the worse."""

from desks import tool
from test_python_tools import run


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_an_exception_without_words_is_a_failed_call():
    async def raises(arguments, context):
        raise Unspeakable

    assert await run(tool(raises, "t")) == ("failed", "t failed: Unspeakable")
