"""Law 26 for team files: every malformed input gets a typed finding that names its place; nothing is ever raised."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
import tomli
from hypothesis import given, settings, strategies as st
from team_files import SMALL, WIDE, good, parse

from mob.definition.findings import CODES
from mob.definition.load import check, load
from mob.definition.positions import Positions
from mob.errors import DefinitionError

SHIPPED = sorted((Path(__file__).parents[2] / "definitions").glob("*.toml"))
TEXTS = [SMALL, WIDE, *(path.read_text() for path in SHIPPED)]
FRAGMENTS = st.sampled_from(
    [*"[]{}'\"=.,\n\r#\0\ufeffé*- \\", "[[", "]]", '"""', "true", "nan", "1e999", "0x", "1979-05-27", "9" * 30, "[mob]"]
)


def is_whole(findings) -> None:
    """Every finding has a known code, a sentence, and a place that can be shown."""
    for finding in findings:
        assert finding.code in CODES
        assert finding.message
        assert finding.line >= 0
        assert finding.column >= 0
        str(finding).encode()


def check_law_26(parse_text, text: str) -> None:
    """Either there is a definition, or an error says why not; never neither, never both."""
    definition, findings = parse_text(text)
    is_whole(findings)
    assert (definition is None) == any(finding.severity == "error" for finding in findings)


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_law_26_any_text(text):
    check_law_26(parse, text)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(TEXTS), st.data())
def test_law_26_mutated_files(text, data):
    """Valid files with pieces cut out, doubled, and put in."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        text = text[:start] + data.draw(FRAGMENTS | st.text(max_size=3) | st.just(text[start:end] * 2)) + text[end:]
    check_law_26(parse, text)


VALUES = st.recursive(
    st.sampled_from(["1", "-1", "0.5", "nan", "true", '"host"', '"x"', '""', "1979-05-27", '"/(a+)+b/"', '"a:b"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(
            st.tuples(st.sampled_from(["a", "mode", "from", "file", "model"]), inner),
            max_size=2,
            unique_by=lambda p: p[0],
        ).map(lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}")
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(TEXTS), VALUES, st.data())
def test_law_26_any_value_anywhere(text, value, data):
    """One value is exchanged for any other TOML value: whatever comes of it is a finding, or nothing."""
    lines = text.split("\n")
    places = [n for n, line in enumerate(lines) if re.fullmatch(r"\w+ = .*[^\[{(\"]|\w+ = \".*[^\"]\"", line)]
    number = data.draw(st.sampled_from(places))
    lines[number] = lines[number].split(" = ")[0] + f" = {value}"
    check_law_26(parse, "\n".join(lines))


def dumped(value) -> str:
    """A value as TOML, all of it inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {dumped(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(dumped(item) for item in value) + "]"
    return str(value) if isinstance(value, float) else json.dumps(value)


def branches(value, path=()):
    if path:
        yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from branches(item, (*path, key))


LEAVES = st.sampled_from([0, 1, -1, 10**30, 0.5, float("inf"), True, "", "host", "*", "/(/", "a:b", "2026-01-01"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("a"), inner), max_leaves=3
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(TEXTS), st.data())
def test_law_26_any_branch_cut_or_grafted(text, data):
    """Keys and list items, at whatever depth, taken away or exchanged: the checks of meaning stand that too."""
    tree = tomli.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        if not tree:
            break
        *path, last = data.draw(st.sampled_from(list(branches(tree))))
        inside = tree
        for part in path:
            inside = inside[part]
        if data.draw(st.booleans()):
            del inside[last]
        else:
            inside[last] = data.draw(TREES)
    grafted = "\n".join(f"{json.dumps(key)} = {dumped(value)}" for key, value in tree.items())
    assert tomli.loads(grafted).keys() == tree.keys()
    check_law_26(parse, grafted)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=400) | st.sampled_from(TEXTS).map(str.encode), st.binary(max_size=4), st.integers(0, 300))
def test_law_26_any_bytes_on_disk(data, splinter, at):
    """Bytes that may be no text at all: `check` says so, `load` raises the one error that carries the findings."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "team.toml"
        path.write_bytes(data[:at] + splinter + data[at:])
        findings = check(path)
        is_whole(findings)
        if any(finding.severity == "error" for finding in findings):
            with pytest.raises(DefinitionError) as caught:
                load(path)
            assert caught.value.findings == findings
            assert caught.value.exit_code == 2
        else:
            load(path)


PRIVATE = re.compile(r"params|headers|arguments")
"""Tables whose keys are the author's own, where any key is right."""


def known_keys(text: str) -> list[tuple[tuple[str | int, ...], int, int]]:
    """Every key that is ours and written bare: its path, line and column."""
    positions = Positions(text)
    lines = text.split("\n")
    found = []
    for path in positions.offsets:
        line, column = positions.of(path)
        is_key = isinstance(path[-1], str) and lines[line - 1][column - 1 :].startswith(f"{path[-1]} =")
        if is_key and not any(PRIVATE.fullmatch(str(part)) for part in path[:-1]):
            found.append((path, line, column))
    return found


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(TEXTS), st.data())
def test_law_26_a_misspelt_key_is_found_where_it_stands(text, data):
    path, line, column = data.draw(st.sampled_from(known_keys(text)))
    lines = text.split("\n")
    name = str(path[-1])
    spot = column - 1 + data.draw(st.integers(1, len(name)))
    lines[line - 1] = lines[line - 1][:spot] + "q" + lines[line - 1][spot:]

    findings = parse("\n".join(lines))[1]

    found = [finding for finding in findings if finding.code == "unknown_key"]
    assert [(finding.line, finding.column) for finding in found] == [(line, column)]
    if len(name) >= 4:
        assert found[0].nearest == name


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(TEXTS), st.data())
def test_law_26_a_value_of_a_wrong_type_is_found_where_it_stands(text, data):
    """A date is right nowhere in a team file."""
    path, line, column = data.draw(st.sampled_from(known_keys(text)))
    lines = text.split("\n")
    before, rest = lines[line - 1][: column - 1], lines[line - 1][column - 1 :]
    lines[line - 1] = before + re.sub(r" = [^,}]*", " = 1979-05-27", rest, count=1)
    mutated = "\n".join(lines)
    try:
        tomli.loads(mutated)
    except tomli.TOMLDecodeError:
        return  # the value went on over several lines
    found = [(f.line, f.column) for f in parse(mutated)[1] if f.code == "wrong_type"]
    assert found == [(line, column)], path


def test_law_26_mutant_a_parser_that_raises_is_caught():
    """The property fails for a parser that lets an exception out, and for one that gives nothing without a reason."""

    def raises(text: str):
        return tomli.loads(text), ()

    with pytest.raises(tomli.TOMLDecodeError):
        check_law_26(raises, "= =")
    with pytest.raises(AssertionError):
        check_law_26(lambda _: (None, ()), "")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000,
        "a." * 100_000 + "a = 1",
        "[" + "a." * 5_000 + "a]\n",
        "\n".join(f"k{n} = 1" for n in range(40_000)),
        SMALL + "[members]\n" + "\n".join(f'm{n} = {{ profile = "host" }}' for n in range(20_000)),
        SMALL
        + "[members]\n"
        + "\n".join(f'm{n} = {{ profile = "host" }}' for n in range(256))
        + '\n[wiring]\nrole_wiring = [{a = "host", b = "host"}]\n[limits]\nmax_hops = 3\n',
        SMALL + "".join(f'[[wiring.routes]]\nfrom = "a{n}"\nto = "b{n}"\n' for n in range(10_000)),
    ],
    ids=["open brackets", "dotted key", "dotted header", "unknown keys", "members", "mesh", "lost routes"],
)
@pytest.mark.timeout(20)
def test_law_26_large_and_deep_files_end_soon(text):
    """Time is bounded by the file's size; what a file can hold is bounded too."""
    check_law_26(parse, text)


def test_the_valid_texts_are_valid():
    assert good(WIDE).members["ben"].overrides == {"voice": "cedar"}
