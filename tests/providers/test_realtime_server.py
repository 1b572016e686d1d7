"""The server role keeps session, input, items and responses as the vendor does, and writes in the vendor's order."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from realtime_support import Pair, kinds, names, pcm

from mob.errors import WireError
from mob.providers import commands, events as n
from mob.providers.openai_realtime import (
    AudioAppended,
    EmissionOptions,
    InputCommitted,
    ItemCreated,
    RealtimeServer,
    ResponseCancelled,
    ResponseRequested,
    SessionUpdated,
)
from mob.providers.openai_realtime.input_buffer import IDLE_KEEP_MS, MAX_BUFFER_BYTES
from mob.values import ToolSchema, Usage

TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SOUND = base64.b64encode(pcm(10)).decode()


def session(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def create(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": {**TEXT, **fields}}


def test_an_update_merges_and_is_echoed_whole() -> None:
    pair = Pair()
    (first,) = pair.raw(session(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}}))
    (second,) = pair.raw(
        session(instructions="Hi", tools=[{"type": "function", "name": "f"}], audio={"output": {"voice": "sage"}})
    )

    echoed = second["session"]
    assert echoed["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.7,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert first["session"]["audio"]["output"]["voice"] == "marin"
    assert (echoed["instructions"], echoed["model"], echoed["expires_at"]) == ("Hi", "gpt-realtime", 1000)
    (update,) = pair.requests
    assert isinstance(update, SessionUpdated)
    assert (update.config.voice, update.config.tools) == ("sage", (ToolSchema("f", ""),))
    assert (pair.server.session.create_response, pair.server.session.interrupt_response) == (True, True)
    pair.raw(session(model="gpt-realtime", audio={"input": {"turn_detection": None}}))
    assert pair.server.session.config.turn_detection.mode == "manual"
    assert (pair.server.session.create_response, pair.server.session.interrupt_response) == (False, False)


def test_what_is_fixed_once_the_model_has_spoken() -> None:
    pair = Pair()
    pair.raw(session(tracing="auto"))
    writer = pair.respond()
    (early,) = pair.raw(session(audio={"output": {"voice": "sage"}}))
    (speed,) = pair.raw(session(audio={"output": {"speed": 1.5}}))
    writer.audio(pcm(10))
    (during,) = pair.raw(session(audio={"output": {"voice": "ash"}}))
    writer.finish()
    (after,) = pair.raw(session(audio={"output": {"voice": "ash"}}))
    (same,) = pair.raw(session(audio={"output": {"voice": "sage", "speed": 1.5}}))
    (per_response,) = pair.raw({"type": "response.create", "response": {"audio": {"output": {"voice": "ash"}}}})
    (tracing,) = pair.raw(session(tracing=None))

    assert (early["type"], same["type"]) == ("session.updated", "session.updated")
    assert [event["error"]["code"] for event in (during, after, per_response)] == ["cannot_update_voice"] * 3
    assert (speed["error"]["param"], tracing["error"]["param"]) == ("session.audio.output.speed", "session.tracing")


def test_the_input_buffer_counts_milliseconds() -> None:
    pair = Pair()
    assert pair.say(commands.AppendAudio(pcm(99))) == []
    assert pair.requests == [AudioAppended(pcm(99), 0)]
    (empty,) = pair.say(commands.CommitInput(ref="c"))
    assert isinstance(empty, n.ProviderFault)
    assert (empty.code, empty.recovery, empty.ref) == ("input_audio_buffer_commit_empty", "benign", "c")
    assert "99.00ms" in empty.message
    pair.say(commands.AppendAudio(pcm(1)))
    assert pair.requests == [AudioAppended(pcm(1), 99)]

    events = pair.say(commands.CommitInput())

    (committed,) = pair.requests
    assert isinstance(committed, InputCommitted)
    assert committed.pcm == pcm(99) + pcm(1)
    assert names(events) == ["InputCommitted", "ItemAdded", "ItemDone"]
    assert pair.server.input_ms == 100
    assert names(pair.say(commands.CommitInput())) == ["ProviderFault"]
    pair.say(commands.AppendAudio(pcm(500)))
    assert names(pair.say(commands.ClearInput())) == ["InputCleared"]
    assert names(pair.say(commands.CommitInput())) == ["ProviderFault"]
    assert pair.server.input_ms == 600


def test_turn_detection_commits_what_was_said() -> None:
    pair = Pair()
    pair.say(commands.AppendAudio(pcm(1000)))
    item_id = pair.server.speech_started(700)
    assert pair.server.speech_started(800) == item_id
    pair.say(commands.AppendAudio(pcm(200)))
    pair.server.speech_stopped(1100)
    committed = pair.server.commit_input()
    pair.server.speech_stopped(1200)

    assert pair.server.commit_input() is None
    assert committed is not None
    assert (committed.item_id, len(committed.pcm)) == (item_id, 500 * 48)
    pair.server.user_transcript_delta(item_id, "hel")
    pair.server.user_transcript_completed(item_id, "hello", seconds=0.5)
    pair.server.user_transcript_completed("deleted", "still said")
    assert pair.hear() == [
        n.InputSpeechStopped(item_id, 1100),
        n.InputCommitted(item_id),
        n.ItemAdded(item_id, None, "user"),
        n.ItemDone(item_id),
        n.UserTranscriptPart(item_id, "hel"),
        n.UserTranscriptFinal(item_id, "hello"),
        n.UserTranscriptFinal("deleted", "still said"),
    ]
    assert [item.text for item in pair.server.items] == ["hello"]


def test_the_input_buffer_is_bounded() -> None:
    pair = Pair()
    for _ in range(30):
        pair.say(commands.AppendAudio(pcm(1000)))
    idle = pair.server._input.buffered_ms
    pair.say(commands.Configure(commands.SessionConfig(turn_detection=commands.TurnDetection(mode="manual"))))
    big = commands.AppendAudio(bytes(10 * 1024 * 1024))
    answers = [names(pair.say(big)) for _ in range(4)]

    assert idle == IDLE_KEEP_MS
    assert answers == [[], [], [], ["ProviderFault"]]
    assert len(pair.server._input._data) <= MAX_BUFFER_BYTES


def test_telephone_formats_are_counted_by_their_own_rate() -> None:
    pair = Pair()
    pair.raw(session(audio={"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}}))
    pair.say(commands.AppendAudio(bytes(801)))

    assert pair.server.input_ms == 100.125
    assert names(pair.say(commands.CommitInput())) == ["InputCommitted", "ItemAdded", "ItemDone"]


def test_items_stand_where_the_client_puts_them() -> None:
    pair = Pair()
    for item_id, after in (("b", None), ("d", None), ("a", "root"), ("c", "b")):
        events = pair.say(commands.AddMessage(item_id, "user", item_id, previous_item_id=after))
        assert names(events) == ["ItemAdded", "ItemDone"]
    (request,) = pair.requests

    assert [item.id for item in pair.server.items] == ["a", "b", "c", "d"]
    assert isinstance(request, ItemCreated)
    assert (request.item.text, request.previous_item_id) == ("c", "b")
    assert names(pair.say(commands.AddMessage("a", "user", "again"))) == ["ProviderFault"]
    assert pair.say(commands.DeleteItem("b")) == [n.ItemDeleted("b")]
    assert [item.id for item in pair.server.items] == ["a", "c", "d"]


def test_what_an_item_holds_reaches_the_application() -> None:
    pair = Pair()
    content = [
        {"type": "input_text", "text": "look"},
        {"type": "input_audio", "audio": SOUND, "transcript": "listen"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
    ]
    answers = pair.raw({**create(content=content), "event_id": None, "previous_item_id": None})
    (request,) = pair.requests

    assert isinstance(request, ItemCreated)
    assert (request.item.text, request.item.audio) == ("look\nlisten", pcm(10))
    assert request.item.images == ("data:image/png;base64,AAAA",)
    assert SOUND not in json.dumps(answers)
    assert len(request.item.id) <= 32
    (retrieved,) = pair.raw({"type": "conversation.item.retrieve", "item_id": request.item.id})
    assert retrieved["item"] == answers[0]["item"]


def test_results_are_taken_for_known_and_unknown_calls() -> None:
    pair = Pair()
    pair.say(commands.AddToolCall("c", "call_1", "book", "{}"))
    pair.say(commands.AddToolResult("r", "call_1", "done"))
    pair.say(commands.AddToolResult("s", "call_never", "late"))

    call, known, unknown = pair.server.items
    assert (call.kind, call.name, call.arguments, call.call_id) == ("tool_call", "book", "{}", "call_1")
    assert (known.kind, known.call_id, known.text) == ("tool_result", "call_1", "done")
    assert unknown.call_id == "call_never"


AUDIO_ENDS = ["response.output_audio.done", "response.output_audio_transcript.done"]
ITEM_ENDS = ["conversation.item.done", "response.output_item.done"]


@pytest.mark.parametrize("swap_parts", [False, True])
@pytest.mark.parametrize("swap_items", [False, True])
def test_a_spoken_response_in_each_legal_order(*, swap_parts: bool, swap_items: bool) -> None:
    options = EmissionOptions(transcript_done_first=swap_parts, output_item_done_first=swap_items)
    pair = Pair(options=options)
    writer = pair.respond()
    writer.transcript("Hi")
    writer.audio(pcm(20))
    writer.tool_call("book", '{"n":1}')
    writer.finish(Usage(1, 2))
    pair.hear()

    item_ends = ITEM_ENDS[::-1] if swap_items else ITEM_ENDS
    assert kinds(pair.server_frames)[1:] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        *(AUDIO_ENDS[::-1] if swap_parts else AUDIO_ENDS),
        "response.content_part.done",
        *item_ends,
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        *item_ends,
        "response.done",
    ]
    response = pair.server_frames[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["message", "function_call"]
    assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hi"}]
    assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 3)


def test_one_response_at_a_time_from_the_moment_it_is_asked_for() -> None:
    pair = Pair()
    pair.say(commands.CreateResponse())
    (request,) = pair.requests
    assert isinstance(request, ResponseRequested)
    asked = request.params.response_id

    for _ in range(2):
        (refused,) = pair.say(commands.CreateResponse(ref="again"))
        assert isinstance(refused, n.ProviderFault)
        assert (refused.code, refused.recovery, refused.response_id) == (
            "conversation_already_has_active_response",
            "defer",
            asked,
        )
        if pair.server.active_response is None:
            # Before it is created there is nothing to cancel, and it appears nevertheless.
            assert names(pair.say(commands.CancelResponse(asked))) == ["ProviderFault"]
            with pytest.raises(WireError, match=asked) as caught:
                pair.server.start_response()
            assert caught.value.recovery == "defer"
            pair.server.start_response(request.params)
            pair.hear()
    pair.say(commands.CancelResponse(asked))
    assert pair.server.busy_with is None


def test_a_request_can_be_refused_by_the_application() -> None:
    pair = Pair()
    pair.say(commands.CreateResponse(ref="r"))
    (request,) = pair.requests
    assert isinstance(request, ResponseRequested)
    pair.server.refuse_response(request.params, "rate_limit_exceeded", "Slow down.")
    (fault,) = pair.hear()

    assert isinstance(fault, n.ProviderFault)
    assert (fault.code, fault.recovery, fault.ref) == ("rate_limit_exceeded", "retry", "r")
    assert pair.server.busy_with is None


def test_cancelling_ends_what_is_open_and_silences_the_writer() -> None:
    pair = Pair()
    writer = pair.respond()
    writer.usage = Usage(5, 6)
    writer.transcript("Hel")
    writer.audio(pcm(20))
    pair.hear()
    pair.server_frames.clear()

    pair.say(commands.CancelResponse(ref="k"))
    writer.transcript("lo")
    writer.audio(pcm(20))
    writer.tool_call("book", "{}")
    writer.message()
    writer.finish()

    assert pair.requests == [ResponseCancelled(writer.response_id)]
    assert pair.hear() == []
    assert kinds(pair.server_frames) == [*AUDIO_ENDS, "response.content_part.done", *ITEM_ENDS, "response.done"]
    done = pair.server_frames[-1]["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert (done["output"][0]["status"], done["usage"]["output_tokens"]) == ("incomplete", 6)
    assert names(pair.say(commands.CancelResponse(writer.response_id))) == ["ProviderFault"]


def test_deltas_after_the_end_when_they_are_wanted() -> None:
    pair = Pair(options=EmissionOptions(deltas_after_end=True))
    writer = pair.respond()
    writer.audio(pcm(20))
    writer.cancel("turn_detected")
    pair.hear()
    writer.audio(pcm(10))
    writer.transcript("late")
    (late, words) = pair.hear()

    assert isinstance(late, n.AgentAudio)
    assert (late.response_id, late.pcm) == (writer.response_id, pcm(10))
    assert names([words]) == ["AgentTranscriptPart"]
    assert writer.audio_ms == 20
    silent = pair.respond()
    silent.finish()
    pair.hear()
    silent.audio(pcm(1))
    assert pair.hear() == []


def test_truncation() -> None:
    pair = Pair()
    writer = pair.respond()
    item = writer.message()
    pair.hear()
    (nothing_yet,) = pair.say(commands.TruncateItem(item, 0))
    writer.transcript("Hello")
    writer.audio(pcm(100))
    writer.tool_call("f", "{}", "call_1")
    writer.finish()
    pair.hear()
    call = pair.server.items[-1].id

    (beyond,) = pair.say(commands.TruncateItem(item, 101))
    assert pair.server.items[0].text == "Hello"
    assert pair.say(commands.TruncateItem(item, 60)) == [n.ItemTruncated(item, 60)]
    (again,) = pair.say(commands.TruncateItem(item, 61))
    (no_message,) = pair.say(commands.TruncateItem(call, 1))
    (no_part,) = pair.say(commands.TruncateItem(item, 1, content_index=1))

    faults = (nothing_yet, beyond, again, no_message, no_part)
    assert [fault.code for fault in faults] == [  # type: ignore[union-attr]
        "unsupported_content_type",
        "invalid_value",
        "invalid_value",
        "invalid_value",
        "unsupported_content_type",
    ]
    assert {fault.recovery for fault in faults} == {"benign"}  # type: ignore[union-attr]
    assert "100ms is already shorter than 101ms" in beyond.message  # type: ignore[union-attr]
    assert pair.server.items[0].text == ""


def test_an_item_truncated_while_it_is_spoken_keeps_no_words() -> None:
    pair = Pair()
    writer = pair.respond()
    writer.transcript("Hello")
    writer.audio(pcm(100))
    pair.hear()
    pair.say(commands.TruncateItem(pair.server.items[0].id, 50))
    writer.transcript(" world")
    writer.cancel("client_cancelled")

    assert pair.server.items[0].text == ""


def test_a_written_answer_cannot_be_truncated() -> None:
    pair = Pair()
    writer = pair.respond("text")
    writer.text("Hello")
    writer.finish()
    pair.hear()
    (fault,) = pair.say(commands.TruncateItem(pair.server.items[0].id, 0))

    assert isinstance(fault, n.ProviderFault)
    assert fault.code == "unsupported_content_type"


def test_the_modality_of_a_response_is_one() -> None:
    pair = Pair()
    writer = pair.respond("text")

    with pytest.raises(WireError, match="text"):
        writer.audio(pcm(1))
    writer.finish()
    with pytest.raises(WireError, match="audio"):
        pair.respond("audio").text("x")


def test_a_response_beside_the_conversation_leaves_it_alone() -> None:
    pair = Pair()
    default = pair.respond()
    aside = {"conversation": "none", "output_modalities": ["text"], "instructions": "", "input": []}
    for _ in range(15):
        pair.raw({"type": "response.create", "response": aside})
    (request,) = pair.requests
    assert isinstance(request, ResponseRequested)
    (crowd,) = pair.raw({"type": "response.create", "response": aside})
    writer = pair.server.start_response(request.params)
    writer.text("psst")
    writer.finish()
    events = pair.hear()

    assert crowd["error"]["code"] == "rate_limit_exceeded"
    assert (request.params.instructions, request.params.input) == ("", ())
    assert "ItemAdded" not in names(events)
    assert pair.server_frames[-1]["response"]["conversation_id"] is None
    assert pair.server.items == ()
    assert pair.server.active_response is default


def test_a_response_may_refer_to_items() -> None:
    pair = Pair()
    pair.say(commands.AddMessage("a", "user", "known"))
    pair.raw({"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "a"}, TEXT]}})
    (request,) = pair.requests

    assert isinstance(request, ResponseRequested)
    assert request.params.input is not None
    assert [item.text for item in request.params.input] == ["known", "hi"]


def test_how_else_a_response_ends() -> None:
    pair = Pair()
    pair.respond("text").incomplete("content_filter")
    events = pair.hear()
    pair.respond("text").fail("inference_rate_limit_exceeded", "Try again in 2s.")
    ended = [event for event in events + pair.hear() if isinstance(event, n.ResponseEnded)]

    assert [(event.status, event.reason) for event in ended] == [("incomplete", "content_filter"), ("failed", None)]
    assert ended[1].fault is not None
    assert (ended[1].fault.recovery, ended[1].fault.retry_after_s) == ("retry", 2.0)


def test_the_seam_for_peers_that_differ() -> None:
    def oddly(event: dict[str, Any]) -> list[dict[str, Any]]:
        match event["type"]:
            case "response.created":
                return []
            case "conversation.item.added":
                return [event, event]
            case "response.output_audio.delta":
                return [{"type": "response.hologram.delta"}, event]
            case "response.done":
                response = {**event["response"], "status_details": "client_cancelled", "usage": None}
                return [{**event, "response": response, "usage": {"input_tokens": 4}}]
            case _:
                return [event]

    pair = Pair(rewrite=oddly)
    writer = pair.respond()
    writer.audio(pcm(10))
    writer.cancel("client_cancelled")
    events = pair.hear()

    assert names(events[:5]) == ["OutputItemStarted", "ItemAdded", "ItemAdded", "Ignored", "AgentAudio"]
    assert isinstance(events[4], n.AgentAudio)
    assert events[4].pcm == pcm(10)
    assert events[-1] == n.ResponseEnded(writer.response_id, "cancelled", "client_cancelled", Usage(4, requests=1))


def test_statistics() -> None:
    pair = Pair()
    pair.say(commands.AppendAudio(pcm(10)))
    pair.say(commands.CommitInput())
    pair.respond().audio(pcm(20))
    pair.hear()
    counted = pair.server.statistics()

    assert (counted.frames_in, counted.audio_in, counted.audio_out, counted.responses) == (3, 480, 960, 1)
    assert counted.frames_out == len(pair.server_frames)
    assert (counted.items, counted.refused) == (1, {"input_audio_buffer_commit_empty": 1})


def test_the_same_seed_says_the_same() -> None:
    def run() -> list[dict[str, Any]]:
        pair = Pair()
        pair.respond().tool_call("f", "{}")
        pair.hear()
        return pair.server_frames

    assert run() == run()


def test_event_ids_are_unique() -> None:
    pair = Pair()
    for _ in range(3):
        writer = pair.respond()
        writer.audio(pcm(1))
        writer.finish()
    pair.hear()
    ids = [event["event_id"] for event in pair.server_frames]

    assert len(set(ids)) == len(ids)
    assert RealtimeServer("m").session.id != RealtimeServer("m").session.id
