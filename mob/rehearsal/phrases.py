"""The rehearsed model's manners: small talk, how a tool's output is spoken, which instructions can be said aloud."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from mob.rehearsal.words import Sentence, plain_words, sentences, word_set

MOST_SENTENCES = 3
_TEAM_HEADING = "Your team"
_MOST_OUTPUT = 1200

_ORDER_WORDS = word_set(
    """
    always never do don't keep ask tell greet use answer be speak say please stay make check offer let welcome take
    pass send write reply remember avoid call confirm repeat mention explain suggest stick respond talk read quote
    hand give help only note ensure follow act behave pretend introduce refer consult look find summarise summarize
    prefer refuse decline invite apologise apologize thank wait listen stop start put report argue discuss"""
)
_CONDITIONS = word_set("if when whenever before after once for unless while as in on")
_TO_THE_MODEL = word_set("you your you're yourself yours user users caller callers")

_OF_US = word_set("i i'm we us our ours my")
_MUST = r"(?:must|should|shall|may|might|will|need|never|always|do|don't|only|ought)\b"
_ABOUT_IT = re.compile(rf"^You(?:'re|’re)? (?!{_MUST})", re.IGNORECASE)
_TURNED = (
    (re.compile(r"\byou(?: are|'re|’re)\b", re.IGNORECASE), "I am"),
    (re.compile(r"\byourself\b", re.IGNORECASE), "myself"),
    (re.compile(r"\byour\b", re.IGNORECASE), "my"),
    (re.compile(r"\byou\b", re.IGNORECASE), "I"),
)

_FAILURE = re.compile(
    # What any tool may say at the beginning …
    r"^\W*(?:error|failed|failure|cancelled|canceled|timed? ?out|denied|refused|not allowed|cannot|could not|unable"
    r"|no such|no tool|unknown|invalid|missing|bad arguments|still running|this request has travelled|the floor goes"
    r"|the topology|the provider (?:reported|refused|fell|did)"
    r"|the (?:tool|call|member|message|request)\b.{0,80}?\b(?:fail|refus|cancel|not |timed|denied)"
    # … and what is said of a tool or a member by its name, which is one word.
    r"|[\w-]{1,64} (?:failed|timed out|raised|was (?:not run|refused|cancelled|denied|interrupted)|could not"
    r"|has no route|is not running|is stopping|is \w+ and takes|has \d+ messages|answered with nothing"
    r"|does not have the floor|cannot (?:be )?(?:reach|ask|call|take|hand)|did not (?:answer|end|speak|work)))",
    re.IGNORECASE | re.DOTALL,
)
_GREETING_WORDS = word_set(
    "hi hello hey good morning afternoon evening day there everyone all howdy greetings moin hallo welcome again"
)
_THANKS = re.compile(r"\b(?:thanks?|thank you|cheers|danke|merci|much appreciated)\b", re.IGNORECASE)
_BYE = re.compile(r"\b(?:bye|goodbye|good night|see you|that is all|that's all|nothing else)\b", re.IGNORECASE)
_HOW = re.compile(r"\bhow (?:are you|is it going|do you do)\b", re.IGNORECASE)
_WHO = re.compile(
    r"\b(?:who are you|what are you|your name|what can you (?:do|help)|introduce yourself|about yourself"
    r"|who is (?:this|there)|who am i (?:talking|speaking) (?:to|with)|what do you (?:do|know))\b",
    re.IGNORECASE,
)
_OPINION = re.compile(r"\b(?:what (?:do|would) you (?:think|say)|your (?:opinion|view|take))\b", re.IGNORECASE)
_BROAD = re.compile(
    r"\b(?:tell (?:me|us) (?:\w+ )?about|describe|what (?:do|does|have) (?:you|they|we) have"
    r"|what(?: is|'s|’s) (?:on|in|new)|list|everything|explain)\b",
    re.IGNORECASE,
)


def is_broad(question: str) -> bool:
    """Whether a question wants more than one fact."""
    return bool(_BROAD.search(question))


def is_order(sentence: str) -> bool:
    """Whether a sentence tells the model what to do or be, and says nothing about the world."""
    words = plain_words(sentence)
    if not words or words[0] in _ORDER_WORDS:
        return True
    rest = plain_words(sentence.partition(",")[2]) if words[0] in _CONDITIONS else []
    if rest and rest[0] in _ORDER_WORDS:
        return True
    # "You find us by the harbour" is for the guest; "you find the guest a table" is for the model.
    return bool(_TO_THE_MODEL & set(words)) and not _OF_US & set(words)


def known(instructions: str) -> list[Sentence]:
    """What the instructions allow it to say: facts as they stand, and what they say of itself in the first person.

    "You are the host." becomes "I am the host."; orders are left out.
    """
    out = []
    for sentence in _own_words(instructions):
        if not is_order(sentence.text):
            out.append(sentence)
        elif _ABOUT_IT.match(sentence.text):
            out.append(evolve(sentence, text=_first_person(sentence.text)))
    return out


def facts(instructions: str) -> list[Sentence]:
    """`known` without what is said of the model itself."""
    return [sentence for sentence in _own_words(instructions) if not is_order(sentence.text)]


def _own_words(instructions: str) -> list[Sentence]:
    """What the author wrote: not the list of the team that stands at the end of a member's instructions."""
    return [sentence for sentence in sentences(instructions) if sentence.heading != _TEAM_HEADING]


def _first_person(sentence: str) -> str:
    for pattern, mine in _TURNED:
        sentence = pattern.sub(mine, sentence)
    return sentence


def small_talk(question: str, introduction: str) -> str | None:
    """The answer to a greeting, thanks, a goodbye or "who are you"; None when it is anything else."""
    words = plain_words(question)
    if words and set(words) <= _GREETING_WORDS:
        return f"Hello! {introduction} How can I help?"
    if _OPINION.search(question):
        return introduction
    if _WHO.search(question):
        return introduction
    if len(words) > 8:
        return None
    if _HOW.search(question):
        return "I am well, as far as a rehearsed model can be. How can I help?"
    if _BYE.search(question):
        return "Thank you for coming by. Goodbye!"
    if _THANKS.search(question):
        return "You are welcome. Is there anything else I can do?"
    return None


def is_failure(output: str) -> bool:
    """Whether a tool's output says that the call did not work."""
    return bool(_FAILURE.match(output))


def as_speech(output: str) -> str:
    """A tool's output as one would say it: JSON becomes words, long text is cut at a sentence."""
    text = output.strip()
    if text[:1] in "{[":
        try:
            text = _spoken(json.loads(text))
        except (ValueError, RecursionError):
            text = output.strip()
    text = " ".join(text.split())
    if len(text) > _MOST_OUTPUT:
        text = text[: text.rfind(" ", 0, _MOST_OUTPUT)].rstrip(",;:. ") + ", and so on"
    if not text:
        return "There was no answer."
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def readable(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _spoken(value: Any, depth: int = 0) -> str:
    match value:
        case dict() if depth < 4:
            return ", ".join(f"{str(key).replace('_', ' ')}: {_spoken(part, depth + 1)}" for key, part in value.items())
        case list() if depth < 4:
            return "; ".join(_spoken(part, depth + 1) for part in value) or "nothing"
        case bool():
            return "yes" if value else "no"
        case None:
            return "nothing"
        case _:
            return str(value)
