"""Arguments for a tool, out of a user's words and the tool's JSON Schema.

Each parameter is filled by the first of these that gives something: a value of its `enum` that was said; what its
name or format asks for (a time, a date, a count, a person's name, the question itself); for plain text the words of
the question that the tool's own description does not have. A parameter that nothing was said for is left out, or,
where it is required, gets its default, a bound of its range, or a placeholder of the right type.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field

from mob.rehearsal.words import NUMBER_WORDS, STOP_WORDS, content_words, plain_words, stem, word_set
from mob.values import ToolSchema

_COUNT = "|".join([r"\d+(?:[.,]\d+)?", *sorted(NUMBER_WORDS, key=len, reverse=True)])
_HOUR = r"\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_TIME = re.compile(
    rf"\b(?:(?P<clock>[01]?\d|2[0-3])[:.h](?P<minute>[0-5]\d)"
    rf"|(?P<part>half past|quarter past|quarter to)\s+(?P<base>{_HOUR})"
    rf"|(?:at|around|by|from)\s+(?P<hour>{_HOUR})(?![:.]\d|\s*(?:people|persons|guests|of us|euros|dollars))"
    rf"|(?P<bare>{_HOUR})(?=\s*(?:o'?clock|[ap]\.?m\b))"
    rf"|(?P<word>noon|midday|midnight))\b(?:\s*o'?clock)?(?P<half>\s*[ap]\.?m\b)?",
    re.IGNORECASE,
)
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DATE = re.compile(
    r"\b(\d{4}-\d{2}-\d{2}|today|tonight|tomorrow|yesterday"
    r"|(?:next\s+|this\s+)?(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    rf"|(?:\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{'|'.join(_MONTHS)}))"
    rf"|(?:(?:{'|'.join(_MONTHS)})\s+\d{{1,2}}(?:st|nd|rd|th)?))\b",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"(?:\bmy name is|\bname of|\bname:|\bunder(?: the name)?|\bi am called|\bthis is|\bfor|\bi am|\bi'm)\s+"
    r"((?-i:[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+)?))",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(?:in|at|near|from|to|for)\s+(?:the\s+)?((?-i:[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+)*))", re.IGNORECASE
)
_QUOTED = re.compile(r"[\"“«']([^\"”»']{2,})[\"”»'](?!\w)")
_ABOUT = re.compile(r"\b(?:about|on|regarding|concerning)\s+(?:the\s+)?(.+?)[.?!]*$", re.IGNORECASE)
_COUNTED = re.compile(
    rf"\b({_COUNT})\s+(?:people|persons|guests|of us|seats|covers)\b|\bfor\s+({_COUNT})\b", re.IGNORECASE
)

_WHOLE = word_set("question query message text reason request prompt content note body input what task brief")
_ABOUT_NAMES = word_set("topic subject theme about title")
_TIME_NAMES = word_set("time hour when at clock slot start")
_DATE_NAMES = word_set("date day when on weekday")
_PLACE_NAMES = word_set("city place location town country where destination")
_PERSON_NAMES = word_set("name guest person customer who")
_CROWD_NAMES = word_set("people guests persons party seats size covers")
_MAX_DEPTH = 4


@define(slots=True)
class _Saying:
    """What the user said, and what of it has been used for an argument already."""

    text: str
    tool_words: frozenset[str]
    used: list[tuple[int, int]] = field(factory=list)

    def take(self, pattern: re.Pattern[str], *, group: int = 1) -> str | None:
        """The first match that overlaps nothing used."""
        for found in pattern.finditer(self.text):
            number = next((i for i in range(group, pattern.groups + 1) if found[i]), 0)
            if not any(start < found.end() and found.start() < end for start, end in self.used):
                self.used.append(found.span())
                return found[number]
        return None


def fill_arguments(tool: ToolSchema, text: str, *, earlier: str = "") -> tuple[dict[str, Any], int]:
    """Arguments for `tool`, and how many of them were really said. `earlier` is what the user said before."""
    properties = _properties(tool.parameters)
    required = tool.parameters.get("required")
    wanted = set(required) if isinstance(required, list) else set()
    own_words = frozenset(content_words(f"{tool.name} {tool.description}")) | {stem(name) for name in properties}
    now, before = _Saying(text, own_words), _Saying(earlier, own_words)
    arguments: dict[str, Any] = {}
    said = 0
    for name in sorted(properties, key=lambda name: _rank(name, properties[name])):
        value = _said(name, properties[name], now)
        if value is None and earlier:
            value = _said(name, properties[name], before)
        if value is not None:
            said += 1
        elif name in wanted:
            value = _placeholder(name, properties[name], text, depth=0)
        if value is not None:
            arguments[name] = value
    return {name: arguments[name] for name in properties if name in arguments}, said


def _properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {str(name): spec for name, spec in properties.items() if isinstance(spec, dict)}


def _type_of(spec: dict[str, Any]) -> str:
    kind = spec.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None and (choices := spec.get("anyOf") or spec.get("oneOf")):
        kind = next((_type_of(c) for c in choices if isinstance(c, dict) and c.get("type") != "null"), None)
    return str(kind or "string")


def _rank(name: str, spec: dict[str, Any]) -> int:
    """Times and dates first, so that their figures are not taken for counts; free text last."""
    words = set(plain_words(name))
    if "enum" in spec:
        return 0
    if words & _DATE_NAMES or spec.get("format") in ("date", "date-time"):
        return 1
    if words & _TIME_NAMES or spec.get("format") == "time":
        return 1
    if _type_of(spec) in ("integer", "number"):
        return 2 if words & _CROWD_NAMES else 3
    return 4 if words & (_PERSON_NAMES | _PLACE_NAMES) else 5


def _said(name: str, spec: dict[str, Any], saying: _Saying) -> Any:
    """The value the user gave for this parameter, or None."""
    if isinstance(spec.get("enum"), list):
        return _said_choice(spec["enum"], saying)
    words = set(plain_words(name))
    match _type_of(spec):
        case "integer" | "number" as kind:
            return _said_number(words, spec, saying, whole=kind == "integer")
        case "boolean":
            return _said_flag(words, saying)
        case "array":
            item = _said(name, spec["items"], saying) if isinstance(spec.get("items"), dict) else None
            return None if item is None else [item]
        case "string":
            return _said_text(words, spec, saying)
    return None


def _said_choice(choices: list[Any], saying: _Saying) -> Any:
    text = " ".join(stem(word) for word in plain_words(saying.text))
    for choice in choices:
        wanted = " ".join(stem(word) for word in plain_words(str(choice)))
        if wanted and f" {wanted} " in f" {text} ":
            return choice
    return None


def _said_number(words: set[str], spec: dict[str, Any], saying: _Saying, *, whole: bool) -> float | int | None:
    if words & _TIME_NAMES and (time := _take_time(saying)):
        return int(time[:2])
    found = saying.take(_COUNTED) if words & _CROWD_NAMES else None
    found = found or saying.take(re.compile(rf"(?<![\w:.])({_COUNT})(?![\w:])", re.IGNORECASE))
    if found is None:
        return None
    value = float(NUMBER_WORDS.get(found.casefold(), 0) or found.replace(",", ".").casefold().replace("zero", "0"))
    value = _within(value, spec)
    return int(value) if whole else value


def _within(value: float, spec: dict[str, Any]) -> float:
    low, high = spec.get("minimum"), spec.get("maximum")
    if isinstance(low, int | float):
        value = max(value, low)
    return min(value, high) if isinstance(high, int | float) else value


def _said_flag(words: set[str], saying: _Saying) -> bool | None:
    said = plain_words(saying.text)
    for word in words:
        if word in said:
            before = said[max(0, said.index(word) - 2) : said.index(word)]
            return not {"no", "not", "without", "don't"} & set(before)
    return None


def _said_text(words: set[str], spec: dict[str, Any], saying: _Saying) -> str | None:
    if (spec.get("format") == "time" or words & _TIME_NAMES) and (found := _take_time(saying)):
        return found
    if spec.get("format") == "date" or words & _DATE_NAMES:
        return saying.take(_DATE)
    if words & _TIME_NAMES:
        return None
    if words & _WHOLE:
        return saying.text.strip() or None
    if words & _PERSON_NAMES and (found := saying.take(_PERSON)):
        return found
    if words & _PERSON_NAMES:
        return None
    if words & _PLACE_NAMES and (found := saying.take(_PLACE)):
        return found
    if found := saying.take(_QUOTED):
        return found
    if words & _ABOUT_NAMES and (found := saying.take(_ABOUT)):
        return found
    return _rest(saying)


def _take_time(saying: _Saying) -> str | None:
    """A time of day as HH:MM; an hour without am or pm and below noon is taken for the evening, as one talks."""
    for found in _TIME.finditer(saying.text):
        if any(start < found.end() and found.start() < end for start, end in saying.used):
            continue
        saying.used.append(found.span())
        return _clock(found, morning="morning" in saying.text or "breakfast" in saying.text)
    return None


def _clock(found: re.Match[str], *, morning: bool) -> str:
    if found["clock"]:
        return f"{int(found['clock']):02}:{found['minute']}"
    if found["word"]:
        return "00:00" if found["word"].casefold() == "midnight" else "12:00"
    said = (found["base"] or found["hour"] or found["bare"]).casefold()
    hour = NUMBER_WORDS[said] if said in NUMBER_WORDS else int(said)
    minute = {"half past": 30, "quarter past": 15, "quarter to": -15}.get((found["part"] or "").casefold(), 0)
    half = (found["half"] or "").strip().casefold()
    if half.startswith("a") or (not half and morning):
        hour %= 12 if hour == 12 else 24
    elif hour < 12:
        hour += 12
    total = (hour * 60 + minute) % (24 * 60)
    return f"{total // 60:02}:{total % 60:02}"


def _rest(saying: _Saying) -> str | None:
    """The longest run of words that mean something and are not the tool's own."""
    best: list[str] = []
    run: list[str] = []
    for found in re.finditer(r"[\w'’-]+|[^\w\s]", saying.text):
        word = found[0]
        dull = word.casefold() in STOP_WORDS or stem(word) in saying.tool_words or not word[0].isalnum()
        taken = any(start < found.end() and found.start() < end for start, end in saying.used)
        run = [] if dull or taken else [*run, word]
        best = max(best, run, key=len)
    return " ".join(best) or None


def _placeholder(name: str, spec: dict[str, Any], text: str, *, depth: int) -> Any:
    """Something of the right type for what has to be there and was not said."""
    if "default" in spec:
        return spec["default"]
    if isinstance(spec.get("enum"), list) and spec["enum"]:
        return spec["enum"][0]
    if "const" in spec:
        return spec["const"]
    match _type_of(spec):
        case "integer":
            return int(_within(1, spec))
        case "number":
            return _within(1.0, spec)
        case "boolean":
            return False
        case "array":
            least = spec.get("minItems")
            items = spec.get("items")
            if not isinstance(least, int) or least < 1 or not isinstance(items, dict) or depth >= _MAX_DEPTH:
                return []
            return [_placeholder(name, items, text, depth=depth + 1)] * min(least, 8)
        case "object":
            required = spec.get("required")
            wanted = required if isinstance(required, list) and depth < _MAX_DEPTH else []
            parts = _properties(spec)
            return {key: _placeholder(key, parts[key], text, depth=depth + 1) for key in wanted if key in parts}
        case "null":
            return None
    return _placeholder_text(set(plain_words(name)), spec, text)


def _placeholder_text(words: set[str], spec: dict[str, Any], text: str) -> str:
    if spec.get("format") == "date":
        return "2030-01-01"
    if spec.get("format") == "date-time":
        return "2030-01-01T19:00:00Z"
    if words & _DATE_NAMES:
        return "today"
    if words & _TIME_NAMES or spec.get("format") == "time":
        return "19:00"
    if words & _PERSON_NAMES:
        return "Guest"
    return text.strip() or "anything"
