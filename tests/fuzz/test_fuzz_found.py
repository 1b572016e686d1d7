"""What spoilt inputs have found in these parsers: each input stands here for good."""

from __future__ import annotations

import json

import pytest
from fuzzing import Target, names
from test_fuzz_parsers import TARGETS
from test_fuzz_scaling import calls_of

from mob.definition.from_json import definition_from_json
from mob.definition.report import MAX_FINDINGS
from mob.protocol.observations import _parsed
from mob.providers.openai_realtime import RealtimeServer
from mob.server.front.auth import Gatekeeper
from mob.server.realm.documents import definition_of
from mob.server.rpc.shapes import arguments_of
from mob.team.routing import RouteTable

BY_NAME = names(TARGETS)
FOUND = [
    ("jsonrpc", b'{"jsonrpc":"2.0","id":1,"method":"config/patch","params":{"patch":{"x":1e999}}}'),
    ("jsonrpc", b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":%s}}' % (b"[" * 400 + b"]" * 400)),
    (
        "live frames of clients",
        b'{"control":"refresh","tools":[{"name":"a","description":"","parameters":{"a":1e999}}]}',
    ),
    ("live frames of servers", b'{"observation":"connected","continuity":"fresh","t":1e999,"epoch":1}'),
    ("binary speech", b"\x01\x00\x00" + b"\x00" * 19 + b"\xf8\x7f"),
    ("shape of a turn", b'{"id":"t","cause":{"kind":"text"},"items":[{"type":"%s"}]}' % (b"x" * 9000)),
    ("shape of usage", b'{"cost_usd":-1e999}'),
    ("shape of an error", b'{"code":"token_refused","message":"no","details":{"reason":[null]}}'),
    ("shape of an error", b'{"code":"bad_definition","message":"no","details":{"findings":{"a":1}}}'),
    ("paths and secrets", "\ud800".encode("utf-8", "surrogatepass")),
    ("bodies of turns", b'{"text":"Hello.","timeout_s":1e999}'),
    (
        "sessions of client secrets",
        b'{"type":"realtime","audio":{"input":{"format":{"type":"audio/pcm","rate":24000.0}}}}',
    ),
    ("kept sessions", b'{"model":"gpt-5.6-terra","max_tokens":""}'),
    ("kept sessions", b'{"model":"%s"}' % (b"x" * 9000)),
    ("realm.json", b'{"format":1,"backend":"memory","records":7}'),
    ("realm.json", b'{"format":1,"records":[{"mob_id":0.5,"run_id":"r","created_at":1}]}'),
    ("config.json", b'{"format":1,"generation":3,"config":{"agent":[{}]}}'),
    ("config.json", b'{"format":1,"generation":true,"config":{"x":1e999}}'),
    ("live socket of mob.connect", b'{"error":[],"reason":[]}'),
    ("live socket of mob.connect", b'{"observation":"new","t":1%s}' % (b"0" * 400)),
    (
        "live socket of mob.connect",
        b'{"observation":"attached","channel_id":"c","resume":"r","window_ms":1%s,"epoch":0,"continuity":"fresh",'
        b'"status":"ready"}' % (b"0" * 400),
    ),
    (
        "answers to mob.connect",
        b'{"jsonrpc":"2.0","method":"team/event","params":{"stream":"team-1","mob":{"state":"%s"}}}' % (b"x" * 9000),
    ),
    ("rows of the log", b'{"kind":"turn","member":"ann","turn":{"id":"t","items":[],"timings":{"started_at":1e999}}}'),
]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_law_26_what_was_found_stays_mended(name, data):
    BY_NAME[name].check(data)


def test_law_26_half_a_character_is_no_secret():
    assert not Gatekeeper("a-secret-of-the-tests").knows("\ud800")


def test_law_26_one_long_name_in_many_findings_is_not_kept_many_times():
    """A name of 100 KB with 1000 unknown keys in it took 120 MB to be refused."""
    document = {"id": "x", "profiles": {"x" * 100_000: {f"k{n}": 1 for n in range(1000)}}}
    definition, findings = definition_from_json(document)
    assert definition is None
    assert len(findings) == MAX_FINDINGS + 1
    assert sum(len(str(finding)) for finding in findings) < 500 * len(findings)


def test_law_26_a_number_that_json_has_not_is_not_kept_to_be_told():
    """A call's arguments are told as JSON inside other messages: what could not be written there stays text."""

    for text in ('{"a": NaN}', '{"a": 1e999}', "[" * 500 + "]" * 500):
        for read in (_parsed, arguments_of):
            assert read(text) == text
            json.dumps(read(text), allow_nan=False)


def test_law_26_a_conversation_is_bounded_wherever_its_items_are_put():
    """Items that named their place were not counted."""
    server = RealtimeServer("ann", max_items=5)
    last = "root"
    for number in range(20):
        item = {"id": f"m{number}", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
        server.receive(json.dumps({"type": "conversation.item.create", "previous_item_id": last, "item": item}))
        last = f"m{number}"
        assert len(server.items) <= 5
    assert [item.id for item in server.items] == ["m15", "m16", "m17", "m18", "m19"]


def test_law_26_finding_who_a_member_reaches_costs_what_it_reaches():
    """Every member looked through the routes of all: a request of 5 KB, for a mesh of 200, took minutes."""
    roles = {f"m{n}": "host" for n in range(60)}
    document = {
        "id": "mesh",
        "profiles": {"host": {"model": "gpt-5.6-terra"}},
        "members": {name: {"profile": "host"} for name in roles},
        "wiring": {"role_wiring": [{"a": "host", "b": "host"}]},
    }
    table = RouteTable(definition_of(document), roles)
    assert len(table.reached_from("m0")) == 59
    few = calls_of(Target("one", lambda _: table.reached_from("m0"), raw=(b"x",)), b"x")
    assert few < 5 * 60


@pytest.mark.timeout(20)
def test_law_26_many_wrong_rules_end_soon():
    """Each looked through all that had been found before it: 300 KB of wrong rules held the server for minutes."""
    document = {"id": "x", "profiles": {"host": {"model": "gpt-5.6-terra"}}, "rehearsal": {"host": [{}] * 15_000}}
    findings = definition_from_json(document)[1]
    assert "too_many_rules" in {finding.code for finding in findings}
    unknown = {"profiles": {"host": {"model": "gpt-5.6-terra", **{f"k{n}": 1 for n in range(20_000)}}}}
    assert definition_from_json({"id": "x", **unknown, "rehearsal": {"host": [{}] * 200}})[0] is None
