"""Law 26 for every parser at the doors: some tens of thousands of spoilt inputs, seeded, in some seconds.

`tests/fuzz/run.py` tries as many as one likes. A parser that was broken on purpose is caught (`BREAKS`): each target
has a mutant in which one guard is gone.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import seeds
import targets_protocol
import targets_providers
import targets_remote
import targets_server
from fuzzing import Broken, Target, check_valid, fuzz, todays_seed

from mob.protocol.frames import decode_frame
from mob.protocol.jsonrpc import Malformed, read_message
from mob.providers.openai_realtime import RealtimeServer
from mob.providers.openai_realtime.schema import SESSION
from mob.server.chat.request import read_chat
from mob.server.limits import DoorLimits
from mob.server.realm.config import check_head
from mob.server.realm.documents import definition_of

TARGETS = (
    *targets_protocol.TARGETS,
    *targets_server.TARGETS,
    *targets_providers.TARGETS,
    *targets_remote.TARGETS,
)
COUNT = 800


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_law_26_spoilt_inputs_are_read_or_refused(target: Target):
    check_valid(target)
    fuzz(target, COUNT, todays_seed())


def _anything(value: Any, *_: Any, **__: Any) -> Any:
    return value


def _nothing(*_: Any, **__: Any) -> None:
    return None


BREAKS: dict[str, tuple[str, Any]] = {
    "jsonrpc": ("mob.jsontext._finite", float),
    "live frames of clients": ("mob.protocol.frames._read_id", lambda body: body.get("id")),
    "live frames of servers": ("mob.protocol.observations._place", lambda frame, _: {"channel_id": "x", **frame}),
    "binary speech": ("mob.protocol.speech.math", SimpleNamespace(isfinite=lambda _: True)),
    "shape of a turn": ("mob.history.codec._a", lambda _, value: value),
    "shape of usage": ("mob.history.codec._a", lambda _, value: value),
    "shape of a run event": ("mob.protocol.shapes._type_of", lambda body, _: body["type"]),
    "shape of an error": ("mob.protocol.shapes._details", lambda cls: ("reason",)),
    "heads of requests": ("mob.server.front.auth._hostname", lambda url: urlsplit(url).hostname or ""),
    "paths and secrets": ("mob.server.front.auth.is_loopback", ipaddress.ip_address),
    "chat requests": ("mob.providers.openai_chat.server._array", lambda fields, key: fields.data.get(key) or []),
    "bodies of turns": ("mob.server.rest.reading.read_json", json.loads),
    "sessions of client secrets": ("targets_server.SESSION", _anything),
    "configurations": ("mob.server.realm.config._check_kind", _nothing),
    "definitions as JSON": ("mob.definition.report._LONGEST_MESSAGE", 10**9),
    "kept sessions": ("mob.history.codec.from_json", lambda body, cls, where: cls(**body)),
    "realm.json": ("mob.history.codec._a", lambda _, value: value),
    "config.json": ("mob.server.realm.records.check_head", _nothing),
    "realtime server role": ("mob.providers.openai_realtime.server.CLIENT_EVENT", _anything),
    "realtime server role of the gateway": ("mob.server.gateway.policy.Policy._refusal", lambda *_: KeyError()),
    "realtime client role": ("mob.providers.fields.Fields.text", lambda fields, key: fields.data[key]),
    "rows of the log": ("mob.history.codec._a", lambda _, value: value),
    "base64 speech": ("mob.providers.openai_realtime.base64audio.decode_standard", base64.b64decode),
    "answers to mob.connect": ("mob.remote.replica._list", lambda body, name: body.get(name, [])),
    "live socket of mob.connect": ("mob.remote.live_socket._object", json.loads),
    "telephone speech": ("mob.server.gateway.g711.FromTelephone.turn", lambda _, data: data),
}
"""For each target the guard that is taken out, and what stands in its place."""


def test_no_target_is_without_its_mutant():
    assert set(BREAKS) == {target.name for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_law_26_mutant_a_parser_without_a_guard_is_caught(target: Target, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*BREAKS[target.name])
    with pytest.raises(Broken):
        fuzz(target, 50_000, 1)


def test_the_valid_inputs_are_valid():
    """Mutants of something that is refused anyway would hardly get past a parser's first look."""
    for document in (seeds.DEFINITION, seeds.CREW):
        definition_of(document)
    for frame in seeds.FRAMES:
        decode_frame(json.dumps(frame), control=True)
    for message in seeds.MESSAGES:
        assert not isinstance(read_message(json.dumps(message)), Malformed)
    for chat in seeds.CHATS:
        read_chat(json.dumps(chat).encode(), DoorLimits())
    for values in seeds.CONFIG:
        check_head(values)
    SESSION(seeds.SESSION, "session")
    server = RealtimeServer("ann")
    for event in seeds.REALTIME:
        server.receive(json.dumps(event))
    wrong = {"item_truncate_invalid_item_id", "item_retrieve_invalid_item_id", "item_delete_invalid_item_id"}
    state = {
        "input_audio_buffer_commit_empty",
        "response_cancel_not_active",
        "conversation_already_has_active_response",
    }
    assert set(server.statistics().refused) <= wrong | state | {"invalid_value"}
