"""Who is let in, to whom, with what session; and what is refused of what a client asks for."""

from __future__ import annotations

import json

import pytest
import trio
from gateway_doors import MS, alone, desk, dialled, open_doors

from mob.live.transport import HandshakeRefused
from mob.server.front.auth import Gatekeeper
from mob.server.limits import DoorLimits

SECRET = "a-secret-of-the-tests-0123456789"
GUARDED = Gatekeeper(SECRET)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def client_secret(doors, session: dict | None = None, ttl_s: float = 600) -> str:
    return doors.realm.tokens.mint(
        "realtime", "realtime", now=trio.current_time(), ttl_s=ttl_s, payload=session or {}, prefix="ek_"
    )


async def refused(doors, model: str = "host", **how) -> tuple[int, str]:
    """The status and the code of a refused handshake."""
    with pytest.raises(HandshakeRefused) as caught:
        async with dialled(doors, model, **how):
            pass
    return caught.value.status, json.loads(caught.value.body)["error"]["code"]


async def turned_away(doors, model: str = "host", **how) -> dict:
    """What a socket is told before it is closed for what its client asked for."""
    async with dialled(doors, model, greet=False, **how) as wire:
        code, reason = await wire.until_closed()
        (event,) = wire.events
        assert (event["type"], event["error"]["type"]) == ("error", "invalid_request_error")
        assert (code, reason) == (4000, f"invalid_request_error.{event['error']['code']}")
        return event["error"]


async def test_without_a_secret_everybody_is_let_in(autojump_clock):
    async with open_doors() as doors:
        for headers in ({}, bearer("anything")):
            async with dialled(doors, headers=headers) as wire:
                assert wire.events[0]["session"]["model"] == "host"


async def test_the_servers_secret_in_the_header_or_among_the_subprotocols(autojump_clock):
    async with open_doors(gatekeeper=GUARDED) as doors:
        assert await refused(doors) == (401, "unauthorized")
        assert await refused(doors, headers=bearer("another")) == (401, "unauthorized")
        async with dialled(doors, headers=bearer(SECRET)):
            pass
        offered = ["realtime", f"openai-insecure-api-key.{SECRET}"]
        async with dialled(doors, subprotocols=offered) as wire:
            assert wire.transport.subprotocol == "realtime"


@pytest.mark.parametrize("gatekeeper", [Gatekeeper(), GUARDED])
async def test_a_client_secret_opens_until_it_expires(autojump_clock, gatekeeper):
    async with open_doors(gatekeeper=gatekeeper) as doors:
        secret = client_secret(doors, ttl_s=60)
        for _ in range(2):
            async with dialled(doors, subprotocols=["realtime", f"openai-insecure-api-key.{secret}"]):
                pass
        await trio.sleep(61)
        assert await refused(doors, headers=bearer(secret)) == (401, "token_refused")
        assert await refused(doors, headers=bearer("ek_made_up")) == (401, "token_refused")


async def test_the_session_of_a_client_secret_is_in_force(autojump_clock):
    session = {"type": "realtime", "model": "host", "output_modalities": ["text"], "instructions": "Be brief."}
    async with open_doors() as doors:
        async with dialled(doors, headers=bearer(client_secret(doors, session))) as wire:
            echo = wire.events[0]["session"]
            assert (echo["output_modalities"], echo["instructions"]) == (["text"], "Be brief.")
            response = await wire.ask("When are you open?")
            assert response["output"][0]["content"][0]["type"] == "output_text"
        headers = bearer(client_secret(doors, session))
        assert (await turned_away(doors, "house/host", headers=headers))["code"] == "bad_request"


async def test_a_client_secret_with_what_the_member_cannot_do(autojump_clock):
    session = {"type": "realtime", "output_modalities": ["audio"]}
    async with open_doors(alone("gpt-4.1-mini")) as doors:
        async with dialled(doors, headers=bearer(client_secret(doors, session)), greet=False) as wire:
            assert await wire.until_closed() == (4000, "invalid_request_error.unsupported_by_member")


async def test_models(autojump_clock):
    other = alone()
    async with open_doors(alone(), desk()) as doors:
        nobody = await turned_away(doors, "gpt-realtime")
        assert (nobody["code"], nobody["param"]) == ("model_not_found", "model")
        assert "'gpt-realtime' does not exist" in nobody["message"]
        assert "menu" in nobody["message"], "the models that there are"
        assert "house/host" in (await turned_away(doors, "host"))["message"], "two mobs have one"
        async with dialled(doors, "house/host"):
            pass
        async with dialled(doors, "menu") as wire:
            assert wire.events[0]["session"]["model"] == "menu"
        assert (await turned_away(doors, ""))["param"] == "model"
        assert (await turned_away(doors, "menu", query="&call_id=rtc_1"))["param"] == "call_id"
    async with open_doors(other, start=False) as doors:
        assert (await turned_away(doors))["code"] == "session_idle"


async def test_the_beta_is_refused_as_the_vendor_does(autojump_clock):
    async with open_doors() as doors:
        async with dialled(doors, headers={"OpenAI-Beta": "realtime=v1"}, greet=False) as wire:
            assert await wire.until_closed() == (4000, "invalid_request_error.beta_api_shape_disabled")
            assert wire.events[0]["error"]["code"] == "beta_api_shape_disabled"


async def test_there_are_so_many_connections_and_no_more(autojump_clock):
    async with open_doors(desk(), limits=DoorLimits(max_realtime=1)) as doors:
        async with dialled(doors, "menu"):
            assert await refused(doors, "host") == (503, "door_full")
        await trio.sleep(1)
        async with dialled(doors, "host"):
            pass


MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
PNG = "data:image/png;base64,iVBORw0KGgo="
WORDS = {"type": "input_text", "text": "hi"}
REFUSED = [
    ("session.update", {"session": {"tool_choice": "required"}}, "session.tool_choice"),
    ("session.update", {"session": {"max_output_tokens": 5}}, "session.max_output_tokens"),
    ("session.update", {"session": {"prompt": {"id": "p"}}}, "session.prompt"),
    ("session.update", {"session": {"audio": {"output": {"speed": 1.2}}}}, "session.audio.output.speed"),
    ("session.update", {"session": {"include": ["item.input_audio_transcription.logprobs"]}}, "session.include"),
    ("session.update", {"session": {"tools": [{"type": "mcp", "server_label": "x"}]}}, "session.tools[0].type"),
    ("response.create", {"response": {"conversation": "none"}}, "response.conversation"),
    ("response.create", {"response": {"input": []}}, "response.input"),
    ("response.create", {"response": {"tools": []}}, "response.tools"),
    ("response.create", {"response": {"tool_choice": "none"}}, "response.tool_choice"),
    ("response.create", {"response": {"audio": {"output": {"voice": "ash"}}}}, "response.audio.output.voice"),
    (
        "response.create",
        {"response": {"audio": {"output": {"format": {"type": "audio/pcmu"}}}}},
        "response.audio.output.format",
    ),
    ("conversation.item.create", {"item": MESSAGE, "previous_item_id": "root"}, "previous_item_id"),
    (
        "conversation.item.create",
        {"item": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}},
        "item",
    ),
    ("conversation.item.create", {"item": {"type": "function_call", "name": "x", "arguments": "{}"}}, "item"),
    ("conversation.item.create", {"item": {**MESSAGE, "content": []}}, "item.content"),
    ("conversation.item.create", {"item": {**MESSAGE, "id": "ä"}}, "item.id"),
    (
        "conversation.item.create",
        {"item": {**MESSAGE, "content": [{"type": "input_audio", "audio": "AAAA"}]}},
        "item.content",
    ),
    (
        "conversation.item.create",
        {"item": {"type": "function_call_output", "call_id": "call_x", "output": ""}},
        "item.call_id",
    ),
    ("conversation.item.delete", {"item_id": "item_x"}, "type"),
    ("input_audio_buffer.commit", {}, "type"),
]


async def test_what_a_member_does_not_do_is_refused_and_changes_nothing(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        wire.sound(bytes(300 * MS))
        before = await wire.session()
        for kind, fields, param in REFUSED:
            sent = json.loads(json.dumps(fields))
            if "session" in sent:
                sent["session"] = {"type": "realtime", **sent["session"]}
            wire.send(kind, **sent, event_id=f"about {param}")
            error = (await wire.until("error"))["error"]
            assert (error["type"], error["param"]) == ("invalid_request_error", param), error
            assert error["event_id"] == f"about {param}"
        assert await wire.session() == before
        assert (await wire.ask("When are you open?"))["status"] == "completed"
        assert len(doors.history()) <= 1


async def test_pictures_for_a_member_that_sees_none_and_one_that_does(autojump_clock):
    item = {**MESSAGE, "content": [WORDS, {"type": "input_image", "image_url": PNG}]}
    async with open_doors() as doors, dialled(doors) as wire:
        wire.send("conversation.item.create", item=item)
        wire.send("response.create", response={"output_modalities": ["text"]})
        assert (await wire.until("response.done"))["response"]["status"] == "completed"
        await wire.settle(1)
        assert [image.mime for item in doors.history()[0].items for image in getattr(item, "images", ())] == [
            "image/png"
        ]
    async with open_doors(limits=DoorLimits(max_image_bytes=4)) as doors, dialled(doors) as wire:
        wire.send("conversation.item.create", item=item)
        assert (await wire.until("error"))["error"]["code"] == "bad_request"
    gif = {**MESSAGE, "content": [{"type": "input_image", "image_url": "data:image/png;base64,R0lGODlh"}]}
    for member in ("host", "menu"):
        async with open_doors(desk()) as doors, dialled(doors, member) as wire:
            wire.send("conversation.item.create", item=gif)
            assert "no image/png" in (await wire.until("error"))["error"]["message"]


async def test_settings_that_change_nothing_are_taken(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        before = wire.events[0]["session"]
        after = await wire.session(
            tracing="auto",
            truncation="disabled",
            audio={"input": {"noise_reduction": {"type": "near_field"}}},
            max_output_tokens="inf",
            tool_choice="auto",
            include=[],
        )
        assert {key for key in before if before[key] != after[key]} <= {"tracing", "truncation", "audio", "include"}
        assert (await wire.ask("When are you open?"))["status"] == "completed"
