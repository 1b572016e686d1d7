"""A server whose application offers less than the vendor does: what it refuses changes nothing."""

from __future__ import annotations

import json

import pytest
from realtime_support import MS, kinds

from mob.providers.openai_realtime import InputCommitted, RealtimeServer, Refusal

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
G711 = {
    "type": "realtime",
    "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}},
}


def sent(server: RealtimeServer) -> list[dict]:
    return [json.loads(frame) for frame in server.data_to_send()]


def vetted(refused: str) -> RealtimeServer:
    def vet(event: dict) -> None:
        if event["type"] == refused:
            raise Refusal("unsupported_operation", "This member does not do that.", param="type")

    server = RealtimeServer("host", vet=vet)
    server.open()
    server.data_to_send()
    return server


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"type": "realtime", "instructions": "x"}},
        {"type": "conversation.item.create", "item": MESSAGE},
        {"type": "response.create"},
    ],
)
def test_what_is_refused_changes_nothing_and_names_the_event(event):
    server = vetted(event["type"])
    before = server.session.echo(), server.items, server.busy_with

    assert server.receive(json.dumps({**event, "event_id": "mine"})) == []

    (error,) = sent(server)
    assert (error["error"]["code"], error["error"]["event_id"]) == ("unsupported_operation", "mine")
    assert (server.session.echo(), server.items, server.busy_with) == before


def test_what_is_not_legal_is_refused_before_it_is_vetted():
    server = vetted("conversation.item.create")
    server.receive(json.dumps({"type": "conversation.item.create"}))
    assert sent(server)[0]["error"]["code"] == "missing_required_parameter"


def test_audio_that_is_only_measured_is_not_kept():
    server = RealtimeServer("host", keep_audio=False)
    server.receive(
        json.dumps(
            {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}}
        )
    )
    audio = "AAAA" * (200 * MS // 3)
    server.receive(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    assert (server.buffered_ms, server.input_ms) == (200.0, 200.0)
    (committed,) = server.receive(json.dumps({"type": "input_audio_buffer.commit"}))
    assert isinstance(committed, InputCommitted)
    assert committed.pcm == b""
    assert (server.buffered_ms, server.input_ms) == (0.0, 200.0)


def test_an_item_for_ears_that_are_behind_the_buffer():
    server = RealtimeServer("host")
    assert server.commit_input() is None
    assert server.commit_input(always=True) is not None
    assert "input_audio_buffer.committed" in kinds(sent(server))


def test_telephone_audio_is_measured_by_its_own_rate():
    server = RealtimeServer("host")
    server.receive(json.dumps({"type": "session.update", "session": G711}))
    writer = server.start_response()
    item = writer.message()
    writer.audio(bytes(800))
    assert writer.audio_ms == 100
    writer.finish()
    truncate = {"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 101}
    server.data_to_send()
    server.receive(json.dumps(truncate))
    assert "already shorter" in sent(server)[0]["error"]["message"]
    assert (server.session.input_format["type"], server.session.output_format["type"]) == ("audio/pcmu", "audio/pcma")


def test_a_preview_changes_nothing():
    server = RealtimeServer("host")
    before = server.session.echo()
    assert server.session.preview({"type": "realtime", "instructions": "x"}).instructions == "x"
    assert server.session.echo() == before
    assert not server.session.transcribes


def test_a_long_conversation_forgets_its_beginning_and_keeps_no_pictures():
    server = RealtimeServer("host", max_items=3)
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    for number in range(5):
        item = {**MESSAGE, "id": f"item_{number}", "content": [*MESSAGE["content"], image]}
        (created,) = server.receive(json.dumps({"type": "conversation.item.create", "item": item}))
        assert created.item.images == (image["image_url"],)
    assert [item.id for item in server.items] == ["item_2", "item_3", "item_4"]
    assert not any(item.images for item in server.items)
    server.data_to_send()
    for item_id, answered in (("item_4", "conversation.item.retrieved"), ("item_0", "error")):
        server.receive(json.dumps({"type": "conversation.item.retrieve", "item_id": item_id}))
        assert [event["type"] for event in sent(server)] == [answered]
