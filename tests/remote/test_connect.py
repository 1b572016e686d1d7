"""mob.connect without live channels: what is lost, given up, refused, late or large."""

from __future__ import annotations

import functools
import json
import logging
import subprocess
import sys

import pytest
import trio
import trio.testing
from served import HTTP, LINES, crew, desk, serving

import mob
import mob.history.items
from mob.definition.model import Budget, Limits, RehearsalRule
from mob.errors import MobUnknown, RequestInvalid, ServerGone, SessionIdle, Unauthorized, WireError
from mob.history.items import AgentMessage, Turn, UserMessage
from mob.server.limits import DoorLimits
from mob.sessions.events import TurnEnded
from mob.team.bus import EventBus
from mob.team.events import StreamLagged
from mob.testing import MemoryNetwork

BOTH = pytest.mark.parametrize("url", [HTTP, LINES])


def room(server, client=0):
    """What the server keeps for the client whose connection is this one."""
    return server.network.connections[client]


# -- the way there -----------------------------------------------------------------------------------------------------


@BOTH
async def test_a_secret_opens_the_door_and_another_does_not(url, autojump_clock):
    async with serving(crew(), secret="a long enough secret") as server:
        async with server.connect(url, secret="a long enough secret") as team:
            assert list(team.members) == ["ann", "bob", "cyd"]
        for wrong in (None, "another secret altogether"):
            with pytest.raises(Unauthorized, match="secret"):
                async with server.connect(url, secret=wrong):
                    raise AssertionError("nobody comes in")
        assert server.network.statistics().open_now == 0


@BOTH
async def test_nobody_there_is_said(url, autojump_clock):
    async with serving(crew()) as server:
        server.network.refuse()
        with pytest.raises(ServerGone, match="localhost"):
            async with server.connect(url):
                pass
        server.network.refuse(refusing=False)
        server.network.hang()
        with pytest.raises(ServerGone, match="10 s"):
            async with server.connect(url):
                pass


@pytest.mark.parametrize(
    ("server", "word"),
    [
        ("ftp://localhost:1", "address"),
        ("tcp://localhost", "port"),
        ("http://", "host"),
        ("tcp://localhost:x", "address"),
        ("", "empty command"),
        ([], "empty command"),
    ],
)
async def test_what_is_no_address_and_no_command_is_refused(server, word):
    with pytest.raises(mob.UsageError, match=word):
        async with mob.connect(server):
            pass


async def test_a_command_that_cannot_be_started_is_no_server():
    with pytest.raises(ServerGone, match="no-such-program"):
        async with mob.connect("no-such-program --at all"):
            pass


@pytest.mark.real_socket
async def test_a_command_that_is_no_server_is_said_to_be_none():
    with pytest.raises(ServerGone, match="JSON"):
        async with mob.connect([sys.executable, "-c", "print('hello'); input()"]):
            pass
    with pytest.raises(ServerGone, match="lost"):
        async with mob.connect([sys.executable, "-c", ""]):
            pass


async def test_a_server_that_does_not_have_these_methods_is_said_to_be_none(autojump_clock):
    async def answer(stream):
        request = json.loads(await stream.receive_some())
        body = {"jsonrpc": "2.0", "id": request["id"], "result": {"methods": ["initialize"]}}
        await stream.send_all(json.dumps(body).encode() + b"\n")
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        network.listen("localhost", 7, answer)
        with pytest.raises(WireError, match="team"):
            async with mob.connect(LINES, network=network):
                pass


async def test_which_mob_is_meant_must_be_said_where_there_is_more_than_one(autojump_clock):
    async with serving(crew()) as server:
        with pytest.raises(MobUnknown, match="crew"):
            async with server.connect(mob="another"):
                pass
        other = server.realm.add_mob(crew("zoe"), mob_id="other")
        with pytest.raises(RequestInvalid, match="crew, other"):
            async with server.connect():
                pass
        with pytest.raises(SessionIdle):
            async with server.connect(mob="other"):
                pass
        await other.start()
        async with server.connect(mob="other") as team:
            assert (team.mob_id, list(team.members), team.run_id) == ("other", ["zoe"], other.run_id)


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock):
    async with serving(crew()) as server:
        with pytest.raises(KeyError, match="mine"):
            async with server.connect():
                raise KeyError("mine")
        with pytest.raises(mob.MemberUnknown):
            async with server.connect() as team:
                await team.hand_off("nobody")


def test_a_client_loads_no_server():
    code = "import sys, mob; mob.connect, mob.RemoteLive; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(done.stdout.split())
    assert not {name for name in loaded if name.startswith(("mob.server", "mob.cli", "mob.rehearsal", "mob._compose"))}
    assert not loaded & {"prompt_toolkit", "sqlite3"}


# -- what goes away ----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("how", ["reset", "hang_up"])
async def test_a_server_that_goes_away_ends_everything_that_waits(url, how, autojump_clock):
    ends = []

    async def wait_for(what):
        with pytest.raises(ServerGone, match="localhost") as caught:
            await what()
        ends.append(caught.value)

    async with serving(crew()) as server, server.connect(url) as team:
        events = team.events()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, lambda: team.ask("slow"))
            nursery.start_soon(wait_for, lambda: team.member("bob").ask("slow"))
            nursery.start_soon(wait_for, team.wait_quiet)
            nursery.start_soon(wait_for, lambda: _read_all(events))
            await trio.sleep(1)
            getattr(room(server), how)()
        assert len(ends) == 4
        with pytest.raises(ServerGone):
            await team.ask("again")
        with pytest.raises(ServerGone):
            team.tell("again")
        assert not team.statistics().connected
        assert team.floor == "ann"  # what was known last can still be looked at


async def _read_all(events):
    async for _ in events:
        pass


async def test_leaving_the_block_leaves_nothing(autojump_clock):
    """Law 24, the clients' half: no task, stream or feed at either side; the mob goes on."""
    async with serving(crew()) as server:
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for url in (HTTP, LINES):
            async with server.connect(url) as team, trio.open_nursery() as nursery:
                nursery.start_soon(_read_all, team.events())
                await team.ask("one")
                nursery.start_soon(team.ask, "slow")
                await trio.sleep(0.5)
                nursery.cancel_scope.cancel()
            await trio.sleep(10)
            assert trio.lowlevel.current_statistics().tasks_living == before
            assert server.network.statistics().open_now == 0
        assert server.hosted.state == "running"


@BOTH
async def test_what_was_told_last_still_arrives_when_the_block_is_left(url, autojump_clock):
    async with serving(crew()) as server:
        async with server.connect(url) as team:
            for number in range(5):
                team.tell(f"number {number}")
        await server.mob.wait_quiet()
        assert [turn.user_text for turn in server.mob.member("ann").history()] == [f"number {n}" for n in range(5)]


async def test_a_mob_that_stops_ends_the_events_and_refuses_the_rest(autojump_clock):
    async with serving(crew()) as server, server.connect() as team:
        await team.ask("one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_all, team.events())
            await server.hosted.stop()
        assert team.state == "stopped"
        with pytest.raises(mob.MemberNotRunning, match="stopped"):
            await team.ask("two")
        assert [turn.user_text for turn in team.member("ann").history()] == ["one"]
        await team.stop()


async def test_a_call_that_is_given_up_is_given_up_at_the_server(autojump_clock):
    async with serving(crew()) as server, server.connect() as team:
        with trio.move_on_after(1) as patience:
            await team.member("bob").ask("slow")
        assert patience.cancelled_caught
        began = trio.current_time()
        await team.wait_quiet()
        assert trio.current_time() - began < 1
        (turn,) = team.member("bob").history()
        assert turn.status in ("interrupted", "cancelled")
        assert (await team.member("bob").ask("again")).text == "Well, well."


# -- errors ------------------------------------------------------------------------------------------------------------


async def test_errors_are_those_that_the_mob_raised(autojump_clock):
    limits = Limits(max_mailbox=2)
    async with serving(crew(limits=limits, budget=Budget(max_turns=3))) as server, server.connect() as team:
        with pytest.raises(mob.TurnTimedOut):
            await team.ask("slow", timeout=0.1)
        old = team.member("bob")
        await server.mob.respawn("bob")
        with pytest.raises(mob.StaleGeneration) as stale:
            await old.ask("one")
        assert (stale.value.generation, stale.value.current) == (1, 2)
        for _ in range(2):
            await team.member("cyd").ask("one")
        with pytest.raises(mob.BudgetExceeded):
            await team.member("cyd").ask("one too many")
        with pytest.raises(RequestInvalid, match="timeout"):
            await team.member("cyd")._connection.call("team/ask", {"member": "cyd", "text": "x", "timeout": -1})


async def test_what_the_server_does_not_take_of_what_it_was_told_is_logged_and_counted(autojump_clock, caplog):
    async with serving(crew(limits=Limits(max_mailbox=1))) as server, server.connect() as team:
        with caplog.at_level(logging.WARNING, "mob.remote"):
            for _ in range(4):
                team.member("bob").tell("slow")
            await team.wait_quiet()
        refused = team.statistics().calls.refused
        assert refused >= 1
        assert len([record for record in caplog.records if "bob" in record.message]) == refused
        assert len(team.member("bob").history()) == 4 - refused


async def test_more_can_be_asked_at_once_than_a_server_takes_of_one_client(autojump_clock):
    names = " ".join(f"m{number}" for number in range(30))
    limits = DoorLimits(max_requests_under_way=64)
    async with serving(crew(names), limits=limits) as server, server.connect() as team:
        answers = []

        async def ask(member):
            answers.append((await member.ask("hello")).text)

        async with trio.open_nursery() as nursery:
            for member in team.members.values():
                for _ in range(5):
                    nursery.start_soon(ask, member)
        assert answers == ["Well, well."] * 150


# -- events ------------------------------------------------------------------------------------------------------------


async def test_events_from_before_the_connection_are_there(autojump_clock):
    async with serving(crew()) as server:
        for _ in range(3):
            await server.mob.ask("one")
        async with server.connect() as team:
            await team.ask("two")
            seqs, ended = [], 0
            async with team.events() as events:
                async for event in events:
                    seqs.append(event.seq)
                    ended += isinstance(event, TurnEnded)
                    if ended == 4:
                        break
            assert seqs == list(range(1, len(seqs) + 1))
            after = team.events(after=seqs[-2])
            assert (await anext(after)).seq == seqs[-1]
            assert after.last_seq == seqs[-1]


async def test_a_reader_that_is_too_slow_is_told_what_it_missed(autojump_clock, monkeypatch):
    monkeypatch.setattr("mob.remote.events._KEPT", 50)
    async with serving(crew()) as server, server.connect() as team:
        events = team.events(after=server.mob.statistics().events.published)
        await team.ask("one")
        first = await anext(events)
        for _ in range(30):
            await team.ask("more")
        lag = await anext(events)
        following = await anext(events)
        assert isinstance(lag, StreamLagged)
        assert lag.missed == following.seq - first.seq - 1
        assert lag.seq == following.seq - 1
        assert team.statistics().events.missed == lag.missed


async def test_a_slow_client_loses_events_and_no_state(autojump_clock, monkeypatch):
    """The connection takes nothing for a while: what waits at the server is bounded, and then the replica is whole."""
    monkeypatch.setattr("mob.team.running.EventBus", functools.partial(EventBus, kept=64))
    limits = DoorLimits(max_notifications_waiting=20)
    async with serving(crew(), limits=limits) as server, server.connect() as team:
        goes_on = trio.Event()
        stream = room(server).theirs.send_stream
        pump = stream.send_all_hook

        async def stuck():
            await goes_on.wait()
            await pump()

        stream.send_all_hook = stuck
        for number in range(40):
            await server.mob.member("bob").ask(f"number {number}")
        assert team.member("bob").history() == ()
        events = team.events(after=server.mob.statistics().events.published - 1)
        goes_on.set()
        await team.ask("are you there?")
        assert team.member("bob").history() == server.mob.member("bob").history()
        assert team.usage == server.mob.usage
        lagged = [event for event in team._replica.events._events if isinstance(event, StreamLagged)]
        assert lagged
        assert lagged[0].missed > 40
        assert (await anext(events)).seq >= lagged[0].seq


# -- what is late or large ---------------------------------------------------------------------------------------------


async def test_a_turn_that_no_notification_can_carry_is_fetched_before_the_answer_is_given(autojump_clock):
    picture = mob.Image("image/png", b"\x89PNG\r\n\x1a\n" + bytes(20_000))
    limits = DoorLimits(max_notification_bytes=30_000)
    async with serving(desk(), limits=limits) as server, server.connect() as team:
        await team.member("menu").ask("What is on this?", images=[picture])
        (turn,) = team.member("menu").history()
        assert turn.items[0].images == (picture,)
        assert (turn,) == server.mob.member("menu").history()
    async with serving(desk(), limits=limits) as server:
        await server.mob.member("menu").ask("What is on this?", images=[picture])
        async with server.connect() as team:
            assert team.member("menu").history() == server.mob.member("menu").history()
            await server.mob.member("menu").ask("And on this?", images=[picture])
            await trio.sleep(1)
            assert team.member("menu").history() == server.mob.member("menu").history()


async def test_a_picture_that_is_none_is_refused_before_anybody_sees_it(autojump_clock):
    gif = mob.Image("image/png", b"GIF89a")
    async with serving(desk()) as server, server.connect() as team:
        for of in (team, team.member("menu")):
            with pytest.raises(mob.MobError, match="no image/png") as refused:
                await of.ask("What is on this?", images=[gif])
            assert refused.value.code == "bad_request"
        assert server.mob.member("menu").history() == server.mob.member("host").history() == ()


async def test_a_long_history_is_all_there(autojump_clock):
    long = RehearsalRule(when="tell me", say="x" * 4000)
    async with serving(crew(rules=[long])) as server:
        for number in range(40):
            await server.mob.member("bob").ask(f"tell me {number}")
        async with server.connect() as team:
            assert team.member("bob").history() == server.mob.member("bob").history()
            assert len(team.member("bob").history()) == 40


async def test_words_that_come_after_their_turn_arrive(autojump_clock):
    """No event tells of them."""
    async with serving(crew()) as server, server.connect() as team:
        desk = server.mob.member("bob").session._desk
        spoken = UserMessage("item_spoken", "", spoken=True, transcript="pending")
        cause = mob.history.items.Cause("speech")
        await desk.admit(cause)
        await desk.commit(Turn("turn_spoken", cause, (spoken, AgentMessage("item_answer", "Yes."))))
        await trio.sleep(5)
        assert team.member("bob").history()[0].items[0].transcript == "pending"
        await desk.fill_transcript("item_spoken", "is that so", failed=False)
        await trio.sleep(0.5)
        assert team.member("bob").history() == server.mob.member("bob").history()
        assert team.member("bob").history()[0].user_text == "is that so"
