"""Law 26, cost: what an input costs is in proportion to its size, in work and in memory, whatever it is.

Work is counted, not timed: every call of a Python or C function while the input is checked. Four times the input may
make five times as many. What C code does within one call is not seen by that, so the largest inputs also have to be
done within a timeout that only something quadratic would miss.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable

import pytest
import seeds
from fuzzing import Target, names
from test_fuzz_parsers import TARGETS

BY_NAME = names(TARGETS)
Make = Callable[[int], bytes]


def _rpc(params: str) -> bytes:
    return f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}'.encode()


def _tools(count: int) -> list[object]:
    return [{"name": f"t{n}", "description": "", "parameters": {"type": "object"}} for n in range(count)]


def _update(**session: object) -> bytes:
    return json.dumps({"type": "session.update", "session": {"type": "realtime", **session}}).encode()


def _definition(**parts: object) -> bytes:
    return json.dumps({"id": "x", "profiles": {"host": {"model": "gpt-5.6-terra"}}, **parts}).encode()


def _team(count: int) -> bytes:
    return _definition(members={f"m{n}": {"profile": "host"} for n in range(count)})


def _chat(count: int) -> bytes:
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(count)]
    answers = [{"role": "tool", "tool_call_id": f"c{n}", "content": "a"} for n in range(count)]
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": calls}, *answers]
    return json.dumps({"model": "ann", "messages": said}).encode()


def _head(count: int) -> bytes:
    lines = b"".join(b"x-%d: %d\r\n" % (n, n) for n in range(count))
    return b"GET /live/ws?channel=a HTTP/1.1\r\n" + lines + b"\r\n"


def _realm(count: int) -> bytes:
    record = {"mob_id": "a", "run_id": "r", "created_at": 1.0, "labels": {"a": "b"}}
    return json.dumps({"format": 1, "records": [{**record, "mob_id": f"m{n}"} for n in range(count)]}).encode()


INPUTS: dict[str, tuple[str, Make]] = {
    "rpc: a list": ("jsonrpc", lambda n: _rpc(json.dumps({"a": [[]] * n}))),
    "rpc: keys": ("jsonrpc", lambda n: _rpc(json.dumps({f"k{i}": i for i in range(n)}))),
    "rpc: one key many times": ("jsonrpc", lambda n: _rpc("{" + '"k":{},' * n + '"k":0}')),
    "rpc: depth": ("jsonrpc", lambda n: _rpc("[" * n)),
    "rpc: brackets in words": ("jsonrpc", lambda n: _rpc('{"a":"%s"}' % ("[{" * n))),
    "rpc: digits": ("jsonrpc", lambda n: _rpc('{"a":%s}' % ("9" * n))),
    "rpc: halves of characters": ("jsonrpc", lambda n: _rpc('{"a":"%s"}' % ("\\ud800" * n))),
    "live: tools": (
        "live frames of clients",
        lambda n: json.dumps({"control": "refresh", "tools": _tools(n), "id": 1}).encode(),
    ),
    "live: base64": (
        "live frames of clients",
        lambda n: b'{"kind":"audio","sample_rate_hz":24000,"channels":1,"data":"%s=x"}' % (b"AA-_" * n),
    ),
    "head: lines": ("heads of requests", _head),
    "head: query": ("heads of requests", lambda n: b"GET /a?" + b"a=b&" * n + b" HTTP/1.1\r\n\r\n"),
    "head: protocols": (
        "heads of requests",
        lambda n: b"GET / HTTP/1.1\r\nsec-websocket-protocol: " + b"a," * n + b"\r\n\r\n",
    ),
    "path: parts": ("paths and secrets", lambda n: b"/mobs" * n),
    "path: escapes": ("paths and secrets", lambda n: b"/sessions/" + b"%ff" * n + b"/history"),
    "chat: calls": ("chat requests", _chat),
    "turn: pictures": (
        "bodies of turns",
        lambda n: json.dumps(
            {"images": [{"mime": "image/png", "data": seeds.PNG}] * min(n, 60), "text": "a" * n}
        ).encode(),
    ),
    "session: tools": ("realtime server role", lambda n: _update(tools=[{"type": "function", "name": "a"}] * n)),
    "session: words": ("realtime server role", lambda n: _update(instructions="\\ud800é" * n)),
    "config: keys": ("configurations", lambda n: json.dumps({f"k{i}": {"a": [i]} for i in range(n)}).encode()),
    "definition: members": ("definitions as JSON", _team),
    "definition: unknown keys": ("definitions as JSON", lambda n: _definition(**{f"k{i}": 1 for i in range(n)})),
    "definition: lost routes": (
        "definitions as JSON",
        lambda n: _definition(wiring={"routes": [{"from": f"a{i}", "to": f"b{i}"} for i in range(n)]}),
    ),
    "realm.json: records": ("realm.json", _realm),
    "a turn's items": (
        "shape of a turn",
        lambda n: json.dumps({**seeds.SHAPES["turn"][0], "items": seeds.SHAPES["turn"][0]["items"] * n}).encode(),
    ),
    "a turn's wrong items": (
        "shape of a turn",
        lambda n: json.dumps({**seeds.SHAPES["turn"][0], "items": [{"type": "user"}] * n}).encode(),
    ),
}
"""What is made long, for which parser, and how. `n` is how long."""


def calls_of(target: Target, data: bytes) -> int:
    """How many functions are called while the input is checked."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        target.check(data)
    finally:
        sys.setprofile(None)
    return count


def check_scaling(target: Target, make: Make, n: int = 300) -> None:
    """Four times as much is at most five times as much work, and some that is always there."""
    target.check(make(n))  # what is made once is made now
    few, many = calls_of(target, make(n)), calls_of(target, make(4 * n))
    assert many <= 5 * few + 500, f"{few} calls for {n}, {many} for {4 * n}"


@pytest.mark.parametrize("name", INPUTS)
def test_law_26_work_is_in_proportion_to_the_input(name):
    target, make = INPUTS[name]
    check_scaling(BY_NAME[target], make)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.timeout(30)
def test_law_26_large_inputs_end_soon_and_take_no_more_memory_than_they_are_worth(name):
    """JSON of nothing but brackets becomes some thirty times its size as Python objects; two such are allowed."""
    target, make = INPUTS[name]
    data = make(2500)
    tracemalloc.start()
    try:
        BY_NAME[target].check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 64 * len(data) + 4_000_000, f"{peak} bytes for {len(data)}"


def test_law_26_mutant_a_parser_that_compares_all_with_all_is_caught():
    def same(one: object, other: object) -> bool:
        return one == other

    def check(data: bytes) -> None:
        items = json.loads(data)
        for one in items:
            for other in items:
                same(one, other)

    with pytest.raises(AssertionError):
        check_scaling(Target("quadratic", check, ([1],)), lambda n: json.dumps(["a"] * n).encode(), n=50)
