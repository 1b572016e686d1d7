"""Faults that the rehearsed provider can be told to have, each as it was seen of a real one.

A fault is named by its kind, and fires at one occasion of its sort, counted from 1 over the whole life of the
rehearsal and across reconnections (so that a dropped socket is dropped once): the n-th frame sent, the n-th response,
and so on, or at all of them. In a terminal: `--fault drop-socket@3`, `--fault transcript-never@all`,
`--fault host:response-failed`. Where none is due the provider is as strict and as sound as it can be.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Literal

from attrs import frozen

from mob.errors import UsageError
from mob.ids import Ids

Occasion = Literal["frame", "input", "response", "cancel", "truncate", "commit", "item", "call", "request"]

KINDS: dict[str, tuple[Occasion, str]] = {
    # 1: the user's transcript
    "transcript-late": ("input", "the user's transcript comes after the response has ended"),
    "transcript-never": ("input", "the user's transcript never comes"),
    "transcript-failed": ("input", "transcription fails for this item"),
    # 2, 3: who has the active response
    "response-refused": ("response", "response.create is refused: another response is said to be active"),
    "vad-response-first": ("response", "turn detection makes a response just before the client asks for one"),
    # 4: cancelling
    "late-deltas": ("cancel", "audio goes on for a while after the cancel"),
    "cancel-ignored": ("cancel", "the cancel is lost, and the response runs to its end"),
    "no-done": ("cancel", "no response.done comes for a cancelled response"),
    # 5, 6: refusals of what was right
    "truncate-refused": ("truncate", "truncate is refused: the audio is said to be shorter"),
    "truncate-unsupported": ("truncate", "truncate is refused: unsupported_content_type"),
    "commit-refused": ("commit", "the commit is refused: input_audio_buffer_commit_empty"),
    # 7: odd responses
    "no-created": ("response", "the response begins and ends without response.created"),
    "two-audio-items": ("response", "the answer comes as two spoken items in one response"),
    "message-and-two-calls": ("response", "one response holds a message and two calls"),
    # 8: responses that fail
    "response-failed": ("response", "the response fails with a rate-limit error"),
    "response-incomplete": ("response", "the response is cut off at max_output_tokens"),
    "response-filtered": ("response", "the response is cut off by the content filter"),
    # 10: the connection
    "drop-socket": ("frame", "the TCP connection is reset"),
    "close-1011": ("frame", "the WebSocket is closed with 1011"),
    "half-open": ("frame", "nothing comes any more, and nothing is read"),
    # 12: shapes
    "unknown-event": ("frame", "an event of a type nobody knows comes first"),
    "unknown-field": ("frame", "the event and its parts have fields nobody knows"),
    "null-fields": ("response", "optional fields of response.done are null"),
    "string-status-details": ("response", "status_details is a string"),
    "usage-outside": ("response", "usage stands beside the response and not in it"),
    # 13: order of items
    "unknown-previous": ("item", "previous_item_id names an item nobody has seen"),
    "null-previous": ("item", "previous_item_id is null"),
    "duplicate-items": ("item", "the item's event comes twice"),
    # 20: frames
    "huge-frame": ("frame", "the frame is larger than 1 MiB"),
    "fragmented": ("frame", "the message comes in many WebSocket fragments"),
    "ping-flood": ("frame", "two hundred pings come first"),
    # 21: the text wire
    "sse-comments": ("request", "comment lines stand between the events"),
    "sse-crlf": ("request", "lines end with CR LF"),
    "sse-split": ("request", "bytes come one by one, characters are split"),
    "sse-no-done": ("request", "the stream ends without [DONE]"),
    "sse-error": ("request", "an error comes in the middle of the stream"),
    "sse-pings": ("request", "keep-alive comments come for a while before the first event"),
    "http-529": ("request", "529 overloaded"),
    "http-429": ("request", "429 with retry-after"),
    # 22: tool calls
    "bad-arguments": ("call", "the call's arguments are no JSON"),
    "empty-arguments": ("call", "the call's arguments are empty"),
    "unknown-tool": ("call", "a tool is called that does not exist"),
    "duplicate-call-ids": ("call", "the call comes twice under one call id"),
}
"""Each kind: what is counted, and what happens."""

_SPELLING = re.compile(r"(?:(?P<member>[^:@\s]+):)?(?P<kind>[a-z0-9-]+)(?:@(?P<at>[1-9]\d{0,8}|all))?")


@frozen(slots=True)
class Fault:
    """One fault. `at`: at which occasion, from 1; None: at every one. `member` None: whichever comes there first."""

    kind: str
    at: int | None = 1
    member: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.kind not in KINDS:
            near = difflib.get_close_matches(self.kind, KINDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(KINDS)}."
            raise UsageError(f"There is no fault {self.kind!r}; {hint}")
        if self.at is not None and self.at < 1:
            raise UsageError(f"Fault {self.kind}: occasions are counted from 1, not {self.at}.")


def parse_fault(text: str) -> Fault:
    """`[MEMBER:]KIND[@N]` or `…@all` as a Fault. UsageError when it is none."""
    found = _SPELLING.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a fault; write KIND, KIND@3, KIND@all or MEMBER:KIND@3.")
    at = None if found["at"] == "all" else int(found["at"] or 1)
    return Fault(found["kind"], at, found["member"])


class FaultPlan:
    """Which faults are due, and which have struck. One for a whole rehearsal."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._counts = [0] * len(self._faults)
        self._struck: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._faults)

    def has(self, kind: str) -> bool:
        """Whether this kind is planned at all."""
        return any(fault.kind == kind for fault in self._faults)

    def due(self, kind: str, member: str | None) -> bool:
        """Count one occasion of `kind` for `member`; whether the fault strikes at this one."""
        struck = False
        for number, fault in enumerate(self._faults):
            if fault.kind != kind or fault.member not in (None, member):
                continue
            self._counts[number] += 1
            struck = struck or fault.at is None or fault.at == self._counts[number]
        if struck:
            self._struck[kind] = self._struck.get(kind, 0) + 1
        return struck

    def statistics(self) -> dict[str, int]:
        """How often each kind has struck."""
        return dict(self._struck)


def odd_calls(faults: FaultPlan, member: str | None, name: str, arguments: str, ids: Ids) -> list[tuple[str, str, str]]:
    """A call as (call id, name, arguments), with the faults that calls have; twice under one id when that is due."""
    if faults.due("bad-arguments", member):
        arguments = arguments[: len(arguments) // 2] + '"oops'
    if faults.due("empty-arguments", member):
        arguments = ""
    if faults.due("unknown-tool", member):
        name = f"{name}_of_yesterday"
    call = (ids.new("call"), name, arguments)
    return [call, call] if faults.due("duplicate-call-ids", member) else [call]
