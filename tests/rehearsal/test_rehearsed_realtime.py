"""The rehearsed realtime wire, turn by turn, under a virtual clock."""

import base64

import pytest
import trio
import trio_websocket
from hypothesis import example, given, settings, strategies as st
from rehearsed_wire import MANUAL, MS, dialled, wired

from mob.errors import MemberUnknown, UsageError
from mob.rehearsal.faults import parse_fault
from mob.rehearsal.serve import Rehearsal, open_rehearsal
from mob.rehearsal.voice import hear, said_within

HOST = "You are the host.\nWe are open from noon to eleven.\nThere is free parking behind the house."
MENU = {
    "type": "function",
    "name": "ask_menu",
    "description": "Ask menu: dishes and prices.",
    "parameters": {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
}
VAD = {"input": {"transcription": {"model": "whisper-1"}}}


async def test_a_text_turn(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST, output_modalities=["text"])
        done = await wire.ask("When are you open?")
        assert done["status"] == "completed"
        assert done["output"][0]["content"][0]["text"] == "We are open from noon to eleven."
        assert "".join(e["delta"] for e in wire.of("response.output_text.delta")) == "We are open from noon to eleven."
        assert done["usage"]["output_tokens"] > 0


async def test_a_spoken_turn_with_server_vad(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST, audio=VAD)
        await wire.say("Where can I park?", before_ms=1000)
        done = (await wire.until("response.done"))["response"]
        await wire.settle()
        assert hear(wire.sound()) == wire.transcript() == "There is free parking behind the house."
        order = [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "response.done",
        ]
        places = [wire.kinds().index(kind) for kind in order]
        assert places == sorted(places)
        started = wire.of("input_audio_buffer.speech_started")[0]
        assert abs(started["audio_start_ms"] - 700) <= 20
        heard = wire.of("conversation.item.input_audio_transcription.completed")[0]
        assert heard["transcript"] == "Where can I park?"
        assert heard["item_id"] == started["item_id"]
        assert done["usage"]["output_token_details"]["audio_tokens"] > 0


async def test_a_spoken_turn_with_manual_turns(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST, audio=MANUAL)
        await wire.say("When are you open?", after_ms=2000)
        await wire.settle()
        assert "input_audio_buffer.speech_started" not in wire.kinds()
        await wire.send("input_audio_buffer.commit")
        await wire.until("conversation.item.done")
        await wire.send("response.create")
        await wire.until("response.done")
        assert hear(wire.sound()) == "We are open from noon to eleven."


async def test_semantic_vad_and_no_response_of_its_own(autojump_clock):
    quiet = {"type": "semantic_vad", "eagerness": "high", "create_response": False, "interrupt_response": False}
    async with wired() as wire:
        await wire.session(instructions=HOST, audio={"input": {"turn_detection": quiet}})
        await wire.say("When are you open?", after_ms=400)
        await wire.settle()
        assert "input_audio_buffer.committed" in wire.kinds()
        assert "response.created" not in wire.kinds()
        await wire.send("response.create")
        await wire.until("response.done")
        assert wire.transcript() == "We are open from noon to eleven."


async def test_a_tool_turn(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST, tools=[MENU])
        call = (await wire.ask("What does the soup cost?"))["output"][0]
        assert (call["type"], call["name"]) == ("function_call", "ask_menu")
        assert call["arguments"] == '{"question": "What does the soup cost?"}'
        item = {"type": "function_call_output", "call_id": call["call_id"], "output": "The soup costs 6 euros."}
        await wire.send("conversation.item.create", item=item)
        await wire.send("response.create")
        await wire.until("response.done")
        assert hear(wire.sound()) == "I asked menu. The soup costs 6 euros."


async def test_speech_interrupts_and_what_was_played_can_be_read_back(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST, audio=VAD)
        await wire.type("Tell me about yourself.")
        await wire.send("response.create")
        await wire.until("response.output_audio.delta", count=12)
        await wire.say("Stop!")
        done = (await wire.until("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
        item_id = done["output"][0]["id"]
        assert done["output"][0]["status"] == "incomplete"
        played_ms = 700
        whole = "I am the host. We are open from noon to eleven. There is free parking behind the house."
        assert hear(wire.sound(item_id)[: played_ms * MS]) == said_within(whole, played_ms) != ""
        await wire.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
        await wire.until("conversation.item.truncated")
        assert (await wire.until("response.done"))["response"]["status"] == "completed"  # the answer to "Stop!"


async def test_the_client_cancels_and_asks_again(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST)
        await wire.type("Tell me about yourself.")
        await wire.send("response.create")
        created = await wire.until("response.created")
        await wire.until("response.output_audio.delta", count=3)
        await wire.send("response.create", event_id="mine")
        refused = (await wire.until("error"))["error"]
        assert (refused["code"], refused["event_id"]) == ("conversation_already_has_active_response", "mine")
        await wire.send("response.cancel", response_id=created["response"]["id"])
        done = (await wire.until("response.done"))["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        assert done["usage"]["output_token_details"]["audio_tokens"] > 0
        count = len(wire.of("response.output_audio.delta"))
        await wire.settle()
        assert len(wire.of("response.output_audio.delta")) == count
        assert (await wire.ask("Where can I park?"))["status"] == "completed"
        await wire.send("response.cancel")
        assert (await wire.until("error"))["error"]["code"] == "response_cancel_not_active"


async def test_a_deleted_item_is_forgotten_and_context_can_be_given(autojump_clock):
    async with wired() as wire:
        await wire.session(output_modalities=["text"])
        item = {"id": "told", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        await wire.send("conversation.item.create", item=item)
        await wire.send("conversation.item.delete", item_id="told")
        await wire.until("conversation.item.deleted")
        asked = [{**item, "id": "x", "content": [{"type": "input_text", "text": "thank you"}]}]
        beside = await wire.ask("What?", conversation="none", input=asked)
        assert "welcome" in beside["output"][0]["content"][0]["text"]
        assert beside["conversation_id"] is None


async def test_pictures_are_described(autojump_clock):
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + bytes([0, 0, 1, 0, 0, 0, 0, 64]))
    async with wired() as wire:
        await wire.session(output_modalities=["text"])
        content = [{"type": "input_image", "image_url": f"data:image/png;base64,{png.decode()}"}]
        await wire.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await wire.send("response.create")
        done = await wire.until("response.done")
        assert "256 by 64 pixels" in done["response"]["output"][0]["content"][0]["text"]


async def test_sound_that_is_no_tone_speech_is_admitted(autojump_clock):
    async with wired() as wire:
        await wire.session(audio=VAD)
        hum = b"".join(int(6000 * (-1) ** (i // 40)).to_bytes(2, "little", signed=True) for i in range(24000))
        await wire.send_sound(hum + bytes(800 * MS))
        await wire.until("response.done")
        await wire.settle()
        assert "no tone speech" in hear(wire.sound())
        assert wire.of("conversation.item.input_audio_transcription.completed")[0]["transcript"] == ""


async def test_silence_runs_out_of_time(autojump_clock):
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    async with wired() as wire:
        await wire.session(instructions=HOST, audio={"input": {"turn_detection": detection}})
        await wire.send_sound(bytes(6000 * MS))
        timeout = await wire.until("input_audio_buffer.timeout_triggered")
        assert (timeout["audio_start_ms"], timeout["audio_end_ms"]) == (0, 5000)
        await wire.until("response.done")


async def test_a_hand_over_note_is_greeted(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST, output_modalities=["text"])
        await wire.type("You have the floor now. Reason: the guest wants to park", role="system")
        await wire.send("response.create")
        done = await wire.until("response.done")
        assert "free parking" in done["response"]["output"][0]["content"][0]["text"]


async def test_max_output_tokens_cuts_the_answer(autojump_clock):
    async with wired() as wire:
        await wire.session(instructions=HOST)
        done = await wire.ask("Where can I park?", max_output_tokens=3)
        assert done["status_details"]["reason"] == "max_output_tokens"
        assert hear(wire.sound()) == "There is fre"


async def test_the_session_expires(autojump_clock):
    async with wired(max_session_s=120) as wire:
        expires_at = wire.events[0]["session"]["expires_at"]
        assert expires_at
        began = trio.current_time()
        assert await wire.until_closed() is not None
        assert wire.closed[0] == 1001
        assert trio.current_time() - began == pytest.approx(120, abs=1)
        assert wire.of("error")[0]["error"]["code"] == "session_expired"


async def test_the_beta_shape_is_refused(autojump_clock):
    async with open_rehearsal(None) as rehearsal:
        async with dialled(rehearsal, headers=[(b"OpenAI-Beta", b"realtime=v1")]) as wire:
            assert await wire.until_closed() == (4000, "invalid_request_error.beta_api_shape_disabled")
            assert wire.events[0]["error"]["code"] == "beta_api_shape_disabled"


async def test_the_subprotocol_is_echoed_and_may_carry_the_key(autojump_clock):
    async with open_rehearsal(None, strict_auth=True) as rehearsal:
        async with dialled(rehearsal, subprotocols=["realtime", "openai-insecure-api-key.sk-x"]) as wire:
            assert wire.socket.subprotocol == "realtime"
            await wire.until("session.created")


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v1/elsewhere?model=m", 404, b"unknown_url"),
        ("/nobody/v1/realtime?model=m", 404, b"unknown_url"),
        ("/v1/realtime?model=m", 401, b"invalid_api_key"),
        ("/v1/realtime", 400, b"missing_required_parameter"),
    ],
)
async def test_handshakes_are_refused_with_the_vendors_error(target, status, code, autojump_clock):
    import mob

    definition = mob.load("definitions/panel.toml")
    headers = [] if status == 401 else [(b"Authorization", b"Bearer any")]
    async with open_rehearsal(definition, strict_auth=True) as rehearsal:
        with pytest.raises(ExceptionGroup) as caught:
            async with dialled(rehearsal, target, headers=headers):
                pass
        rejected = caught.value.exceptions[0]
        assert isinstance(rejected, trio_websocket.ConnectionRejected)
        assert rejected.status_code == status
        assert code in (rejected.body or b"")
        assert rehearsal.statistics()["refused"] == 1


async def record(seed: int) -> list[dict]:
    async with wired(seed=seed) as wire:
        await wire.session(instructions=HOST, audio=VAD)
        await wire.say("Where can I park?")
        await wire.until("response.done")
        await wire.settle()
        events = [dict(event) for event in wire.events]
        for event in events:
            if session := event.get("session"):
                session.pop("expires_at")
        return events


async def test_the_same_seed_gives_the_same_frames(autojump_clock):
    assert await record(3) == await record(3)
    assert await record(3) != await record(4)


async def test_orders_that_are_free_differ_between_seeds(autojump_clock):
    kinds = ("response.output_audio.done", "response.output_audio_transcript.done")
    orders = set()
    for seed in range(6):
        orders.add(tuple(e["type"] for e in await record(seed) if e["type"] in kinds))
    assert orders == {kinds, kinds[::-1]}


async def test_two_members_on_one_port_have_their_own_rules(autojump_clock):
    import mob

    definition = mob.load("definitions/front-desk.toml")
    for member, words in (("host", "Welcome to the Olive Tree!"), ("manager", "Hello!")):
        async with wired(definition, member=member) as wire:
            await wire.session(output_modalities=["text"])
            done = await wire.ask("hello")
            assert done["output"][0]["content"][0]["text"].startswith(words)


async def test_a_slow_reader_slows_the_provider_down(autojump_clock):
    async with wired(pace=10_000.0, chunk_ms=20) as wire:
        await wire.session(instructions="You talk. " + "We have very many things to say. " * 3)
        await wire.type("Tell me about things to say.")
        await wire.send("response.create")
        await trio.sleep(30)
        done = await wire.until("response.done")
        assert done["response"]["status"] == "completed"
        assert hear(wire.sound()) == wire.transcript()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=40)), max_size=5))
def test_law_26_any_frame_is_answered_and_the_session_lives(frames):
    async def main() -> None:
        async with wired() as wire:
            for frame in frames:
                await wire.socket.send_message(frame)
            await wire.session(instructions=HOST, output_modalities=["text"])
            assert (await wire.ask("hello"))["status"] == "completed"
            assert len(wire.of("error")) == len(frames)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 4), st.sampled_from(["client first", "server first"]), st.sampled_from([(), ("half-open@9",)]))
@example(0.0, "server first", ())
def test_law_24_nothing_is_left_whenever_it_ends(after_s, order, faults):
    """A spoken turn, cut off at any moment by either side: no task is left, and closing takes no time."""

    async def turn(rehearsal: Rehearsal, client: trio.CancelScope) -> None:
        try:
            with client:
                async with dialled(rehearsal) as wire:
                    await wire.session(instructions=HOST, audio=VAD)
                    await wire.say("Tell me about yourself.")
                    await wire.settle(60)
        except* (
            trio_websocket.ConnectionClosed,
            trio_websocket.HandshakeError,
            trio.BrokenResourceError,
            trio.TooSlowError,
        ):
            pass  # the server may go first

    async def main() -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        client = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            async with open_rehearsal(None, faults=[parse_fault(text) for text in faults]) as rehearsal:
                nursery.start_soon(turn, rehearsal, client)
                await trio.sleep(after_s)
                if order == "client first":
                    client.cancel()
                    await trio.testing.wait_all_tasks_blocked()
                    assert rehearsal.statistics()["open"] == 0
                closing = trio.current_time()
            assert trio.current_time() == closing
            assert rehearsal.statistics()["open"] == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_an_error_in_the_block_comes_out_as_it_is(autojump_clock):
    with pytest.raises(KeyError, match="mine"):
        async with open_rehearsal(None):
            raise KeyError("mine")


async def test_what_cannot_be_served_is_refused(autojump_clock):
    import mob

    definition = mob.load("definitions/panel.toml")
    async with open_rehearsal(definition) as rehearsal:
        assert rehearsal.base_url("chair").endswith("/chair/v1")
        with pytest.raises(MemberUnknown):
            rehearsal.base_url("nobody")
        port = int(rehearsal.base_url().rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(UsageError, match="Cannot listen"):
            async with open_rehearsal(None, port=port):
                pass
    for options in ({"pace": 0}, {"chunk_ms": 5}, {"member": "nobody"}):
        with pytest.raises((UsageError, MemberUnknown)):
            async with open_rehearsal(definition, **options):
                pass
