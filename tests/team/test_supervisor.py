"""The supervisor on the real request/response wire and a virtual clock: talking, hand-overs, coming and going."""

import uuid

import pytest
import trio
from attrs import evolve
from scripted_team import HANGS, REFUSES, calls, definition_of, open_team, rows_of, says

from mob.definition.model import Limits, Member, Profile, RoleWiring, Route
from mob.errors import (
    MemberFailed,
    MemberNotRunning,
    MemberUnknown,
    RunUnknown,
    StaleGeneration,
    UsageError,
)
from mob.history.items import Note, ToolResult
from mob.history.rows import FloorMoved, MemberEnded, MemberSpawned, RunStarted, RunStopped, TurnRow
from mob.sessions.tools import ToolFunction
from mob.store.memory import MemoryStore
from mob.values import ToolSchema


def results(turn):
    return [item for item in turn.items if isinstance(item, ToolResult)]


async def test_the_entry_member_has_the_floor_and_answers(autojump_clock):
    store = MemoryStore()
    async with open_team(store=store) as mob:
        assert mob.floor == "ann"
        answer = await mob.ask("hello")
        assert answer.text == "ann 1"
        assert [turn.user_text for turn in mob.member("ann").history()] == ["hello"]
        assert mob.member("ann").state == "idle"
        assert mob.statistics().members == {"ann": "idle", "bob": "idle", "cyd": "idle"}
    kinds = [row.kind for row in await rows_of(store)]
    assert kinds == [RunStarted.kind, *[MemberSpawned.kind] * 3, FloorMoved.kind, TurnRow.kind, RunStopped.kind]


async def test_events_tell_the_whole_run_and_end_with_it(autojump_clock):
    async with open_team() as mob:
        stream = mob.events()
        await mob.ask("hello")
    told = [event async for event in stream]
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    kinds = [event.type for event in told]
    assert kinds[0] == "mob_started"
    assert kinds[-1] == "mob_stopped"
    assert {"floor_moved", "agent_text", "turn_committed"} <= set(kinds)
    assert told[0].members["ann"] == {"model": "writer-1", "live": False, "rehearsed": True}
    assert told[-1].turns == 1
    assert told[-1].usage == mob.usage


async def test_a_member_asks_another_and_uses_the_answer(autojump_clock):
    scripts = {"ann": [calls("ask_bob", question="the price?"), says("It is nine.")], "bob": [says("nine")]}
    async with open_team(scripts=scripts) as mob:
        answer = await mob.ask("what does it cost?")
        assert answer.text == "It is nine."
        (result,) = results(answer.turn)
        assert (result.status, result.output) == ("done", "nine")
        (turn,) = mob.member("bob").history()
        assert (turn.cause.kind, turn.cause.origin, turn.cause.hops, turn.user_text) == ("ask", "ann", 1, "the price?")
        assert "message" in [event.type for event in await so_far(mob)]
        assert mob.usage == mob.member("ann").usage + mob.member("bob").usage


async def so_far(mob):
    events = mob.events()
    published = mob.statistics().events.published
    return [await anext(events) for _ in range(published)]


async def test_a_circle_of_asks_is_refused_with_its_name_and_everybody_answers(autojump_clock):
    scripts = {
        "ann": [calls("ask_bob", question="?"), says("fine")],
        "bob": [calls("ask_ann", question="?"), says("I do not know")],
    }
    async with open_team(scripts=scripts) as mob:
        assert (await mob.ask("well?")).text == "fine"
        (turn,) = mob.member("bob").history()
        (result,) = results(turn)
        assert result.status == "denied"
        assert "bob -> ann -> bob" in result.output


async def test_a_tell_is_answered_to_nobody(autojump_clock):
    scripts = {"ann": [calls("tell_bob", message="we close"), says("told")], "bob": [says("noted", after=5.0)]}
    async with open_team(scripts=scripts) as mob:
        assert (await mob.ask("tell them")).text == "told"
        await mob.wait_quiet()
        (turn,) = mob.member("bob").history()
        assert (turn.cause.kind, turn.agent_text) == ("tell", "noted")


async def test_a_hand_over_moves_the_floor_with_the_turn_and_the_new_holder_speaks(autojump_clock):
    store = MemoryStore()
    scripts = {"ann": [calls("hand_off_to_bob", reason="it is about cards")], "bob": [says("About your card…")]}
    async with open_team(scripts=scripts, store=store) as mob:
        answer = await mob.ask("my card is gone")
        await mob.wait_quiet()
        assert mob.floor == "bob"
        (turn,) = mob.member("bob").history()
        (note,) = [item for item in turn.items if isinstance(item, Note)]
        assert "my card is gone" in note.text
        assert turn.agent_text == "About your card…"
        assert (await mob.ask("and now?")).turn.id != answer.turn.id
        assert len(mob.member("bob").history()) == 2
        floor = [event.as_json() for event in await so_far(mob) if event.type == "floor_moved"]
        assert [(event.get("from"), event.get("to")) for event in floor] == [(None, "ann"), ("ann", "bob")]
    rows = await rows_of(store)
    move = next(index for index, row in enumerate(rows) if isinstance(row, FloorMoved) and row.to == "bob")
    assert rows[move - 1].turn.id == answer.turn.id
    assert rows[move].turns == (answer.turn.id,)


@pytest.mark.parametrize(("script", "why"), [(HANGS, "did not speak within 10 s"), (REFUSES, "could not speak")])
async def test_a_silent_new_holder_gives_the_floor_back(script, why, autojump_clock):
    scripts = {"ann": [calls("hand_off_to_bob", reason="x"), says("I am back")], "bob": [script]}
    async with open_team(scripts=scripts) as mob:
        await mob.ask("help")
        await mob.wait_quiet()
        assert mob.floor == "ann"
        last = mob.member("ann").history()[-1]
        assert last.agent_text == "I am back"
        assert why in next(item.text for item in last.items if isinstance(item, Note))


async def test_the_user_picks_who_to_talk_with(autojump_clock):
    async with open_team() as mob:
        await mob.hand_off("cyd")
        assert mob.floor == "cyd"
        await mob.wait_quiet()
        assert mob.member("cyd").history() == (), "nothing was said yet: the user has the word"
        assert (await mob.ask("hello")).text == "cyd 1"
        await mob.hand_off("bob")
        await mob.wait_quiet()
        (turn,) = mob.member("bob").history()
        assert "hello" in next(item.text for item in turn.items if isinstance(item, Note))
        with pytest.raises(MemberUnknown):
            await mob.hand_off("zoe")


async def test_members_come_go_and_come_back(autojump_clock):
    async with open_team(definition_of(role_wiring=(RoleWiring("clerk", "clerk"),))) as mob:
        old = mob.member("bob")
        assert old.generation == 1
        await mob.retire("bob")
        assert old.state == "retired"
        with pytest.raises(MemberNotRunning):
            await old.ask("hello?")
        fresh = await mob.respawn("bob")
        assert fresh.generation == 2
        with pytest.raises(StaleGeneration) as stale:
            await old.ask("hello?")
        assert (stale.value.generation, stale.value.current) == (1, 2)
        with pytest.raises(StaleGeneration):
            old.history()
        dan = await mob.spawn("dan", profile="clerk")
        assert (dan.generation, mob.definition.members["dan"].profile) == (1, "clerk")
        await mob.ask("look around")
        offered = {tool.name for tool in mob.stage.requests_of("ann")[-1].tools}
        assert {"ask_dan", "ask_bob", "tell_dan"} <= offered
        for name, profile in (("dan", "clerk"), ("no spaces", "clerk"), ("eve", "nobody")):
            with pytest.raises(UsageError):
                await mob.spawn(name, profile=profile)


async def test_a_respawned_member_keeps_its_history(autojump_clock):
    async with open_team() as mob:
        await mob.member("bob").ask("remember blue")
        fresh = await mob.respawn("bob")
        await fresh.ask("which colour?")
        said = [message.text for message in mob.stage.requests_of("bob")[-1].messages]
        assert "remember blue" in said


async def test_wiring_changes_the_tools_and_what_is_let_through(autojump_clock):
    async with open_team(definition_of(routes=[Route("ann", "bob", ("ask",))])) as mob:
        await mob.ask("1")
        await mob.wire("ann", "cyd", "tell", "hand_off")
        await mob.unwire("ann", "bob")
        await mob.wait_quiet()
        await mob.ask("2")
        first, second = ({tool.name for tool in request.tools} for request in mob.stage.requests_of("ann"))
        assert first == {"ask_bob"}
        assert second == {"tell_cyd", "hand_off_to_cyd"}
        with pytest.raises(MemberUnknown):
            await mob.wire("ann", "zoe")


async def test_a_call_of_a_route_that_was_just_taken_away_is_denied(autojump_clock):
    scripts = {"ann": [calls("ask_bob", question="?", after=1.0), says("then not")]}
    async with open_team(definition_of(routes=[Route("ann", "bob", ("ask",))]), scripts) as mob:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mob.ask, "go")
            await trio.sleep(0.5)
            await mob.unwire("ann", "bob")
        (result,) = results(mob.member("ann").history()[-1])
        assert result.status in ("denied", "failed")
        assert mob.member("bob").history() == ()


async def crash(mob, identity):
    """Raise inside the member's own nursery, as a fault of ours would."""

    async def fault():
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug")

    mob.member(identity).session._parts.nursery.start_soon(fault)
    await trio.sleep(0.01)


async def test_law_22_a_crash_ends_one_generation_and_the_member_comes_back(autojump_clock):
    store = MemoryStore()
    async with open_team(store=store) as mob:
        await mob.member("bob").ask("remember blue")
        others = {name: mob.member(name).statistics() for name in ("ann", "cyd")}
        await crash(mob, "bob")
        assert mob.member("bob").state == "restarting"
        with pytest.raises(MemberNotRunning, match="restarting"):
            await mob.member("bob").ask("?")
        assert {name: mob.member(name).statistics() for name in ("ann", "cyd")} == others
        await mob.wait_quiet()
        bob = mob.member("bob")
        assert (bob.generation, bob.state) == (2, "idle")
        assert [turn.user_text for turn in bob.history()] == ["remember blue"]
        assert (await bob.ask("again")).text == "bob 2"
    ended = [row for row in await rows_of(store) if isinstance(row, MemberEnded)]
    assert [(row.member, row.generation, row.reason) for row in ended] == [("bob", 1, "crashed")]
    assert ended[0].error == "RuntimeError: a bug"


async def test_law_22_one_crash_too_many_and_the_member_has_failed_until_it_is_respawned(autojump_clock):
    limits = Limits(max_restarts=2, restart_backoff_s=0.1)
    async with open_team(definition_of(limits=limits)) as mob:
        for _ in range(3):
            await crash(mob, "bob")
            await mob.wait_quiet()
        assert mob.member("bob").state == "failed"
        with pytest.raises(MemberFailed, match="respawn"):
            await mob.member("bob").ask("?")
        await mob.ask("who is there?")
        assert "ask_bob" not in {tool.name for tool in mob.stage.requests_of("ann")[-1].tools}
        fresh = await mob.respawn("bob")
        assert fresh.generation == 4
        assert (await fresh.ask("hello")).text == "bob 1"


async def test_a_crashed_holder_gives_the_floor_to_the_entry_member_and_it_gets_it_back_itself(autojump_clock):
    async with open_team() as mob:
        await mob.hand_off("bob")
        await mob.member("bob").ask("are you there?")
        await crash(mob, "bob")
        await mob.wait_quiet()
        assert mob.floor == "ann"
        (turn,) = mob.member("ann").history()
        assert "are you there?" in next(item.text for item in turn.items if isinstance(item, Note))
        await crash(mob, "ann")
        assert mob.floor is None
        with pytest.raises(MemberNotRunning, match="nobody has the floor"):
            await mob.ask("anybody?")
        await mob.wait_quiet()
        assert mob.floor == "ann"


async def test_an_asker_whose_peer_crashes_is_told(autojump_clock):
    scripts = {"ann": [calls("ask_bob", question="?"), says("bob is gone")], "bob": [HANGS]}
    async with open_team(scripts=scripts) as mob:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mob.ask, "go")
            await trio.sleep(1)
            await crash(mob, "bob")
        (turn,) = mob.member("ann").history()
        assert turn.agent_text == "bob is gone"
        assert results(turn)[0].status == "failed"


async def test_law_23_the_members_sums_are_the_mobs(autojump_clock):
    scripts = {"ann": [calls("ask_bob", question="?"), says("a")]}
    async with open_team(scripts=scripts) as mob:
        await mob.ask("1")
        await mob.member("cyd").ask("2")
        await mob.respawn("bob")
        members = [handle.usage for handle in mob.members.values()]
        assert mob.usage == sum(members[1:], members[0])
        assert mob.usage.requests == 4


async def test_a_resumed_run_goes_on_where_it_was(autojump_clock):
    store = MemoryStore()
    scripts = {"ann": [calls("hand_off_to_bob", reason="x")]}
    definition = definition_of(routes=[Route("ann", "bob", ("hand_off",))], role_wiring=(RoleWiring("clerk", "clerk"),))
    async with open_team(definition, scripts, store=store, seed=5) as mob:
        await mob.ask("help")
        await mob.wait_quiet()
        await mob.spawn("dan", profile="clerk")
        await mob.wire("cyd", "bob", "tell")
        await mob.retire("cyd")
        run_id, used = mob.run_id, mob.usage
        known = {turn.id for turn in mob.member("ann").history()}
    async with open_team(definition, store=store, run_id=run_id, resume=True) as mob:
        assert mob.floor == "bob"
        assert set(mob.members) == {"ann", "bob", "dan"}
        assert {handle.generation for handle in mob.members.values()} == {2}
        assert {turn.id for turn in mob.member("ann").history()} == known
        assert mob.usage == used
        answer = await mob.ask("go on")
        assert answer.turn.id not in known
        assert (await mob.spawn("cyd", profile="clerk")).generation == 2
    with pytest.raises(UsageError, match="already"):
        await open_team(definition, store=store, run_id=run_id).__aenter__()
    with pytest.raises(RunUnknown):
        await open_team(definition, store=store, run_id="nope", resume=True).__aenter__()


async def test_a_session_has_one_id_over_generations_crashes_and_processes(autojump_clock):
    store = MemoryStore()
    async with open_team(store=store, run_id="run_x") as mob:
        before = mob.member("bob").session_id
        assert uuid.UUID(before).version == 5
        assert mob.member("bob").session.session_id == before
        assert (await mob.respawn("bob")).session.session_id == before
        await mob.retire("bob")
        assert mob.member("bob").session_id == before
        assert mob.member("ann").session_id != before
    async with open_team(store=store, run_id="run_x", resume=True) as mob:
        assert (await mob.spawn("bob", profile="clerk")).session_id == before
    async with open_team(run_id="run_y") as mob:
        assert mob.member("bob").session_id != before


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock):
    with pytest.raises(KeyError):
        async with open_team():
            raise KeyError("mine")


async def test_a_tool_that_cannot_be_imported_is_refused_before_anything_runs(autojump_clock):
    from mob.definition.model import Tool

    profiles = {"clerk": Profile("clerk", "writer-1", tools=("gone",))}
    definition = definition_of(profiles=profiles, tools={"gone": Tool("gone", "no_such_module:f")})
    store = MemoryStore()
    with pytest.raises(UsageError, match="gone"):
        async with open_team(definition, store=store):
            pytest.fail("it must not start")


async def test_lent_tools_outlive_a_change_of_the_routes_and_clash_with_none(autojump_clock):
    async def look(arguments, context):
        return "nothing"

    def lent(name):
        return ToolFunction(ToolSchema(name, name), look)

    async with open_team(definition_of(routes=[Route("ann", "bob", ("ask",))])) as mob:
        ann = mob.member("ann")
        async with ann.lend_tools([lent("look")]):
            with pytest.raises(UsageError, match="ask_bob"):
                async with ann.lend_tools([lent("ask_bob")]):
                    pass
            await mob.wire("ann", "cyd", "tell")
            await mob.wait_quiet()
            await mob.ask("1")
        await mob.ask("2")
        first, second = ({tool.name for tool in request.tools} for request in mob.stage.requests_of("ann"))
    assert first == {"ask_bob", "tell_cyd", "look"}
    assert second == {"ask_bob", "tell_cyd"}


async def test_what_the_holder_is_told_moves_no_floor_and_is_known_after_a_resume(autojump_clock):
    store = MemoryStore()
    async with open_team(store=store, run_id="run_x") as mob:
        turn = await mob.member("ann").inject("The kitchen is closed.", kind="kitchen")
        assert (turn.cause.kind, mob.floor, mob.member("ann").state) == ("context", "ann", "idle")
        await mob.retire("bob")
        with pytest.raises(MemberNotRunning):
            await mob.member("bob").inject("hello")
    async with open_team(store=store, run_id="run_x", resume=True) as mob:
        await mob.ask("soup?")
        said = [message.text for message in mob.stage.requests_of("ann")[0].messages]
        assert said[-2:] == ["The kitchen is closed.", "soup?"]


async def test_a_member_is_spawned_with_keys_of_its_own_and_keeps_them(autojump_clock):
    store, keys = MemoryStore(), {"instructions": "You are Dan.", "peer_description": "knows trains"}
    async with open_team(store=store, run_id="run_x") as mob:
        dan = await mob.spawn("dan", profile="clerk", overrides=keys)
        assert mob.definition.profile_of("dan").instructions == "You are Dan."
        await dan.ask("who are you?")
        await mob.wire("ann", "dan")
        await mob.wait_quiet()
        await mob.ask("look around")
        (tool,) = [tool for tool in mob.stage.requests_of("ann")[-1].tools if tool.name == "ask_dan"]
        assert "knows trains" in tool.description
        await (await mob.respawn("dan")).ask("and now?")
        await crash(mob, "dan")
        await trio.sleep(1)
        await mob.member("dan").ask("and now?")
        said = [request.messages[0].text for request in mob.stage.requests_of("dan")]
        assert len(said) == 3
        assert all(text.startswith("You are Dan.") for text in said)
    async with open_team(store=store, run_id="run_x", resume=True) as mob:
        await mob.member("dan").ask("still you?")
        assert mob.stage.requests_of("dan")[0].messages[0].text.startswith("You are Dan.")
        assert mob.definition.members["dan"].overrides["instructions"] == "You are Dan."
        await mob.retire("dan")
        await (await mob.spawn("dan", profile="clerk")).ask("who are you now?")
        assert mob.stage.requests_of("dan")[-1].messages[0].text.startswith("You help.")
        before = mob.definition
        with pytest.raises(UsageError, match="at voice"):
            await mob.spawn("eve", profile="clerk", overrides={"voice": 5})
        assert mob.definition is before
        assert "eve" not in mob.members


async def test_the_team_files_own_member_comes_back_with_keys_over_its_own(autojump_clock):
    members = {
        "ann": Member("ann", "clerk"),
        "bob": Member("bob", "clerk", {"instructions": "You are Bob.", "peer_description": "is Bob"}),
    }
    store = MemoryStore()
    definition = definition_of("ann bob", members=members)
    async with open_team(definition, store=store, run_id="run_x") as mob:
        await mob.retire("bob")
        await mob.spawn("bob", profile="clerk", overrides={"instructions": "You are Robert."})
        profile = mob.definition.profile_of("bob")
        assert (profile.instructions, profile.peer_description) == ("You are Robert.", "is Bob")
    async with open_team(definition, store=store, run_id="run_x", resume=True) as mob:
        assert mob.definition.profile_of("bob").instructions == "You are Robert."


async def test_a_handle_tells_what_the_member_is_also_when_it_does_not_run(autojump_clock):
    async with open_team() as mob:
        await mob.spawn("dan", profile="clerk", overrides={"instructions": "You are Dan."})
        dan = mob.member("dan")
        for _ in range(2):
            assert (dan.profile_name, dan.profile.instructions, dan.channel) == ("clerk", "You are Dan.", None)
            assert dan.model.id == mob.definition.profiles["clerk"].model
            await mob.retire("dan") if dan.state != "retired" else None
        fresh = await mob.respawn("dan")
        with pytest.raises(StaleGeneration):
            assert dan.model
        assert fresh.profile.instructions == "You are Dan."


async def test_the_routes_are_those_of_now(autojump_clock):
    async with open_team(definition_of(routes=[Route("ann", "bob", ("ask",))])) as mob:
        assert mob.routes == (Route("ann", "bob", ("ask",)),)
        await mob.wire("ann", "cyd", "tell", "hand_off")
        await mob.wire("ann", "bob", "tell")
        assert mob.routes == (Route("ann", "bob", ("ask", "tell")), Route("ann", "cyd", ("tell", "hand_off")))
        await mob.unwire("ann", "bob")
        assert mob.routes == (Route("ann", "cyd", ("tell", "hand_off")),)


async def test_what_a_member_was_given_it_has_in_its_next_generation_too(autojump_clock):
    async with open_team() as mob:
        bob = mob.member("bob")
        bob.rebind(evolve(bob.profile, instructions="Be brief."), bob.model)
        assert bob.profile.instructions == "Be brief."
        await crash(mob, "bob")
        await mob.wait_quiet()
        assert mob.member("bob").profile.instructions == "Be brief."
        with pytest.raises(StaleGeneration):
            bob.rebind(mob.member("bob").profile, mob.member("bob").model)


async def test_who_tells_may_wait_for_what_became_of_it(autojump_clock):
    async with open_team() as mob:
        letter = mob.member("bob").tell("hello")
        assert (await letter.wait()).text == "bob 1"
