"""Where the live socket is, and what a client of it asks for in its URL.

`/live/ws?token=…&channel=…&format=pcm_24k_mono[&audio=binary][&control=1][&receipts=1]`, or with `resume=…&after=…` in
place of the token: a client that comes back.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mob.errors import RequestInvalid

PATH = "/live/ws"
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


def format_of(rate: int) -> str:
    """The name of raw speech at so many Hz: PCM16 little-endian mono."""
    return f"pcm_{rate // 1000}k_mono"


@frozen(slots=True)
class Terms:
    """What was agreed. `token` or `resume` is what lets the client in.

    `format`: the raw sound that it may send. `binary`: it gets speech in binary frames. `control`: it speaks verbs and
    gets every event, numbered. `receipts`: it reports what it plays. `after`: the last number that it has.
    """

    channel: str
    token: str | None = None
    resume: str | None = None
    format: str | None = None
    binary: bool = False
    control: bool = False
    receipts: bool = False
    after: int | None = None

    @property
    def shown(self) -> str:
        """The token that the client shows."""
        return self.resume or self.token or ""


def terms_of(values: Mapping[str, str]) -> Terms:
    """The terms in a query; parameters that we do not know are passed over. RequestInvalid names the field."""
    terms = Terms(
        channel=values.get("channel", ""),
        token=values.get("token"),
        resume=values.get("resume"),
        format=values.get("format"),
        binary=_choice(values, "audio", {"binary": True, "base64": False}),
        control=_choice(values, "control", _FLAGS),
        receipts=_choice(values, "receipts", _FLAGS),
        after=_number(values, "after"),
    )
    if not terms.channel:
        raise RequestInvalid("`channel` is missing: the id that live/open gave", field="channel")
    if terms.receipts and not terms.control:
        raise RequestInvalid("`receipts=1` needs `control=1`: receipts are verbs", field="receipts")
    if (terms.resume is not None or terms.after is not None) and not terms.control:
        raise RequestInvalid("`resume` and `after` need `control=1`: other clients cannot come back", field="after")
    return terms


def _choice(values: Mapping[str, str], name: str, choices: dict[str, bool]) -> bool:
    word = values.get(name)
    if word is None:
        return False
    if word not in choices:
        raise RequestInvalid(f"`{name}` must be one of {', '.join(choices)}, not {word[:40]!r}", field=name)
    return choices[word]


def _number(values: Mapping[str, str], name: str) -> int | None:
    word = values.get(name)
    if word is None:
        return None
    if not (word.isascii() and word.isdigit() and len(word) <= 15):
        raise RequestInvalid(f"`{name}` must be a whole number, not {word[:40]!r}", field=name)
    return int(word)
