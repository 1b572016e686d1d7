"""Tools as the rehearsed brain sees them: which of them reach other members, and how well each fits the words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

from mob.rehearsal.slots import fill_arguments
from mob.rehearsal.words import content_words, plain_words, stem
from mob.values import ToolSchema

Verb = Literal["ask", "tell", "hand_off"]

_PREFIXES: tuple[tuple[str, Verb], ...] = (("ask_", "ask"), ("tell_", "tell"), ("hand_off_to_", "hand_off"))
_WEIGHT: dict[Verb, float] = {"ask": 1.0, "hand_off": 0.7, "tell": 0.5}
_ARGUMENT_BONUS = 0.08
_VERB_BONUS = 0.15
_SHORT = 4

_WHO = r"(?:the |our |your |my )?(?P<who>[\w][\w '’-]{0,60}?)"
_END = r"(?: (?:about|please|again|now|for)\b|[.,!?]|$)"
_QUESTION = r"(?:,|:| (?=what|who|when|where|why|how|if|whether|which|about|for|to|is|are|does|do|can)) ?(?P<what>.+)"
_REQUESTS: tuple[tuple[Verb, re.Pattern[str]], ...] = (
    ("hand_off", re.compile(rf"\b(?:talk|speak|chat) (?:to|with) {_WHO}{_END}", re.IGNORECASE)),
    (
        "hand_off",
        re.compile(
            r"\b(?:hand|put|pass|transfer|connect|send|bring|switch|take)(?: me| us)?(?: \w+)? (?:to|with) "
            rf"{_WHO}{_END}",
            re.IGNORECASE,
        ),
    ),
    ("hand_off", re.compile(rf"\b(?:(?:back|over) to|let (?:me|us) hear) {_WHO}{_END}", re.IGNORECASE)),
    ("hand_off", re.compile(rf"\b(?:give|get) me (?!a\b|an\b|some\b|your\b){_WHO}{_END}", re.IGNORECASE)),
    ("ask", re.compile(rf"\bask {_WHO}{_QUESTION}", re.IGNORECASE)),
    (
        "tell",
        re.compile(
            rf"\b(?:tell|let|inform|notify|message|write to) {_WHO}(?:,|:| (?=that|know|to|about|of)) ?(?P<what>.+)",
            re.IGNORECASE,
        ),
    ),
)


@frozen(slots=True)
class Route:
    """A tool that reaches another member."""

    verb: Verb
    member: str

    @property
    def spoken(self) -> str:
        """The member's name in plain words."""
        return self.member.replace("_", " ").replace("-", " ")


def route_of(tool_name: str) -> Route | None:
    """The route that a tool's name stands for; None for any other tool."""
    for prefix, verb in _PREFIXES:
        if tool_name.startswith(prefix) and len(tool_name) > len(prefix):
            return Route(verb, tool_name.removeprefix(prefix))
    return None


def requested(question: str, tools: Sequence[ToolSchema]) -> tuple[ToolSchema, str] | None:
    """The route tool that the user asks for by name ("let me talk to X"), and what to pass on."""
    for verb, pattern in _REQUESTS:
        for found in pattern.finditer(question):
            reaching = [tool for tool in tools if (route := route_of(tool.name)) and route.verb == verb]
            if tool := _named(found["who"], reaching):
                what = (found.groupdict().get("what") or "").strip()
                return tool, what or question
    return None


def asks_for_somebody(text: str) -> bool:
    """Whether a text does nothing but ask to be put through: then there is nothing in it to answer."""
    return len(content_words(text)) <= _SHORT and any(
        verb == "hand_off" and pattern.search(text) for verb, pattern in _REQUESTS
    )


def _named(who: str, tools: Sequence[ToolSchema]) -> ToolSchema | None:
    """The tool whose member is called so; else the one whose description has all of these words."""
    wanted = {stem(word) for word in plain_words(who)} - {"me", "you", "him", "her", "them", "us"}
    if not wanted:
        return None
    for tool in tools:
        route = route_of(tool.name)
        if route and wanted & {stem(word) for word in plain_words(route.member)}:
            return tool
    return next((tool for tool in tools if wanted <= set(content_words(tool.description))), None)


def tool_words(tool: ToolSchema, team_words: Mapping[str, str]) -> str:
    """The words a tool is found by. For a route those of the member it reaches, for another its parameters' too."""
    if route := route_of(tool.name):
        # The sentence that every route tool has ("Ask X a question …") says nothing about X.
        return f"{route.spoken} {tool.description} {team_words.get(route.member, '')}"
    properties = tool.parameters.get("properties")
    named = properties.items() if isinstance(properties, dict) else ()
    said = [f"{name} {spec.get('description', '')}" for name, spec in named if isinstance(spec, dict)]
    return " ".join([tool.name, tool.description, *said])


def weigh(tool: ToolSchema, fit: float, question: str) -> float:
    """How well a tool fits, after what its kind says: asking is better than handing over, telling is the last thing."""
    if fit <= 0:
        return 0.0
    if route := route_of(tool.name):
        return fit * _WEIGHT[route.verb]
    asked = content_words(question)
    named = content_words(tool.name)
    bonus = _VERB_BONUS if asked and named and asked[0] == named[0] else 0.0
    _, said = fill_arguments(tool, question)
    return min(1.0, fit + bonus + (_ARGUMENT_BONUS if said else 0.0))
