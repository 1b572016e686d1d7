"""How connections end, and what a client does not notice of what happens behind the member."""

from __future__ import annotations

import pytest
import trio
from gateway_doors import LONG, alone, desk, dialled, open_doors

from mob.errors import StoreFull
from mob.live.transport import TransportClosed
from mob.rehearsal.faults import parse_fault
from mob.rehearsal.voice import hear
from mob.server.limits import DoorLimits

PARK = "There is free parking behind the house."


async def test_a_provider_that_is_lost_between_answers_is_not_noticed(autojump_clock):
    async with open_doors(faults=[parse_fault("drop-socket@40")]) as doors, dialled(doors) as wire:
        for question in ("When are you open?", "Where can I park?", "When are you open?"):
            assert (await wire.ask(question, output_modalities=["text"]))["status"] in ("completed", "failed")
            await wire.settle(20)
        assert (await wire.ask("Where can I park?", output_modalities=["text"]))["status"] == "completed"
        epoch = doors.realm.mobs[0].mob.member("host").session.channel.epoch
        assert epoch > 1, "the fault was there"
        assert wire.closed is None


async def test_words_that_are_lost_with_a_connection_are_heard_again_and_told_of_once(autojump_clock):
    async with open_doors(faults=[parse_fault("drop-socket@9")]) as doors, dialled(doors) as wire:
        await wire.session(output_modalities=["text"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.say_slowly, "Where can I park?")
            await wire.until("response.done")
        await wire.settle()
        assert len(wire.of("input_audio_buffer.committed")) == 1
        assert len(wire.of("response.done")) == 1
        assert [turn.agent_text for turn in doors.history()] == [PARK]


@pytest.mark.parametrize("frame", range(4, 24, 3))
async def test_wherever_the_connection_breaks_the_client_is_answered(autojump_clock, frame):
    async with open_doors(faults=[parse_fault(f"drop-socket@{frame}")]) as doors, dialled(doors) as wire:
        wire.say("Where can I park?")
        await wire.settle(120)
        created = [event["response"]["id"] for event in wire.of("response.created")]
        done = [event["response"]["id"] for event in wire.of("response.done")]
        assert created == done
        assert len(created) >= 1
        assert wire.closed is None


async def test_a_member_that_goes_is_said_goodbye_to_in_words(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as wire:
        await doors.realm.mobs[0].mob.retire("host")
        code, reason = await wire.until_closed()
        assert (code, reason) == (1011, "server_error.member_gone")
        assert wire.events[-1]["error"]["code"] == "member_gone"


@pytest.mark.parametrize("member", ["host", "menu"])
async def test_a_mob_that_stops_ends_its_clients_connections(autojump_clock, member):
    async with open_doors(desk()) as doors, dialled(doors, member) as wire:
        await doors.realm.mobs[0].stop()
        assert await wire.until_closed() == (1011, "server_error.member_gone")


async def test_a_log_that_takes_nothing_more_ends_the_connection_with_its_reason(autojump_clock, monkeypatch):
    async with open_doors() as doors, dialled(doors) as wire:
        session = doors.realm.mobs[0].mob.member("host").session

        async def full(turn):
            raise StoreFull("the disk is full")

        monkeypatch.setattr(session._desk, "commit", full)
        await wire.ask("When are you open?")
        code, _ = await wire.until_closed()
        assert code == 1011
        assert [event["error"]["code"] for event in wire.of("error")][-1] == "store_full"


async def test_a_server_that_stops_says_so(autojump_clock):
    async with open_doors() as doors, trio.open_nursery() as outside:
        stop = trio.Event()

        async def serve(*, task_status) -> None:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await stop.wait()
                nursery.cancel_scope.cancel()

        serving = await outside.start(serve)
        async with dialled(doors, server_nursery=serving) as wire:
            stop.set()
            assert await wire.until_closed() == (1001, "server_error.server_stopping")
            assert wire.events[-1]["error"]["code"] == "server_stopping"
        assert doors.realm.mobs[0].mob.member("host").session.channel is None


async def test_the_session_has_an_end(autojump_clock):
    async with open_doors(limits=DoorLimits(realtime_s=100)) as doors, dialled(doors) as wire:
        code, reason = await wire.until_closed()
        assert (code, reason) == (1001, "invalid_request_error.session_expired")
        assert wire.events[-1]["error"]["code"] == "session_expired"
        assert doors.realm.mobs[0].mob.member("host").session.channel is None


async def test_a_client_that_is_there_and_says_nothing_stays(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        await wire.settle(1000)
        assert wire.closed is None
        assert (await wire.ask("When are you open?"))["status"] == "completed"


async def test_a_client_that_gives_no_sign_of_life_is_let_go(autojump_clock):
    async with open_doors() as doors, dialled(doors) as wire:
        session = doors.realm.mobs[0].mob.member("host").session
        wire.transport.ping_nowait = lambda: None
        await trio.sleep(200)  # nobody reads, so no ping is answered
        assert session.channel is None
        with pytest.raises(TransportClosed):
            await wire.settle(10)
        assert wire.events[-1]["error"]["code"] == "client_silent"


async def test_a_client_that_takes_nothing_is_not_read_from_and_at_last_let_go(autojump_clock):
    async with open_doors() as doors, dialled(doors, narrow=True) as wire:
        session = doors.realm.mobs[0].mob.member("host").session
        for number in range(1000):
            wire.send("session.update", session={"type": "realtime", "instructions": f"{number}" * 1000})
        await trio.sleep(30)
        assert session.channel is not None
        await trio.sleep(100)
        assert session.channel is None
        with pytest.raises(TransportClosed):
            await wire.settle(10)
        assert len(wire.of("session.updated")) < 300


async def test_a_client_that_says_much_at_once_is_heard_in_full(autojump_clock):
    async with open_doors() as doors, dialled(doors, narrow=True) as wire:
        async with trio.open_nursery() as nursery:
            for number in range(800):
                wire.send("session.update", session={"type": "realtime", "instructions": f"{number}"})
            nursery.start_soon(wire.until, "session.updated", 800)
        assert wire.events[-1]["session"]["instructions"] == "799"


async def test_a_client_that_is_slow_for_a_while_loses_nothing(autojump_clock):
    async with open_doors(alone(instructions=LONG)) as doors, dialled(doors, narrow=True) as wire:
        wire.type("What is rule 0, rule 1, rule 2 and rule 3?")
        wire.send("response.create")
        await trio.sleep(40)
        assert doors.realm.mobs[0].mob.member("host").session.channel is not None
        response = (await wire.until("response.done"))["response"]
        assert response["status"] == "completed"
        assert wire.transcript() == response["output"][0]["content"][0]["transcript"]
        assert hear(wire.pcm()) == wire.transcript(), "what the socket did not take was waited for"


async def test_two_clients_of_two_members_at_once(autojump_clock):
    async with open_doors(desk()) as doors, dialled(doors) as host, dialled(doors, "manager") as manager:
        host.type("When are you open?")
        host.send("response.create")
        manager.type("How long is lost property kept?")
        manager.send("response.create")
        await host.until("response.done")
        await manager.until("response.done")
        assert "noon" in hear(host.pcm())
        assert "thirty days" in hear(manager.pcm())
