"""Patterns of rehearsal rules: they mean what Python's `re` means, and take linear time whatever is written."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings, strategies as st

from mob.definition.model import RehearsalRule
from mob.definition.patterns import PatternError, matcher

ATOMS = st.sampled_from(
    ["a", "b", "c", ".", "[ab]", "[^a]", "[a-c]", r"\w", r"\d", r"\s", r"\W", r"\b", "^", "$", "-", r"\.", "(?:ab)"]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map(lambda p: f"({p})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0}"])).map(
            lambda p: f"(?:{p[0]}){p[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=400)
@given(PATTERNS, st.text("aAbBcC1 .-\n", max_size=12))
def test_patterns_mean_what_re_means(pattern, text):
    """Python's engine is the oracle, with the flags that say what ours always does."""
    expected = re.search(pattern.replace("$", r"\Z"), text, re.IGNORECASE | re.DOTALL)
    assert matcher(f"/{pattern}/")(text) == (expected is not None)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30), st.text(max_size=20))
def test_any_text_is_a_pattern_or_a_typed_error(pattern, text):
    with contextlib.suppress(PatternError):
        assert matcher(f"/{pattern}/")(text) in (True, False)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*(a*)*b", "a*a*a*a*a*a*b", "(((a?){9}){9}){9}b"])
def test_patterns_that_make_other_engines_hang_end_at_once(pattern):
    assert not matcher(f"/{pattern}/")("a" * 300)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(a", "not closed"),
        ("a)", "no ( opens"),
        ("[a", "not closed"),
        ("*a", "nothing for"),
        ("a{x}", "comes a count"),
        ("a{3,2}", "below its start"),
        ("(?=a)", "only (?:"),
        (r"(a)\1", "is not known"),
        ("\\", "ends with a backslash"),
        ("[z-a]", "lower to a higher"),
        ("((a{100}){100}){100}", "too large"),
        ("a" * 501, "longer than"),
        ("(" * 51 + ")" * 51, "more than 50 groups"),
    ],
)
def test_what_cannot_be_read_is_explained(pattern, says):
    with pytest.raises(PatternError, match=re.escape(says)):
        matcher(f"/{pattern}/")


def test_words_must_all_occur_in_any_case_and_order():
    matches = matcher("book TABLE")
    assert matches("A table, please: could you book one?")
    assert not matches("A table, please")
    assert not matches("tables of a bookshop")
    assert matcher("")("anything")
    assert matcher("/")("anything")


def test_a_rule_knows_whether_it_is_about_a_text():
    assert RehearsalRule(when="/^hi\\b/", say="Hello").matches("Hi there")
    assert not RehearsalRule(when="/^hi\\b/", say="Hello").matches("high")


def test_letters_that_become_two_when_folded_are_matched_as_they_are():
    assert matcher("/stra.e/")("STRAßE")
    assert matcher("/ß/")("ß")
