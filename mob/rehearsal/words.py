"""Words as the rehearsed brain sees them: sentences, stems, and how well a text fits a question (TF-IDF).

Nothing here understands anything. A text fits a question as far as it has the question's rare words; words that mean
much the same in everyday talk with a business (cost and price, book and reserve) count as one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=[^\s])")
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")
_HEADING = re.compile(r"^\s*#{1,6}\s+(.*)$")
_MARKS = re.compile(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")


def word_set(words: str) -> frozenset[str]:
    """The words of a space-separated list."""
    return frozenset(words.split())


STOP_WORDS = word_set(
    """
    a about again all am an and any anything are as at be been but by can could did do does doing for from get give
    got had has have he her here him his how i i'd i'll i'm i've if in into is it it's its just let like may me might
    more my no not now of off ok okay on one or our out please say she should so some something sorry such tell than
    thank thanks that that's the their them then there these they this those to too up us very want was we well were
    what what's when where which who why will wish with would yes you you're your"""
)

NUMBER_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "hundred": 100, "couple": 2, "dozen": 12,
}  # fmt: skip

_SAME = {
    word: group.split()[0]
    for group in (
        "price cost costs expensive cheap pricey fee charge euros dollars pay",
        "booking book booked reserve reservation reserved",
        "dish food eat meal dishes course cuisine lunch dinner menu",
        "drink drinks wine beer beverage",
        "allergen allergy allergic allergies intolerance intolerant gluten nuts lactose",
        "vegetarian veggie meatless",
        "open opening opens hours close closes closed closing",
        "cancel cancellation call-off",
        "weather forecast rain sunny temperature",
        "news headline headlines story stories article",
        "address located location directions place",
        "phone telephone",
        "help assist support",
        "time clock",
        "calculate add plus sum multiply",
    )
    for word in group.split()
}


def stem(word: str) -> str:
    """A word without its commonest endings: dishes, dish; prices, price; booking, book."""
    word = word.casefold().replace("’", "'").removesuffix("'s")
    if word in _SAME:
        return _SAME[word]
    for ending, least in (("ings", 4), ("ing", 4), ("ies", 3), ("ed", 4), ("es", 4), ("s", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            base = word[: -len(ending)] + ("y" if ending == "ies" else "")
            if ending == "es" and not base.endswith(("s", "x", "z", "ch", "sh", "o")):
                base += "e"
            return _SAME.get(base, base)
    return word


def plain_words(text: str) -> list[str]:
    """The words of a text, lower case, in order; names_like_this and likeThis come apart."""
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text).replace("_", " "))]


@functools.lru_cache(maxsize=4096)
def content_words(text: str) -> tuple[str, ...]:
    """The stems that carry meaning, in order; figures carry none, they go into arguments."""
    return tuple(
        stem(word)
        for word in plain_words(text)
        if word not in STOP_WORDS and word not in NUMBER_WORDS and not word.isdigit()
    )


_ROUTE_TOOL = re.compile(r"\b(?:ask|tell|hand_off_to)_\w")


@frozen(slots=True)
class Sentence:
    """A sentence as it can be spoken, the number of its paragraph, and the heading above it."""

    text: str
    paragraph: int
    heading: str = ""

    @property
    def found_by(self) -> str:
        """The words it is found by: its heading's too."""
        return f"{self.heading} {self.text}"


@functools.lru_cache(maxsize=256)
def sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences of running text or of a simple Markdown document: a list entry is a sentence of its own.

    What names a route's tool (`ask_menu`) says how to work, and is nothing to be said to anybody: it is left out.
    """
    out: list[Sentence] = []
    heading = ""
    for paragraph, block in enumerate(_blocks(text)):
        if found := _HEADING.match(block):
            heading = found[1]
            continue
        if _ROUTE_TOOL.search(block):
            continue
        for part in _SENTENCE_END.split(_MARKS.sub("", block)):
            spoken = part.strip()
            if _WORD.search(spoken):
                spoken = spoken if spoken.endswith((".", "!", "?", "…", ":")) else spoken + "."
                out.append(Sentence(spoken, paragraph, heading))
    return tuple(out)


def _blocks(text: str) -> list[str]:
    """Paragraphs with their lines joined; headings, list entries and lines that end a sentence by themselves."""
    blocks: list[str] = []
    running = False
    for line in text.splitlines():
        if not line.strip():
            running = False
        elif _HEADING.match(line):
            blocks.append(line)
            running = False
        elif _BULLET.match(line):
            blocks.append(_BULLET.sub("", line).strip())
            running = True
        elif running and not blocks[-1].endswith((".", "!", "?")):
            blocks[-1] += " " + line.strip()
        else:
            blocks.append(line.strip())
            running = True
    return blocks


class Index:
    """Texts that questions are held against."""

    def __init__(self, texts: Sequence[str]) -> None:
        bags = [content_words(text) for text in texts]
        self._number = {word: i for i, word in enumerate(sorted({word for bag in bags for word in bag}))}
        counts = np.zeros((len(bags), len(self._number) + 1))
        for row, bag in enumerate(bags):
            for word in bag:
                counts[row, self._number[word]] += 1
        having = (counts > 0).sum(axis=0)
        self._rarity = np.log((1 + len(bags)) / (1 + having)) + 1  # the last column is every unknown word
        weights = np.sqrt(counts) * self._rarity
        length = np.linalg.norm(weights, axis=1, keepdims=True)
        self._has = counts > 0
        self._weights = weights / np.maximum(length, 1e-9)

    def fit(self, question: str) -> npt.NDArray[np.float64]:
        """How well each text fits, 0..1: mostly the share of the question it covers, a little its brevity."""
        vector = np.zeros(len(self._rarity))
        for word in set(content_words(question)):
            vector[self._number.get(word, len(self._number))] += 1
        vector *= self._rarity
        if not vector.any():
            return np.zeros(len(self._weights))
        covered = self._has @ vector / vector.sum()
        cosine = self._weights @ vector / np.linalg.norm(vector)
        fit: npt.NDArray[np.float64] = 0.8 * covered + 0.2 * cosine
        return fit
