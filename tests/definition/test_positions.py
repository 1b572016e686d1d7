"""Positions: the index of a TOML text agrees with tomli about what there is, and with the text about where it is."""

from __future__ import annotations

import json

import tomli
from hypothesis import given, settings, strategies as st

from mob.definition.positions import MAX_DEPTH, Positions

BARE = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
ANY_KEY = BARE | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6)
SCALARS = st.sampled_from(
    [
        "1",
        "-0x1F".replace("-", ""),
        "3.5e-7",
        "true",
        "inf",
        "1979-05-27",
        "1979-05-27 07:32:00",
        "1979-05-27T07:32:00.5Z",
        "07:32:00",
        '"plain"',
        r'"esc \" ] } # , \\"',
        "'lit ] } # ,\"'",
        '"""multi\n# no comment ] \\""" = [x]\n"""',
        "'''multi\n[no.header]\n'''",
        '"""ends with quotes"""""',
        "''''quoted'''''",
        '""',
        "''",
        '""""""',
    ]
)


def quoted(key: str, *, literal: bool) -> str:
    if key and key.isascii() and key.replace("-", "a").replace("_", "a").isalnum() and not literal:
        return key
    if literal and "'" not in key and key.isprintable():
        return f"'{key}'"
    return json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


class Writer:
    """Writes random TOML, remembering where it put each key."""

    def __init__(self, data) -> None:
        self.data = data
        self.text = ""
        self.places: dict[tuple[str | int, ...], int] = {}

    def pick(self, strategy):
        return self.data.draw(strategy)

    def key(self, used: set[str]) -> str:
        key = self.pick(ANY_KEY.filter(lambda k: k not in used))
        used.add(key)
        return key

    def spell(self, key: str) -> str:
        return quoted(key, literal=self.pick(st.booleans()))

    def gap(self) -> None:
        self.text += self.pick(st.sampled_from(["", "\n", "# a comment = [1]\n", "\r\n", "  \t\n"]))

    def pairs(self, path, used: set[str]) -> None:
        for _ in range(self.pick(st.integers(0, 3))):
            self.text += self.pick(st.sampled_from(["", "  ", "\t"]))
            start = len(self.text)
            parts = [self.key(used), *(self.key(set()) for _ in range(self.pick(st.integers(0, 2))))]
            for length in range(1, len(parts) + 1):
                self.places.setdefault((*path, *parts[:length]), start)
            self.text += self.pick(st.sampled_from([".", " . ", ".\t"])).join(self.spell(part) for part in parts)
            self.text += self.pick(st.sampled_from([" = ", "=", "\t=  "]))
            self.value((*path, *parts), 0)
            self.text += self.pick(st.sampled_from(["\n", " # note\n", "\r\n"]))
            self.gap()

    def value(self, path, depth: int) -> None:
        kind = self.pick(st.sampled_from(["scalar", "scalar", "list", "table"])) if depth < 3 else "scalar"
        if kind == "scalar":
            self.text += self.pick(SCALARS)
        elif kind == "list":
            self.items(path, depth)
        else:
            self.inline(path, depth)

    def items(self, path, depth: int) -> None:
        self.text += "["
        count = self.pick(st.integers(0, 3))
        for index in range(count):
            self.text += self.pick(st.sampled_from(["", " ", "\n", " # ] , }\n  "]))
            self.places[(*path, index)] = len(self.text)
            self.value((*path, index), depth + 1)
            last = index == count - 1
            self.text += self.pick(st.sampled_from(["", ",", " ,\n"])) if last else ","
        self.text += self.pick(st.sampled_from(["]", " ]", "\n]"]))

    def inline(self, path, depth: int) -> None:
        self.text += "{ "
        used: set[str] = set()
        for index in range(self.pick(st.integers(0, 2))):
            self.text += ", " if index else ""
            key = self.key(used)
            self.places[(*path, key)] = len(self.text)
            self.text += self.spell(key) + " = "
            self.value((*path, key), depth + 1)
        self.text += " }"

    def document(self) -> None:
        used: set[str] = set()
        self.gap()
        self.pairs((), used)
        for _ in range(self.pick(st.integers(0, 3))):
            name = self.key(used)
            if self.pick(st.booleans()):
                self.array_of_tables(name)
            else:
                self.header((name,))
                inner: set[str] = set()
                self.pairs((name,), inner)
                if self.pick(st.booleans()):
                    sub = self.key(inner)
                    self.header((name, sub))
                    self.pairs((name, sub), set())

    def header(self, parts, shown=None, brackets: int = 1) -> None:
        start = len(self.text)
        self.places.setdefault(parts, start)
        names = [part for part in (shown or parts) if isinstance(part, str)]
        self.text += "[" * brackets + ".".join(self.spell(name) for name in names) + "]" * brackets
        self.text += self.pick(st.sampled_from(["\n", "  # [x]\n"]))

    def array_of_tables(self, name: str) -> None:
        for index in range(self.pick(st.integers(1, 3))):
            self.places.setdefault((name,), len(self.text))
            self.header((name, index), (name,), 2)
            used: set[str] = set()
            self.pairs((name, index), used)
            if self.pick(st.booleans()):
                sub = self.key(used)
                self.header((name, index, sub))
                self.pairs((name, index, sub), set())


def paths_of(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index)
            yield from paths_of(item, (*path, index))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_index_agrees_with_tomli_and_with_what_was_written(data):
    """Every path that tomli reads is indexed, no other is, and each stands where it was written."""
    writer = Writer(data)
    writer.document()
    document = tomli.loads(writer.text)

    positions = Positions(writer.text)

    assert set(positions.offsets) == set(paths_of(document)) == set(writer.places)
    for path, offset in writer.places.items():
        before = writer.text[:offset].replace("\r\n", "\n")
        expected = (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        assert positions.of(path) == expected, path


def test_a_header_of_its_own_is_a_better_place_than_one_that_implied_the_table():
    text = "[a.b]\nx = 1\n[a]\ny = 2\n"
    assert Positions(text).of(("a",)) == (3, 1)


def test_the_table_last_begun_is_meant_inside_an_array_of_tables():
    positions = Positions("[[r]]\n[[r.s]]\n[[r]]\n[[r.s]]\nk = 1\n[[r.s]]\nk = 2\n")
    assert positions.of(("r", 1, "s", 0, "k")) == (5, 1)
    assert positions.of(("r", 1, "s", 1, "k")) == (7, 1)


def test_an_unknown_path_stands_where_its_nearest_ancestor_does():
    positions = Positions('[mob]\nid = "x"\n')
    assert positions.of(("mob", "id", "deeper", 3)) == (2, 1)
    assert positions.of(("nothing",)) == (0, 0)


def test_nesting_below_the_limit_is_walked_without_recursion_and_not_recorded():
    deep = 390
    positions = Positions("x = " + "[" * deep + "1" + "]" * deep + "\ny = 2\n")
    assert positions.of(("y",)) == (2, 1)
    assert max(len(path) for path in positions.offsets) <= MAX_DEPTH


def test_text_that_is_not_toml_ends_all_the_same():
    for text in ("[", "[[", "=", "a", 'a = "', "a = {", "a = [", "a = '''", "}", "]"):
        Positions(text)
